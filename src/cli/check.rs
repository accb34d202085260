//! `pipe check`: are the recipes right?

use super::args::RecipesArgs;
use super::output::{Error, Outcome, colour, complain, print, print_json, print_lines, warn};
use super::seeds::of_seed;
use super::study;
use base::text::count;
use kinds::shared::leaks;
use recipe::study::Study;
use serde_json::json;

/// So many warnings of one sort are shown.
const SHOWN: usize = 10;

/// Check recipes: everything that is wrong with them, at once, with line and caret.
///
/// Reads the recipes and what they extend; needs no store, no network, no GPU. Files that they name and that
/// are not there are warnings, and so are eval prompts that what is trained on was never compared with.
///
/// Example: pipe check recipes/tars.toml --set vars.lambda=0.3
#[derive(clap::Args)]
pub struct Check {
    #[command(flatten)]
    recipes: RecipesArgs,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
    /// Print every variant with everything resolved: nothing extended, no variables, defaults written out
    #[arg(long, conflicts_with = "json")]
    resolved: bool,
}

pub fn run(args: &Check) -> Outcome {
    let study = match checked(&args.recipes) {
        Err(Error::Author(diags)) if args.json => {
            print_json(&json!({ "ok": false, "diagnostics": diags.json(), "leaks": [] }));
            return Err(Error::Told(2));
        }
        other => other?,
    };
    let leaks = leaks::leaks(&study.graph);
    let leaks: Vec<String> = leaks
        .iter()
        .map(|l| leaks::message(&study.graph, l))
        .collect();
    if args.json {
        let variants = study.variants.iter().map(|v| {
            json!({
                "name": v.loaded.name, "file": v.file, "axes": v.axes(), "nodes": v.places.len(),
                "claims": v.loaded.claims.len(),
            })
        });
        let nodes = study.graph.nodes().iter();
        let nodes: Vec<_> = nodes
            .map(|n| json!({ "node": n.name, "kind": n.kind.name }))
            .collect();
        print_json(&json!({
            "ok": true, "recipes": variants.collect::<Vec<_>>(), "nodes": nodes,
            "diagnostics": study.warnings.json(), "leaks": leaks,
        }));
        return Ok(());
    }
    complain(&study.warnings.render(colour()));
    for leak in leaks.iter().take(SHOWN) {
        warn(leak);
    }
    if leaks.len() > SHOWN {
        warn(format!("and {} more of these", leaks.len() - SHOWN));
    }
    match args.resolved {
        true => print(&resolved(&study)),
        false => print_lines(&counts(&study)),
    }
    // The process ends here, and giving back ten thousand nodes one by one takes as long as wiring them.
    std::mem::forget(study);
    Ok(())
}

/// The study; with what its claims are against it is read once more, since only then all can be said of them.
fn checked(args: &RecipesArgs) -> Result<Study, Error> {
    let study = study::load_all(&args.recipes, &args.changes)?;
    // Variants that the command line alone asks for are what a claim cannot know of: it is then not answered, and no error.
    if !args.changes.matrix.iter().all(|axis| of_seed(axis)) {
        return Ok(study);
    }
    if study.missing().is_empty() {
        study::answerable(&study, &study.names())?;
    } else if let Some(whole) = study::with_missing(&args.recipes, &args.changes, &study)? {
        study::answerable(&whole, &study.names())?;
    }
    Ok(study)
}

fn resolved(study: &Study) -> String {
    let texts: Vec<String> = study
        .variants
        .iter()
        .map(|v| match study.variants.len() {
            1 => v.loaded.resolved_text(),
            _ => format!("# --- {}\n\n{}", v.label(), v.loaded.resolved_text()),
        })
        .collect();
    texts.join("\n")
}

/// A line a recipe, and how much of it is one.
fn counts(study: &Study) -> String {
    let nodes = |n: usize| count(n as u64, "node", "nodes");
    let mut out = String::new();
    for name in study.names() {
        let own = study.variants.iter().filter(|v| v.loaded.name == name);
        let sizes: Vec<usize> = own.map(|v| v.places.len()).collect();
        let variants = match sizes.len() {
            1 => String::new(),
            n => format!(" in each of {n} variants"),
        };
        out += &format!("ok: `{name}` has {}{variants}\n", nodes(sizes[0]));
    }
    if study.variants.len() > 1 {
        out += &format!(
            "together {}, {} of them distinct\n",
            nodes(study.counted_apart()),
            study.graph.nodes().len()
        );
    }
    out
}
