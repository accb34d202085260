//! What is paid for is kept: the journal when processes die, disks fill, bytes flip, and several ask at once.

use super::server::{Act, Server};
use super::{Hearing, Space, asks, chat, client, endpoint};
use pipe::base::calls::Calls;
use pipe::services::client::CallObserver;
use pipe::services::endpoint::Endpoint;
use pipe::services::fault::Stopped;
use pipe::services::journal::{CallKey, Entry, Journal, shared, verify};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// The entry of a call that is made up, with a long and awkward answer.
fn entry(i: u64) -> (CallKey, Entry) {
    let asked = json!({ "model": "m", "input": format!("q{i}"), "temperature": 0.6 });
    let entry = Entry {
        api: "chat".into(),
        sample: 0,
        answer: json!({ "content": format!("a{i} {{\"api\": \"chat\"}}\nüß {}", "x".repeat(40)) }),
        served: None,
        host: "localhost:1".into(),
        prompt_tokens: 1,
        completion_tokens: 2,
        dollars: 0.1,
        seconds: 0.25,
        at_ms: 1,
        by: "test".into(),
        asked,
    };
    (CallKey::of("chat", &entry.asked, 0), entry)
}

fn key(i: u64) -> CallKey {
    entry(i).0
}

fn append(journal: &mut Journal, entries: impl IntoIterator<Item = u64>) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let writer = journal.writer().unwrap();
    let all: Vec<_> = entries
        .into_iter()
        .map(|i| {
            let (key, entry) = entry(i);
            writer.append(&key, &entry)
        })
        .collect();
    all.into_iter()
        .for_each(|one| runtime.block_on(one).unwrap());
}

/// Which of the first ten made-up entries a reader finds.
fn found(dir: &Path) -> Vec<u64> {
    let mut journal = Journal::open(dir).unwrap();
    let there = (0..10).filter(|i| match journal.find(&key(*i)).unwrap() {
        Some(found) => {
            assert_eq!(found, entry(*i).1);
            true
        }
        None => false,
    });
    there.collect()
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let all = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<PathBuf> = all.filter(|p| p.extension().is_some()).collect();
    all.sort();
    all
}

/// A folder with entries 0, 1 and 2 in one segment: its bytes.
fn three(dir: &Path) -> (PathBuf, Vec<u8>) {
    // The writer is gone when this is over, its lock too.
    append(&mut Journal::open(dir).unwrap(), [0, 1, 2]);
    let segment = segments(dir).remove(0);
    unlocked(&segment);
    let bytes = std::fs::read(&segment).unwrap();
    (segment, bytes)
}

/// Waits until nobody appends to it: a writer's thread ends a moment after it is dropped.
fn unlocked(segment: &Path) {
    use rustix::fs::{FlockOperation, flock};
    let file = std::fs::File::open(segment).unwrap();
    flock(&file, FlockOperation::LockShared).unwrap();
}

fn line_ends(bytes: &[u8]) -> Vec<usize> {
    (0..bytes.len()).filter(|i| bytes[*i] == b'\n').collect()
}

#[test]
fn what_was_refused_is_known_to_everybody_and_goes_where_the_answer_goes() {
    let server = Server::good();
    let (here, there) = (Space::new(), Space::new());
    let all = asks(2, 1);
    let mut client = client(chat(), &endpoint(&server), &here.folder());
    client.all(&all, &mut Hearing::default()).unwrap();
    assert!(!client.refused(&all[0]).unwrap());
    client.refuse(&all[..1]).unwrap();
    // Another process, and one elsewhere that is given what there is.
    shared::give(
        &mut Journal::open(&here.folder()).unwrap(),
        &|_| true,
        &mut |bytes, keys| {
            assert_eq!(keys.len(), 3, "two answers and a refusal");
            shared::take(&there.folder(), &shared::name(&bytes), &bytes).map(drop)
        },
    )
    .unwrap();
    for dir in [here.folder(), there.folder()] {
        let mut other = super::client(chat(), &endpoint(&server), &dir);
        assert!(other.refused(&all[0]).unwrap() && !other.refused(&all[1]).unwrap());
        let verified = verify(&dir).unwrap();
        assert_eq!((verified.entries, verified.damaged), (3, 0));
    }
    // What was never answered cannot be refused.
    client.refuse(&asks(3, 1)[2..]).unwrap();
    assert_eq!(Journal::open(&here.folder()).unwrap().len(), 3);
}

#[test]
fn a_torn_tail_costs_at_most_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, bytes) = three(dir.path());
    let ends = line_ends(&bytes);
    assert_eq!(ends.len(), 6, "an empty line follows each");
    // From the end of the second entry to the end of the file.
    for cut in ends[3] + 1..=bytes.len() {
        std::fs::write(&segment, &bytes[..cut]).unwrap();
        let whole = cut > ends[4];
        let before: &[u64] = if whole { &[0, 1, 2] } else { &[0, 1] };
        assert_eq!(found(dir.path()), before, "cut at {cut}");
        let verified = verify(dir.path()).unwrap();
        let torn = u64::from(!whole && cut > ends[3] + 1);
        assert_eq!(
            (verified.entries, verified.damaged, verified.torn),
            (before.len() as u64, 0, torn)
        );
        // A reader that was there all the time sees what comes after.
        let mut reader = Journal::open(dir.path()).unwrap();
        append(&mut Journal::open(dir.path()).unwrap(), [3]);
        reader.refresh().unwrap();
        assert!(reader.find(&key(3)).unwrap().is_some(), "cut at {cut}");
        assert_eq!(segments(dir.path()).len(), 1);
        unlocked(&segment);
        assert_eq!(found(dir.path()), [before, &[3]].concat(), "cut at {cut}");
        let verified = verify(dir.path()).unwrap();
        assert_eq!((verified.damaged, verified.torn), (0, 0), "cut at {cut}");
    }
}

#[test]
fn a_flipped_byte_costs_exactly_its_line() {
    let dir = tempfile::tempdir().unwrap();
    let (segment, bytes) = three(dir.path());
    let ends = line_ends(&bytes);
    let second = ends[1] + 1..ends[2] + 1;
    for at in second.start..=ends[3] {
        for other in [bytes[at] ^ 1, bytes[at] ^ 0x80, b'\n'] {
            if other == bytes[at] {
                continue;
            }
            let mut flipped = bytes.clone();
            flipped[at] = other;
            std::fs::write(&segment, &flipped).unwrap();
            // The empty line after it belongs to nobody.
            let left: &[u64] = if second.contains(&at) {
                &[0, 2]
            } else {
                &[0, 1, 2]
            };
            assert_eq!(found(dir.path()), left, "{other} at {at}");
            let verified = verify(dir.path()).unwrap();
            assert_eq!(verified.entries, left.len() as u64, "{other} at {at}");
            assert!(
                verified.damaged > 0 && verified.torn == 0,
                "{other} at {at}: {verified:?}"
            );
            assert_eq!(verified.bad.len() as u64, verified.damaged);
        }
    }
}

#[test]
fn what_is_damaged_is_asked_once_more_and_then_known() {
    let server = Server::good();
    let space = Space::new();
    let asks = asks(3, 1);
    let first = space.ask(&endpoint(&server), &asks).answers();
    let segment = segments(&space.folder()).remove(0);
    unlocked(&segment);
    let mut bytes = std::fs::read(&segment).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for requests in [4, 4] {
        assert_eq!(space.ask(&endpoint(&server), &asks).answers(), first);
        assert_eq!(server.requests(), requests);
    }
}

#[test]
fn a_reader_sees_what_others_append() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("calls");
    let mut reader = Journal::open(&dir).unwrap();
    assert!(reader.is_empty());
    let mut first = Journal::open(&dir).unwrap();
    append(&mut first, [0]);
    reader.refresh().unwrap();
    assert_eq!(reader.len(), 1);
    // In a segment of its own, for the first is taken.
    let mut second = Journal::open(&dir).unwrap();
    append(&mut second, [1]);
    append(&mut first, [2]);
    reader.refresh().unwrap();
    assert_eq!((reader.len(), segments(&dir).len()), (3, 2));
    // Also where the folder has not changed in a long while.
    std::thread::sleep(Duration::from_millis(3200));
    reader.refresh().unwrap();
    append(&mut first, [3]);
    reader.refresh().unwrap();
    assert_eq!(reader.len(), 4);
    append(&mut Journal::open(&dir).unwrap(), [4]);
    reader.refresh().unwrap();
    assert_eq!((reader.len(), segments(&dir).len()), (5, 3));
    let mut keys = vec![];
    reader
        .each(&mut |key, _| {
            keys.push(*key);
            true
        })
        .unwrap();
    assert_eq!(keys.len(), 5);
}

#[test]
fn segments_are_taken_again_until_they_are_full() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Journal::with_segments(dir.path(), 1000).unwrap();
    let lengths = || -> Vec<u64> {
        let all = segments(dir.path()).into_iter();
        all.map(|p| std::fs::metadata(p).unwrap().len()).collect()
    };
    append(&mut open(), [0]);
    unlocked(&segments(dir.path())[0]);
    append(&mut open(), [1]);
    unlocked(&segments(dir.path())[0]);
    assert_eq!(lengths().len(), 1);
    // One writer goes on in the next when it is full.
    let mut long = open();
    for i in 2..10 {
        append(&mut long, [i]);
    }
    drop(long);
    let lengths = lengths();
    assert!((3..5).contains(&lengths.len()), "{lengths:?}");
    assert!(lengths.iter().all(|length| *length < 1600), "{lengths:?}");
    assert_eq!(found(dir.path()), (0..10).collect::<Vec<_>>());
    segments(dir.path()).iter().for_each(|s| unlocked(s));
    // And the one with room is the one that is taken.
    let before = segments(dir.path()).len();
    let room = lengths.iter().filter(|length| **length < 1000).count();
    assert!(room <= 1, "{lengths:?}");
    append(&mut open(), [10]);
    assert_eq!(segments(dir.path()).len(), before + 1 - room);
    // Names of others do not matter, and an empty folder is an empty journal.
    assert_eq!(
        verify(&dir.path().join("nothing")).unwrap(),
        Default::default()
    );
}

#[test]
fn a_line_under_a_wrong_key_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut journal = Journal::open(dir.path()).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let wrong = journal.writer().unwrap().append(&key(1), &entry(0).1);
    runtime.block_on(wrong).unwrap();
    let verified = verify(dir.path()).unwrap();
    assert_eq!(
        (verified.segments, verified.entries, verified.damaged),
        (1, 0, 1)
    );
    assert_eq!(
        verified.bad[0].problem,
        "the key is not that of what was asked"
    );
    assert_eq!(
        (&*verified.bad[0].segment, verified.bad[0].offset),
        ("000001.calls", 0)
    );
}

#[test]
fn from_four_to_eight_samples_pays_for_four_and_equal_asks_for_one() {
    let server = Server::good();
    let space = Space::new();
    let four = space.ask(&endpoint(&server), &asks(5, 4));
    assert_eq!((four.calls.made, four.calls.reused), (20, 0));
    let eight = space.ask(&endpoint(&server), &asks(5, 8));
    assert_eq!((eight.calls.made, eight.calls.reused), (20, 20));
    assert_eq!(server.requests(), 40);
    let (four, eight) = (four.answers(), eight.answers());
    assert!((0..20).all(|i| four[i] == eight[i / 4 * 8 + i % 4]));
    let twice = [asks(3, 2), asks(3, 2)].concat();
    let server = Server::good();
    let asked = Space::new().ask(&endpoint(&server), &twice);
    assert_eq!(
        (server.requests(), asked.calls.made, asked.calls.reused),
        (6, 6, 0)
    );
    assert_eq!(asked.hearing.heard.last(), Some(&(12, 12)));
    assert_eq!(asked.hearing.heard[0], (0, 12));
    let answers = asked.answers();
    assert_eq!(answers[..6], answers[6..]);
    assert!(server.asked().values().all(|times| *times == 1));
}

#[test]
fn several_on_one_folder_never_make_the_same_call() {
    let server = Server::new(|_, n| Act::Late(Duration::from_millis(1 + (n % 7) as u64)));
    let space = Space::new();
    let asks = asks(75, 2);
    let ask = || {
        let asked = space.ask(&endpoint(&server), &asks);
        (asked.calls, asked.answers())
    };
    let all: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..3).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|t| t.join().unwrap()).collect()
    });
    let asked = server.asked();
    assert_eq!(asked.len(), 150);
    assert!(asked.values().all(|times| *times == 1), "{asked:?}");
    let mut sum = Calls::default();
    for (calls, answers) in &all {
        assert_eq!(*answers, all[0].1);
        sum.add(calls);
    }
    assert_eq!((sum.made, sum.reused), (150, 300));
    let verified = verify(&space.folder()).unwrap();
    assert_eq!((verified.entries, verified.bad.len()), (150, 0));
}

/// Looks into the journal whenever it hears that answers are there.
struct Checking {
    journal: Journal,
    most: usize,
}

impl CallObserver for Checking {
    fn stop(&self) -> bool {
        false
    }

    fn progress(&mut self, done: usize, _: usize, _: &Calls) {
        self.journal.refresh().unwrap();
        assert!(
            self.journal.len() >= done,
            "{done} answers are said to be there"
        );
        self.most = self.most.max(done);
    }

    fn say(&mut self, _: &str) {}
}

#[test]
fn an_answer_is_in_the_file_before_anybody_hears_of_it() {
    let server = Server::good();
    let space = Space::new();
    let mut observer = Checking {
        journal: Journal::open(&space.folder()).unwrap(),
        most: 0,
    };
    let mut client = client(chat(), &endpoint(&server), &space.folder());
    client.all(&asks(50, 1), &mut observer).unwrap();
    assert_eq!(observer.most, 50);
}

const FULL: &str = "PIPE_TEST_FULL_JOURNAL";

/// In a process of its own whose files cannot grow beyond a limit.
#[test]
fn a_full_disk_loses_nothing_that_was_kept() {
    let test = "services::journal::a_full_disk_loses_nothing_that_was_kept";
    if std::env::var_os(FULL).is_none() {
        let output = Command::new(std::env::current_exe().unwrap())
            .args([test, "--exact", "--nocapture"])
            .env(FULL, "1")
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        return;
    }
    let server = Server::good();
    let space = Space::new();
    let one = Endpoint {
        concurrency: 4,
        ..endpoint(&server)
    };
    largest_file(Some(15_000));
    let asked = space.ask(&one, &asks(60, 1));
    let Err(Stopped::Journal(error)) = asked.result else {
        panic!("{:?}", asked.result)
    };
    let told = format!("{error:#}");
    assert!(
        told.contains("could not be kept")
            && told.contains("000001.calls")
            && told.contains("File too large"),
        "{told}"
    );
    let (kept, _) = *asked.hearing.heard.last().unwrap();
    assert!((5..60).contains(&kept), "{kept}");
    let verified = verify(&space.folder()).unwrap();
    // The last batch was cut where the disk was full; what went into it whole is kept as well.
    assert!(
        verified.entries == kept as u64 && verified.bad.is_empty(),
        "{verified:?}"
    );
    // With room again, only what could not be kept is asked again.
    largest_file(None);
    let before = server.requests();
    let again = space.ask(&one, &asks(60, 1));
    assert_eq!(again.calls.reused, verified.entries);
    assert_eq!(again.answers().len(), 60);
    assert_eq!((server.requests() - before) as u64, 60 - verified.entries);
}

fn largest_file(bytes: Option<u64>) {
    // SAFETY: a plain structure and calls that take no memory of ours beyond it.
    unsafe {
        libc::signal(libc::SIGXFSZ, libc::SIG_IGN);
        let mut limit: libc::rlimit = std::mem::zeroed();
        assert_eq!(libc::getrlimit(libc::RLIMIT_FSIZE, &mut limit), 0);
        limit.rlim_cur = bytes.unwrap_or(limit.rlim_max);
        assert_eq!(libc::setrlimit(libc::RLIMIT_FSIZE, &limit), 0);
    }
}

#[test]
fn an_empty_set_asks_nobody() {
    let server = Server::good();
    let mut client = client(chat(), &endpoint(&server), &Space::new().folder());
    let none = client.all(&[], &mut Hearing::default()).unwrap();
    assert_eq!((none.len(), server.connections()), (0, 0));
}
