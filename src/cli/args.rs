//! Arguments that verbs share.

use super::offered;
use clap::{Args, ValueHint};
use std::path::PathBuf;

/// A recipe, with changes for this command only.
#[derive(Args)]
pub struct RecipeArgs {
    /// The recipe: a TOML file, or `pipe:NAME`, one that comes with the program (`pipe new --list`)
    #[arg(value_hint = ValueHint::FilePath, add = offered::recipes())]
    pub recipe: PathBuf,
    #[command(flatten)]
    pub changes: Changes,
}

/// Recipes that are one study, with changes for this command only.
#[derive(Args)]
pub struct RecipesArgs {
    /// The recipes: TOML files, or `pipe:NAME` of those that come with the program (`pipe new --list`); what they share is one node
    #[arg(required = true, value_name = "RECIPE", value_hint = ValueHint::FilePath, add = offered::recipes())]
    pub recipes: Vec<PathBuf>,
    #[command(flatten)]
    pub changes: Changes,
}

#[derive(Args)]
pub struct Changes {
    /// Change a value for this command: `vars.NAME=VALUE`, `NODE.PARAM=VALUE`, or `'*.PARAM=VALUE'` at every node that has it. May be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// An axis for this command, over that of `[matrix]`: `seed=0,1,2`, `rl.lr=1e-4,2e-4`. May be repeated
    #[arg(long, value_name = "AXIS=VALUES")]
    pub matrix: Vec<String>,
}

#[derive(Args)]
pub struct StoreArgs {
    /// Folder of the store [default: $PIPE_STORE, else the nearest store that is `cache` here or in a folder above, else `cache` here]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
}

/// The folder of `pipe worker DIR`, which runs one attempt; started by `run`, and by nobody else.
pub fn attempt() -> Option<PathBuf> {
    let mut words = std::env::args_os().skip(1);
    match (words.next(), words.next(), words.next()) {
        (Some(verb), Some(folder), None) if verb == "worker" => Some(folder.into()),
        _ => None,
    }
}

/// Store and attempts of `pipe attend --store DIR ATTEMPT…`, which is the job that a scheduler was given; submitted by `run`, and by
/// nobody else.
pub fn attended() -> Option<(PathBuf, Vec<String>)> {
    let mut words = std::env::args_os().skip(1);
    let verb = words.next().is_some_and(|verb| verb == "attend");
    let option = words.next().is_some_and(|word| word == "--store");
    let store = words.next()?.into();
    let attempts = words.map(|word| word.to_string_lossy().into_owned());
    (verb && option).then(|| (store, attempts.collect()))
}
