//! What a node keeps of its searches: those that ended, prompt by prompt, and where the one under way stands.

use anyhow::{Context, Result};
use base::rows::AttackStep;
use engine::kind::context::NodeCtx;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// The searches of a prompt that ended, and what is to be counted of each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ended<E> {
    /// Whole messages.
    pub texts: Vec<String>,
    pub log: Vec<AttackStep>,
    pub ends: Vec<E>,
}

impl<E> Default for Ended<E> {
    fn default() -> Ended<E> {
        Ended {
            texts: vec![],
            log: vec![],
            ends: vec![],
        }
    }
}

/// The searches of the prompt under way.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Underway<S, E> {
    pub prompt: usize,
    pub ended: Ended<E>,
    pub state: S,
}

const FILE: &str = "searches.json";
/// Names of checkpoints: of a prompt, which stays, and of the search under way.
const PROMPT: &str = "prompt";
const SEARCH: &str = "search";

pub fn save_prompt<E: Serialize>(ctx: &NodeCtx, prompt: usize, ended: &Ended<E>) -> Result<()> {
    // A family of its own, so that no later one takes its place.
    let name = format!("{PROMPT}{prompt:08}-ended");
    ctx.save_checkpoint(&name, &|folder| write(folder, &(prompt, ended)))
}

/// `step`: how far the search is.
pub fn save_search<S: Serialize, E: Serialize>(
    ctx: &NodeCtx,
    underway: &Underway<S, E>,
    step: usize,
) -> Result<()> {
    let name = format!("{SEARCH}-{}-{step}", underway.prompt);
    ctx.save_checkpoint(&name, &|folder| write(folder, underway))
}

/// By prompt the searches that ended, and the one that stood furthest of those that did not.
pub type Earlier<S, E> = (BTreeMap<usize, Ended<E>>, Option<Underway<S, E>>);

/// What earlier attempts have.
pub fn load<S: DeserializeOwned, E: DeserializeOwned>(ctx: &NodeCtx) -> Earlier<S, E> {
    let prompts = ctx.latest_checkpoint(PROMPT);
    let prompts = prompts.filter_map(|folder| read(&folder).ok()).collect();
    let search = ctx
        .latest_checkpoint(SEARCH)
        .find_map(|folder| read(&folder).ok());
    (prompts, search)
}

fn write<T: Serialize>(folder: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_vec(value)?;
    std::fs::write(folder.join(FILE), text).with_context(|| format!("failed to write {FILE}"))
}

fn read<T: DeserializeOwned>(folder: &Path) -> Result<T> {
    Ok(serde_json::from_slice(&std::fs::read(folder.join(FILE))?)?)
}
