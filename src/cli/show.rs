//! `pipe show`: an artifact for reading: what a model said, and what was made of it.

use super::{Error, Outcome, RecipeArgs, StoreArgs, print, print_json, provenance, study, tokens};
use crate::base::response;
use crate::base::rows;
use crate::base::text::{bytes, count, did_you_mean, duration, listed};
use crate::engine::plan;
use crate::engine::record::{Artifact, Record};
use crate::engine::store::Store;
use crate::engine::verdict::Verdict;
use crate::recipe::study::Study;
use crate::report::summary::{self, Item};
use crate::report::table::{Table, left, right};
use crate::report::{metrics, model, words};
use anyhow::Context;
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;

/// A longer text is not shown.
const MOST_TEXT: u64 = 4096;

/// Show the study's table; or a node: its rows, metrics, model files, parameters, cost.
///
/// Rows are shown for reading: the prompt, the reasoning, the answer, the scores. Nothing is run.
///
/// Example: pipe show recipes/tars.toml rl-eval.scores --where class=ambiguous --where good=false -n 5
/// Example: pipe show recipes/tars.toml sft --tokens -n 1
#[derive(clap::Args)]
#[command(verbatim_doc_comment)]
pub struct Show {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// A node, or NODE.OUTPUT; without it, the table of the study
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

pub fn run(args: &Show) -> Outcome {
    let study = study::load(&args.recipe)?;
    let store = study::open(&args.store)?;
    let Some(node) = &args.node else {
        return table(args, &study, &store);
    };
    if args.tokens {
        return tokens::run(&study.graph, &store, &args.recipe, node, args.n, args.json);
    }
    let place = study::place(&study.graph, node)?;
    let record = study::record(&store, &study.graph, place.id)?;
    if args.provenance {
        match args.json {
            true => print_json(&provenance::data(&record)),
            false => print(&provenance::page(&record)),
        }
        return Ok(());
    }
    let (name, artifact) = study::artifact(&study.graph, &place, &record);
    let mut out = header(&store, &record, name, artifact);
    let rows_file = artifact.files.iter().find(|f| f.path == rows::ROWS);
    if let Some(blob) = rows_file {
        let text = store.objects().read_text(blob)?;
        let filters = filters(&args.filter)?;
        let mut all = vec![];
        for line in text.lines() {
            all.push(
                serde_json::from_str::<Map<String, Value>>(line)
                    .context("failed to parse a row")?,
            );
        }
        known(&all, &filters)?;
        let total = all.len();
        all.retain(|row| filters.iter().all(|(field, value)| is(row, field, value)));
        if args.json {
            all.truncate(args.n);
            print_json(
                &json!({ "node": node, "key": record.key, "output": name, "rows": total, "shown": all }),
            );
            return Ok(());
        }
        out += &format!(
            "{} of {total} rows fit; {} shown\n",
            all.len(),
            all.len().min(args.n)
        );
        for row in all.iter().take(args.n) {
            out += &format!("\n{}", self::row(row));
        }
    } else if args.json {
        print_json(&json!({
            "node": node, "key": record.key, "output": name, "type": artifact.ty, "files": artifact.files,
            "cost": record.cost, "made_by": record.provenance, "accepted": record.accepted, "adopted": record.adopted, "manifest": record.manifest,
            "metrics": summary::metrics(&store, &record)?,
        }));
        return Ok(());
    } else if artifact.ty == "metrics" {
        let mut table = Table::new([left("metric"), right("n"), right("value")]);
        for metric in summary::metrics(&store, &record)? {
            table.push([
                metric.name.clone(),
                metric.n.to_string(),
                metrics::value(&metric),
            ]);
        }
        out += &table.render();
        let others = artifact.files.iter().filter(|f| f.path != rows::METRICS);
        for file in others {
            out += &format!("  {:>10}  {}\n", bytes(file.size), file.path);
        }
    } else {
        for file in &artifact.files {
            out += &format!("  {:>10}  {}\n", bytes(file.size), file.path);
        }
        out += &model::about(&store, artifact)?;
        out += &texts(&store, artifact)?;
    }
    print(&out);
    Ok(())
}

/// The study's table, of what is there.
fn table(args: &Show, study: &Study, store: &Store) -> Outcome {
    let graph = &study.graph;
    let plan = plan::plan(store, graph, &plan::Wanted::default())?;
    let notes = study.notes();
    let items: Vec<Item> = plan
        .nodes
        .iter()
        .filter_map(|p| match &p.verdict {
            Verdict::Hit(brief) => Some(Item {
                node: &graph.node(p.id).name,
                brief,
                hit: true,
                about: notes.get(&graph.node(p.id).name).map(String::as_str),
            }),
            _ => None,
        })
        .collect();
    if args.json {
        print_json(&json!({ "nodes": summary::json(store, &items)? }));
        return Ok(());
    }
    print(&summary::text(store, &items)?);
    let asked = items.iter().map(|i| (i.node, &i.brief.cost.calls));
    let asked = summary::calls(asked);
    let asked = match asked.is_empty() {
        true => asked,
        false => asked + "\n",
    };
    print(&format!(
        "{}\n{asked}{} of {} nodes have artifacts\n",
        summary::costs(&items),
        items.len(),
        plan.nodes.len()
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

fn filters(texts: &[String]) -> Result<Vec<(&str, &str)>, Error> {
    let pair = |t: &String| Error::Usage(format!("`--where {t}` is not of the form FIELD=VALUE"));
    texts
        .iter()
        .map(|t| t.split_once('=').ok_or_else(|| pair(t)))
        .collect()
}

/// A field that no row has is a slip of the hand, not a question without answers.
fn known(rows: &[Map<String, Value>], filters: &[(&str, &str)]) -> Result<(), Error> {
    let names: BTreeSet<&str> = rows
        .iter()
        .flat_map(Map::keys)
        .map(String::as_str)
        .collect();
    for (field, _) in filters {
        if !names.is_empty() && !names.contains(field) {
            let near = did_you_mean(field, names.iter().copied()).map_or_else(
                || format!("fields: {}", listed(names.iter().copied())),
                |n| format!("did you mean `{n}`?"),
            );
            return Err(Error::Usage(format!(
                "no row has a field `{field}`; {near}"
            )));
        }
    }
    Ok(())
}

fn is(row: &Map<String, Value>, field: &str, value: &str) -> bool {
    let text = row
        .get(field)
        .map(|v| v.as_str().map_or_else(|| v.to_string(), String::from));
    text.as_deref() == Some(value)
}

/// A row for reading: texts first, in the order one reads them, then everything else on one line.
fn row(row: &Map<String, Value>) -> String {
    let text = |field: &str| row.get(field).and_then(Value::as_str);
    let mut out = format!("--- {}\n", text("id").unwrap_or("row"));
    let mut say = |title: &str, content: &str| {
        out += &format!("{title:<10}{}\n", content.replace('\n', "\n          "))
    };
    if let Some(prompt) = text("prompt") {
        say("prompt", prompt);
    }
    if let Some(messages) = row.get("messages").and_then(Value::as_array) {
        for message in messages {
            say(
                message["role"].as_str().unwrap_or("?"),
                message["content"].as_str().unwrap_or(""),
            );
        }
    }
    if let Some(response) = text("response") {
        if let Some(reasoning) = response::reasoning(response) {
            say("reasoning", reasoning);
        }
        say("answer", response::split(response).1);
    }
    for field in ["reasoning", "answer"] {
        if let Some(content) = text(field) {
            say(field, content);
        }
    }
    let told = [
        "id",
        "prompt",
        "messages",
        "response",
        "reasoning",
        "answer",
        "truth",
    ];
    let rest: Vec<String> = row
        .iter()
        .filter(|(name, _)| !told.contains(&name.as_str()))
        .map(|(name, value)| {
            format!(
                "{name} {}",
                value
                    .as_str()
                    .map_or_else(|| value.to_string(), String::from)
            )
        })
        .collect();
    say("", &rest.join(" · "));
    out
}
