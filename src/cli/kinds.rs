//! `pipe kinds`: the manual of node kinds, from the table itself.

use super::kind_page::{self, metrics_of, rendered, wrapped};
use super::offered;
use super::output::{Error, Outcome, print, print_json, room};
use super::registry::registry;
use base::params::ParamSpec;
use base::text::{did_you_mean, thousands};
use data::schema::{self, Schema};
use engine::kind::Kind;
use kinds::scorers;
use report::table::{Table, left};
use serde_json::{Value, json};

/// List the node kinds; or show one with its ports, outputs and parameters, a line each; or explain a parameter.
///
/// Example: pipe kinds grpo.reward
#[derive(clap::Args)]
pub struct Kinds {
    /// A kind; of a kind a parameter or a table, as `grpo.kl`; `dataset.NAME` is a data set
    #[arg(add = offered::kinds())]
    name: Option<String>,
    /// All that is said of the kind, every parameter explained
    #[arg(long, requires = "name", conflicts_with = "list")]
    all: bool,
    /// List the scorers that reward expressions can name
    #[arg(long, group = "list", conflicts_with = "name")]
    scorers: bool,
    /// List the public data sets that the kind `dataset` reads
    #[arg(long, group = "list", conflicts_with = "name")]
    datasets: bool,
    /// What is in the key of a node of each kind and what is not, as a Markdown table
    #[arg(long, group = "list", conflicts_with_all = ["name", "json"])]
    keys: bool,
    /// What every kind measures: names, units, which direction is better
    #[arg(long, group = "list", conflicts_with_all = ["name", "json"])]
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
    let of_dataset = args
        .name
        .as_deref()
        .and_then(|n| n.strip_prefix("dataset."));
    if let Some(name) = of_dataset.filter(|name| !is_parameter("dataset", name)) {
        return dataset(args.json, name);
    }
    let Some(name) = &args.name else {
        let visible = registry().iter();
        return list(args.json, "kinds", visible.map(|k| (k.name, k.summary)));
    };
    let (name, of_kind) = match name.split_once('.') {
        Some((name, of_kind)) => (name, Some(of_kind)),
        None => (name.as_str(), None),
    };
    let Some(kind) = registry().get(name) else {
        let near = did_you_mean(name, registry().names())
            .map_or("`pipe kinds` lists them".into(), |n| {
                format!("did you mean `{n}`?")
            });
        return Err(Error::Usage(format!("no kind `{name}`; {near}")));
    };
    match (of_kind, args.json) {
        (Some(path), _) => return explained(args.json, kind, path),
        (None, true) => print_json(&kind_page::as_json(kind)),
        (None, false) if args.all => print(&kind_page::whole(kind)),
        (None, false) => print(&kind_page::short(kind)),
    }
    Ok(())
}

fn is_parameter(kind: &str, path: &str) -> bool {
    let kind = registry().get(kind);
    kind.is_some_and(|kind| !kind_page::Found::of(kind, path).is_empty())
}

/// A parameter of a kind, or all of a table.
fn explained(as_json: bool, kind: &Kind, path: &str) -> Outcome {
    let found = kind_page::Found::of(kind, path);
    if found.is_empty() {
        let names = offered::parameters(kind);
        let near = did_you_mean(path, names.iter().copied());
        let near = near.map_or(format!("`pipe kinds {}` lists them", kind.name), |n| {
            format!("did you mean `{}.{n}`?", kind.name)
        });
        let needs = path.split('.').next() == Some("needs");
        let near = match needs {
            true => "`needs` stands with any node: `pipe help cluster`".into(),
            false => near,
        };
        let message = format!("`{}` has no parameter `{path}`; {near}", kind.name);
        return Err(Error::Usage(message));
    }
    match as_json {
        true => print_json(&found.as_json(kind)),
        false => print(&found.page()),
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
            names(kind.own_execution())
        );
    }
    out
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
