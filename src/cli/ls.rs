//! `pipe ls`: what the store holds.

use super::args::StoreArgs;
use super::offered;
use super::output::{Error, Outcome, print_json, print_lines, print_table, shown};
use super::registry::registry;
use super::{past, pin, size, store};
use base::text::{bytes, count, did_you_mean, duration};
use engine::events::journal;
use engine::store::record::Record;
use engine::system::clock;
use report::table::{Table, left, right};
use serde_json::json;

/// List what the store holds: every record, the newest last; or the runs, the pins, or where the bytes are.
///
/// Example: pipe ls --kind grpo
///
/// Example: pipe ls --size
#[derive(clap::Args)]
pub struct Ls {
    #[command(flatten)]
    store: StoreArgs,
    /// Only records of this kind
    #[arg(long, value_name = "KIND", conflicts_with_all = ["runs", "pins"], add = offered::kinds())]
    kind: Option<String>,
    /// List runs instead of records
    #[arg(long, group = "what")]
    runs: bool,
    /// List pins instead of records
    #[arg(long, group = "what")]
    pins: bool,
    /// List bytes: by record (its own, and what it shares with others), kind, type and folder, and what `gc` would free
    #[arg(long, group = "what")]
    size: bool,
    /// Print the list as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Ls) -> Outcome {
    let store = store::existing(&args.store)?;
    if args.runs {
        return runs(args);
    }
    if args.pins {
        return pin::list(&store, args.json);
    }
    let mut records = store.records()?;
    if let Some(kind) = &args.kind {
        known(kind, &records)?;
    }
    if args.size {
        return size::list(&store, args.kind.as_deref(), args.json);
    }
    records.retain(|r| args.kind.as_ref().is_none_or(|k| *k == r.kind));
    records.sort_by_key(|r| r.cost.started_ms);
    if args.json {
        let list: Vec<_> = records
            .iter()
            .map(|r| json!({
                "key": r.key, "kind": r.kind, "made_by": r.provenance, "cost": r.cost, "bytes": bytes_of(r),
                "accepted": r.accepted, "adopted": r.adopted, "evicted": store.evicted(&r.key),
                "outputs": r.outputs.iter().map(|(n, a)| (n.clone(), json!({ "type": a.ty, "digest": a.digest })))
                    .collect::<serde_json::Map<_, _>>(),
            }))
            .collect();
        print_json(&json!({ "records": list }));
        return Ok(());
    }
    let mut table = Table::new([
        left("key"),
        left("node"),
        left("kind"),
        left("recipe"),
        right("size"),
        right("took"),
        right("age"),
        left(""),
    ]);
    for r in &records {
        table.push([
            r.key.short().to_string(),
            r.provenance.node.clone(),
            r.kind.clone(),
            r.provenance.recipe.clone(),
            bytes(bytes_of(r)),
            duration(r.cost.seconds),
            age(r.cost.started_ms),
            size::mark(r, store.evicted(&r.key).is_some()),
        ]);
    }
    print_table(&table);
    print_lines(&format!(
        "{} in {}\n",
        count(records.len() as u64, "record", "records"),
        shown(store.root())
    ));
    Ok(())
}

/// A kind that neither this program nor any record knows is a slip of the hand.
fn known(kind: &str, records: &[Record]) -> Result<(), Error> {
    let mut names = registry().names();
    if names.any(|name| name == kind) || records.iter().any(|r| r.kind == kind) {
        return Ok(());
    }
    let near = did_you_mean(kind, registry().names());
    let near = near.map_or("`pipe kinds` lists them".into(), |n| {
        format!("did you mean `{n}`?")
    });
    Err(Error::Usage(format!("no kind `{kind}`; {near}")))
}

fn runs(args: &Ls) -> Outcome {
    let store = store::existing(&args.store)?;
    let mut table = Table::new([
        left("run"),
        left("recipe"),
        right("nodes"),
        left("end"),
        right("age"),
    ]);
    let mut list = vec![];
    let mut unreadable = 0;
    for id in journal::runs(&store)? {
        // One whose files are damaged is no reason to hide the others.
        let Ok(run) = past::look(&store, &id) else {
            unreadable += 1;
            continue;
        };
        let end = run.view.ended.as_ref().map(|ended| ended.end);
        list.push(json!({
            "run": id, "recipes": run.info.recipes, "nodes": run.view.nodes.len(), "end": end, "state": run.word(),
            "started_ms": run.info.started_ms, "unreadable_lines": run.unreadable,
        }));
        table.push([
            id,
            few(&run.info.recipes),
            run.view.nodes.len().to_string(),
            run.told().to_string(),
            age(run.info.started_ms),
        ]);
    }
    if args.json {
        print_json(&json!({ "runs": list }));
    } else {
        print_table(&table);
        if unreadable > 0 {
            let runs = count(unreadable, "run", "runs");
            print_lines(&format!("{runs} could not be read\n"));
        }
    }
    Ok(())
}

fn bytes_of(record: &Record) -> u64 {
    record
        .outputs
        .values()
        .flat_map(|a| &a.files)
        .map(|f| f.size)
        .sum()
}

fn age(started_ms: u64) -> String {
    duration(clock::now_ms().saturating_sub(started_ms) as f64 / 1e3)
}

/// The first of many names, and how many more there are.
fn few(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len() {
        n if n <= SHOWN => names.join(", "),
        n => format!("{} and {} more", names[..SHOWN].join(", "), n - SHOWN),
    }
}
