//! `pipe why`: the reason a node runs, down to the field; or where its hit came from.

use super::args::{RecipeArgs, StoreArgs};
use super::complete;
use super::output::{Outcome, print, print_lines};
use super::{provenance, remote, store, study};
use base::device;
use base::text::duration;
use engine::graph::{Graph, NodeId};
use engine::plan::verdict::Verdict;
use engine::plan::why::{self, Made, Why as Explained};
use engine::store::{Found, Store};
use engine::system::clock;
use report::words;
use serde_json::json;

/// Explain a node: which parameter, input, file or revision makes it run, and where that began; or who made its artifact,
/// when, from what, and what a hit saves.
///
/// Compares the node's manifest (the text whose hash is its key) with that of the nearest earlier record. Where inputs
/// changed, the cause is followed upwards to its root.
///
/// Example: pipe why recipes/tars.toml rl --set vars.lambda=0.3
#[derive(clap::Args)]
pub struct Why {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// The node
    #[arg(add = complete::nodes())]
    node: String,
    #[command(flatten)]
    store: StoreArgs,
    /// As `run --fresh` would see it: as if this node had no record. May be repeated
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    fresh: Vec<String>,
    /// Print the manifest too: all that makes the key
    #[arg(long)]
    manifest: bool,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Why) -> Outcome {
    let study = study::load(&args.recipe)?;
    let store = store::reading(&args.store)?;
    let graph = &study.graph;
    let id = study::node(&study, &args.node)?;
    let wanted = study::wanted(&study, std::slice::from_ref(&args.node), &args.fresh)?;
    let why = why::why(&store, graph, id, &wanted)?;
    let manifest = &why.manifest;
    if args.json {
        let answer = json!({
            "node": args.node,
            "planned": why.planned.line(graph),
            "manifest": manifest,
            "record": why.record.as_ref().map(|r| json!({
                "key": r.key, "made_by": r.provenance, "started_ms": r.started_ms, "seconds": r.seconds, "dollars": r.dollars,
                "inputs": r.inputs, "found": store.found(&r.key),
            })),
            "vouched": why.vouched,
            "rests_on": why.rests_on.iter().map(|(node, v)| json!({ "node": node, "vouched": v })).collect::<Vec<_>>(),
            "causes": why.causes.iter().map(|c| json!({
                "node": c.node, "reasons": c.reasons, "root": c.root,
            })).collect::<Vec<_>>(),
        });
        remote::answer(&store, answer);
        return Ok(());
    }
    remote::tell(&store);
    let mut out = answer(&store, graph, id, &why);
    for cause in &why.causes {
        let root = if cause.root { " (the root)" } else { "" };
        out += &format!(
            "above it, `{}`{root}: {}\n",
            cause.node,
            words::reasons(&cause.reasons)
        );
    }
    if let Some(vouched) = &why.vouched {
        out += &format!(
            "its artifact was not made by running it: {}\n",
            words::vouched(vouched)
        );
    }
    for (node, vouched) in &why.rests_on {
        out += &format!("it rests on `{node}`, {}\n", words::vouched(vouched));
    }
    print_lines(&out);
    if let (true, Some(text)) = (args.manifest, manifest) {
        print(&format!("\n{text}"));
    }
    Ok(())
}

fn answer(store: &Store, graph: &Graph, id: NodeId, why: &Explained) -> String {
    let name = &graph.node(id).name;
    let compared = |made: &Made| {
        let took = words::cost(made.seconds, made.dollars);
        format!(
            "compared with the record made {}, in {took}\n",
            origin(made)
        )
    };
    let compared = why.record.as_ref().map(compared).unwrap_or_default();
    match &why.planned.decision.verdict {
        Verdict::Hit(record) => {
            let mut out = format!("`{name}` is a hit: key {}\n", record.key.short());
            if let Some(made) = &why.record {
                let saves = words::cost(made.seconds, made.dollars);
                out += &format!("  made {}; a hit saves {saves}\n", origin(made));
                out += &made_from(graph, id, made);
                out += &whence(made, store.found(&made.key).as_ref());
            }
            out
        }
        Verdict::Maybe { reasons, .. } if !reasons.is_empty() => {
            let mut out = format!("`{name}` runs, whatever the nodes above it give:\n");
            for reason in reasons {
                out += &format!("  {}\n", words::reason_in_full(reason));
            }
            out
        }
        Verdict::Maybe { after, .. } => {
            let names: Vec<String> = after
                .iter()
                .map(|a| format!("`{}`", graph.node(*a).name))
                .collect();
            let names = names.join(", ");
            format!("`{name}` may run: that depends on the bytes {names} will give\n")
        }
        Verdict::Needs { absent } => {
            let mut out = format!("`{name}` cannot run here:\n");
            for file in absent {
                out += &format!("  {}\n", file.told());
            }
            out
        }
        verdict => {
            let mut out = match verdict {
                Verdict::Resume {
                    fraction: Some(f), ..
                } => {
                    format!(
                        "`{name}` goes on at {:.0} %, an attempt did not end:\n",
                        f * 100.0
                    )
                }
                Verdict::Resume { .. } => {
                    format!("`{name}` goes on, an attempt did not end:\n")
                }
                _ => format!("`{name}` runs:\n"),
            };
            for reason in verdict.reasons() {
                out += &format!("  {}\n", words::reason_in_full(reason));
            }
            out + &compared
        }
    }
}

/// When, by whom, and on what where that was not the processor.
fn origin(made: &Made) -> String {
    let age = clock::now_ms().saturating_sub(made.started_ms) as f64 / 1e3;
    let devices = &made.provenance.origin.devices;
    let on = match devices.is_empty() {
        true => String::new(),
        false => format!(" on {}", device::in_full(devices)),
    };
    format!(
        "{} ago by node `{}` of `{}`{on}",
        duration(age),
        made.provenance.node,
        made.provenance.recipe
    )
}

/// Of what was made elsewhere: on which machine, and where it was found.
fn whence(made: &Made, found: Option<&Found>) -> String {
    let Some(found) = found else {
        return String::new();
    };
    let origin = &made.provenance.origin;
    let signed = found
        .signer
        .as_ref()
        .map(|who| format!(", signed by {who}"));
    let host = match origin.host.is_empty() {
        true => "a machine that is not named",
        false => &origin.host,
    };
    format!(
        "  on {host} ({}, {}), by build {}\n  found at {}{}\n",
        provenance::device(origin),
        origin.system,
        origin.build,
        found.remote,
        signed.unwrap_or_default()
    )
}

/// The inputs and files that a record was made from, by what they held.
fn made_from(graph: &Graph, id: NodeId, made: &Made) -> String {
    let short = |content: &str| content.chars().take(12).collect::<String>();
    let mut out = String::new();
    for (port, digest) in &made.inputs {
        let edge = graph.node(id).inputs.get(port.as_str());
        let from = edge.map_or(String::new(), |e| {
            format!("{}.{} ", graph.node(e.node).name, e.output)
        });
        out += &format!("  from {from}on `{port}`: {}\n", short(digest));
    }
    for (name, content) in &made.sources {
        out += &format!("  from the files of `{name}`: {}\n", short(content));
    }
    out
}
