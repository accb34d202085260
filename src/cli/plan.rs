//! `pipe plan`: what would run, and why.

use super::args::{RecipesArgs, StoreArgs};
use super::output::{Outcome, colour, complain, print, print_json};
use super::study;
use base::calls::Calls;
use base::text::{bytes, dollars, duration, thousands};
use engine::graph::Graph;
use engine::plan::forecast::{self, By};
use engine::plan::outlook;
use engine::plan::verdict::Verdict;
use engine::plan::{Judge, Plan as Planning, Planned};
use engine::run::Wanting;
use engine::store::index::Brief;
use report::table::{Table, left, right};
use report::words;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Say what `run` would do, node by node, without running anything.
///
/// HIT: the artifact is there. RUN: it has to be made, with the reason. RESUME: an earlier attempt left work to go on
/// from, so far done. MAYBE: it depends on the bytes that a node above will give. Time and money are those of the
/// nearest earlier record; where a node goes on, what is left of them. Of a node that asks a service, the calls that it will make at
/// most are told once its inputs are there: answers that the journal has are not asked for again.
///
/// Example: pipe plan recipes/tars.toml --set vars.lambda=0.3
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Plan {
    #[command(flatten)]
    recipes: RecipesArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Only this node and what it needs; a name that several variants have is all of them. May be repeated
    #[arg(long, value_name = "NODE")]
    only: Vec<String>,
    /// As if this node had no record. May be repeated
    #[arg(long, value_name = "NODE")]
    fresh: Vec<String>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Plan) -> Outcome {
    let study = study::load_all(&args.recipes.recipes, &args.recipes.changes)?;
    let store = study::open(&args.store)?;
    let graph = &study.graph;
    let wanted = study::wanted(graph, &args.only, &args.fresh)?;
    let judge = Judge::new(&store, graph, &wanted)?;
    let mut plan = judge.plan()?;
    forecast::tell(&store, graph, &mut plan)?;
    let speeds = outlook::tell(graph, &mut plan, &judge);
    let wanting = Wanting::of(graph, &plan);
    if args.json {
        let lines = plan.nodes.iter().map(|p| line(graph, p));
        let lines: Vec<_> = lines.collect();
        print_json(&json!({
            "recipes": study.names(), "store": store.root(), "nodes": lines, "missing_variables": wanting.variables,
            "missing_files": wanting.files, "missing_programs": wanting.programs,
        }));
        return Ok(());
    }
    complain(&study.warnings.render(colour()));
    if !wanting.is_empty() {
        complain(&format!("warning: {}\n", wanting.told()));
    }
    let mut table = Table::new([
        left(""),
        left("node"),
        left("kind"),
        right("expected"),
        left("why"),
    ]);
    let (mut hits, mut seconds, mut paid, mut unknown) = (0, 0.0, 0.0, 0);
    for planned in &plan.nodes {
        let node = graph.node(planned.id);
        let mut fraction = None;
        let why = match &planned.verdict {
            Verdict::Hit(_) => String::new(),
            Verdict::Maybe { after } => {
                let names: Vec<String> = after
                    .iter()
                    .map(|id| format!("`{}`", graph.node(*id).name))
                    .collect();
                let give = if names.len() == 1 { "gives" } else { "give" };
                format!("depends on what {} {give}", names.join(", "))
            }
            Verdict::Needs { absent } => {
                let absent: Vec<&str> = absent.iter().map(|a| a.written.as_str()).collect();
                format!("no {}", absent.join(", no "))
            }
            Verdict::Resume {
                reasons,
                fraction: done,
            } => {
                fraction = *done;
                words::resumed(reasons)
            }
            Verdict::Run(reasons) => words::reasons(reasons),
        };
        let hit = matches!(planned.verdict, Verdict::Hit(_));
        hits += usize::from(hit);
        if !hit {
            unknown += usize::from(planned.expected.is_none());
            let expected = planned.expected.unwrap_or_default();
            seconds += expected.seconds;
            paid += expected.dollars;
        }
        let expected = planned.expected.filter(|_| !hit);
        let expected = expected.map_or(String::new(), |e| words::cost(e.seconds, e.dollars));
        let verdict = words::verdict(planned.verdict.word(), fraction);
        table.push([
            verdict,
            node.name.clone(),
            node.kind.name.to_string(),
            expected,
            why,
        ]);
    }
    print(&table.render());
    print(&ahead(graph, &plan, &speeds));
    for planned in &mut plan.nodes {
        let foretold = planned.outlook.as_ref().is_some_and(|o| o.calls.is_some());
        if !planned.measured && foretold {
            // The table above tells more.
            planned.calls = planned.calls.take().filter(|c| c.by != By::Nothing);
        }
        if let Some(calls) = &planned.calls {
            let node = &graph.node(planned.id).name;
            print(&format!("{node}: {}\n", words::expected_calls(calls)));
        }
    }
    let asked = words::expected_sum(&forecast::sum(&plan));
    let asked = asked.map_or(String::new(), |told| format!("\n{told}"));
    let total = plan.nodes.len();
    let left = total - hits;
    let rest = match (left, unknown) {
        (0, _) => "nothing to run".to_string(),
        (_, 0) => format!(
            "{left} to run or decide, expected {}",
            words::cost(seconds, paid)
        ),
        (_, all) if all == left => format!("{left} to run or decide, of unknown length"),
        _ => format!(
            "{left} to run or decide, expected {} and {unknown} of unknown length",
            words::cost(seconds, paid)
        ),
    };
    print(&format!("{hits} of {total} are hits; {rest}{asked}\n"));
    Ok(())
}

/// What can be told from the recipe alone, of nodes that have no record to go by.
fn ahead(graph: &Graph, plan: &Planning, speeds: &BTreeMap<String, Brief>) -> String {
    let told: Vec<_> = plan
        .nodes
        .iter()
        .filter(|p| !p.measured)
        .filter_map(|p| Some((graph.node(p.id), p.outlook.as_ref()?)))
        .collect();
    if told.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        left("from the recipe alone"),
        right("calls"),
        right("tokens"),
        right("dollars"),
        right("memory"),
        right("FLOP"),
        right("time here"),
    ]);
    let mut all = outlook::Told::default();
    let (mut calls, mut time, mut untimed) = (Calls::default(), 0.0, 0);
    let row = |name: &str, told: &outlook::Told| {
        let asked = told.calls.unwrap_or_default();
        let word = |is: bool, text: String| if is { text } else { String::new() };
        [
            name.to_string(),
            word(asked.made > 0, thousands(asked.made)),
            word(asked.tokens() > 0, thousands(asked.tokens())),
            word(asked.dollars > 0.0, dollars(asked.dollars)),
            word(told.memory > 0.0, bytes(told.memory as u64)),
            word(told.flop > 0.0, format!("{:.1e}", told.flop)),
            told.seconds.map_or(String::new(), duration),
        ]
    };
    for (node, told) in &told {
        table.push(row(&node.name, told));
        calls.add(&told.calls.unwrap_or_default());
        all.memory = all.memory.max(told.memory);
        all.flop += told.flop;
        time += told.seconds.unwrap_or_default();
        untimed += usize::from(told.flop > 0.0 && told.seconds.is_none());
    }
    all.calls = Some(calls);
    all.seconds = (untimed == 0 && time > 0.0).then_some(time);
    table.push(row("together", &all));
    let speeds = match speeds.is_empty() {
        true => "no node with a model has run in this store, so time is not known".to_string(),
        false => {
            let each = speeds.values().map(|b| {
                let speed = outlook::speed(speeds, &b.kind).map_or(0.0, |s| s.rate);
                format!("{} {:.1} GFLOP/s", b.kind, speed / 1e9)
            });
            let each: Vec<String> = each.collect();
            format!("time at the speeds recorded here: {}", each.join(", "))
        }
    };
    format!(
        "\n{}at most: every answer as long as it may be; {speeds}\n\n",
        table.render()
    )
}

fn line(graph: &Graph, planned: &Planned) -> Value {
    let mut line = json!(planned.line(graph));
    if let Some(told) = &planned.outlook {
        let calls = told.calls.unwrap_or_default();
        line["outlook"] = json!({
            "calls": calls.made, "tokens": calls.tokens(), "dollars": calls.dollars, "memory_bytes": told.memory as u64,
            "flop": told.flop, "seconds": told.seconds,
        });
    }
    line
}
