//! `pipe push`: gives the remote what this store has.

use super::args::{Changes, StoreArgs};
use super::output::{Error, Outcome, complain, print_json, print_lines};
use super::pushed::Pushed;
use super::remote::Use;
use super::{answers, complete, remote, store, study};
use anyhow::anyhow;
use base::device::Moved;
use base::hash::Digest;
use base::text::count;
use base::threads;
use clap::ValueHint;
use engine::plan;
use engine::plan::verdict::Verdict;
use engine::store::record::Record;
use engine::store::remote::{Lacking, Published, Reconciled};
use engine::store::{Lookup, Store};
use engine::system::files::Blob;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// Records on their way at once: small ones are four requests each, one after the other.
const AT_ONCE: usize = 32;

/// Give the remote the artifacts that it lacks: of these recipes, or all that the store holds whole.
///
/// A run does this by itself with what it makes; `push` sends what was made before there was a remote, or could not be sent. Bytes
/// go first, the record last, so that nobody sees half an artifact. What the remote has stays as it is; bytes that it lost, or that
/// somebody removed there, come back, as do records, and whatever has another size than it should. Without recipes its index is looked
/// through as well: what lies there and is not in it goes into it, whoever made it.
///
/// Example: pipe push recipes/tars.toml
#[derive(clap::Args)]
pub struct Push {
    /// Recipes, or `pipe:NAME` [default: every whole artifact of the store]
    #[arg(value_name = "RECIPE", value_hint = ValueHint::FilePath)]
    recipes: Vec<PathBuf>,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    store: StoreArgs,
    /// Only this node and what it needs. May be repeated
    #[arg(long, value_name = "NODE", requires = "recipes", add = complete::nodes())]
    only: Vec<String>,
    /// The remote of this profile, a name of `pipe profiles` or a file, rather than of the store's settings
    #[arg(long, value_name = "PROFILE")]
    on: Option<String>,
    /// Read what lies there as well, records and bytes, and put right what is not what its name says
    #[arg(long)]
    verify: bool,
    /// The answers of services that the remote lacks, and nothing else. They hold prompts: who may read the remote may read them
    #[arg(long, conflicts_with_all = ["recipes", "only", "verify"])]
    calls: bool,
    /// Print the result as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Push) -> Outcome {
    if args.calls {
        let moved = answers::push(&store::existing(&args.store)?, args.on.as_deref())?;
        match args.json {
            true => print_json(&json!({ "ok": true, "answers": moved.answers })),
            false => print_lines(&format!(
                "{} pushed\n",
                count(moved.answers as u64, "answer", "answers")
            )),
        }
        return Ok(());
    }
    let patient = Use {
        on: args.on.as_deref(),
        patient: true,
        gives: true,
        ..Use::default()
    };
    let store = remote::required(store::existing(&args.store)?, patient)?;
    remote::reach(&store)?;
    let (mut records, evicted) = records(args, &store)?;
    let found = match args.recipes.is_empty() || args.verify {
        true => store.reconcile(args.verify)?,
        false => Reconciled::default(),
    };
    let (lacking, mut untold) = lacking(&store, &records, args.verify);
    let of_records = found.unread.iter();
    untold.extend(of_records.map(|(key, why)| format!("record {}: {why}", key.short())));
    // What came from there is there, but for bytes that it lost.
    let lacks = |r: &Record| any(files(r), &lacking.absent) || any(files(r), &lacking.wrong);
    records.retain(|record| store.found(&record.key).is_none() || lacks(record));
    let total = records.len();
    let mut pushed = push(&store, records, &lacking);
    (pushed.evicted, pushed.found) = (evicted, found);
    let remote = store.remote();
    pushed.sent = remote.map_or(0, |remote| remote.moved());
    let settled = remote.map_or(Ok(()), |remote| remote.settle());
    let (answered, told) = remote::ends(&store);
    pushed.failed.extend(untold);
    let ok = pushed.failed.is_empty() && answered;
    match args.json {
        true => remote::print_answer(&store, pushed.answer(ok && settled.is_ok())),
        false => print_lines(&pushed.text()),
    }
    for line in pushed.wrong() {
        complain(&format!(
            "warning: {line}; whoever made it puts it right by `pipe push --verify`\n"
        ));
    }
    for line in &pushed.failed {
        complain(&format!("error: {line}\n"));
    }
    for line in &told {
        complain(&format!("{line}\n"));
    }
    settled?;
    if ok {
        return Ok(());
    }
    let left = total - pushed.new.len() - pushed.there - pushed.differing.len();
    let told = match left {
        0 if !answered => "the remote did not answer to the end".into(),
        0 => "not all that lies at the remote was looked at".into(),
        n => count(n as u64, "record is", "records are") + " not at the remote",
    };
    Err(Error::World(anyhow!("{told}; the same command goes on")))
}

/// Those to be given, and how many cannot be.
fn records(args: &Push, store: &Store) -> Result<(Vec<Record>, usize), Error> {
    let mut found: Vec<Record> = vec![];
    if args.recipes.is_empty() {
        found = store.records()?;
    } else {
        let study = study::load_all(&args.recipes, &args.changes)?;
        let wanted = study::wanted(&study, &args.only, &[])?;
        let decided = plan::decide(store, &study.graph, &wanted)?;
        remote::tell(store);
        for decision in decided {
            if let Verdict::Hit(brief) = &decision.verdict {
                found.extend(store.record(&brief.key)?);
            }
        }
    }
    let here = store.remote().map(|remote| remote.name().to_string());
    let mut evicted = 0;
    found.retain(|record| {
        let came = store.found(&record.key);
        let whole = matches!(store.lookup(&record.key), Lookup::Whole(_));
        evicted += usize::from(came.is_none() && !whole);
        // What came from another remote is of those who give to that.
        whole && came.is_none_or(|came| Some(came.remote) == here)
    });
    Ok((found, evicted))
}

/// Blobs of theirs that are here, and that the remote does not have as they should be. `whole`: what lies there is read; beside
/// them, what is told of those of which that cannot be known.
fn lacking(store: &Store, records: &[Record], whole: bool) -> (Lacking, Vec<String>) {
    let files = records.iter().flat_map(files);
    let mut blobs: Vec<&Blob> = files.filter(|blob| store.objects().has(blob)).collect();
    blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
    blobs.dedup_by(|a, b| a.digest == b.digest);
    let Some(remote) = store.remote() else {
        return Default::default();
    };
    let mut lacking = match remote.lacking(&blobs) {
        Ok(lacking) => lacking,
        Err(error) => return (Lacking::default(), vec![format!("{error:#}")]),
    };
    let mut untold = lacking.untold();
    if whole {
        blobs.retain(|blob| lacking.is_whole(&blob.digest));
        let doubted = store.doubt_remote(&blobs);
        lacking.wrong.extend(doubted.blobs);
        untold.extend(doubted.unread);
    }
    (lacking, untold)
}

fn outputs(record: &Record) -> impl Iterator<Item = &Blob> {
    record.outputs.values().flat_map(|artifact| &artifact.files)
}

fn files(record: &Record) -> impl Iterator<Item = &Blob> {
    outputs(record).chain(&record.logs)
}

/// Whether one of these is among those.
fn any<'b>(mut blobs: impl Iterator<Item = &'b Blob>, those: &BTreeSet<Digest>) -> bool {
    blobs.any(|blob| those.contains(&blob.digest))
}

/// Several at once; the oldest first, so that who runs beside finds inputs before what was made of them.
fn push(store: &Store, mut records: Vec<Record>, lacking: &Lacking) -> Pushed {
    records.sort_by_key(|record| std::cmp::Reverse(record.cost.started_ms));
    // Draws nothing where stderr is no terminal.
    let bar = ProgressBar::new(records.len() as u64);
    let style = ProgressStyle::with_template("pushing {wide_bar} {pos} of {len}");
    bar.set_style(style.expect("the template is well formed"));
    let (waiting, pushed) = (Mutex::new(records), Mutex::new(Pushed::default()));
    let work = || {
        while let Some(record) = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            let (lost, damaged) = (&lacking.absent, &lacking.wrong);
            let bytes = any(files(&record), lost) || any(files(&record), damaged);
            let published = store.publish(&record, bytes, &|| false);
            let name = record.provenance.node.clone();
            let mut pushed = pushed.lock().unwrap_or_else(PoisonError::into_inner);
            match published {
                Ok(Some(Published::New)) => {
                    pushed.mended += usize::from(any(files(&record), damaged));
                    pushed.new.insert(record.key);
                }
                Ok(Some(Published::Same)) => {
                    pushed.there += 1;
                    pushed.restored += usize::from(any(files(&record), lost));
                    pushed.mended += usize::from(any(files(&record), damaged));
                }
                Ok(Some(Published::Other(there))) => {
                    let there = Record::from_text(&there).ok();
                    match there.as_ref().is_some_and(|there| same(&record, there)) {
                        // Its logs are its own.
                        true => {
                            pushed.there += 1;
                            pushed.restored += usize::from(any(outputs(&record), lost));
                            pushed.mended += usize::from(any(outputs(&record), damaged));
                        }
                        false => {
                            let moved = there.and_then(|there| moved(&there, &record));
                            pushed
                                .moved
                                .extend(moved.map(|moved| (name.clone(), moved)));
                            pushed.differing.push(name);
                        }
                    }
                }
                // It takes nothing any more, which was told.
                Ok(None) => {}
                Err(error) => pushed.failed.push(format!("`{name}`: {error:#}")),
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
    pushed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// Whether the record at the remote has the same bytes.
fn same(record: &Record, there: &Record) -> bool {
    let digests = |r: &Record| -> Vec<_> {
        let outputs = r.outputs.iter();
        outputs
            .map(|(name, a)| (name.clone(), a.digest.clone()))
            .collect()
    };
    digests(there) == digests(record)
}

fn moved(there: &Record, here: &Record) -> Option<Moved> {
    let [there, here] = [there, here].map(|r| &r.provenance.origin.devices[..]);
    Moved::between(there, here)
}
