//! `pipe plan`: what would run, and why.

use super::args::{RecipesArgs, StoreArgs};
use super::complete;
use super::output::{Error, Outcome, colour, complain, print, print_json, print_lines, room, warn};
use super::{on, places, remote, store, study};
use base::calls::Calls;
use base::stats::crossed::ALPHA;
use base::text::{bytes, dollars, duration, thousands};
use engine::graph::Graph;
use engine::plan::estimate::{Basis, CallsEstimate, Estimate, Formula};
use engine::plan::verdict::Verdict;
use engine::plan::{self, CallsTotal, Plan as Planned, Planned as Node};
use engine::run::{Settings, Wanting, too_large, without_place};
use engine::store::Store;
use recipe::study::Study;
use report::side::Side;
use report::table::{Table, left, name, right};
use report::verdicts::{self, Answer, show};
use report::words;
use serde_json::{Value, json};

/// Say what `run` would do, node by node, without running anything.
///
/// HIT: the artifact is there. RUN: it has to be made, with the reason. RESUME: an earlier attempt left work to go on
/// from, so far done. MAYBE: whether there is one already depends on the bytes that a node above will give. Time and money are those of
/// the nearest earlier record, times what the node has more to do by now; where it goes on, what is left of them. Of a node that asks a service, the calls that it will make at
/// most are told once its inputs are there: answers that the journal has are not asked for again.
///
/// Example: pipe plan recipes/tars.toml --set vars.lambda=0.3
#[derive(clap::Args)]
pub struct Plan {
    #[command(flatten)]
    recipes: RecipesArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Only this node and what it needs; a name that several variants have is all of them. May be repeated
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    only: Vec<String>,
    /// As if this node had no record. May be repeated
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    fresh: Vec<String>,
    /// Say where each node would be executed by this profile, a name of `pipe profiles` or a file, and how many GPU-hours that takes
    #[arg(long, value_name = "PROFILE")]
    on: Option<String>,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Plan) -> Outcome {
    let study = study::load_all(&args.recipes.recipes, &args.recipes.changes)?;
    let store = store::look(&args.store, args.on.as_deref())?;
    let graph = &study.graph;
    let wanted = study::wanted(&study, &args.only, &args.fresh)?;
    let plan = plan::plan(&store, graph, &wanted)?;
    let profile = args.on.as_deref().map(on::profile).transpose()?;
    let wanting = match &profile {
        None => Wanting::of(graph, &plan),
        Some(profile) => Wanting::elsewhere(graph, &plan, profile),
    };
    let places = profile.as_ref().map(|p| places::of(graph, &plan, p));
    if args.json {
        let lines = plan.nodes.iter().map(|p| line(graph, &plan, p));
        let lines: Vec<_> = lines.collect();
        let claims = claims(&store, args, &study)?;
        print_json(&json!({
            "recipes": study.names(), "store": store.root(), "nodes": lines, "claims": claims, "missing_variables": wanting.variables,
            "missing_files": wanting.files, "missing_programs": wanting.programs, "missing_devices": wanting.devices,
            "on": profile.as_ref().map(|p| &p.name), "places": places.as_deref().map(places::json),
        }));
        return Ok(());
    }
    complain(&study.warnings.render(colour()));
    if !wanting.is_empty() {
        warn(wanting.told());
    }
    let too_large = match &profile {
        None => too_large(graph, &plan, &Settings::new()?.capacity),
        Some(profile) => without_place(graph, &plan, profile),
    };
    if let Some(told) = too_large {
        warn(told);
    }
    for (id, remark) in &plan.remarks {
        let node = &graph.node(*id).name;
        warn(format!("`{node}`: {remark}"));
    }
    for (id, moved) in &plan.moved {
        let node = &graph.node(*id).name;
        warn(format!(
            "`{node}` was computed on {}, and is to be made again on {}: its bytes will be others, and what was made from them is made \
             again, too",
            moved.before, moved.now
        ));
    }
    let mut table = Table::new([
        left(""),
        name("node"),
        left("kind"),
        right("expected"),
        left("why"),
    ]);
    let (mut hits, mut seconds, mut paid, mut unknown, mut open) = (0, 0.0, 0.0, 0, 0);
    for Node { decision, estimate } in &plan.nodes {
        let node = graph.node(decision.id);
        let mut fraction = None;
        let why = match &decision.verdict {
            Verdict::Hit(_) => String::new(),
            Verdict::Maybe { reasons, .. } if !reasons.is_empty() => words::reasons(reasons),
            Verdict::Maybe { after, .. } => {
                open += 1;
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
        let hit = matches!(decision.verdict, Verdict::Hit(_));
        hits += usize::from(hit);
        unknown += usize::from(!estimate.is_known());
        seconds += estimate.seconds;
        paid += estimate.dollars;
        let expected = match estimate.is_known() && !hit {
            true => up_to(estimate.is_at_most(), estimate.seconds, estimate.dollars),
            false => String::new(),
        };
        let verdict = words::verdict(decision.verdict.word(), fraction);
        table.push([
            verdict,
            node.name.clone(),
            node.kind.name.to_string(),
            expected,
            why,
        ]);
    }
    print(&table.fit(room()));
    print_lines(&by_formula(graph, &plan));
    for Node { decision, estimate } in &plan.nodes {
        let formula = estimate.formula.as_ref();
        if let Some(device) = formula.and_then(|f| f.device_memory.as_ref()) {
            let node = graph.node(decision.id);
            let name = node.device().unwrap_or_default();
            let most = bytes(device.bytes as u64);
            print_lines(&format!(
                "{}: up to {most} of {name} ({})\n",
                node.name, device.told
            ));
        }
    }
    let mut asked = CallsTotal::default();
    for Node { decision, estimate } in &plan.nodes {
        if let Some(calls) = shown_calls(estimate) {
            let node = &graph.node(decision.id).name;
            print_lines(&format!("{node}: {}\n", words::expected_calls(calls)));
            asked.add(calls);
        }
    }
    let asked = words::expected_sum(&asked);
    let asked = asked.map_or(String::new(), |told| format!("\n{told}"));
    let total = plan.nodes.len();
    let left = total - hits;
    let run = if open > 0 {
        "to run or decide"
    } else {
        "to run"
    };
    // What formulas say is above what it takes, some ten times for short answers of a small model.
    let bound = plan.nodes.iter().any(|p| p.estimate.is_at_most());
    let cost = up_to(bound, seconds, paid);
    let rest = match (left, unknown) {
        (0, _) => "nothing to run".to_string(),
        (_, 0) => format!("{left} {run}, expected {cost}"),
        (_, all) if all == left => format!("{left} {run}, of unknown length"),
        _ => format!("{left} {run}, expected {cost} and {unknown} of unknown length"),
    };
    let are = if hits == 1 { "is a hit" } else { "are hits" };
    print_lines(&format!("{hits} of {total} {are}; {rest}{asked}\n"));
    if let (Some(places), Some(profile)) = (&places, &profile) {
        print_lines(&places::text(places, profile));
    }
    for answer in claims(&store, args, &study)? {
        if let Some(text) = show::open(&answer) {
            print_lines(&format!("{}: {}: {text}\n", answer.recipe, answer.about));
        }
    }
    Ok(())
}

/// `12 m, $3.20`; `up to 12 m, $3.20` of a time that is an upper bound.
fn up_to(bound: bool, seconds: f64, dollars: f64) -> String {
    let cost = words::cost(seconds, dollars);
    match bound {
        true => format!("up to {cost}"),
        false => cost,
    }
}

/// What the records say to the claims so far, of claims that they can answer.
fn claims(store: &Store, args: &Plan, study: &Study) -> Result<Vec<Answer>, Error> {
    if study.variants.iter().all(|v| v.loaded.claims.is_empty()) {
        return Ok(vec![]);
    }
    let (recipes, changes) = (&args.recipes.recipes, &args.recipes.changes);
    let Some(whole) = study::with_missing(recipes, changes, study)? else {
        return Ok(vec![]);
    };
    let sides = study::sides(store, whole)?;
    remote::tell(store);
    let sides: Vec<&Side> = sides.iter().collect();
    let names = study.names();
    let mut answers = verdicts::answers(store, &sides, ALPHA, |recipe| names.contains(&recipe))?;
    answers.retain(|a| a.verdict.is_some());
    Ok(answers)
}

/// The calls of a node, but where nothing is known of them and the table of formulas tells more.
fn shown_calls(estimate: &Estimate) -> Option<&CallsEstimate> {
    let by_formula = estimate.formula.as_ref().is_some_and(|f| f.calls.is_some());
    let in_table = by_formula && !estimate.is_measured();
    let calls = estimate.calls.as_deref();
    calls.filter(|c| !in_table || c.by != Basis::Unknown)
}

/// What can be told from the recipe alone, of nodes that have no record to go by.
fn by_formula(graph: &Graph, plan: &Planned) -> String {
    let unmeasured = plan.nodes.iter().filter(|p| !p.estimate.is_measured());
    let formulas: Vec<_> = unmeasured
        .filter_map(|p| Some((graph.node(p.decision.id), p.estimate.formula.as_deref()?)))
        .collect();
    if formulas.is_empty() {
        return String::new();
    }
    let mut table = Table::new([
        name("from the recipe alone"),
        right("calls"),
        right("tokens"),
        right("dollars"),
        right("memory"),
        right("FLOP"),
        right("time here"),
    ]);
    let mut all = Formula::default();
    let (mut calls, mut time, mut untimed) = (Calls::default(), 0.0, 0);
    let mut told = String::new();
    let row = |name: &str, formula: &Formula| {
        let asked = formula.calls.unwrap_or_default();
        let word = |is: bool, text: String| if is { text } else { String::new() };
        [
            name.to_string(),
            word(asked.made > 0, thousands(asked.made)),
            word(asked.tokens() > 0, thousands(asked.tokens())),
            word(asked.dollars > 0.0, dollars(asked.dollars)),
            word(formula.memory > 0.0, bytes(formula.memory as u64)),
            word(formula.flop > 0.0, format!("{:.1e}", formula.flop)),
            formula.seconds.map_or(String::new(), duration),
        ]
    };
    for (node, formula) in &formulas {
        table.push(row(&node.name, formula));
        calls.add(&formula.calls.unwrap_or_default());
        all.memory = all.memory.max(formula.memory);
        all.flop += formula.flop;
        time += formula.seconds.unwrap_or_default();
        untimed += usize::from(formula.flop > 0.0 && formula.seconds.is_none());
        if let Some(words) = &formula.told {
            told += &format!("{}: {words}\n", node.name);
        }
    }
    all.calls = Some(calls);
    all.seconds = (untimed == 0 && time > 0.0).then_some(time);
    table.push(row("together", &all));
    let speeds = match plan.speeds.is_empty() {
        true => "no node with a model has run in this store, so time is not known".to_string(),
        false => {
            let each = plan.speeds.iter();
            let each =
                each.map(|(kind, s)| format!("{kind} {:.1} GFLOP/s", s.flop_per_second / 1e9));
            let each: Vec<String> = each.collect();
            format!("time at the speeds recorded here: {}", each.join(", "))
        }
    };
    format!(
        "\n{}{told}at most: every answer as long as it may be; {speeds}\n\n",
        table.fit(room())
    )
}

fn line(graph: &Graph, plan: &Planned, planned: &Node) -> Value {
    let mut line = json!(planned.line(graph));
    if let Some(remark) = plan.remarks.get(&planned.decision.id) {
        line["remark"] = json!(remark);
    }
    if let Some(moved) = plan.moved.get(&planned.decision.id) {
        line["moved"] = json!(moved);
    }
    if let Some(formula) = &planned.estimate.formula {
        let calls = formula.calls.unwrap_or_default();
        line["outlook"] = json!({
            "calls": calls.made, "tokens": calls.tokens(), "dollars": calls.dollars, "memory_bytes": formula.memory as u64,
            "flop": formula.flop, "seconds": formula.seconds, "told": formula.told,
        });
        if let Some(device) = &formula.device_memory {
            line["outlook"]["device_bytes"] = json!(device.bytes as u64);
        }
    }
    line
}
