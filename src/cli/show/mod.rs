//! `pipe show`: an artifact for reading: what a model said, and what was made of it.

mod rows;
mod tokenizer;

use super::args::{RecipeArgs, StoreArgs};
use super::complete;
use super::hint::Hint;
use super::output::{Error, Outcome, print, print_lines, room};
use super::{provenance, remote, store, study, tokens};
use anyhow::Context;
use base::rows::{METRICS, Metric, ROWS};
use base::text::{bytes, count, duration, listed};
use engine::kind::Type;
use engine::plan;
use engine::plan::verdict::Verdict;
use engine::store::Store;
use engine::store::record::{Artifact, Record};
use engine::system::files::Blob;
use recipe::study::Study;
use report::preview::spark::Curves;
use report::preview::{self, Measure, Preview};
use report::steps::{self, Lines};
use report::summary::{self, Item};
use report::table::{Table, left, right};
use report::{beside, doubt, metrics, model, words};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use tokenizer::ByTokenizer;

/// A longer text is not shown.
const MOST_TEXT: u64 = 4096;

/// Show the study's table; or a node: its rows, metrics, model files, parameters, cost.
///
/// Of rows: their fields, counts by class and source, a histogram of lengths (in tokens, where the node or one that takes them in
/// has a model), then some for reading: the prompt, the reasoning, the answer, the scores. Of a model: its shape, parameters and
/// number types; of metrics: their values and curves. Nothing is run.
///
/// Example: pipe show recipes/tars.toml rl-eval.scores --where class=ambiguous --where good=false -n 5
///
/// Example: pipe show recipes/tars.toml sft --tokens -n 1
#[derive(clap::Args)]
pub struct Show {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// A node, or NODE.OUTPUT; without it, the table of the study
    #[arg(add = complete::nodes())]
    node: Option<String>,
    #[command(flatten)]
    store: StoreArgs,
    /// What the node will be trained on or asked, token by token, with what is trained in colour. It need not have run,
    /// but what it takes in must have
    #[arg(long, requires = "node", conflicts_with = "filter")]
    tokens: bool,
    /// How the artifact came to be: binary, commit, processor, threads, times, memory, money, and all that is in its key
    #[arg(long, requires = "node", conflicts_with_all = ["filter", "tokens"])]
    provenance: bool,
    /// How many rows
    #[arg(short, default_value_t = 3)]
    n: usize,
    /// Only rows with this field: `class=harmful`, `id=eval-harmful-0003#0`, `good=false`. May be repeated
    #[arg(long = "where", value_name = "FIELD=VALUE")]
    filter: Vec<String>,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

impl Show {
    fn hint(&self) -> Hint<'_> {
        Hint {
            recipes: std::slice::from_ref(&self.recipe.recipe),
            changes: &self.recipe.changes,
            store: &self.store,
        }
    }
}

pub fn run(args: &Show) -> Outcome {
    let study = study::load(&args.recipe)?;
    let store = store::reading(&args.store)?;
    let Some(node) = &args.node else {
        no_rows(args, "the table of a study")?;
        return table(args, &study, &store);
    };
    if args.tokens {
        return tokens::run(&study, &store, args.hint(), node, args.n, args.json);
    }
    let place = study::place(&study, node)?;
    let record = study::record(&store, &study.graph, args.hint(), place.id)?;
    if args.provenance {
        let found = store.found(&record.key);
        match args.json {
            true => remote::answer(&store, provenance::data(&record, found.as_ref())),
            false => print_lines(&provenance::page(&record, found.as_ref())),
        }
        return Ok(());
    }
    let (name, artifact) = study::artifact(&study.graph, &place, &record);
    let (told, data) = match artifact.files.iter().find(|f| f.path == ROWS) {
        Some(blob) => {
            let tokenizer = tokenizer::of(&store, &study.graph, place.id, name);
            rows_of(args, &store, blob, tokenizer)?
        }
        None => {
            no_rows(
                args,
                &format!("`{node}`, whose `{name}` is of type {},", artifact.ty),
            )?;
            files_of(&store, artifact, &record)?
        }
    };
    if !args.json {
        remote::tell(&store);
        print_lines(&(header(&store, &record, name, artifact) + &told));
        return Ok(());
    }
    let mut all = json!({
        "node": node, "key": record.key, "output": name, "type": artifact.ty, "files": artifact.files, "cost": record.cost,
        "made_by": record.provenance, "accepted": record.accepted, "adopted": record.adopted, "manifest": record.manifest,
    });
    if let Value::Object(all) = &mut all {
        all.extend(data);
    }
    remote::answer(&store, all);
    Ok(())
}

/// What is said of rows where there are none would be passed over.
fn no_rows(args: &Show, what: &str) -> Result<(), Error> {
    match args.filter.is_empty() {
        true => Ok(()),
        false => Err(Error::Usage(format!(
            "`--where` chooses rows, and {what} has none"
        ))),
    }
}

/// Text and data.
type Told = (String, Map<String, Value>);

/// A first look at the rows that fit, and the first of them in full.
fn rows_of(
    args: &Show,
    store: &Store,
    blob: &Blob,
    tokenizer: Option<ByTokenizer>,
) -> Result<Told, Error> {
    let filters = rows::filters(&args.filter)?;
    let length: &dyn Fn(&str) -> anyhow::Result<usize> = match &tokenizer {
        Some(by) => &|text| by.length(text),
        None => &|text| Ok(text.split_whitespace().count()),
    };
    let measure = match &tokenizer {
        Some(by) => Measure {
            unit: "tokens",
            by: format!("of the tokenizer of `{}`", by.node),
            length,
        },
        None => Measure {
            unit: "words",
            by: "no model takes them in here".into(),
            length,
        },
    };
    let mut preview = Preview::new(measure);
    let mut names = BTreeSet::new();
    let mut values = rows::Values::default();
    let (mut total, mut fit, mut shown) = (0, 0, vec![]);
    store.objects().lines(blob, &mut |line| {
        let row: Map<String, Value> =
            serde_json::from_str(line).context("failed to parse a row")?;
        total += 1;
        for name in row.keys().filter(|_| !filters.is_empty()) {
            if !names.contains(name) {
                names.insert(name.clone());
            }
        }
        if !filters.is_empty() && preview::outcome(&row).is_some() {
            names.insert(rows::OUTCOME.into());
        }
        if fit == 0 {
            values.add(&row, &filters);
        }
        if filters
            .iter()
            .all(|(field, value)| rows::is(&row, field, value))
        {
            fit += 1;
            preview.push(&row)?;
            if shown.len() < args.n {
                shown.push(row);
            }
        }
        Ok(())
    })?;
    rows::known(&names, &filters)?;
    let mut text = format!("{fit} of {total} rows fit; {} shown\n", shown.len());
    let strangers = values.strangers(&filters).into_iter();
    for stranger in strangers.filter(|_| fit == 0) {
        text += &format!("{stranger}\n");
    }
    text += "\n";
    text += &preview.text(room());
    for row in &shown {
        text += &format!("\n{}", rows::row(row));
    }
    let mut data = preview.json();
    data.insert("rows".into(), json!(total));
    data.insert("fit".into(), json!(fit));
    data.insert("shown".into(), json!(shown));
    Ok((text, data))
}

/// Metrics and curves, models and adapters, or the files that there are.
fn files_of(store: &Store, artifact: &Artifact, record: &Record) -> Result<Told, Error> {
    let mut data = Map::new();
    let measured = summary::metrics(store, record)?;
    let named = format!("`{}`", record.provenance.node);
    data.insert("beside".into(), json!(beside::all(&measured)));
    data.insert("warning".into(), json!(doubt::warning(&named, &measured)));
    data.insert("metrics".into(), json!(measured));
    let mut text = String::new();
    let mut files: Vec<&Blob> = artifact.files.iter().collect();
    if artifact.ty == Type::Metrics {
        text += &values(&record.provenance.node, &measured);
        files.retain(|f| f.path != METRICS);
    }
    for file in files {
        text += &format!("  {:>10}  {}\n", bytes(file.size), file.path);
    }
    if let Some(blob) = artifact.files.iter().find(|f| f.path == steps::FILE) {
        let (mut curves, mut lines) = (Curves::default(), Lines::default());
        store.objects().lines(blob, &mut |line| {
            if let Some(step) = lines.object(line) {
                curves.push(&step);
            }
            Ok(())
        })?;
        text += &format!("\n{}", curves.text(room()));
        if let Some(remark) = lines.remark() {
            text += &format!("{remark}\n");
            data.insert("curve_remark".into(), json!(remark));
        }
        data.insert("curve".into(), curves.json());
    }
    if let Some(about) = model::about(store, artifact)? {
        text += &about.text();
        data.insert(artifact.ty.to_string(), about.json());
    }
    text += &texts(store, artifact)?;
    Ok((text, data))
}

/// Metrics under their own names, with what stands beside rates, and the warning where much of that cannot be read.
fn values(node: &str, all: &[Metric]) -> String {
    let mut table = Table::new([left("metric"), right("n"), right("value")]);
    let said = |m: &&Metric| !metrics::idle(&m.name, std::iter::once(m.value));
    let shown: Vec<&Metric> = all.iter().filter(said).collect();
    for (i, metric) in shown.iter().enumerate() {
        let n = metric.n.to_string();
        table.push([metric.name.clone(), n, metrics::value(metric)]);
        let next = shown.get(i + 1).map(|next| [beside::of(&next.name, all)]);
        let next = next.as_ref().map(|next| next.as_slice());
        if let Some((label, shares)) = beside::line(&[beside::of(&metric.name, all)], next) {
            table.push([label, String::new(), shares.concat()]);
        }
    }
    let warning = doubt::warning(&format!("`{node}`"), all);
    let warning = warning.map_or(String::new(), |text| format!("warning: {text}\n"));
    table.fit(room()) + &warning
}

/// The study's table, of what is there.
fn table(args: &Show, study: &Study, store: &Store) -> Outcome {
    let graph = &study.graph;
    let decisions = plan::decide(store, graph, &plan::Wanted::default())?;
    remote::tell(store);
    let notes = study.notes();
    let items: Vec<Item> = decisions
        .iter()
        .filter_map(|d| match &d.verdict {
            Verdict::Hit(brief) => Some(Item {
                node: &graph.node(d.id).name,
                kind: graph.node(d.id).kind,
                brief,
                hit: true,
                cost: &brief.cost,
                about: notes.get(&graph.node(d.id).name).map(String::as_str),
            }),
            _ => None,
        })
        .collect();
    if args.json {
        remote::answer(store, json!({ "nodes": summary::json(store, &items)? }));
        return Ok(());
    }
    print(&summary::text(store, &items, room())?);
    let asked = items.iter().map(|i| (i.node, &i.cost.calls));
    let asked = summary::calls(asked, room());
    let asked = match asked.is_empty() {
        true => asked,
        false => asked + "\n",
    };
    let (there, all) = (items.len(), decisions.len());
    let have = if all == 1 { "node has" } else { "nodes have" };
    print(&format!(
        "{}\n{asked}{there} of {all} {have} artifacts\n",
        summary::costs(&items, room())
    ));
    Ok(())
}

fn header(store: &Store, record: &Record, output: &str, artifact: &Artifact) -> String {
    let place = record.provenance.node.as_str();
    let mut out = format!(
        "{place}.{output}: {} of kind `{}`\n",
        artifact.ty, record.kind
    );
    let others: Vec<&str> = record
        .outputs
        .keys()
        .map(String::as_str)
        .filter(|name| *name != output)
        .collect();
    if !others.is_empty() {
        out += &format!("  other outputs: {}\n", listed(others));
    }
    out += &format!("  key {}  digest {}\n", record.key, artifact.digest);
    out += &format!(
        "  made in {} (cpu {}, memory {}), {}, by recipe `{}`\n",
        words::cost(record.cost.seconds, record.cost.dollars),
        duration(record.cost.cpu_seconds),
        bytes(record.cost.peak_bytes),
        count(record.cost.attempts as u64, "attempt", "attempts"),
        record.provenance.recipe
    );
    if let Some(calls) = words::calls(&record.cost.calls) {
        out += &format!("  asked services: {calls}\n");
    }
    out += &origin(record);
    for line in record
        .manifest
        .lines()
        .filter(|l| l.starts_with("param ") || l.starts_with("source "))
    {
        out += &format!("  {line}\n");
    }
    for log in &record.logs {
        out += &format!(
            "  log {}: {}\n",
            log.path,
            store.objects().path(&log.digest).display()
        );
    }
    out
}

/// Where the artifact of a record came from that nobody executed.
fn origin(record: &Record) -> String {
    let mut out = String::new();
    if let Some(accepted) = &record.accepted {
        out += &format!(
            "  accepted from {}: {}\n",
            accepted.from.short(),
            accepted.reason
        );
        for change in &accepted.changes {
            out += &format!("    although {}\n", words::reason_in_full(change));
        }
    }
    if let Some(adopted) = &record.adopted {
        let from: Vec<&str> = adopted.from.values().map(String::as_str).collect();
        out += &format!("  adopted from {}: {}\n", listed(from), adopted.reason);
    }
    out
}

/// A small text file for reading, where that is all there is.
fn texts(store: &Store, artifact: &Artifact) -> Result<String, Error> {
    let [blob] = artifact.files.as_slice() else {
        return Ok(String::new());
    };
    if blob.size > MOST_TEXT {
        return Ok(String::new());
    }
    let bytes = store.objects().read(blob)?;
    Ok(String::from_utf8(bytes).map_or_else(|_| String::new(), |text| format!("\n{text}\n")))
}
