//! The whole engine on an executor of these tests: threads of this process take the place of workers. Nothing of it is a process, so
//! whatever the engine asked of one would be missed here.

use super::{fail, failed, retries};
use crate::engine::{Space, join, wait_until, write};
use crate::toys as toy;
use pipe::engine::events::event::{Event, State};
use pipe::engine::kind::attempt::Attempt;
use pipe::engine::kind::failure::{Class, End, Ending};
use pipe::engine::kind::messages::Message;
use pipe::engine::kind::{Kind, Needs};
use pipe::engine::plan::Wanted;
use pipe::engine::run::executor::{Executor, Job, Listener, News, Resources, Task};
use pipe::engine::run::{self, Settings, Stop};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

const PEAK: u64 = 5_000_000;

/// What an attempt does in place of a kind's `run`.
type Work = fn(&Attempt, &dyn Fn(Message), &AtomicBool) -> End;

struct Threads {
    work: Work,
    /// Attempts whose leftovers were to be killed.
    cleared: Mutex<Vec<String>>,
    /// Attempts at work, and the most of them at once.
    at_work: Arc<Mutex<(usize, usize)>>,
}

impl Threads {
    fn new(work: Work) -> Arc<Threads> {
        Arc::new(Threads {
            work,
            cleared: Mutex::default(),
            at_work: Arc::default(),
        })
    }

    fn most_at_once(&self) -> usize {
        self.at_work.lock().unwrap().1
    }
}

impl Executor for Threads {
    fn capacity(&self) -> Resources {
        Resources {
            threads: 2,
            gpus: 2,
            memory: None,
        }
    }

    fn start(&self, job: &Job, listener: Listener) -> anyhow::Result<Box<dyn Task>> {
        let (attempt, work) = (job.attempt.clone(), self.work);
        let task = Thread::default();
        let (stop, end) = (task.stop.clone(), task.end.clone());
        let at_work = self.at_work.clone();
        {
            let mut at_work = at_work.lock().unwrap();
            at_work.0 += 1;
            at_work.1 = at_work.1.max(at_work.0);
        }
        std::thread::spawn(move || {
            let done = work(&attempt, &|m| listener(News::Message(m)), &stop);
            *end.lock().unwrap() = Some(done);
            at_work.lock().unwrap().0 -= 1;
            listener(News::Ended);
        });
        Ok(Box::new(task))
    }

    fn name(&self, _: &Attempt) -> Option<String> {
        None
    }

    fn runs(&self, _: &Attempt) -> bool {
        false
    }

    fn kill_leftovers(&self, attempt: &Attempt) -> bool {
        self.cleared.lock().unwrap().push(attempt.name());
        false
    }
}

#[derive(Default)]
struct Thread {
    stop: Arc<AtomicBool>,
    end: Arc<Mutex<Option<End>>>,
}

impl Task for Thread {
    fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    fn kill(&self) {
        self.stop();
    }

    fn peak(&self) -> Option<u64> {
        Some(PEAK)
    }

    fn end(self: Box<Self>) -> Ending {
        let end = self.end.lock().unwrap().take().expect("it ended");
        let peak = Some(PEAK);
        Ending { end, peak }
    }
}

fn on(executor: &Arc<Threads>) -> impl FnOnce(&mut Settings) {
    let executor = executor.clone();
    move |settings| {
        settings.capacity = executor.capacity();
        settings.executor = executor;
        // There is no worker to be started.
        settings.program = "/dev/null".into();
        settings.retries.pause = Duration::from_millis(1);
    }
}

/// Writes the node's name, after saying so.
fn name_itself(attempt: &Attempt, say: &dyn Fn(Message), _: &AtomicBool) -> End {
    let spec = attempt.spec().unwrap();
    say(Message::Log {
        text: format!("{} writes", spec.node),
    });
    std::fs::write(attempt.output("out").join("text.txt"), &spec.node).unwrap();
    End::Exited(0)
}

#[test]
fn a_graph_runs_on_another_executor_and_its_records_are_those_of_any() {
    let space = Space::new();
    let spec = [write("a", "x"), write("b", "y"), join("ab", "a", Some("b"))];
    let ran = space.run_with(&spec, on(&Threads::new(name_itself)), |_| {});
    assert_eq!(ran.states(), ["done"; 3]);
    assert_eq!(ran.text("ab"), "ab");
    assert!(ran.said("a", "a writes"));
    assert_eq!(space.run(&spec).states(), ["hit"; 3], "on this machine");
}

#[test]
fn how_a_job_ended_decides_what_becomes_of_its_node() {
    fn end_as_named(attempt: &Attempt, say: &dyn Fn(Message), stop: &AtomicBool) -> End {
        let node = attempt.spec().unwrap().node;
        match node.as_str() {
            "says" => {
                say(Message::Failed {
                    error: "no such column".into(),
                    class: Class::Error,
                });
                End::Exited(1)
            }
            "code" => End::Exited(3),
            "memory" => End::OutOfMemory("its limit was 1 GB".into()),
            "lost" => End::Lost("the machine does not answer".into()),
            "empty" => End::Exited(0),
            _ => name_itself(attempt, say, stop),
        }
    }
    let names = ["says", "code", "memory", "lost", "empty"];
    let mut spec: Vec<_> = names.iter().map(|name| fail(name, name)).collect();
    spec.push(join("below", "says", None));
    spec.push(write("apart", "x"));
    let ran = Space::new().run_with(&spec, on(&Threads::new(end_as_named)), |_| {});
    assert_eq!(ran.states()[5..], ["skipped says", "done"]);
    let lost = "the worker was lost: the machine does not answer".to_string();
    assert_eq!(retries(&ran), vec![(Class::Transient, lost); 3]);
    let told = names.map(|name| failed(&ran, name));
    let expected = [
        (Class::Error, "no such column"),
        (Class::Error, "the worker ended with exit status 3"),
        (
            Class::OutOfMemory,
            "out of memory: peak 5.0 MB; its limit was 1 GB",
        ),
        (
            Class::Transient,
            "the worker was lost: the machine does not answer",
        ),
        (Class::LostOutputs, "output `out` is empty"),
    ];
    assert_eq!(told, expected.map(|(class, text)| (class, text.into())));
}

#[test]
fn an_executor_that_does_not_work_ends_the_run_and_not_its_node_alone() {
    fn no_end(_: &Attempt, _: &dyn Fn(Message), _: &AtomicBool) -> End {
        End::ExecutorFailed("waiting for the worker: no child".into())
    }
    let spec = [fail("bad", "error"), join("below", "bad", None)];
    let ran = Space::new().run_with(&spec, on(&Threads::new(no_end)), |_| {});
    let told = "waiting for the worker: no child";
    assert_eq!(failed(&ran, "bad"), (Class::Environment, told.into()));
    assert!(retries(&ran).is_empty());
    assert_eq!(ran.outcome.failure().map(|f| f.exit_code()), Some(3));
}

#[test]
fn a_job_that_was_lost_goes_on_from_what_it_had_saved() {
    fn lost_at_first(attempt: &Attempt, say: &dyn Fn(Message), stop: &AtomicBool) -> End {
        if attempt.spec().unwrap().earlier.is_empty() {
            std::fs::write(attempt.resume().join("journal"), "half").unwrap();
            return End::Lost("its host is gone".into());
        }
        name_itself(attempt, say, stop)
    }
    let executor = Threads::new(lost_at_first);
    let space = Space::new();
    let ran = space.run_with(&[write("a", "x")], on(&executor), |_| {});
    assert_eq!(ran.states(), ["done"]);
    assert_eq!(ran.record("a").cost.attempts, 2);
    let told = "the worker was lost: its host is gone";
    assert_eq!(retries(&ran), [(Class::Transient, told.into())]);
    let cleared = executor.cleared.lock().unwrap();
    assert_eq!(cleared.len(), 1, "nothing of the first try may still write");
}

#[test]
fn a_request_to_stop_reaches_a_job_and_the_next_run_goes_on() {
    fn until_asked(attempt: &Attempt, say: &dyn Fn(Message), stop: &AtomicBool) -> End {
        let spec = attempt.spec().unwrap();
        if spec.node == "below" || !spec.earlier.is_empty() {
            return name_itself(attempt, say, stop);
        }
        wait_until(|| stop.load(Ordering::Relaxed));
        End::Exited(75)
    }
    let space = Space::new();
    let executor = Threads::new(until_asked);
    let stop = Stop::default();
    let spec = [write("a", "x"), join("below", "a", None)];
    let set = |settings: &mut Settings| {
        on(&executor)(settings);
        settings.stop = stop.clone();
    };
    let ran = space.run_with(&spec, set, |event| {
        if let Event::State { state, .. } = event
            && matches!(state, State::Running { .. })
        {
            stop.request();
        }
    });
    assert_eq!(ran.states(), ["interrupted"; 2]);
    let again = space.run_with(&spec, on(&executor), |_| {});
    assert_eq!(again.states(), ["done"; 2]);
}

/// As `toy-write`, with a GPU.
const ON_A_GPU: Kind = Kind {
    name: "on-a-gpu",
    needs: |_| Needs {
        gpus: 1,
        ..Needs::ONE_THREAD
    },
    ..toy::WRITE
};

#[test]
fn nodes_wait_for_a_gpu_that_others_have() {
    fn slowly(attempt: &Attempt, say: &dyn Fn(Message), stop: &AtomicBool) -> End {
        std::thread::sleep(Duration::from_millis(50));
        name_itself(attempt, say, stop)
    }
    let spec: Vec<_> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| crate::engine::toy(&ON_A_GPU, name).with("text", *name))
        .collect();
    for gpus in [1, 2] {
        let executor = Threads::new(slowly);
        let set = |settings: &mut Settings| {
            on(&executor)(settings);
            settings.capacity.threads = 4;
            settings.capacity.gpus = gpus;
        };
        let ran = Space::new().run_with(&spec, set, |_| {});
        assert_eq!(ran.states(), ["done"; 4]);
        assert_eq!(executor.most_at_once(), gpus);
    }
}

#[test]
fn a_gpu_that_nobody_has_is_refused_before_anything_starts() {
    let space = Space::new();
    let spec = [
        crate::engine::toy(&ON_A_GPU, "a").with("text", "x"),
        write("b", "y"),
    ];
    let mut settings = Settings::new().unwrap();
    settings.program = crate::study::program();
    settings.capacity.gpus = 0; // A machine may have some.
    let (store, graph) = (space.store(), crate::engine::graph(&spec));
    let ran = run::run(&store, &graph, &Wanted::default(), &settings, &mut |_| {});
    let failure = ran.err().expect("it is not to run");
    assert_eq!(failure.exit_code(), 3);
    assert_eq!(
        failure.to_string(),
        "nodes need more than the 0 GPUs there are:\n  `a`: 1\nnothing was started"
    );
    assert!(space.store().records().unwrap().is_empty());
}

/// The bytes of a hit are found to be damaged when they are needed, and what made it cannot run here.
#[test]
fn a_hit_that_is_lost_without_the_gpu_that_made_it_ends_a_run_that_ends_at_failures() {
    let space = Space::new();
    let spec = [
        crate::engine::toy(&ON_A_GPU, "gpu").with("text", "x"),
        write("plain", "y"),
        join("below", "gpu", Some("plain")),
    ];
    let executor = Threads::new(name_itself);
    let made = space.run_with(&spec[..2], on(&executor), |_| {});
    assert_eq!(made.states(), ["done"; 2]);
    for name in ["gpu", "plain"] {
        let blob = &made.record(name).outputs["out"].files[0];
        let path = space.store().objects().path(&blob.digest);
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "!".repeat(blob.size as usize)).unwrap();
    }
    let set = |settings: &mut Settings| {
        on(&executor)(settings);
        settings.capacity.gpus = 0;
        settings.fail_fast = true;
    };
    let ran = space.run_with(&spec, set, |_| {});
    assert_eq!(ran.states(), ["failed", "skipped gpu", "skipped gpu"]);
    let told = "it needs 1 GPU, and there are 0";
    assert_eq!(failed(&ran, "gpu"), (Class::Error, told.into()));
}
