//! `pipe schema`: the JSON Schema of recipes.

use super::output::{Outcome, print};
use super::registry::registry;
use recipe::schema;

/// Print the JSON Schema of recipes, for an editor that completes, explains and checks while one types.
///
/// It is made of this binary's table of kinds. An editor that speaks taplo (VS Code: "Even Better TOML") takes it from
/// a comment on the first line of a recipe: `#:schema ./recipe.schema.json`, a path from the recipe's folder. `pipe
/// check` sees more: edges, the types of ports, each kind's own checks.
///
/// Example: pipe schema > recipe.schema.json
#[derive(clap::Args)]
pub struct Schema {}

pub fn run(_: &Schema) -> Outcome {
    print(&format!("{:#}\n", schema::schema(registry())));
    Ok(())
}
