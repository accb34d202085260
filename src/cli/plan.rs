//! `pipe plan`.

use crate::base::text::{count, duration};
use crate::cli::args::{PartArgs, RecipeArgs, StoreArgs};
use crate::cli::{Done, Trouble};
use crate::engine::graph::Graph;
use crate::engine::plan::{self, Planned, Verdict};
use crate::engine::store::Store;
use crate::report::table::{Table, left, right};
use crate::report::words;
use serde_json::json;

/// Shows what a run would do, node by node, and why; runs nothing
///
/// HIT: the artifact is there. RUN: it has to be made. RESUME: an interrupted attempt has come this far. MAYBE: depends
/// on the bytes that the nodes before it give.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  pipe plan study.toml
  pipe plan study.toml --set vars.seed=1 --only rl-eval
  pipe plan study.toml --fresh sft")]
pub struct Plan {
    #[command(flatten)]
    recipe: RecipeArgs,
    #[command(flatten)]
    part: PartArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// The plan as JSON
    #[arg(long)]
    json: bool,
}

impl Plan {
    pub fn run(&self) -> Result<Done, Trouble> {
        let loaded = self.recipe.load()?;
        let wanted = self.part.wanted(&loaded.graph)?;
        let store = self.store.open()?;
        let plan = plan::plan(&store, &loaded.graph, &wanted)?;
        if self.json {
            return Ok(Done::json(&as_json(&plan, &loaded.graph, &store)));
        }
        let columns = [
            left("verdict"),
            left("node"),
            left("kind"),
            right("expected"),
            left("why"),
        ];
        let mut table = Table::new(columns);
        for planned in &plan.nodes {
            let node = loaded.graph.node(planned.id);
            let expected = match (&planned.verdict, planned.expected_seconds) {
                (Verdict::Hit(_), _) => String::new(),
                (_, Some(seconds)) => duration(seconds),
                (_, None) => "?".into(),
            };
            table.push([
                verdict(&planned.verdict),
                node.name.clone(),
                node.kind.name.into(),
                expected,
                why(planned, &loaded.graph),
            ]);
        }
        Ok(Done::ok(format!("{}\n{}\n", table.render(), totals(&plan))))
    }
}

/// As in `RESUME 73 %`.
pub fn verdict(verdict: &Verdict) -> String {
    let word = verdict.word().to_uppercase();
    match verdict {
        Verdict::Resume {
            fraction: Some(fraction),
            ..
        } => format!("{word} {:.0} %", fraction * 100.0),
        _ => word,
    }
}

fn why(planned: &Planned, graph: &Graph) -> String {
    match &planned.verdict {
        Verdict::Maybe { after } => {
            let names: Vec<&str> = after
                .iter()
                .map(|id| graph.node(*id).name.as_str())
                .collect();
            format!("after {}", names.join(", "))
        }
        verdict => words::reasons(verdict.reasons()),
    }
}

fn totals(plan: &plan::Plan) -> String {
    let mut parts = vec![];
    for (word, said) in [
        ("hit", "to reuse"),
        ("run", "to run"),
        ("resume", "to resume"),
        ("maybe", "undecided"),
    ] {
        let n = plan
            .nodes
            .iter()
            .filter(|p| p.verdict.word() == word)
            .count();
        if n > 0 {
            parts.push(format!("{n} {said}"));
        }
    }
    let open = plan
        .nodes
        .iter()
        .filter(|p| !matches!(p.verdict, Verdict::Hit(_)));
    let (known, unknown): (Vec<_>, Vec<_>) = open.partition(|p| p.expected_seconds.is_some());
    let seconds: f64 = known.iter().filter_map(|p| p.expected_seconds).sum();
    let time = match (known.len(), unknown.len()) {
        (0, 0) => "nothing to do".into(),
        (0, _) => "time not known".into(),
        (_, 0) => format!("about {} if all of it runs", duration(seconds)),
        (_, n) => format!(
            "at least {} ({n} of unknown time) if all of it runs",
            duration(seconds)
        ),
    };
    let nodes = count(plan.nodes.len() as u64, "node", "nodes");
    format!("{nodes}: {}; {time}", parts.join(", "))
}

fn as_json(plan: &plan::Plan, graph: &Graph, store: &Store) -> serde_json::Value {
    let nodes: Vec<_> = plan
        .nodes
        .iter()
        .map(|planned| {
            let mut line = json!(planned.line(graph));
            match &planned.verdict {
                Verdict::Maybe { after } => {
                    let names: Vec<&str> = after
                        .iter()
                        .map(|id| graph.node(*id).name.as_str())
                        .collect();
                    line["after"] = json!(names);
                }
                Verdict::Resume { fraction, .. } => line["fraction"] = json!(fraction),
                Verdict::Hit(_) | Verdict::Run(_) => {}
            }
            line["why"] = json!(why(planned, graph));
            line
        })
        .collect();
    json!({ "store": store.root(), "nodes": nodes })
}
