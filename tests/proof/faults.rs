//! What a proof does to a process: it dies at a place, finds the disk full there, or waits; and its clock is wrong.
//!
//! `PIPE_FAULT=PLACE[#N]=kill|full|wait|stall` acts at the N-th pass of a place (the first where N is not given) in every process that
//! inherits it, `full` and `stall`, which waits, from the N-th pass on. `PIPE_FAULT_TRACE=FILE` appends the name of every place passed, so that a proof can
//! list them all first and then strike at each; `PIPE_FAULT_DEATHS=FILE` the folder in which a process dies of a kill: a worker's is
//! its attempt. `PIPE_CLOCK_SHIFT=SECONDS` sets the clock of a process forward or, negative, back.

use pipe::engine::system::fault::{self, Proof};
use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

const FAULT: &str = "PIPE_FAULT";
const TRACE: &str = "PIPE_FAULT_TRACE";
const DEATHS: &str = "PIPE_FAULT_DEATHS";
const CLOCK: &str = "PIPE_CLOCK_SHIFT";

static ORDERS: OnceLock<Orders> = OnceLock::new();

struct Orders {
    strike: Option<(String, usize, Action)>,
    trace: Option<PathBuf>,
    deaths: Option<PathBuf>,
    passed: AtomicUsize,
}

#[derive(Clone, Copy, PartialEq)]
enum Action {
    Kill,
    Full,
    Wait,
    Stall,
}

/// Reads the orders of this process. Called before anything else.
pub fn arm() {
    #[expect(
        clippy::disallowed_methods,
        reason = "this program is told where to fail by its environment"
    )]
    let text = |name| std::env::var(name).ok().filter(|text| !text.is_empty());
    let strike = text(FAULT).map(|text| {
        parse(&text)
            .unwrap_or_else(|| panic!("{FAULT} is PLACE[#N]=kill|full|wait|stall, not {text:?}"))
    });
    ORDERS.get_or_init(|| Orders {
        strike,
        trace: text(TRACE).map(PathBuf::from),
        deaths: text(DEATHS).map(PathBuf::from),
        passed: AtomicUsize::new(0),
    });
    fault::arm(Proof {
        pass,
        clock_shift: text(CLOCK).and_then(|s| s.parse().ok()).unwrap_or(0),
        environment: &[FAULT, TRACE, DEATHS, CLOCK],
    });
}

fn parse(text: &str) -> Option<(String, usize, Action)> {
    let (place, action) = text.rsplit_once('=')?;
    let action = match action {
        "kill" => Action::Kill,
        "full" => Action::Full,
        "wait" => Action::Wait,
        "stall" => Action::Stall,
        _ => return None,
    };
    let (place, nth) = match place.split_once('#') {
        Some((place, nth)) => (place, nth.parse().ok()?),
        None => (place, 1),
    };
    Some((place.to_string(), nth, action))
}

fn pass(place: &str) -> io::Result<()> {
    let orders = ORDERS.get().expect("they are read before any place");
    if let Some(trace) = &orders.trace {
        append(trace, place)?;
    }
    let Some((_, nth, action)) = orders.strike.as_ref().filter(|s| s.0 == place) else {
        return Ok(());
    };
    let pass = orders.passed.fetch_add(1, Ordering::SeqCst) + 1;
    match action {
        Action::Full if pass >= *nth => return Err(io::ErrorKind::StorageFull.into()),
        Action::Kill if pass == *nth => {
            if let Some(deaths) = &orders.deaths {
                append(deaths, &std::env::current_dir()?.to_string_lossy())?;
            }
            let own = rustix::process::getpid();
            let _ = rustix::process::kill_process(own, rustix::process::Signal::KILL);
        }
        Action::Wait if pass == *nth => {}
        Action::Stall if pass >= *nth => {}
        _ => return Ok(()),
    }
    loop {
        std::thread::sleep(Duration::from_secs(1));
    }
}

fn append(file: &Path, line: &str) -> io::Result<()> {
    let mut file = File::options().create(true).append(true).open(file)?;
    file.write_all(format!("{line}\n").as_bytes())
}
