//! The hidden verb `attend`: the engine's lower half, on the machine where an attempt runs. It claims the key, is the parent of the
//! worker, passes on what that says, commits, and links `end.json` last. What is done to the worker and to its outputs is what any
//! engine does on its own machine.

mod one;
mod words;
mod work;

use super::dispatch::{self, Begun};
use super::keeper::{Keeper, LOST};
use crate::kind::Registry;
use crate::kind::attempt::Attempt;
use crate::kind::conclusion::{Conclusion, Result as Ended};
use crate::kind::failure::Class;
use crate::store::claims::Claim;
use crate::store::{Lookup, Store};
use crate::system::{Process, clock, host};
use anyhow::{Context, Result};
use one::{One, Taken, failed};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Attends to these attempts, one after the other, and returns the process's exit status: 0 where all of them have an end. What goes
/// wrong with one is no matter of the others.
pub fn main(registry: &Registry, root: &Path, attempts: &[String]) -> i32 {
    let outcome = signals().and_then(|evicted| {
        let program = std::env::current_exe().context("finding the path of this binary")?;
        Ok((Store::open(root)?, program, evicted))
    });
    let (store, program, evicted) = match outcome {
        Ok(all) => all,
        Err(error) => return complain(&error),
    };
    let mut status = 0;
    let mut one = |name: &String, patient: bool| -> Attended {
        let attend = || {
            let attempt = Attempt::called(&store, name);
            let attempt = attempt.with_context(|| format!("{name:?} is no attempt"))?;
            // Nobody waits for one that is gone: its key has a record.
            if attempts.len() > 1 && !attempt.dir.exists() {
                return Ok(Attended::Over);
            }
            attend(
                One::open(registry, &store, attempt, &program, &evicted)?,
                patient,
            )
        };
        attend().unwrap_or_else(|error| {
            status = complain(&error.context(format!("attending to {name}")));
            Attended::Over
        })
    };
    let alone = attempts.len() == 1;
    let mut busy: Vec<&String> = attempts.iter().collect();
    busy.retain(|name| one(name, alone) == Attended::Busy);
    // Those that somebody else executes are waited for when there is nothing else to do.
    for name in busy {
        one(name, true);
    }
    status
}

fn complain(error: &anyhow::Error) -> i32 {
    eprintln!("error: {error:#}");
    3
}

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attended {
    Over,
    /// Somebody else executes its key, and it was not to be waited for.
    Busy,
}

/// Set by whoever takes the machine away: a scheduler that preempts, or whose limit is near.
fn signals() -> Result<Arc<AtomicBool>> {
    let evicted = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGUSR2] {
        signal_hook::flag::register(signal, evicted.clone())
            .context("installing a signal handler")?;
    }
    Ok(evicted)
}

/// `patient`: waits for whoever else executes the key.
fn attend(mut one: One, patient: bool) -> Result<Attended> {
    if one.attempt.conclusion().is_some() {
        return Ok(Attended::Over);
    }
    let started = Instant::now();
    let mut course = Course::default();
    // The claim is held until the end is told.
    let mut held = None;
    let result = match run(&mut one, patient, &mut held, &mut course) {
        Ok(Some(result)) => result,
        // Somebody else attends to it, and will say how it ends.
        Ok(None) if course.busy => return Ok(Attended::Busy),
        Ok(None) => return Ok(Attended::Over),
        // What went wrong with this machine need not with the next one.
        Err(error) => failed(Class::Transient, &format!("{error:#}")),
    };
    if matches!(result, Ended::Failed { .. }) {
        one.attempt.drop_outputs();
    }
    dispatch::drop_secrets(&one.attempt);
    let conclusion = Conclusion {
        result,
        host: host(),
        job: words::job(),
        claim: course.claim,
        seconds: started.elapsed().as_secs_f64(),
        peak_bytes: course.peak,
    };
    dispatch::conclude(one.store, &one.attempt, &conclusion)?;
    Ok(Attended::Over)
}

fn run(
    one: &mut One,
    patient: bool,
    held: &mut Option<Arc<dyn Claim>>,
    course: &mut Course,
) -> Result<Option<Ended>> {
    one.store.prepare()?;
    let claim = match one.claim(patient)? {
        Taken::Claim(claim) => claim,
        Taken::Ended(_) if dispatch::begun(&one.attempt).is_some() => return Ok(None),
        Taken::Ended(ended) => return Ok(Some(ended)),
        Taken::Busy => {
            course.busy = true;
            return Ok(None);
        }
    };
    course.claim = claim.number();
    *held = Some(claim.clone());
    let begun = Begun {
        by: Process::own(),
        host: host(),
        claim: claim.number(),
        at_ms: clock::now_ms(),
    };
    if !dispatch::begin(one.store, &one.attempt, &begun)? {
        let told = "it was started before, and nobody knows how that ended";
        return Ok(Some(failed(Class::Evicted, told)));
    }
    if let Lookup::Damaged(_) = one.store.lookup(&one.spec.key) {
        one.store.quarantine_damage(&one.spec.key)?;
    }
    if let Some(wants) = one.wants() {
        return Ok(Some(failed(Class::Environment, &wants)));
    }
    let keeper = Keeper::new(claim.clone(), one.store.claims().lasts())?;
    let earlier = one.lay_out()?;
    let secrets = one.secrets()?;
    let (worked, peak) = work::work(one, &claim, &keeper, &secrets)?;
    course.peak = peak;
    if worked.is_some() {
        return Ok(worked);
    }
    if one.contents()? != one.terms.contents {
        let told = "a source file changed while the node ran";
        return Ok(Some(failed(Class::Error, told)));
    }
    if keeper.lost() || !claim.renew()? {
        return Ok(Some(failed(Class::Evicted, LOST)));
    }
    Ok(Some(one.commit(&earlier)))
}

/// What was found out on the way to an end.
#[derive(Default)]
struct Course {
    busy: bool,
    claim: u64,
    peak: Option<u64>,
}
