//! Nodes as jobs of a scheduler that these tests play: what it says is wrong, late, or nothing, jobs are killed and taken away, replies
//! are lost. What comes of the nodes is what would have come of them on one machine.

use super::{fail, failed, retries, text};
use crate::engine::{Ran, Space, Toy, files, graph, join, lines, toy, wait_until, write};
use pipe::base::hash::Key;
use pipe::base::value::Value;
use pipe::engine::events::event::{Event, State};
use pipe::engine::kind::attempt::Attempt;
use pipe::engine::kind::failure::Class;
use pipe::engine::plan::Wanted;
use pipe::engine::run::executor::away::Away;
use pipe::engine::run::profile::Profile;
use pipe::engine::run::scheduler::{Cause, JobId, Look, Order, Refusal, Scheduler};
use pipe::engine::run::{self, Settings, Stop};
use pipe::engine::store::Store;
use pipe::engine::store::claims::Claim;
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Processes of this machine take the place of jobs.
#[derive(Default)]
struct Played {
    jobs: Mutex<BTreeMap<JobId, (String, Child)>>,
    /// So many replies to submissions are lost.
    lost_replies: AtomicUsize,
    submitted: AtomicUsize,
    /// It knows no job that it was given.
    forgets: bool,
    /// It says of every job that it has ended well, from the first moment on.
    lies: bool,
    /// No job of it ever begins.
    full: bool,
    cancelled: Mutex<Vec<JobId>>,
    /// Every job is started twice at once.
    twice: bool,
}

impl Played {
    fn signal(&self, signal: Signal) {
        for (_, child) in self.jobs.lock().unwrap().values_mut() {
            if child.try_wait().unwrap().is_none() {
                kill_process(Pid::from_child(child), signal).unwrap();
            }
        }
    }

    fn spawn(&self, order: &Order) -> Child {
        let out = std::fs::File::create(order.folder.join("job.out")).unwrap();
        Command::new(&order.words[0])
            .args(&order.words[1..])
            .env("SLURM_JOB_ID", "7")
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap()
    }
}

impl Scheduler for Played {
    fn submit(&self, order: &Order) -> Result<JobId, Refusal> {
        if order.needs.gpus > 4 {
            return Err(Refusal::Refused(anyhow::anyhow!("nobody has so many")));
        }
        let number = self.submitted.fetch_add(1, Ordering::SeqCst) + 1;
        let job = JobId(number.to_string());
        let mut jobs = self.jobs.lock().unwrap();
        if !self.full {
            let child = self.spawn(order);
            jobs.insert(job.clone(), (order.name.clone(), child));
        }
        if self.twice {
            let again = JobId(format!("{number} again"));
            let child = self.spawn(order);
            jobs.insert(again, (order.name.clone(), child));
        }
        let lost = |left: usize| left.checked_sub(1);
        let counted = self
            .lost_replies
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, lost);
        match counted {
            Ok(_) => Err(Refusal::Doubtful(anyhow::anyhow!("no reply"))),
            Err(_) => Ok(job),
        }
    }

    fn look(&self, ids: &[JobId]) -> anyhow::Result<BTreeMap<JobId, Look>> {
        let mut looks = BTreeMap::new();
        for id in ids {
            let mut jobs = self.jobs.lock().unwrap();
            let Some((_, child)) = jobs.get_mut(id) else {
                if self.full && !self.cancelled.lock().unwrap().contains(id) {
                    looks.insert(id.clone(), Look::Waiting("Resources".into()));
                }
                continue;
            };
            let ended = child.try_wait().unwrap();
            let look = match ended {
                _ if self.forgets => continue,
                _ if self.lies => Look::Ended {
                    cause: Cause::Whole,
                    word: "COMPLETED".into(),
                },
                None => Look::Running { host: "n1".into() },
                Some(status) => Look::Ended {
                    cause: Cause::Failed(status.code().unwrap_or(-1)),
                    word: "FAILED".into(),
                },
            };
            looks.insert(id.clone(), look);
        }
        Ok(looks)
    }

    fn find(&self, name: &str) -> anyhow::Result<Option<JobId>> {
        let jobs = self.jobs.lock().unwrap();
        let found = jobs.iter().find(|(_, (called, _))| called == name);
        Ok(found.map(|(id, _)| id.clone()))
    }

    fn cancel(&self, ids: &[JobId]) -> anyhow::Result<()> {
        self.cancelled.lock().unwrap().extend(ids.iter().cloned());
        for id in ids {
            if let Some((_, child)) = self.jobs.lock().unwrap().get_mut(id)
                && child.try_wait().unwrap().is_none()
            {
                kill_process(Pid::from_child(child), Signal::TERM).unwrap();
            }
        }
        Ok(())
    }

    fn check(&self) -> anyhow::Result<Vec<String>> {
        Ok(vec![])
    }
}

/// Nobody waits for processes of tests otherwise.
impl Drop for Played {
    fn drop(&mut self) {
        for (_, child) in self.jobs.get_mut().unwrap().values_mut() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn played(set: impl FnOnce(&mut Played)) -> Arc<Played> {
    let mut played = Played::default();
    set(&mut played);
    Arc::new(played)
}

const PROFILE: &str = r#"
executor = "command"
ask_seconds = 0.2
gather_seconds = 0.2
settle_seconds = 1.0
grace_seconds = 5.0
claim_seconds = 6.0

[command]
submit = "true"
look = "true"
cancel = "true"
"#;

fn profile(space: &Space, text: &str) -> Profile {
    Profile::read(&space.file("lab.toml", text)).unwrap()
}

fn away(space: &Space, played: &Arc<Played>, text: &str) -> Arc<Away> {
    let profile = profile(space, text);
    let mut store = space.store();
    store
        .share(Duration::from_secs_f64(profile.claim_seconds))
        .unwrap();
    let away = Away::new(profile, played.clone(), store, crate::study::program());
    Arc::new(away.unwrap())
}

fn on(space: &Space, played: &Arc<Played>) -> impl FnOnce(&mut Settings) + use<> {
    on_profile(space, played, PROFILE)
}

fn on_profile(
    space: &Space,
    played: &Arc<Played>,
    text: &str,
) -> impl FnOnce(&mut Settings) + use<> {
    let away = away(space, played, text);
    move |settings| {
        let program = settings.program.clone();
        settings.executor = away.clone();
        settings.capacity = pipe::engine::run::executor::Executor::capacity(&*away);
        settings.program = program;
        settings.retries.pause = Duration::from_millis(1);
    }
}

fn slow(space: &Space, ticks: i64) -> Toy {
    let count = space.dir.path().join("ticks");
    toy(&crate::toys::SLOW, "slow")
        .with("ticks", ticks)
        .exec("tick_ms", 25)
        .exec("count", text(&count))
}

fn ticks(space: &Space) -> Vec<String> {
    lines(&space.dir.path().join("ticks"))
}

fn undisturbed(ticks: i64) -> String {
    let calm = [toy(&crate::toys::SLOW, "slow").with("ticks", ticks)];
    Space::new().run(&calm).text("slow")
}

fn placed(ran: &Ran) -> Vec<(Option<String>, Option<String>)> {
    let found = ran.events.iter().filter_map(|event| match event {
        Event::Placed { job, host, .. } => Some((job.clone(), host.clone())),
        _ => None,
    });
    found.collect()
}

#[test]
fn nodes_run_as_jobs_and_their_records_are_those_of_one_machine() {
    let space = Space::new();
    let played = played(|_| {});
    let spec = [
        write("a", "x"),
        write("b", "y"),
        join("ab", "a", Some("b")),
        slow(&space, 20),
    ];
    let ran = space.run_with(&spec, on(&space, &played), |_| {});
    assert_eq!(ran.states(), ["done"; 4], "{:#?}", ran.events);
    assert_eq!(ran.text("ab"), "x y");
    assert!(ran.said("slow", "starting at 0 of 20"));
    let progress = |e: &&Event| matches!(e, Event::Progress { .. });
    assert!(ran.events.iter().any(|e| progress(&e)));
    assert!(placed(&ran).contains(&(Some("1".into()), None)));
    assert_eq!(played.submitted.load(Ordering::SeqCst), 4);
    let apart = Space::new();
    let local = apart.run(&spec);
    for node in ["a", "b", "ab", "slow"] {
        let (there, here) = (ran.record(node), local.record(node));
        assert_eq!(there.outputs, here.outputs, "{node}");
        assert_eq!(there.key, here.key);
    }
    assert_eq!(space.run(&spec).states(), ["hit"; 4], "on this machine");
    let left = Attempt::all(&space.store()).unwrap();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_lost_reply_starts_no_second_job() {
    let space = Space::new();
    let played = played(|p| p.lost_replies = 2.into());
    let spec = [slow(&space, 30), write("a", "x")];
    let ran = space.run_with(&spec, on(&space, &played), |_| {});
    assert_eq!(ran.states(), ["done"; 2]);
    assert_eq!(played.submitted.load(Ordering::SeqCst), 2);
    assert_eq!(ticks(&space).len(), 30);
}

#[test]
fn a_scheduler_that_knows_nothing_or_lies_changes_no_result() {
    for (forgets, lies) in [(true, false), (false, true)] {
        let space = Space::new();
        let played = played(|p| {
            p.forgets = forgets;
            p.lies = lies;
        });
        let spec = [slow(&space, 16), join("below", "slow", None)];
        let ran = space.run_with(&spec, on(&space, &played), |_| {});
        assert_eq!(ran.states(), ["done"; 2]);
        assert_eq!(ran.text("slow"), undisturbed(16));
        assert_eq!(ticks(&space).len(), 16, "nothing ran twice");
    }
}

#[test]
fn a_job_that_is_started_twice_executes_its_node_once() {
    let space = Space::new();
    let played = played(|p| p.twice = true);
    let ran = space.run_with(&[slow(&space, 30)], on(&space, &played), |_| {});
    assert_eq!(ran.states(), ["done"]);
    assert_eq!(ticks(&space).len(), 30);
}

#[test]
fn a_job_that_is_killed_goes_on_from_its_checkpoint() {
    let space = Space::new();
    let played = played(|_| {});
    let mut killed = false;
    let ran = space.run_with(&[slow(&space, 60)], on(&space, &played), |event| {
        let late = matches!(event, Event::Progress { done, .. } if *done >= 10);
        if late && !std::mem::replace(&mut killed, true) {
            played.signal(Signal::KILL);
        }
    });
    assert_eq!(ran.states(), ["done"], "{:?}", retries(&ran));
    assert_eq!(retries(&ran).len(), 1, "{:?}", retries(&ran));
    assert_eq!(ran.text("slow"), undisturbed(60));
    assert!(ticks(&space).len() < 70, "{}", ticks(&space).len());
    assert_eq!(ran.record("slow").cost.attempts, 2);
}

#[test]
fn a_job_that_is_taken_away_again_and_again_counts_no_tries_as_long_as_it_gets_on() {
    let space = Space::new();
    let played = played(|_| {});
    let (mut next, mut times) = (6, 0);
    let ran = space.run_with(&[slow(&space, 300)], on(&space, &played), |event| {
        if let Event::Progress { done, .. } = event
            && *done >= next
            && times < 6
        {
            (next, times) = (*done + 6, times + 1);
            played.signal(Signal::USR2);
        }
    });
    assert_eq!(ran.states(), ["done"], "{:?}", retries(&ran));
    assert!(times > 3, "it was taken away {times} times");
    let classes: Vec<Class> = retries(&ran).iter().map(|(class, _)| *class).collect();
    assert_eq!(classes, vec![Class::Evicted; times]);
    assert_eq!(ran.text("slow"), undisturbed(300));
    let done = ticks(&space).len();
    assert!(done <= 300 + 2 * times, "it saves before it goes: {done}");
}

#[test]
fn a_run_that_leaves_its_jobs_is_taken_up_by_the_next() {
    let space = Space::new();
    let played = played(|_| {});
    let stop = Stop::default();
    let spec = [slow(&space, 80), join("below", "slow", None)];
    let set = on(&space, &played);
    let left = space.run_with(
        &spec,
        |settings| {
            set(settings);
            settings.stop = stop.clone();
        },
        |event| {
            if matches!(event, Event::Progress { done, .. } if *done >= 4) {
                stop.leave();
            }
        },
    );
    assert_eq!(left.states(), ["interrupted"; 2]);
    let before = ticks(&space).len();
    assert!(before < 80, "it was left on the way");
    wait_until(|| ticks(&space).len() > before);
    let ran = space.run_with(&spec, on(&space, &played), |_| {});
    assert_eq!(ran.states(), ["done"; 2]);
    assert!(ran.said("slow", "goes on with attempt "));
    assert_eq!(ticks(&space).len(), 80);
    assert_eq!(played.submitted.load(Ordering::SeqCst), 2, "a job a node");
}

#[test]
fn what_is_left_before_it_was_submitted_is_submitted() {
    let space = Space::new();
    let played = played(|_| {});
    let stop = Stop::default();
    let spec = [slow(&space, 20), write("a", "x")];
    let patient = PROFILE.replace("gather_seconds = 0.2", "gather_seconds = 60.0");
    let left = space.run_with(
        &spec,
        |settings| {
            on_profile(&space, &played, &patient)(settings);
            settings.stop = stop.clone();
        },
        |event| {
            if matches!(
                event,
                Event::State {
                    state: State::Running { .. },
                    ..
                }
            ) {
                stop.leave();
            }
        },
    );
    assert_eq!(left.states(), ["interrupted"; 2]);
    // One is left as soon as it was started, so that the other may not have been.
    let submitted = played.submitted.load(Ordering::SeqCst);
    assert!(submitted >= 1, "{:#?}", left.events);
    let ran = space.run_with(&spec, on(&space, &played), |_| {});
    let there = |state: &String| state == "done" || state == "hit";
    assert!(ran.states().iter().all(there), "{:#?}", ran.events);
    assert_eq!(ticks(&space).len(), 20);
    assert_eq!(played.submitted.load(Ordering::SeqCst), 2, "a job a node");
}

#[test]
fn a_request_to_stop_reaches_jobs_those_that_run_and_those_that_wait() {
    let space = Space::new();
    let played = played(|_| {});
    let stop = Stop::default();
    let spec = [slow(&space, 400)];
    let set = on(&space, &played);
    let stopped = space.run_with(
        &spec,
        |settings| {
            set(settings);
            settings.stop = stop.clone();
        },
        |event| {
            if matches!(event, Event::Progress { done, .. } if *done >= 4) && stop.requests() == 0 {
                stop.request();
            }
        },
    );
    assert_eq!(stopped.states(), ["interrupted"]);
    let done = ticks(&space).len();
    assert!(done < 100, "{done}");
    let mut jobs = played.jobs.lock().unwrap();
    let ended = jobs.values_mut().all(|(_, job)| {
        let _ = job.wait();
        true
    });
    assert!(ended);
    drop(jobs);

    let waiting = self::played(|p| p.full = true);
    let stop = Stop::default();
    let set = on(&space, &waiting);
    let ran = space.run_with(
        &[write("late", "z")],
        |settings| {
            set(settings);
            settings.stop = stop.clone();
        },
        |event| {
            if matches!(event, Event::Placed { word, .. } if word == "Resources") {
                stop.request();
                stop.request();
            }
        },
    );
    assert_eq!(ran.states(), ["interrupted"]);
}

#[test]
fn how_a_node_failed_there_is_told_here() {
    let space = Space::new();
    let played = played(|_| {});
    let how = |name: &str| fail(name, name);
    let spec = [how("error"), how("exit"), how("nothing"), how("panic")];
    let ran = space.run_with(&spec, on(&space, &played), |_| {});
    let told = ["error", "exit", "nothing", "panic"].map(|name| failed(&ran, name));
    let expected = [
        (Class::Error, "as asked"),
        (Class::Error, "the worker ended with exit status 3"),
        (Class::LostOutputs, "output `out` is empty"),
        (Class::Error, "the worker panicked"),
    ];
    assert_eq!(told, expected.map(|(class, text)| (class, text.into())));
    let State::Failed { tail, .. } = &ran.outcome.find("exit").unwrap().state else {
        panic!("it failed");
    };
    assert_eq!(tail, "last words");
}

#[test]
fn a_node_that_no_partition_has_room_for_is_refused_before_anything_starts() {
    let space = Space::new();
    let played = played(|_| {});
    let text = format!("partition = [{{ name = \"small\", hours = 1 }}]\n{PROFILE}");
    let away = away(&space, &played, &text);
    let needs = Value::Table([("gpus".to_string(), Value::Int(2))].into());
    let spec = write("a", "x").exec("needs", needs);
    let settings = Settings::on(away).unwrap();
    let (store, graph) = (space.store(), graph(&[spec]));
    let ran = run::run(&store, &graph, &Wanted::default(), &settings, &mut |_| {});
    let failure = ran.err().expect("it is not to run").to_string();
    let told = "nodes have no place:\n  `a`: no partition of profile `lab` has 2 GPUs: `small`";
    assert!(failure.starts_with(told), "{failure}");
    assert_eq!(played.submitted.load(Ordering::SeqCst), 0);
}

#[test]
fn no_secret_is_left_in_the_store_of_a_node_that_ran_elsewhere() {
    let space = Space::new();
    let played = played(|_| {});
    let secret = "tweet-0815-tweet";
    let file = space.file(
        "secrets",
        &format!("# of the lab\nexport LAB_KEY=\"{secret}\"\nOTHER=x\n"),
    );
    use std::os::unix::fs::PermissionsExt;
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&file, mode).unwrap();
    let away = away(
        &space,
        &played,
        &format!("secrets_file = {:?}\n{PROFILE}", text(&file)),
    );
    let spec = [write("a", "x").exec("secret_env", "LAB_KEY")];
    let ran = space.run_with(&spec, |settings| settings.executor = away, |_| {});
    assert_eq!(ran.states(), ["done"]);
    assert!(ran.said("a", "the secret has 16 characters"));
    for path in files(&space.root()) {
        let bytes = std::fs::read(&path).unwrap_or_default();
        let found = String::from_utf8_lossy(&bytes).contains(secret);
        assert!(!found, "{} holds it", path.display());
    }
}

fn linked(space: &Space, seconds: f64) -> Store {
    let mut store = space.store();
    store.prepare().unwrap();
    store.share(Duration::from_secs_f64(seconds)).unwrap();
    store
}

fn key() -> Key {
    Key::parse(&"a".repeat(64)).unwrap()
}

fn number(claim: &Option<Arc<dyn Claim>>) -> Option<u64> {
    claim.as_ref().map(|claim| claim.number())
}

/// Locks do not exclude there: a store whose folder of locks is another for each machine.
fn as_another_machine(space: &Space, name: &str) -> Store {
    let root = space.dir.path().join(name);
    std::fs::create_dir_all(root.join("locks")).unwrap();
    for entry in std::fs::read_dir(space.root()).unwrap() {
        let entry = entry.unwrap();
        let target = root.join(entry.file_name());
        if !target.exists() {
            std::os::unix::fs::symlink(entry.path(), target).unwrap();
        }
    }
    Store::open(&root).unwrap()
}

#[test]
fn a_claim_that_is_a_link_is_one_machine_s_until_it_is_given_back_or_stands_still() {
    let space = Space::new();
    let here = linked(&space, 0.4);
    let first = here.try_lock(&key()).unwrap();
    assert_eq!(number(&first), Some(1));
    std::fs::create_dir_all(space.root().join("claims")).unwrap();
    let there = as_another_machine(&space, "there");
    assert!(there.try_lock(&key()).unwrap().is_none());
    drop(first);
    let second = there.try_lock(&key()).unwrap();
    assert_eq!(number(&second), Some(2), "it was given back");
    let claim = second.unwrap();
    for _ in 0..8 {
        std::thread::sleep(Duration::from_millis(80));
        assert!(claim.renew().unwrap());
        assert!(here.try_lock(&key()).unwrap().is_none(), "its holder lives");
    }
    std::thread::sleep(Duration::from_millis(500));
    let third = here.try_lock(&key()).unwrap();
    assert_eq!(number(&third), Some(3), "it stood still");
    assert!(!claim.renew().unwrap(), "who lost it is told");
    drop(claim);
    assert!(
        there.try_lock(&key()).unwrap().is_none(),
        "and gives nothing back"
    );
}

/// Some shared folders give one name to two who link it at once: the last of them has it.
#[test]
fn a_claim_that_another_replaced_is_not_kept_and_not_given_back() {
    let space = Space::new();
    let here = linked(&space, 60.0);
    let claim = here.try_lock(&key()).unwrap().unwrap();
    assert!(claim.renew().unwrap());
    let path = space.root().join("claims").join(key().as_str()).join("1");
    let text = std::fs::read_to_string(&path).unwrap();
    let mut sign: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    sign["nonce"] = "another".into();
    let other = space.file("other", &sign.to_string());
    std::fs::rename(other, &path).unwrap();
    assert!(!claim.renew().unwrap(), "who lost it is told");
    drop(claim);
    let left = std::fs::read_to_string(&path).unwrap();
    assert_eq!(left, sign.to_string(), "it is another's");
}

/// Who renews by a longer time is not robbed by a profile that says a shorter one.
#[test]
fn how_long_claims_last_only_grows() {
    let space = Space::new();
    let mut store = linked(&space, 60.0);
    let lasts = |store: &Store| store.claims().lasts().map(|lasts| lasts.as_secs());
    store.share(Duration::from_secs(5)).unwrap();
    assert_eq!(lasts(&space.store()), Some(60));
    store.share(Duration::from_secs(90)).unwrap();
    assert_eq!(lasts(&space.store()), Some(90));
    let never = store.share(Duration::from_secs(200_000)).unwrap_err();
    assert!(never.to_string().contains("86400"), "{never}");
    assert_eq!(lasts(&space.store()), Some(90), "the store can be opened");
}

#[test]
fn a_job_that_is_never_taken_ends_its_node_with_what_was_heard() {
    let space = Space::new();
    let played = played(|p| {
        p.full = true;
        p.lost_replies = 100.into();
    });
    let spec = [write("a", "x")];
    let ran = space.run_with(&spec, on(&space, &played), |_| {});
    let (class, message) = failed(&ran, "a");
    assert_eq!(class, Class::Environment);
    assert!(
        message.contains("lab did not take it in 5 tries: no reply"),
        "{message}"
    );
    assert_eq!(played.submitted.load(Ordering::SeqCst), 6);
}

#[test]
fn of_many_who_want_a_claim_at_once_one_gets_it() {
    let space = Space::new();
    linked(&space, 60.0);
    std::fs::create_dir_all(space.root().join("claims")).unwrap();
    let stores: Vec<Store> = (0..6)
        .map(|n| as_another_machine(&space, &format!("m{n}")))
        .collect();
    for round in 0..10 {
        let key = Key::parse(&format!("{round:064x}")).unwrap();
        let held = Mutex::new(vec![]);
        std::thread::scope(|scope| {
            for store in &stores {
                scope.spawn(|| {
                    if let Some(claim) = store.try_lock(&key).unwrap() {
                        held.lock().unwrap().push(claim);
                    }
                });
            }
        });
        assert_eq!(held.into_inner().unwrap().len(), 1);
    }
}

#[test]
fn a_profile_that_is_wrong_says_where_and_all_at_once() {
    let space = Space::new();
    let wrong = |text: &str| {
        let path = space.file("wrong.toml", text);
        let told = format!("{:#}", Profile::read(&path).unwrap_err());
        told.replace(&format!("{}/", space.dir.path().display()), "")
    };
    let told = wrong("executor = \"pbs\"\n");
    assert!(told.contains("`slurm`, `ray`, `command`"), "{told}");
    assert!(told.contains("wrong.toml:1:12"), "{told}");
    assert!(wrong("executor = \"ray\"\n").contains("needs an `address`"));
    assert!(wrong("jobs = 3\n").contains("`executor` is missing"));
    let told = wrong(
        "executor = \"slurm\"\n[partition.a]\nnmae = \"a\"\ngpus = -1\n[partition.b]\ncpus = 0\n",
    );
    assert_eq!(told.matches("error: ").count(), 1, "{told}");
    assert!(
        told.contains("error: `partition` is a list of tables, not a table"),
        "{told}"
    );
    assert!(
        told.contains("wrong.toml:2:2") && told.contains("`[[partition]]`"),
        "{told}"
    );
    let told = wrong(
        r#"executor = "slurm"
qeue = 3
jobs = 0
pack_seconds = "long"
claim_seconds = 0
grace_seconds = -1.0
[[partition]]
name = "none"
cpus = 0
memory = "0GB"
[[partition]]
gpus = -1
gpu_memory = "much"
hours = 0.0
[command]
submit = "true"
"#,
    );
    let lines: Vec<&str> = told.lines().collect();
    let errors = lines.iter().filter(|line| line.starts_with("error: "));
    let errors: Vec<&str> = errors.map(|line| &line[7..]).collect();
    assert_eq!(
        errors,
        [
            "unknown entry `qeue`",
            "`jobs` is 0: nothing could run",
            "`pack_seconds` expects a number, got string \"long\"",
            "`claim_seconds` is 0, and is at least 0.1",
            "`grace_seconds` is -1, and is between 0 and 86400",
            "`cpus` is 0: nothing could run there",
            "`memory` is 0: nothing could run there",
            "`name` is missing",
            "`gpus` expects a whole number that is not negative, got integer `-1`",
            "`gpu_memory`: a size is as \"40GB\", not \"much\"",
            "`hours` is 0: nothing could run there",
            "`cancel` is missing",
            "`look` is missing",
        ],
        "{told}"
    );
    let caret = " --> wrong.toml:9:8\n  |\n9 | cpus = 0\n  |        ^\n";
    assert!(told.contains(caret), "{told}");
}
