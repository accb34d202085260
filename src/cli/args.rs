//! Arguments that verbs share, and the environment.

use clap::{Args, ValueHint};
use std::path::PathBuf;

/// A recipe, with changes for this command only.
#[derive(Args)]
pub struct RecipeArgs {
    /// The recipe's TOML file
    #[arg(value_hint = ValueHint::FilePath)]
    pub recipe: PathBuf,
    #[command(flatten)]
    pub changes: Changes,
}

/// Recipes that are one study, with changes for this command only.
#[derive(Args)]
pub struct RecipesArgs {
    /// The recipes' TOML files; what they share is one node
    #[arg(required = true, value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    pub recipes: Vec<PathBuf>,
    #[command(flatten)]
    pub changes: Changes,
}

#[derive(Args)]
pub struct Changes {
    /// Change a value for this command: `vars.NAME=VALUE`, `NODE.PARAM=VALUE`. May be repeated
    #[arg(long, value_name = "PATH=VALUE")]
    pub set: Vec<String>,
    /// An axis for this command, over that of `[matrix]`: `seed=0,1,2`, `rl.lr=1e-4,2e-4`. May be repeated
    #[arg(long, value_name = "AXIS=VALUES")]
    pub matrix: Vec<String>,
}

#[derive(Args)]
pub struct StoreArgs {
    /// Folder of the store [default: $PIPE_STORE, else `cache`]
    #[arg(long, value_name = "DIR", value_hint = ValueHint::DirPath)]
    pub store: Option<PathBuf>,
}

/// The one place where the environment is read.
#[allow(clippy::disallowed_methods)]
pub fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}
