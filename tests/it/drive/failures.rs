//! How a node failed: the class, the cause in words, and whether it is tried again.

use super::{fail, failed, retries, slow, text};
use crate::engine::{Space, join, lines, write};
use pipe::engine::events::event::State;
use pipe::engine::kind::conclusion::{Conclusion, Result as Told};
use pipe::engine::kind::failure::{Class, End, Ending, Retries, classify};
use pipe::engine::run::Settings;
use pipe::engine::run::executor::local::memory::Evidence;
use std::time::Duration;

const GIB: u64 = 1 << 30;

fn soon(settings: &mut Settings) {
    settings.retries.pause = Duration::from_millis(1);
}

#[test]
fn a_transient_failure_is_tried_again_until_it_heals() {
    let space = Space::new();
    let count = space.dir.path().join("count");
    let spec = |heals_at: i64| {
        [
            fail("busy", "transient")
                .exec("count", text(&count))
                .exec("heals_at", heals_at),
            join("below", "busy", None),
        ]
    };
    let ran = space.run_with(&spec(3), soon, |_| {});
    assert_eq!(ran.states(), ["done", "done"]);
    assert_eq!(
        retries(&ran),
        [
            (Class::Transient, "busy".into()),
            (Class::Transient, "busy".into())
        ]
    );
    assert_eq!(lines(&count).len(), 3);
    assert_eq!(ran.record("busy").cost.attempts, 3);
}

#[test]
fn tries_are_bounded_and_can_be_forbidden() {
    for most in [0, 2] {
        let space = Space::new();
        let count = space.dir.path().join("count");
        let spec = [fail("busy", "transient")
            .exec("count", text(&count))
            .exec("heals_at", 99)];
        let set = |s: &mut Settings| {
            soon(s);
            s.retries.most = most;
        };
        let ran = space.run_with(&spec, set, |_| {});
        assert_eq!(failed(&ran, "busy"), (Class::Transient, "busy".into()));
        assert_eq!(lines(&count).len(), most + 1);
    }
}

#[test]
fn a_worker_killed_from_outside_goes_on_once_from_its_checkpoint() {
    let space = Space::new();
    let ticks = space.dir.path().join("ticks");
    let spec = |die_at: i64| {
        [slow("slow", 8)
            .exec("die_at", die_at)
            .exec("count", text(&ticks))]
    };
    let ran = space.run_with(&spec(5), soon, |_| {});
    assert_eq!(ran.states(), ["done"]);
    let [(Class::Killed, message)] = &retries(&ran)[..] else {
        panic!("{:?}", retries(&ran));
    };
    assert!(
        message.starts_with("the worker was killed by SIGKILL; its peak was "),
        "{message}"
    );
    assert_eq!(lines(&ticks), ["1", "2", "3", "4", "5", "5", "6", "7", "8"]);
    // Without a checkpoint there is nothing that was interrupted by accident alone.
    let bare = Space::new();
    let ran = bare.run_with(&spec(1), soon, |_| {});
    assert_eq!(failed(&ran, "slow").0, Class::Killed);
}

#[test]
fn an_allocation_that_fails_is_out_of_memory_and_not_tried_again() {
    let space = Space::new();
    let ran = space.run_with(&[fail("large", "allocate")], soon, |_| {});
    let State::Failed {
        class,
        message,
        tail,
        ..
    } = &ran.outcome.nodes[0].state
    else {
        panic!("it failed");
    };
    assert_eq!(*class, Class::OutOfMemory);
    // Whether its peak is known depends on whether it lived long enough to be looked at.
    assert!(
        message.starts_with("out of memory") && message.ends_with("; an allocation failed"),
        "{message}"
    );
    assert!(
        tail.contains("memory allocation of 70368744177664 bytes failed"),
        "{tail}"
    );
    assert_eq!(retries(&ran), []);
}

#[test]
fn the_end_of_a_worker_is_classed_by_what_was_seen() {
    let peak = Some(11 * GIB);
    let ended = |end: End| Ending { end, peak };
    let classed = |end: End| classify(&ended(end), None, false);
    assert_eq!(
        classed(End::Signalled(libc::SIGKILL)),
        (
            Class::Killed,
            "the worker was killed by SIGKILL; its peak was 11.8 GB".into()
        )
    );
    assert_eq!(
        classed(End::OutOfMemory("the kernel killed the worker".into())),
        (
            Class::OutOfMemory,
            "out of memory: peak 11.8 GB; the kernel killed the worker".into()
        )
    );
    assert_eq!(
        classed(End::Lost("its machine does not answer".into())),
        (
            Class::Transient,
            "the worker was lost: its machine does not answer".into()
        )
    );
    assert_eq!(
        classed(End::ExecutorFailed(
            "waiting for the worker: no child".into()
        )),
        (
            Class::Environment,
            "waiting for the worker: no child".into()
        )
    );
    for (end, class) in [
        (End::Signalled(libc::SIGTERM), Class::Killed),
        (End::Signalled(libc::SIGSEGV), Class::Error),
        (End::Signalled(libc::SIGABRT), Class::Error),
        (End::Exited(101), Class::Error),
        (End::Exited(75), Class::Interrupted),
    ] {
        assert_eq!(classed(end.clone()).0, class, "{end:?}");
    }
    for end in [
        End::Signalled(libc::SIGTERM),
        End::OutOfMemory("".into()),
        End::Lost("".into()),
    ] {
        assert_eq!(
            classify(&ended(end.clone()), None, true).0,
            Class::Interrupted,
            "{end:?}"
        );
    }
    // Of one attempt that two engines wait for, each takes it as it asked.
    let stopped = Conclusion {
        result: Told::Failed {
            class: Class::Interrupted,
            message: "interrupted".into(),
        },
        host: "n1".into(),
        job: None,
        claim: 1,
        seconds: 1.0,
        peak_bytes: None,
    };
    let stopped = || ended(End::Attended(Box::new(stopped.clone())));
    assert_eq!(classify(&stopped(), None, true).0, Class::Interrupted);
    let (class, message) = classify(&stopped(), None, false);
    assert_eq!(class, Class::Evicted);
    assert_eq!(message, "another engine had it stopped");
    let said = ("CUDA_ERROR_OUT_OF_MEMORY".to_string(), Class::Error);
    let device = classify(&ended(End::Exited(1)), Some(&said), true);
    assert_eq!(device.0, Class::OutOfMemory);
}

#[test]
fn this_machine_says_whether_memory_ended_a_worker() {
    let killed = Evidence {
        signal: libc::SIGKILL,
        peak: Some(11 * GIB),
        free: Some((8 * GIB, 16 * GIB)),
        ..Evidence::default()
    };
    assert_eq!(killed.cause(), None);
    let by_kernel = Evidence {
        kernel_killed: true,
        ..killed
    };
    assert_eq!(by_kernel.cause(), Some("the kernel killed the worker"));
    let other = Evidence {
        signal: libc::SIGTERM,
        ..by_kernel
    };
    assert_eq!(other.cause(), None, "the kernel does not ask");
    let starved = Evidence {
        free: Some((GIB / 4, 16 * GIB)),
        ..killed
    };
    assert_eq!(
        starved.cause(),
        Some("it was killed when next to nothing was free")
    );
    let small = Evidence {
        peak: Some(GIB),
        ..starved
    };
    assert_eq!(small.cause(), None, "somebody else had the memory");
}

#[test]
fn pauses_double_up_to_a_bound_and_differ_between_nodes() {
    let retries = Retries {
        most: 20,
        pause: Duration::from_secs(1),
    };
    let pause = |before, salt| {
        retries
            .pause(Class::Transient, before, false, salt)
            .unwrap()
            .as_secs_f64()
    };
    for before in 0..20 {
        let middle = 2f64.powi(before as i32).min(120.0);
        for salt in ["a", "b", "c"] {
            let p = pause(before, salt);
            assert!(
                (0.75 * middle..=1.25 * middle).contains(&p),
                "{before} {salt} {p}"
            );
        }
    }
    assert!(pause(3, "a") != pause(3, "b"));
    for class in [
        Class::Error,
        Class::OutOfMemory,
        Class::Environment,
        Class::LostOutputs,
    ] {
        assert_eq!(retries.pause(class, 0, true, ""), None, "{class:?}");
    }
    assert_eq!(retries.pause(Class::Killed, 1, true, ""), None, "once");
}

#[test]
fn the_first_failure_can_end_a_run_and_is_named() {
    let space = Space::new();
    let spec = [
        fail("bad", "error"),
        write("other", "x"),
        join("below", "other", None),
    ];
    let one = |s: &mut Settings| s.capacity.threads = 1;
    let keep = space.run_with(&spec, one, |_| {});
    assert_eq!(keep.states(), ["failed", "done", "done"]);
    let fast = Space::new().run_with(
        &spec,
        |s| {
            one(s);
            s.fail_fast = true;
        },
        |_| {},
    );
    assert_eq!(fast.states()[0], "failed");
    assert_eq!(fast.states()[2], "skipped bad", "{:?}", fast.states());
    assert_eq!(fast.outcome.failure().map(|f| f.exit_code()), Some(1));
}
