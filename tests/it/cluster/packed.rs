//! Short nodes that share a job, and jobs that share a submission: how few there are of them, and that whatever becomes of a job each
//! of its nodes has its own end.

use super::lab::{Lab, kill, number, until};
use pipe::engine::run::executor::away::pace::{Pace, Seen, Stood};
use rustix::process::Signal;
use std::time::{Duration, Instant};

const TICKS: usize = 10;

/// So many nodes that write, each its own text.
fn writes(nodes: usize, text: &str) -> String {
    let each = (0..nodes).map(|i| {
        format!("[node.n{i}]\nkind = \"toy-write\"\ntext = \"{text}{i}\"\ncount = {{count}}\n")
    });
    each.collect()
}

/// Nodes that tick: with so many milliseconds a tick.
fn slow(nodes: usize, tick_ms: u64, more: &str) -> String {
    let each = (0..nodes).map(|i| {
        format!(
            "[node.s{i}]\nkind = \"toy-slow\"\nticks = {TICKS}\nseed = {}\ntick_ms = {tick_ms}\ncount = {{count}}\n{more}",
            i + tick_ms as usize
        )
    });
    each.collect()
}

/// A lab that knows how long four ticking nodes take, and has to make others like them.
fn four(profile: &str) -> Lab {
    let lab = Lab::with(&slow(4, 20, ""), &format!("gather_seconds = 3\n{profile}"));
    lab.made_here();
    lab.recipe(&slow(4, 40, ""));
    lab
}

/// The attempts that a submission names.
fn named(call: &str) -> usize {
    let comment = call.split("--comment=").nth(1).unwrap();
    comment.split(' ').next().unwrap().split(',').count()
}

#[test]
fn short_nodes_share_a_job_and_each_has_its_own_record() {
    let lab = Lab::with(
        &writes(12, "old "),
        "gather_seconds = 3\npack_seconds = 600\n",
    );
    lab.made_here();
    lab.recipe(&writes(12, "new "));
    let over = lab.run().well();
    assert_eq!(over.retries(), [""; 0]);
    let asked = lab.asked("sbatch");
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(named(&asked[0]), 12);
    assert!(!asked[0].contains("--array"), "{asked:?}");
    assert!(
        asked[0].contains("--time=15"),
        "twelve times next to nothing is a quarter of an hour: {asked:?}"
    );
    assert_eq!((lab.ticks(), lab.jobs()), (12, vec!["1".to_string()]));
    assert_eq!(lab.attempts(), [""; 0]);
    lab.as_here();
}

#[test]
fn what_nodes_of_a_kind_took_in_this_run_is_enough_to_pack_the_rest() {
    let lab = Lab::with(
        &writes(150, "t"),
        "gather_seconds = 4\njobs = 8\npack_seconds = 3600\n",
    );
    let over = lab.run().well();
    assert_eq!(over.retries(), [""; 0]);
    assert_eq!(lab.ticks(), 150);
    let (asked, jobs) = (lab.asked("sbatch"), lab.jobs());
    assert!(
        asked[0].contains("--array=0-7"),
        "the first are unknown: {asked:?}"
    );
    // Eight that are unknown, each with its own job; the others in full ones from the first end on.
    assert_eq!(jobs.len(), 8 + 142usize.div_ceil(64), "{jobs:?}");
    assert!(asked.len() <= 4, "{asked:#?}");
    lab.sound();
}

#[test]
fn slots_that_get_free_one_by_one_are_filled_together() {
    let lab = Lab::with(
        &writes(40, "t"),
        "gather_seconds = 1\njobs = 8\npack_seconds = 0\n",
    );
    lab.run().well();
    assert_eq!((lab.ticks(), lab.jobs().len()), (40, 40));
    let asked = lab.asked("sbatch");
    // Five full arrays; more where the slots get free while one waits.
    assert!(asked.len() <= 10, "{asked:#?}");
    lab.sound();
}

#[test]
fn the_limit_counts_jobs_and_a_job_is_full_at_some_point() {
    let lab = Lab::with(
        &writes(70, "old "),
        "gather_seconds = 2\njobs = 1\npack_seconds = 3600\n",
    );
    lab.made_here();
    lab.recipe(&writes(70, "new "));
    lab.run().well();
    let sizes: Vec<usize> = lab.asked("sbatch").iter().map(|call| named(call)).collect();
    assert_eq!(sizes.iter().sum::<usize>(), 70, "{sizes:?}");
    assert!(
        sizes.len() <= 3 && sizes.iter().all(|n| *n <= 64),
        "{sizes:?}"
    );
    assert_eq!(lab.ticks(), 70);
}

#[test]
fn what_is_expected_to_take_longer_in_all_has_another_job() {
    let lab = Lab::with(
        &writes(4, "old "),
        "gather_seconds = 3\npack_seconds = 1.2\n",
    );
    lab.made_here();
    lab.recipe(&writes(4, "new "));
    lab.run().well();
    // Whatever it does, a node counts as half a second.
    let sizes: Vec<usize> = lab.asked("sbatch").iter().map(|call| named(call)).collect();
    assert_eq!(lab.jobs().len(), 2, "{sizes:?}");
    assert_eq!(lab.ticks(), 4);
}

#[test]
fn of_a_job_that_dies_what_ended_stays_and_the_rest_goes_on() {
    let lab = four("");
    let going = lab.start().after(TICKS + 5);
    lab.lose("1");
    lab.write("jobs/1/state", "NODE_FAIL");
    let over = going.end().well();
    // The one that was at work, and two that it had not come to.
    assert_eq!(over.retries(), ["evicted"; 3], "{:#?}", over.events);
    let reasons: Vec<String> = over.events.iter().map(|e| e.to_string()).collect();
    let unreached = reasons
        .iter()
        .filter(|e| e.contains("its job ended before it was its turn"));
    assert_eq!(unreached.count(), 2);
    assert!(reasons.iter().any(|e| e.contains("for its turn on n1")));
    let ticks = lab.ticks();
    assert!((4 * TICKS..4 * TICKS + 4).contains(&ticks), "{ticks}");
    assert_eq!(
        lab.jobs().len(),
        1 + 2,
        "the one that was at work has its own, and the two others share one: {:?}",
        lab.jobs()
    );
    assert_eq!(lab.attempts(), [""; 0]);
}

#[test]
fn of_a_job_that_is_preempted_the_one_at_work_saves_and_the_rest_was_not_touched() {
    let lab = four("");
    let going = lab.start().after(TICKS + 5);
    kill(number(&lab.job("1").join("pid")), Signal::TERM);
    lab.write("jobs/1/state", "PREEMPTED");
    let over = going.end().well();
    assert_eq!(over.retries(), ["evicted"; 3], "{:#?}", over.events);
    let ticks = lab.ticks();
    assert!((4 * TICKS..=4 * TICKS + 1).contains(&ticks), "{ticks}");
    assert_eq!(lab.jobs().len(), 1 + 2);
}

#[test]
fn one_that_fails_in_a_shared_job_is_alone_in_that() {
    let lab = Lab::with(&slow(3, 20, ""), "gather_seconds = 3\n");
    lab.made_here();
    // On its first attempt only.
    lab.recipe(&slow(3, 30, "").replacen("tick_ms", "die_at = 5\ntick_ms", 1));
    let over = lab.run().well();
    assert_eq!(over.retries(), ["killed"], "{:#?}", over.events);
    let ticks = lab.ticks();
    assert_eq!(
        ticks,
        3 * TICKS + 1,
        "the fifth tick of one was lost with its worker"
    );
    assert_eq!(lab.jobs().len(), 2);
}

#[test]
fn one_request_to_stop_reaches_all_that_share_a_job() {
    let lab = four("");
    let going = lab.start().after(TICKS + 3);
    kill(going.child.id() as i32, Signal::INT);
    let over = going.end();
    assert_eq!(over.code, Some(130), "{}", over.err);
    let ticks = lab.ticks();
    assert!(
        ticks < 2 * TICKS + 1,
        "nothing began after the request: {ticks}"
    );
    until("its job", || lab.job("1").join("exit").exists());
    assert_eq!(lab.ticks(), ticks);
    lab.run().well();
    let ticks = lab.ticks();
    assert!((4 * TICKS..=4 * TICKS + 1).contains(&ticks), "{ticks}");
}

#[test]
fn the_next_engine_takes_up_all_that_share_a_job() {
    let lab = four("");
    let mut going = lab.start().after(TICKS + 3);
    going.child.kill().unwrap();
    going.child.wait().unwrap();
    let over = lab.run().well();
    assert_eq!(over.retries(), [""; 0]);
    assert!(over.err.contains("goes on with attempt"), "{}", over.err);
    assert_eq!((lab.ticks(), lab.jobs().len()), (4 * TICKS, 1));
    assert_eq!(lab.attempts(), [""; 0]);
}

#[test]
fn a_shared_job_whose_reply_got_lost_is_found() {
    let lab = four("");
    lab.write("fault-sbatch", "lost");
    lab.write("times-sbatch", "1");
    lab.run().well();
    assert_eq!((lab.ticks(), lab.jobs().len()), (4 * TICKS, 1));
    assert_eq!(lab.asked("sbatch").len(), 1);
    assert_eq!(lab.attempts(), [""; 0]);
}

#[test]
fn nobody_waits_long_for_one_that_takes_longer_than_it_did() {
    let lab = Lab::with(&slow(3, 1, ""), "gather_seconds = 3\npack_seconds = 2\n");
    lab.made_here();
    lab.recipe(&slow(3, 400, ""));
    let over = lab.run().well();
    let told = "the node before it in its job takes longer than was expected";
    let released = over.events.iter().filter(|e| e.to_string().contains(told));
    // Two of them, and the last of these once more.
    assert_eq!(released.count(), 2 + 1, "{:#?}", over.events);
    assert_eq!(
        (lab.ticks(), lab.jobs().len()),
        (3 * TICKS, 1 + 2),
        "each was executed once"
    );
}

#[test]
fn what_waits_in_a_queue_for_long_is_no_litter() {
    let lab = four("");
    lab.write("hold", "");
    let mut going = lab.start();
    until("a job", || !lab.jobs().is_empty());
    going.child.kill().unwrap();
    going.child.wait().unwrap();
    let long_ago = std::time::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let attempts = lab.attempts();
    assert_eq!(attempts.len(), 4 + 1, "{attempts:?}");
    for name in &attempts {
        for part in ["", "resume", "logs"] {
            let folder = lab.path("cache/attempts").join(name).join(part);
            if let Ok(folder) = std::fs::File::open(folder) {
                folder.set_modified(long_ago).unwrap();
            }
        }
    }
    let said = lab
        .command(&["gc", "--apply", "--cap", "1B"])
        .output()
        .unwrap();
    let said = String::from_utf8(said.stderr).unwrap() + &String::from_utf8(said.stdout).unwrap();
    assert!(said.contains("has a job that did not end yet"), "{said}");
    assert!(lab.command(&["verify"]).output().unwrap().status.success());
    assert_eq!(lab.attempts().len(), attempts.len());
}

/// Its engine would have removed it, and died.
#[test]
fn the_folder_of_a_shared_job_that_is_over_is_in_nobody_s_way() {
    let lab = four("");
    let mut going = lab.start().after(TICKS + 3);
    going.child.kill().unwrap();
    going.child.wait().unwrap();
    let gc = || {
        let said = lab.command(&["gc", "--apply", "--cap", "1B"]).output();
        let said = said.unwrap();
        let err = String::from_utf8(said.stderr).unwrap();
        (said.status.success(), err)
    };
    let (_, said) = gc();
    assert!(said.contains("has a job that did not end yet"), "{said}");
    assert!(!said.contains("attempt job-"), "{said}");
    until("its job", || lab.job("1").join("exit").exists());
    assert_eq!(lab.ticks(), 4 * TICKS);
    let left = lab.attempts();
    assert!(left.iter().any(|name| name.starts_with("job-")), "{left:?}");
    let (well, said) = gc();
    assert!(well, "{said}");
    assert!(lab.command(&["verify"]).output().unwrap().status.success());
    lab.run().well();
    assert_eq!(lab.ticks(), 4 * TICKS);
}

/// How often one of so many is looked at in a minute in which it always looks like this.
fn looks(all: usize, seen: Seen) -> usize {
    let begun = Instant::now();
    let mut pace = Pace::new(begun);
    let mut looks = 0;
    for tick in 0..600 {
        let now = begun + Duration::from_millis(100 * tick);
        if pace.is_due(now) {
            looks += 1;
            pace.looked(now, seen, all);
        }
    }
    looks
}

#[test]
fn folders_where_nothing_moves_are_looked_at_seldom() {
    assert_eq!(looks(1, Seen::Moving), 600);
    assert!(looks(1, Seen::AtWork) <= 34, "{}", looks(1, Seen::AtWork));
    assert!(looks(1, Seen::Next) <= 17, "{}", looks(1, Seen::Next));
    assert!(looks(1, Seen::Later) <= 10, "{}", looks(1, Seen::Later));
    // Two hundred of them, all of which write all the time: not more than so many in a second.
    assert!(
        looks(200, Seen::Moving) <= 61,
        "{}",
        looks(200, Seen::Moving)
    );
    assert!(
        looks(1000, Seen::AtWork) <= 13,
        "{}",
        looks(1000, Seen::AtWork)
    );
    let mut pace = Pace::new(Instant::now());
    pace.looked(Instant::now(), Seen::Later, 1000);
    pace.hurry(Instant::now());
    assert!(
        pace.is_due(Instant::now()),
        "quick again where something moved"
    );
}

/// For how long a sign of life has been the same, for one of so many that is looked at for a minute and a half.
fn stood(all: usize, closely: Duration, over: bool) -> Duration {
    let begun = Instant::now();
    let (mut pace, mut stood) = (Pace::new(begun), Stood::default());
    let mut longest = Duration::ZERO;
    for tick in 0..900 {
        let now = begun + Duration::from_millis(100 * tick);
        if pace.is_due(now) {
            longest = stood.see("1", now, pace.lapse(closely, over));
            pace.looked(now, Seen::AtWork, all);
        }
    }
    longest
}

#[test]
fn a_claim_is_seen_to_stand_still_however_many_there_are() {
    for all in [1, 1000, 6000] {
        let seen = stood(all, Duration::from_secs(1), false);
        assert!(seen > Duration::from_secs(55), "{all}: {seen:?}");
    }
    // At a job that is over one may look seldom; but who did not look for an hour may have slept, as may those who give signs.
    let begun = Instant::now();
    for (over, seconds, counts) in [(false, 45, false), (true, 45, true), (true, 3600, false)] {
        let (pace, mut stood) = (Pace::new(begun), Stood::default());
        let lapse = pace.lapse(Duration::from_secs(1), over);
        stood.see("1", begun, lapse);
        let later = begun + Duration::from_secs(seconds);
        let seen = stood.see("1", later, lapse);
        assert_eq!(seen > Duration::ZERO, counts, "{over}: {seen:?}");
    }
}

#[test]
fn a_claim_stands_still_only_for_who_looks_all_the_while() {
    let begun = Instant::now();
    let at = |seconds| begun + Duration::from_secs(seconds);
    let lapse = Duration::from_secs(10);
    let mut stood = Stood::default();
    let mut see = |sign: &str, seconds| stood.see(sign, at(seconds), lapse).as_secs();
    assert_eq!(see("1", 0), 0);
    assert_eq!(see("1", 5), 5);
    assert_eq!(see("1", 15), 15);
    assert_eq!(see("2", 17), 0, "it gave a sign");
    assert_eq!(see("2", 20), 3);
    assert_eq!(see("2", 60), 0, "nobody looked for forty seconds");
    assert_eq!(see("2", 69), 9);
}
