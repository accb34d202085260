//! The worker's process: it runs one attempt, which is all that it knows, and tells its engine how that went. Its stdin is the lock of
//! the key and is never read.

use super::executor::local;
use crate::kind::context::{Interrupted, NodeCtx, Transient};
use crate::kind::failure::{self, Class, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TRANSIENT};
use crate::kind::messages::{Message, send};
use crate::kind::{Kind, Registry};
use crate::system::usage::is_environment;
use anyhow::anyhow;
use base::device::{DeviceName, OutOfMemory};
use base::text::bytes;
use std::path::Path;

/// The hidden verb `worker DIR`: runs one attempt and returns the process's exit status.
pub fn main(registry: &Registry, dir: &Path) -> i32 {
    let outcome = local::detach(dir).and_then(|stop| {
        let mut ctx = NodeCtx::open(dir, stop)?;
        let kind = registry
            .get(&ctx.spec().kind)
            .filter(|kind| kind.revision == ctx.spec().revision)
            .ok_or_else(|| {
                anyhow!(
                    "this binary has no kind `{}` of that revision",
                    ctx.spec().kind
                )
            })?;
        let outcome = (kind.run)(&mut ctx);
        let outcome = outcome.map_err(|error| match said_memory(&error) {
            true => memory(&ctx, kind, error),
            false => error,
        });
        ctx.write_usage().and(outcome)
    });
    match outcome {
        Ok(()) => 0,
        Err(error) if error.is::<Interrupted>() => EXIT_INTERRUPTED,
        Err(error) => {
            // The disk is nobody's recipe, and no busy endpoint either.
            let class = match &error {
                e if e.chain().any(is_environment) => Class::Environment,
                e if e.chain().any(|cause| cause.is::<Transient>()) => Class::Transient,
                e if said_memory(e) => Class::OutOfMemory,
                _ => Class::Error,
            };
            send(&Message::Failed {
                error: format!("{error:#}"),
                class,
            });
            match class {
                Class::Transient => EXIT_TRANSIENT,
                _ => EXIT_FAILED,
            }
        }
    }
}

/// Whether there was no room, on this machine or on a device.
fn said_memory(error: &anyhow::Error) -> bool {
    failure::is_of_memory(&format!("{error:#}"))
}

/// Execution parameters by which a model takes less, and what to do with them.
const LESS: [(&str, &str); 4] = [
    ("recompute", "`recompute = true`"),
    ("sample_rows", "a smaller `sample_rows`"),
    ("rows", "smaller `rows`"),
    ("at_once", "a smaller `at_once`"),
];

/// With what its device has, and what of the node makes it take less; none of these is in its key.
fn memory(ctx: &NodeCtx, kind: &Kind, error: anyhow::Error) -> anyhow::Error {
    let device = ctx.device();
    if kind.computes.is_none() || device == DeviceName::Cpu {
        return error;
    }
    let computes = kind.computes.as_ref();
    let there = computes.and_then(|computes| (computes.memory)(device));
    let told = error.chain().any(|cause| cause.is::<OutOfMemory>());
    let there = there
        .filter(|_| !told)
        .map_or(String::new(), |(free, total)| {
            format!("; {} of {} are free", bytes(free), bytes(total))
        });
    let specs = kind.own_execution();
    let known = |name: &str| specs.iter().any(|spec| spec.name == name);
    let less = LESS
        .iter()
        .filter(|(name, _)| known(name) && !ctx.is_on(name));
    let less: Vec<&str> = less.map(|(_, what)| *what).collect();
    let less = match less.is_empty() {
        true => String::new(),
        false => format!("; it takes less with {}", less.join(" or ")),
    };
    anyhow!("{error:#}{there}{less}")
}
