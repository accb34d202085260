//! `pipe kinds`: the manual of node kinds, from the table itself.

use super::complete;
use super::output::{Error, Outcome, print, print_json, room};
use super::registry::registry;
use base::params::{Default, ParamSpec};
use base::text::{did_you_mean, thousands, width, wrap};
use data::schema::{self, Schema};
use engine::kind::{Kind, Need};
use kinds::scorers;
use report::table::{Table, left};
use serde_json::{Value, json};

/// List the node kinds; or show one with its ports, outputs and every parameter.
///
/// Example: pipe kinds grpo
#[derive(clap::Args)]
pub struct Kinds {
    /// A kind; `dataset.NAME` is a data set
    #[arg(add = complete::kinds())]
    name: Option<String>,
    /// List the scorers that reward expressions can name
    #[arg(long)]
    scorers: bool,
    /// List the public data sets that the kind `dataset` reads
    #[arg(long, conflicts_with = "scorers")]
    datasets: bool,
    /// What is in the key of a node of each kind and what is not, as a Markdown table
    #[arg(long, conflicts_with_all = ["name", "scorers", "json"])]
    keys: bool,
    /// What every kind measures: names, units, which direction is better
    #[arg(long, conflicts_with_all = ["name", "scorers", "datasets", "keys", "json"])]
    metrics: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Kinds) -> Outcome {
    if args.keys {
        print(&keys());
        return Ok(());
    }
    if args.metrics {
        print(&metrics());
        return Ok(());
    }
    if args.scorers {
        return list(
            args.json,
            "scorers",
            scorers::ALL.iter().map(|s| (s.name, s.summary)),
        );
    }
    if args.datasets {
        let sets = schema::ALL.iter().map(|s| (s.name, s.summary));
        return list(args.json, "datasets", sets);
    }
    if let Some(name) = args
        .name
        .as_deref()
        .and_then(|n| n.strip_prefix("dataset."))
    {
        return dataset(args.json, name);
    }
    let Some(name) = &args.name else {
        let visible = registry().iter();
        return list(args.json, "kinds", visible.map(|k| (k.name, k.summary)));
    };
    let Some(kind) = registry().get(name) else {
        let near = did_you_mean(name, registry().names())
            .map_or("`pipe kinds` lists them".into(), |n| {
                format!("did you mean `{n}`?")
            });
        return Err(Error::Usage(format!("no kind `{name}`; {near}")));
    };
    if args.json {
        print_json(&as_json(kind));
    } else {
        print(&page(kind));
    }
    Ok(())
}

fn list(
    as_json: bool,
    what: &str,
    rows: impl Iterator<Item = (&'static str, &'static str)>,
) -> Outcome {
    if as_json {
        let rows = rows.map(|(name, summary)| json!({ "name": name, "summary": summary }));
        print_json(&json!({ what: rows.collect::<Vec<_>>() }));
        return Ok(());
    }
    let mut table = Table::new([left("name"), left("")]);
    for (name, summary) in rows {
        table.push([name, summary]);
    }
    print(&table.fit(room()));
    Ok(())
}

/// A row a kind, from the tables that the keys are made by.
pub fn keys() -> String {
    let names = |specs: Vec<ParamSpec>| {
        let all: Vec<String> = specs.iter().map(|s| format!("`{}`", s.name)).collect();
        all.join(" ")
    };
    let mut out = String::from("| kind | in the key | never in the key |\n|---|---|---|\n");
    for kind in registry().iter() {
        let ports: Vec<String> = kind
            .inputs
            .iter()
            .map(|p| format!("*{}*", p.name))
            .collect();
        let within = [ports.join(" "), names((kind.params)())];
        let within: Vec<String> = within.into_iter().filter(|t| !t.is_empty()).collect();
        out += &format!(
            "| {} {} | {} | {} |\n",
            kind.name,
            kind.revision,
            within.join(" "),
            names((kind.exec)())
        );
    }
    out
}

fn page(kind: &Kind) -> String {
    let mut out = format!(
        "{}\n{}",
        hanging(&format!("{}: {}", kind.name, kind.summary)),
        wrapped(kind.about, 0)
    );
    let mut section = |title: &str, text: String| {
        if !text.is_empty() {
            out += &format!("\n{title}\n{text}");
        }
    };
    let mut ports = Table::new([left("port"), left("type"), left(""), left("")]);
    for port in kind.inputs {
        ports.push([
            port.name.to_string(),
            port.ty.word().to_string(),
            port.need.word(),
            port.doc.to_string(),
        ]);
    }
    section("Inputs", rendered(&ports));
    let mut outputs = Table::new([left("output"), left("type"), left("")]);
    for output in kind.outputs {
        outputs.push([output.name, output.ty.word(), output.doc]);
    }
    section("Outputs", rendered(&outputs));
    section("Metrics", rendered(&metrics_of(kind, None)));
    section("Parameters (part of the key)", params(&(kind.params)()));
    section(
        "Execution parameters (never part of the key)",
        params(&(kind.exec)()),
    );
    out + &format!("\nExample\n{}", kind.example)
}

/// A row a name; of families that anything may belong to, a row a family. Without those that the other kind has.
fn metrics_of(kind: &Kind, but: Option<&Kind>) -> Table {
    let told = |name: &str| but.is_some_and(|b| b.metrics.iter().any(|m| m.name == name));
    let mut table = Table::new([left("metric"), left("unit"), left(""), left("")]);
    for metric in kind.metrics.iter().filter(|m| !told(m.name)) {
        for name in metric.names() {
            let label = kind.label(&name);
            let words = metric.better.words().to_string();
            table.push([name, metric.unit.to_string(), words, label]);
        }
    }
    table
}

/// A table a kind; a blank line between two.
fn metrics() -> String {
    let kinds = registry().iter().filter(|k| !k.metrics.is_empty());
    let tables = kinds.map(|kind| {
        let lender = lender(kind);
        let all = lender.map_or(String::new(), |k| format!(", all of `{}`", k.name));
        let others = match kind.knows_its_metrics() {
            true => "",
            false => ", and what else its parameters or a program write",
        };
        let table = rendered(&metrics_of(kind, lender));
        format!("{}{all}{others}\n{table}", kind.name)
    });
    tables.collect::<Vec<_>>().join("\n")
}

/// The kind that knows its metrics and all of whose many metrics this one may write, too.
fn lender(kind: &Kind) -> Option<&'static Kind> {
    let names = |k: &Kind| -> Vec<&str> { k.metrics.iter().map(|m| m.name).collect() };
    let there = names(kind);
    let lends = |k: &Kind| k.metrics.len() > 20 && names(k).iter().all(|n| there.contains(n));
    let mut lenders = registry().iter().filter(|k| k.knows_its_metrics());
    lenders.find(|k| !kind.knows_its_metrics() && lends(k))
}

fn dataset(as_json: bool, name: &str) -> Outcome {
    let Some(set) = schema::find(name) else {
        let near = did_you_mean(name, schema::NAMES);
        let near = near.map_or("`pipe kinds --datasets` lists them".into(), |n| {
            format!("did you mean `dataset.{n}`?")
        });
        return Err(Error::Usage(format!("no data set `{name}`; {near}")));
    };
    if as_json {
        print_json(&set_as_json(set));
    } else {
        print(&set_page(set));
    }
    Ok(())
}

/// All that a schema says of its set.
fn set_page(set: &Schema) -> String {
    let mut out = format!("dataset.{}: {}\n", set.name, set.summary);
    let mut section = |title: &str, lines: Vec<String>| {
        if !lines.is_empty() {
            let lines: Vec<String> = lines.iter().map(|l| wrapped(l, 2)).collect();
            out += &format!("\n{title}\n{}", lines.concat());
        }
    };
    let owned = |lines: &[&str]| lines.iter().map(|l| l.to_string()).collect();
    section("Where", owned(set.hub));
    section("Licence", owned(&[set.licence]));
    let mut delivered = vec!["prompts"];
    delivered.extend(set.conversations.then_some("conversations"));
    delivered.extend(set.pairs.then_some("pairs"));
    section("Delivers", vec![delivered.join(", "), set.gives.into()]);
    let columns = set.columns.iter();
    section(
        "Columns",
        columns
            .map(|c| format!("{}: {}", c.told(), c.what))
            .collect(),
    );
    let forms = set.forms.iter();
    section(
        "Forms (`form`)",
        forms
            .map(|(word, doc)| format!("`{word}`: {doc}"))
            .collect(),
    );
    let usual = set
        .usual
        .map(|s| format!("`{s}` of a folder, where none is named"));
    let words = set.splits.iter().map(|w| format!("`{w}`"));
    section("Split (`split`)", usual.into_iter().chain(words).collect());
    let rows = set.published.iter();
    let rows = rows.map(|(what, n, source)| format!("{what}: {} ({source})", thousands(*n)));
    section("Published rows", rows.collect());
    section("Traps", owned(set.traps));
    out
}

fn set_as_json(set: &Schema) -> Value {
    let columns = set.columns.iter();
    let columns = columns.map(|c| json!({ "names": c.names, "required": c.needed, "doc": c.what }));
    let forms = set.forms.iter();
    let rows = set.published.iter();
    json!({
        "name": set.name, "summary": set.summary, "where": set.hub, "licence": set.licence,
        "columns": columns.collect::<Vec<_>>(), "gives": set.gives,
        "conversations": set.conversations, "pairs": set.pairs,
        "forms": forms.map(|(word, doc)| json!({ "name": word, "doc": doc })).collect::<Vec<_>>(),
        "usual_split": set.usual, "splits": set.splits, "traps": set.traps,
        "published": rows.map(|(what, n, source)| json!({ "what": what, "rows": n, "source": source })).collect::<Vec<_>>(),
    })
}

fn rendered(table: &Table) -> String {
    match table.is_empty() {
        true => String::new(),
        false => table.fit(room()),
    }
}

/// A line with name, shape and default, and the explanation below it; before the first of a block that block's.
fn params(specs: &[ParamSpec]) -> String {
    let mut out = String::new();
    let mut block = None;
    for spec in specs {
        if let Some(own) = spec.block
            && block != Some(own)
        {
            let there = match own.optional {
                true => "absent unless it is written",
                false => "always there",
            };
            out += &format!("  [{}]: a table, {there}\n", own.name);
            if !own.doc.is_empty() {
                out += &wrapped(own.doc, 6);
            }
        }
        block = spec.block;
        let default = match &spec.default {
            Default::Required => "required".to_string(),
            Default::Absent => "absent by default".to_string(),
            Default::Value(value) => format!("default {}", value.canon()),
        };
        let shape = spec.ty.describe();
        out += &hanging(&format!("  {}: {shape}, {default}", spec.name));
        out += &wrapped(spec.doc, 6);
    }
    out
}

/// As `wrapped`, with lines after the first further in.
fn hanging(text: &str) -> String {
    wrap(text, room().min(100), 4).join("\n") + "\n"
}

/// Lines of at most 100 columns, each ended by a newline.
fn wrapped(text: &str, indent: usize) -> String {
    let room = room().min(100);
    let space = " ".repeat(indent);
    let mut lines = vec![space.clone()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().expect("there is a first line");
        if width(last) > indent && width(last) + 1 + width(word) > room {
            lines.push(format!("{space}{word}"));
        } else {
            if width(last) > indent {
                last.push(' ');
            }
            last.push_str(word);
        }
    }
    lines.join("\n") + "\n"
}

/// The doc comment as one line.
fn one_line(doc: &str) -> String {
    doc.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn as_json(kind: &Kind) -> Value {
    let specs = |specs: Vec<ParamSpec>| -> Value {
        specs
            .iter()
            .map(|s| {
                let default = match &s.default {
                    Default::Value(value) => json!(value),
                    _ => Value::Null,
                };
                let block = s.block.map(|b| json!({ "name": b.name, "doc": one_line(b.doc), "optional": b.optional }));
                json!({
                    "name": s.name, "block": block, "takes": s.ty.describe(), "doc": one_line(s.doc), "default": default,
                    "required": matches!(s.default, Default::Required),
                })
            })
            .collect()
    };
    let inputs = kind.inputs.iter();
    let outputs = kind.outputs.iter();
    json!({
        "name": kind.name, "revision": kind.revision, "summary": kind.summary, "about": kind.about, "example": kind.example,
        "inputs": inputs.map(|p| json!({ "name": p.name, "type": p.ty.word(), "required": matches!(p.need, Need::Always), "need": p.need.word(), "doc": p.doc }))
            .collect::<Vec<_>>(),
        "role": kind.role,
        "metrics": kind.metrics,
        "outputs": outputs.map(|o| json!({ "name": o.name, "type": o.ty.word(), "doc": o.doc })).collect::<Vec<_>>(),
        "params": specs((kind.params)()), "exec": specs((kind.exec)()),
    })
}
