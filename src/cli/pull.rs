//! `pipe pull`: brings what others have made of a study, bytes and all.

use super::answers::{self, Moved};
use super::args::{RecipesArgs, StoreArgs};
use super::output::{Error, Outcome, complain, print_lines};
use super::remote::Use;
use super::{complete, remote, store, study};
use anyhow::anyhow;
use base::text::{bytes, count};
use base::threads;
use engine::kind::Type;
use engine::plan::verdict::Verdict;
use engine::plan::{self, Asking};
use engine::store::Store;
use engine::store::record::Record;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::sync::{Mutex, PoisonError};

/// Artifacts on their way at once.
const AT_ONCE: usize = 4;

/// Get the artifacts of a study that the remote has, with all their bytes.
///
/// Nobody has to: `plan`, `run`, `diff`, `table`, `claims` and `report` look at the remote by themselves, and bring only what they
/// need. `pull` is for whoever wants all of it here, as before a journey. Every byte is checked on arrival; what broke off is gone on with.
///
/// Example: pipe pull recipes/tars.toml --only rl
#[derive(clap::Args)]
pub struct Pull {
    #[command(flatten)]
    recipes: RecipesArgs,
    #[command(flatten)]
    store: StoreArgs,
    /// Only this node and what it needs. May be repeated
    #[arg(long, value_name = "NODE", add = complete::nodes())]
    only: Vec<String>,
    /// The remote of this profile, a name of `pipe profiles` or a file, rather than of the store's settings
    #[arg(long, value_name = "PROFILE")]
    on: Option<String>,
    /// Records, metrics and logs, and no other bytes
    #[arg(long)]
    records: bool,
    /// The answers of services that somebody shared as well; a call that has one is never made
    #[arg(long)]
    calls: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Pull) -> Outcome {
    let patient = Use {
        on: args.on.as_deref(),
        read_only: true,
        patient: true,
        gives: false,
    };
    let study = study::load_all(&args.recipes.recipes, &args.recipes.changes)?;
    let store = remote::required(store::to_write(&args.store, args.json)?, patient)?;
    remote::reach(&store)?;
    store.prepare()?;
    let wanted = study::wanted(&study, &args.only, &[])?;
    let plan = plan::plan_asking(&store, &study.graph, &wanted, Asking::All)?;
    let remarks = plan.remarks.iter();
    let remarks = remarks.map(|(id, remark)| format!("`{}`: {remark}", study.graph.node(*id).name));
    let mut refused: Vec<String> = remarks.collect();
    let (mut keys, mut without) = (vec![], vec![]);
    for decision in plan.nodes.iter().map(|planned| &planned.decision) {
        match &decision.verdict {
            Verdict::Hit(brief) => keys.push(brief.key.clone()),
            _ => without.push(study.graph.node(decision.id).name.clone()),
        }
    }
    store.keep(keys.iter())?;
    let mut records = vec![];
    for key in &keys {
        records.extend(store.record(key)?);
    }
    let failed = pull(&store, &records, args.records);
    let calls = match args.calls {
        true => answers::pull(&store, args.on.as_deref())?,
        false => Moved::default(),
    };
    refused.extend(calls.refused);
    let moved = store.remote().map_or(0, |remote| remote.moved());
    let (answered, told) = remote::ends(&store);
    if args.json {
        let answer = json!({
            "ok": failed.is_empty() && refused.is_empty() && answered, "records": records.len(), "missing": without, "refused": refused, "failed": failed, "bytes": moved, "answers": calls.answers,
        });
        remote::print_answer(&store, answer);
    } else {
        let mut out = format!(
            "{} here; {} moved\n",
            count(records.len() as u64, "record is", "records are"),
            bytes(moved)
        );
        if !without.is_empty() {
            let n = count(without.len() as u64, "node has", "nodes have");
            let there = match refused.is_empty() {
                true => "here or there",
                false => "here, or none there that is believed",
            };
            out += &format!("{n} no artifact, {there}: `pipe plan` says what would run\n");
        }
        if args.calls {
            let came = count(calls.answers as u64, "answer", "answers");
            out += &format!("{came} of services came\n");
        }
        print_lines(&out);
    }
    for line in failed.iter().chain(&refused) {
        complain(&format!("error: {line}\n"));
    }
    for line in &told {
        complain(&format!("{line}\n"));
    }
    match (failed.is_empty() && answered, refused.is_empty()) {
        (true, true) => Ok(()),
        (true, false) => Err(Error::World(anyhow!(
            "not everything that is there is read and believed"
        ))),
        (false, _) => Err(Error::World(anyhow!(
            "not everything came; the same command goes on where it broke off"
        ))),
    }
}

/// What did not come, in words.
fn pull(store: &Store, records: &[Record], small: bool) -> Vec<String> {
    let bar = ProgressBar::new(records.len() as u64);
    let style = ProgressStyle::with_template("pulling {wide_bar} {pos} of {len}");
    bar.set_style(style.expect("the template is well formed"));
    let waiting = Mutex::new(records.iter().rev().collect::<Vec<_>>());
    let failed = Mutex::new(vec![]);
    let work = || {
        while let Some(record) = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            if let Err(error) = one(store, record, small) {
                let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                failed.push(format!("`{}`: {error:#}", record.provenance.node));
            }
            bar.inc(1);
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..AT_ONCE {
            // Where no thread is given, the others do its part.
            let _ = threads::start_in(scope, work);
        }
        work();
    });
    bar.finish_and_clear();
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

fn one(store: &Store, record: &Record, small: bool) -> anyhow::Result<()> {
    for log in &record.logs {
        store.objects().reach(log)?;
    }
    for (output, artifact) in &record.outputs {
        let here = artifact.files.iter().all(|blob| store.objects().has(blob));
        if !here && (!small || artifact.ty == Type::Metrics) {
            store.pull(&record.key, output, artifact, &|| None)?;
        }
    }
    Ok(())
}
