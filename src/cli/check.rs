//! `pipe check`: is the recipe right?

use super::{Error, Outcome, RecipeArgs, colour, complain, print, print_json, study};
use crate::base::text::count;
use serde_json::json;

/// Check a recipe: everything that is wrong with it, at once, with line and caret.
///
/// Reads the recipe and what it extends; needs no store, no network, no GPU. Files that it names have to exist.
///
/// Example: pipe check recipes/tars.toml --set vars.lambda=0.3
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Check {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Print the recipe with everything resolved: nothing extended, no variables, defaults written out
    #[arg(long)]
    resolved: bool,
}

pub fn run(args: &Check) -> Outcome {
    let loaded = match study::load(&args.recipe) {
        Err(Error::Author(diags)) if args.json => {
            print_json(&json!({ "ok": false, "diagnostics": diags.json() }));
            return Err(Error::Told(2));
        }
        other => other?,
    };
    if args.json {
        let nodes: Vec<_> = loaded
            .graph
            .nodes()
            .iter()
            .map(|n| json!({ "node": n.name, "kind": n.kind.name }))
            .collect();
        print_json(&json!({
            "ok": true, "name": loaded.name, "nodes": nodes, "diagnostics": loaded.warnings.json(),
        }));
        return Ok(());
    }
    complain(&loaded.warnings.render(colour()));
    if args.resolved {
        print(&loaded.resolved_text);
    } else {
        print(&format!(
            "ok: `{}` has {}\n",
            loaded.name,
            count(loaded.graph.nodes().len() as u64, "node", "nodes")
        ));
    }
    Ok(())
}
