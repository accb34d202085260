//! `pipe why`: the reason a node runs, down to the field; or where its hit came from.

use super::{Outcome, RecipeArgs, StoreArgs, print, print_json, study};
use crate::base::text::duration;
use crate::engine::plan::Wanted;
use crate::engine::verdict::Verdict;
use crate::engine::{clock, why};
use crate::report::words;
use serde_json::json;

/// Explain a node: which parameter, input, file or revision makes it run; or who made its artifact, and what a hit saves.
///
/// Compares the node's manifest (the text whose hash is its key) with that of the nearest earlier record.
///
/// Example: pipe why recipes/tars.toml rl
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Why {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The node
    node: String,
    #[command(flatten)]
    store: StoreArgs,
    /// Print the manifest too: all that makes the key
    #[arg(long)]
    manifest: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Why) -> Outcome {
    let study = study::load(&args.recipe)?;
    let store = study::open(&args.store)?;
    let graph = &study.graph;
    let id = study::node(graph, &args.node)?;
    let why = why::why(&store, graph, id, &Wanted::default())?;
    let manifest = why.planned.manifest.as_ref().map(|m| m.text());
    if args.json {
        print_json(&json!({
            "node": args.node,
            "planned": why.planned.line(graph),
            "manifest": manifest,
            "record": why.record.as_ref().map(|r| json!({
                "key": r.key, "made_by": r.provenance, "started_ms": r.started_ms, "seconds": r.seconds,
            })),
            "causes": why.causes.iter().map(|c| json!({
                "node": c.node, "reasons": c.reasons, "root": c.root,
            })).collect::<Vec<_>>(),
        }));
        return Ok(());
    }
    let mut out = String::new();
    let made = why.record.as_ref().map(|r| {
        let age = clock::now_ms().saturating_sub(r.started_ms) as f64 / 1e3;
        format!(
            "made {} ago by node `{}` of `{}`, in {}",
            duration(age),
            r.provenance.node,
            r.provenance.recipe,
            duration(r.seconds)
        )
    });
    match &why.planned.verdict {
        Verdict::Hit(record) => {
            out += &format!("`{}` is a hit: key {}\n", args.node, record.key.short());
            out += &made.map(|m| format!("  {m}\n")).unwrap_or_default();
        }
        Verdict::Maybe { after } => {
            let names: Vec<String> = after
                .iter()
                .map(|a| format!("`{}`", graph.node(*a).name))
                .collect();
            out += &format!(
                "`{}` may run: that depends on the bytes {} will give\n",
                args.node,
                names.join(", ")
            );
        }
        verdict => {
            out += &format!("`{}` runs:\n", args.node);
            for reason in verdict.reasons() {
                out += &format!("  {}\n", words::reason(reason));
            }
            out += &made
                .map(|m| format!("compared with the record {m}\n"))
                .unwrap_or_default();
        }
    }
    for cause in &why.causes {
        let root = if cause.root { " (the root)" } else { "" };
        out += &format!(
            "above it, `{}`{root}: {}\n",
            cause.node,
            words::reasons(&cause.reasons)
        );
    }
    if let (true, Some(text)) = (args.manifest, manifest) {
        out += &format!("\n{text}");
    }
    print(&out);
    Ok(())
}
