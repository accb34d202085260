//! `pipe check`.

use crate::base::text::count;
use crate::cli::args::RecipeArgs;
use crate::cli::{Done, Trouble};
use serde_json::json;

/// Reads a recipe and says everything that is wrong with it
///
/// Nothing is run and no store is touched; files that the recipe names have to be there.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  pipe check study.toml
  pipe check study.toml --set node.sft.lr=1e-4
  pipe check study.toml --json")]
pub struct Check {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Diagnostics as JSON, on stdout
    #[arg(long)]
    json: bool,
}

impl Check {
    pub fn run(&self) -> Result<Done, Trouble> {
        match (self.recipe.try_load()?, self.json) {
            (Ok(loaded), false) => {
                let nodes = loaded.graph.nodes().len() as u64;
                Ok(Done::ok(format!("ok: {}\n", count(nodes, "node", "nodes"))))
            }
            (Ok(loaded), true) => Ok(Done::json(&json!({
                "ok": true,
                "name": loaded.name,
                "nodes": loaded.graph.nodes().iter().map(|n| &n.name).collect::<Vec<_>>(),
                "diagnostics": loaded.warnings.json(),
            }))),
            (Err(diags), false) => Err(Trouble::Recipe(diags)),
            (Err(diags), true) => Ok(Done {
                code: 2,
                ..Done::json(&json!({ "ok": false, "diagnostics": diags.json() }))
            }),
        }
    }
}
