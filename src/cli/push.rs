//! `pipe push`: gives the remote what this store has.

use super::args::{Changes, StoreArgs};
use super::output::{Error, Outcome, complain, print_json, print_lines};
use super::remote::Use;
use super::{answers, complete, remote, store, study};
use anyhow::anyhow;
use base::device::Moved;
use base::hash::{Digest, Key};
use base::text::{bytes, count};
use base::threads;
use clap::ValueHint;
use engine::plan;
use engine::plan::verdict::Verdict;
use engine::store::record::Record;
use engine::store::remote::{Published, Reconciled};
use engine::store::{Lookup, Store};
use engine::system::files::Blob;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
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

/// What became of the records.
#[derive(Default)]
struct Pushed {
    new: usize,
    new_keys: BTreeSet<Key>,
    there: usize,
    /// Of those, whose bytes the remote lacked.
    restored: usize,
    /// The remote has other bytes of these nodes.
    differing: Vec<String>,
    /// Of these, what they were computed on there and here, where that is not the same.
    moved: BTreeMap<String, Moved>,
    failed: Vec<String>,
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
    store.find_remote(&Key::from_bytes(&[0; 32]))?;
    if store.remote().is_none() {
        let why = store.remote_remark().unwrap_or_default();
        return Err(Error::World(anyhow!(why)));
    }
    let (mut records, evicted) = records(args, &store)?;
    let found = match args.recipes.is_empty() || args.verify {
        true => store.reconcile(args.verify)?,
        false => Reconciled::default(),
    };
    let (lacking, mut unread) = lacking(&store, &records, args.verify);
    let of_records = found.unread.iter();
    unread.extend(of_records.map(|(key, why)| format!("record {}: {why}", key.short())));
    // What came from there is there, but for bytes that it lost.
    records.retain(|record| store.found(&record.key).is_none() || lacks(record, &lacking));
    let total = records.len();
    let whole = unread.is_empty();
    let mut pushed = push(&store, records, &lacking);
    pushed.failed.extend(unread);
    let remote = store.remote();
    let sent = remote.map_or(0, |remote| remote.moved());
    let settled = remote.map_or(Ok(()), |remote| remote.settle());
    let closed = store.remote_remark();
    let wrong: Vec<String> = wrong(&found, &pushed)
        .map(|(key, why)| format!("record {}: {why}", key.short()))
        .collect();
    if args.json {
        print_json(&json!({
            "ok": pushed.failed.is_empty() && settled.is_ok() && closed.is_none(),
            "pushed": pushed.new, "there": pushed.there, "restored": pushed.restored, "evicted": evicted, "failed": pushed.failed,
            "differing": pushed.differing, "bytes": sent, "indexed": found.indexed, "wrong": wrong,
        }));
    } else {
        let mut out = format!(
            "{} pushed, {} there already; {} moved\n",
            count(pushed.new as u64, "record", "records"),
            pushed.there,
            bytes(sent)
        );
        if pushed.restored > 0 {
            let of = count(pushed.restored as u64, "record", "records");
            out += &format!("the bytes of {of} that it lacked are back\n");
        }
        if found.indexed > 0 {
            let of = count(found.indexed as u64, "record", "records");
            out += &format!("its index lacked {of}, and has them now\n");
        }
        if evicted > 0 {
            let were = count(evicted as u64, "record was", "records were");
            out += &format!("{were} left out: their bytes are not here\n");
        }
        for node in &pushed.differing {
            let why = match pushed.moved.get(node) {
                None => "the node is not reproducible".to_string(),
                Some(moved) => format!(
                    "they are of another device: {} there, {} here",
                    moved.before, moved.now
                ),
            };
            out += &format!("the remote has other bytes of `{node}`: {why}\n");
        }
        print_lines(&out);
    }
    for line in &wrong {
        complain(&format!(
            "warning: {line}; whoever made it puts it right by `pipe push --verify`, and so does the next run\n"
        ));
    }
    for line in pushed.failed.iter().chain(&closed) {
        complain(&format!("error: {line}\n"));
    }
    if let Err(error) = settled {
        return Err(Error::World(error));
    }
    match pushed.failed.is_empty() && closed.is_none() {
        true => Ok(()),
        false => {
            let left = total - pushed.new - pushed.there - pushed.differing.len();
            let told = match left {
                0 if whole => "the remote did not answer to the end".into(),
                0 => "not all that lies at the remote was looked at".into(),
                n => count(n as u64, "record is", "records are") + " not at the remote",
            };
            Err(Error::World(anyhow!("{told}; the same command goes on")))
        }
    }
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

/// What lies under a record's name, is none, and was not replaced.
fn wrong<'a>(
    found: &'a Reconciled,
    pushed: &'a Pushed,
) -> impl Iterator<Item = (&'a Key, &'a String)> {
    let wrong = found.wrong.iter();
    wrong.filter(|(key, _)| !pushed.new_keys.contains(*key))
}

/// Blobs of theirs that are here, and that the remote does not have. `whole`: or whose bytes there are others, which is read; beside
/// them, what is told of those of which that cannot be known.
fn lacking(store: &Store, records: &[Record], whole: bool) -> (BTreeSet<Digest>, Vec<String>) {
    let files = records.iter().flat_map(files);
    let mut blobs: Vec<&Blob> = files.filter(|blob| store.objects().has(blob)).collect();
    blobs.sort_by(|a, b| a.digest.cmp(&b.digest));
    blobs.dedup_by(|a, b| a.digest == b.digest);
    let Some(remote) = store.remote() else {
        return (BTreeSet::new(), vec![]);
    };
    let mut unread = vec![];
    let mut look = |blobs: &[&Blob]| match remote.lacking(blobs) {
        Ok(lacking) => lacking,
        Err(error) => {
            unread.push(format!("{error:#}"));
            BTreeSet::new()
        }
    };
    let mut lacking = look(&blobs);
    if whole {
        blobs.retain(|blob| !lacking.contains(&blob.digest));
        let doubted = store.doubt_remote(&blobs);
        if doubted.blobs > 0 {
            lacking.extend(look(&blobs));
        }
        unread.extend(doubted.unread);
    }
    (lacking, unread)
}

fn files(record: &Record) -> impl Iterator<Item = &Blob> {
    let outputs = record.outputs.values().flat_map(|artifact| &artifact.files);
    outputs.chain(&record.logs)
}

fn lacks(record: &Record, lacking: &BTreeSet<Digest>) -> bool {
    files(record).any(|blob| lacking.contains(&blob.digest))
}

/// Several at once; the oldest first, so that who runs beside finds inputs before what was made of them.
fn push(store: &Store, mut records: Vec<Record>, lacking: &BTreeSet<Digest>) -> Pushed {
    records.sort_by_key(|record| std::cmp::Reverse(record.cost.started_ms));
    // Draws nothing where stderr is no terminal.
    let bar = ProgressBar::new(records.len() as u64);
    let style = ProgressStyle::with_template("pushing {wide_bar} {pos} of {len}");
    bar.set_style(style.expect("the template is well formed"));
    let (waiting, pushed) = (Mutex::new(records), Mutex::new(Pushed::default()));
    let work = || {
        while let Some(record) = waiting.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            let lacks = lacks(&record, lacking);
            let published = store.publish(&record, lacks, &|| false);
            let name = record.provenance.node.clone();
            let mut pushed = pushed.lock().unwrap_or_else(PoisonError::into_inner);
            match published {
                Ok(Some(Published::New)) => {
                    pushed.new += 1;
                    pushed.new_keys.insert(record.key);
                }
                Ok(Some(Published::Other(there))) => {
                    let there = Record::from_text(&there).ok();
                    match there.as_ref().is_some_and(|there| same(&record, there)) {
                        true => {
                            pushed.there += 1;
                            pushed.restored += usize::from(lacks);
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
                Ok(Some(Published::Same)) => {
                    pushed.there += 1;
                    pushed.restored += usize::from(lacks);
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
