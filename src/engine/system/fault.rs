//! Places where the machine may fail, for proofs: a process that is told to dies there, finds the disk full, or waits. Names of
//! places are all this file knows.
//!
//! `PIPE_FAULT=PLACE[#N]=kill|full|wait` acts at the N-th pass of a place (the first where N is not given) in every process that
//! inherits it, `full` from the N-th pass on. `PIPE_FAULT_TRACE=FILE` appends the name of every place passed, so that a proof can
//! list them all first and then strike at each. `PIPE_CLOCK_SHIFT=SECONDS` sets the clock of a process forward or, negative, back.
//! Without these variables a place costs one load of a flag.

use std::io::{self, Write};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

#[derive(Clone, Copy, PartialEq)]
enum Deed {
    Kill,
    Full,
    Wait,
}

struct Orders {
    strike: Option<(String, usize, Deed)>,
    trace: Option<std::path::PathBuf>,
    passed: Mutex<usize>,
}

/// To be called where a proof may want the world to fail.
pub fn point(place: &'static str) -> io::Result<()> {
    static ORDERS: OnceLock<Option<Orders>> = OnceLock::new();
    match ORDERS.get_or_init(orders) {
        None => Ok(()),
        Some(orders) => orders.pass(place),
    }
}

impl Orders {
    fn pass(&self, place: &str) -> io::Result<()> {
        if let Some(trace) = &self.trace {
            let mut file = std::fs::File::options()
                .create(true)
                .append(true)
                .open(trace)?;
            file.write_all(format!("{place}\n").as_bytes())?;
        }
        let Some((wanted, nth, deed)) = &self.strike else {
            return Ok(());
        };
        if wanted != place {
            return Ok(());
        }
        let pass = {
            let mut passed = self.passed.lock().unwrap_or_else(|p| p.into_inner());
            *passed += 1;
            *passed
        };
        match deed {
            Deed::Full if pass >= *nth => Err(io::ErrorKind::StorageFull.into()),
            Deed::Kill if pass == *nth => {
                let _ = rustix::process::kill_process(
                    rustix::process::getpid(),
                    rustix::process::Signal::KILL,
                );
                loop {
                    std::thread::sleep(Duration::from_secs(1));
                }
            }
            Deed::Wait if pass == *nth => loop {
                std::thread::sleep(Duration::from_secs(1));
            },
            _ => Ok(()),
        }
    }
}

/// By how much the clock of this process is wrong, in nanoseconds.
#[allow(clippy::disallowed_methods)] // As below.
pub fn clock_shift() -> i128 {
    static SHIFT: OnceLock<i128> = OnceLock::new();
    *SHIFT.get_or_init(|| {
        let seconds = std::env::var("PIPE_CLOCK_SHIFT").ok();
        seconds.and_then(|s| s.parse::<i128>().ok()).unwrap_or(0) * 1_000_000_000
    })
}

#[allow(clippy::disallowed_methods)] // Orders to a proof's process, no setting of a node.
fn orders() -> Option<Orders> {
    let text = |name| std::env::var(name).ok().filter(|t| !t.is_empty());
    let (strike, trace) = (text("PIPE_FAULT"), text("PIPE_FAULT_TRACE"));
    if strike.is_none() && trace.is_none() {
        return None;
    }
    Some(Orders {
        strike: strike.map(|text| {
            parse(&text)
                .unwrap_or_else(|| panic!("PIPE_FAULT is PLACE[#N]=kill|full|wait, not {text:?}"))
        }),
        trace: trace.map(Into::into),
        passed: Mutex::new(0),
    })
}

fn parse(text: &str) -> Option<(String, usize, Deed)> {
    let (place, deed) = text.rsplit_once('=')?;
    let deed = match deed {
        "kill" => Deed::Kill,
        "full" => Deed::Full,
        "wait" => Deed::Wait,
        _ => return None,
    };
    let (place, nth) = match place.split_once('#') {
        Some((place, nth)) => (place, nth.parse().ok()?),
        None => (place, 1),
    };
    Some((place.to_string(), nth, deed))
}
