//! The worker's process: it runs one attempt, which is all that it knows, and tells its engine how that went. Its stdin is the lock of
//! the key and is never read.

use super::executor::local;
use crate::kind::Registry;
use crate::kind::context::{Interrupted, NodeCtx, Transient};
use crate::kind::failure::{Class, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_TRANSIENT};
use crate::kind::messages::{Message, send};
use crate::system::usage::is_environment;
use anyhow::anyhow;
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
