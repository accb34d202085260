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
use one::{One, failed};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// Attends to these attempts, one after the other, and returns the process's exit status: 0 where all of them have an end.
pub fn main(registry: &Registry, root: &Path, attempts: &[String]) -> i32 {
    let outcome = signals().and_then(|evicted| {
        let store = Store::open(root)?;
        let program = std::env::current_exe().context("finding the path of this binary")?;
        for name in attempts {
            let attempt = Attempt::called(&store, name);
            let attempt = attempt.with_context(|| format!("{name:?} is no attempt"))?;
            let one = One::open(registry, &store, attempt, &program, &evicted)?;
            attend(one)?;
        }
        Ok(())
    });
    match outcome {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("error: {error:#}");
            3
        }
    }
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

fn attend(mut one: One) -> Result<()> {
    if one.attempt.conclusion().is_some() {
        return Ok(());
    }
    let started = Instant::now();
    let mut course = Course::default();
    // The claim is held until the end is told.
    let mut held = None;
    let result = match run(&mut one, &mut held, &mut course) {
        Ok(Some(result)) => result,
        // Somebody else attends to it, and will say how it ends.
        Ok(None) => return Ok(()),
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
    dispatch::conclude(one.store, &one.attempt, &conclusion).map(drop)
}

fn run(
    one: &mut One,
    held: &mut Option<Arc<dyn Claim>>,
    course: &mut Course,
) -> Result<Option<Ended>> {
    one.store.prepare()?;
    let claim = match one.claim()? {
        Ok(claim) => claim,
        Err(_) if dispatch::begun(&one.attempt).is_some() => return Ok(None),
        Err(ended) => return Ok(Some(ended)),
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
    claim: u64,
    peak: Option<u64>,
}
