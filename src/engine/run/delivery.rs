//! What is done with an attempt whose worker has ended well, by the engine itself or by whoever attends to it elsewhere: its outputs
//! have to be at rest, they are committed, and what has served goes.

use super::executor::Executor;
use crate::kind::attempt::Attempt;
use crate::store::Store;
use crate::store::commit::{self, CommitError, Committed, Delivery};
use crate::system::{fault, files};
use base::hash::Key;

/// Under the claim of the key.
pub(super) fn deliver(
    store: &Store,
    executor: &dyn Executor,
    delivery: &Delivery,
) -> Result<Committed, CommitError> {
    at_rest(executor, delivery.attempt)?;
    let committed = commit::commit(store, delivery)?;
    let _ = fault::point("committed"); // Only death matters here: the record is there.
    unname_outputs(delivery.attempt);
    Ok(committed)
}

/// Nobody may be able to write to the outputs any more: what is hashed now is to be what is kept.
fn at_rest(executor: &dyn Executor, attempt: &Attempt) -> Result<(), CommitError> {
    let writers = executor.writers(attempt);
    let writers = writers.map_err(|error| CommitError::Outputs(format!("{error:#}")))?;
    if writers.is_empty() {
        return Ok(());
    }
    let told = format!("its outputs are not at rest: {}", writers.join(", "));
    Err(CommitError::Outputs(told))
}

/// Outputs that are in the store have another name there. To lose this one changes their times, by which they are known to whoever has
/// read them: so it is lost before anybody may. Their folders, which may take longer, go with the attempt.
fn unname_outputs(attempt: &Attempt) {
    for (_, path) in files::walk(&attempt.outputs(), false).unwrap_or_default() {
        let _ = std::fs::remove_file(path); // As in `sweep`.
    }
}

/// What was of use until the commit.
pub(super) fn sweep(store: &Store, key: &Key) {
    Attempt::sweep(store, key);
    let _ = fault::point("swept"); // As after the commit.
}
