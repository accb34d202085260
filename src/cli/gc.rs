//! `pipe gc`: what could go from the store, why, and what it would cost to make again; and making room.

use super::args::StoreArgs;
use super::gc_remote::{self, RemoteGc};
use super::output::{Error, Outcome, print_json, print_lines, room};
use super::store;
use anyhow::anyhow;
use base::text::{bytes, count, duration, parse_bytes};
use engine::gc::collect::{self, Item, Policy, Proposal, SECONDS_PER_DOLLAR, Tier, What};
use engine::gc::roots::LAST_RUNS;
use engine::gc::settings::{self, Settings};
use engine::gc::sizes;
use engine::gc::sweep::{self, Busy, Swept};
use engine::store::Store;
use engine::system::clock;
use report::table::{Table, left, right};
use report::words;
use serde_json::{Value, json};
use services::journal::Journal;
use std::collections::BTreeMap;
use std::time::Duration;

/// More lines of a tier are counted, not shown; `--json` has all.
const SHOWN: usize = 20;
const PATIENCE: Duration = Duration::from_secs(30);

/// Say what could be removed from the store, why, and what it would take to make it again; with `--apply`, remove it.
///
/// Records, metrics, scores and the journals of runs always stay, so `diff`, `why` and `report` go on working: what goes is the
/// bytes of artifacts, and a run that needs them makes them again. Answers of services, which were paid for, always stay.
///
/// What pins, the last runs of every recipe and folder, and whatever is at work need stays. The rest goes in this order: litter;
/// checkpoints that nobody went on with for a month; weights; other data. Inside a tier, what is cheapest to make again per byte
/// goes first; a dollar counts like half an hour. With a cap, only as much is evicted as is needed to come under it.
///
/// Example: pipe gc --cap 200GB --apply
///
/// Example: pipe gc --cap 200GB --keep
///
/// Example: pipe gc --remote --recent 180d
#[derive(clap::Args)]
pub struct Gc {
    #[command(flatten)]
    store: StoreArgs,
    /// Remove it
    #[arg(long)]
    apply: bool,
    /// Evict no more than is needed to come under this size, as `200GB` [default: the cap that the store keeps, if it has
    /// one]; `none`: everything that nothing protects
    #[arg(long, value_name = "SIZE")]
    cap: Option<String>,
    /// Let the store keep this cap: every run that ends above it makes room. With `--cap none` it keeps none
    #[arg(long, requires = "cap")]
    keep: bool,
    /// Only what is older, as `30d` or `12h`
    #[arg(long, value_name = "AGE")]
    older_than: Option<String>,
    /// How many of the last runs of a recipe protect what they made
    #[arg(long, value_name = "N", default_value_t = LAST_RUNS)]
    runs: usize,
    /// Make room at the shared store instead of here. One maintainer does that; records stay there, too
    #[arg(long, conflicts_with_all = ["cap", "keep", "older_than", "runs"])]
    remote: bool,
    #[command(flatten)]
    there: RemoteGc,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Gc) -> Outcome {
    let asked = cap(args)?;
    let older = args
        .older_than
        .as_deref()
        .map(|text| gc_remote::age("older-than", text));
    let older = older.transpose()?;
    if args.remote {
        let store = store::look(&args.store, args.there.on.as_deref())?;
        return gc_remote::run(&store, &args.there, args.apply, args.json);
    }
    let store = store::existing(&args.store)?;
    let kept = settings::read(&store)?;
    let cap = asked.unwrap_or(kept.cap);
    if args.keep {
        store.prepare()?;
        let kept = Settings {
            cap,
            ..kept.clone()
        };
        settings::write(&store, &kept)?;
    }
    let policy = Policy {
        now_ms: clock::now_ms(),
        cap,
        runs: args.runs,
        older_than_ms: older.unwrap_or_default(),
    };
    let proposal = collect::propose(&store, &policy)?;
    let swept = match args.apply {
        true => {
            let items = proposal.items.clone();
            Some(sweep::sweep(&store, &policy, items, PATIENCE)?)
        }
        false => None,
    };
    let answers = Journal::open(&store.calls())?.len() as u64;
    if args.json {
        print_json(&answer(&store, cap, &proposal, swept.as_ref(), answers));
    } else {
        print_lines(&text(&store, args, cap, &proposal, swept.as_ref(), answers));
    }
    match swept.and_then(|s| s.busy) {
        Some(busy) => Err(Error::World(anyhow!(in_use(&busy)))),
        None => Ok(()),
    }
}

/// Nothing asked; no cap; or this one.
fn cap(args: &Gc) -> Result<Option<Option<u64>>, Error> {
    match args.cap.as_deref() {
        None => Ok(None),
        Some("none") => Ok(Some(None)),
        Some(text) => match parse_bytes(text) {
            Some(cap) => Ok(Some(Some(cap))),
            None => Err(Error::Usage(format!(
                "`--cap {text}` is not a size, as `200GB`, `64GiB`, or `none`"
            ))),
        },
    }
}

pub(super) fn in_use(busy: &Busy) -> String {
    let who: Vec<String> = busy
        .holders
        .iter()
        .map(|(pid, command)| format!("process {pid} ({command})"))
        .collect();
    let who = match who.is_empty() {
        true => "another process".to_string(),
        false => who.join(", "),
    };
    format!(
        "the store is in use by {who}, so {} still there; try again later",
        match busy.left {
            1 => "one thing is".to_string(),
            n => format!("{n} things are"),
        }
    )
}

fn text(
    store: &Store,
    args: &Gc,
    cap: Option<u64>,
    proposal: &Proposal,
    swept: Option<&Swept>,
    answers: u64,
) -> String {
    let items = swept.map_or(&proposal.items, |s| &s.gone);
    let mut out = match items.is_empty() {
        true => String::new(),
        false => table(items),
    };
    for (tier, sum) in sums(items) {
        let again = match sum.seconds > 0.0 || sum.dollars > 0.0 {
            true => format!(", {} to make again", words::cost(sum.seconds, sum.dollars)),
            false => String::new(),
        };
        out += &format!(
            "{}: {}, {}{again}\n",
            tier.word(),
            count(sum.items, "thing", "things"),
            bytes(sum.bytes)
        );
    }
    for (why, kept) in &proposal.kept {
        let why = match why {
            Some(why) => why.words(),
            None if cap.is_some() => "no need to go yet".into(),
            None => "what never goes, or is too young".into(),
        };
        out += &format!(
            "kept: {} ({}): {why}\n",
            count(kept.records, "record", "records"),
            bytes(kept.bytes)
        );
    }
    for line in &proposal.careful {
        out += &format!("careful: {line}\n");
    }
    let total: u64 = items.iter().map(|i| i.bytes).sum();
    out += &match swept {
        Some(swept) => removed(total, swept),
        None if items.is_empty() => "nothing to remove\n".to_string(),
        None => format!("{} would go; `--apply` removes it\n", bytes(total)),
    };
    if answers > 0 {
        out += &words::answers_kept(answers, sizes::below(&store.calls()));
    }
    let left = proposal.held_bytes - swept.map_or(0, |_| total).min(proposal.held_bytes);
    out += &format!("{} holds {}", store.root().display(), bytes(left));
    if let Some(cap) = cap {
        out += &format!(", its cap is {}", bytes(cap));
        if args.keep {
            out += " from now on";
        }
        if proposal.above(cap) > 0 {
            let above = bytes(proposal.above(cap));
            out += &format!("; it stays {above} above: what is left is protected");
        }
    } else if args.keep {
        out += ", it has no cap any more";
    }
    out + "\n"
}

fn removed(total: u64, swept: &Swept) -> String {
    let mut out = match swept.gone.is_empty() {
        true => "nothing was removed\n".to_string(),
        false => format!("removed {}\n", bytes(total)),
    };
    if !swept.spared.is_empty() {
        let n = swept.spared.len() as u64;
        let spared = count(n, "thing", "things");
        out += &format!("{spared} stayed: in use since a moment ago\n");
    }
    out
}

/// Litter by sort, everything else by name.
fn table(items: &[Item]) -> String {
    let mut table = Table::new([
        left("tier"),
        left("what"),
        left("why"),
        right("size"),
        right("to make again"),
        right("age"),
    ]);
    let mut litter: BTreeMap<(&str, &str), (u64, u64, u64)> = BTreeMap::new();
    for item in items.iter().filter(|i| i.tier == Tier::Litter) {
        let sort = litter.entry((sort(&item.what), item.why)).or_default();
        *sort = (sort.0 + 1, sort.1 + item.bytes, sort.2.max(item.age_ms));
    }
    for ((sort, why), (n, size, age_ms)) in litter {
        table.push([
            Tier::Litter.word().to_string(),
            format!("{n} {sort}{}", if n == 1 { "" } else { "s" }),
            why.to_string(),
            bytes(size),
            String::new(),
            duration(age_ms as f64 / 1e3),
        ]);
    }
    let mut more = String::new();
    for tier in Tier::ALL.into_iter().filter(|t| *t != Tier::Litter) {
        let of_tier: Vec<&Item> = items.iter().filter(|i| i.tier == tier).collect();
        for item in of_tier.iter().take(SHOWN) {
            table.push([
                tier.word().to_string(),
                item.name.clone(),
                item.why.to_string(),
                bytes(item.bytes),
                words::cost(item.seconds, item.dollars),
                duration(item.age_ms as f64 / 1e3),
            ]);
        }
        if of_tier.len() > SHOWN {
            more += &format!("and {} more of {}\n", of_tier.len() - SHOWN, tier.word());
        }
    }
    table.fit(room()) + &more
}

fn sort(what: &What) -> &'static str {
    match what {
        What::Draft(_) => "draft",
        What::Quarantined(_) => "quarantined file",
        What::Attempt { .. } => "attempt",
        What::Blob(_) => "unnamed blob",
        What::Record { .. } => "record",
    }
}

#[derive(Default)]
struct Sum {
    items: u64,
    bytes: u64,
    seconds: f64,
    dollars: f64,
}

fn sums(items: &[Item]) -> BTreeMap<Tier, Sum> {
    let mut sums: BTreeMap<Tier, Sum> = BTreeMap::new();
    for item in items {
        let sum = sums.entry(item.tier).or_default();
        sum.items += 1;
        sum.bytes += item.bytes;
        sum.seconds += item.seconds;
        sum.dollars += item.dollars;
    }
    sums
}

fn answer(
    store: &Store,
    cap: Option<u64>,
    proposal: &Proposal,
    swept: Option<&Swept>,
    answers: u64,
) -> Value {
    let items = swept.map_or(&proposal.items, |s| &s.gone);
    let tiers = sums(items).into_iter().map(|(tier, sum)| {
        json!({
            "tier": tier.word(), "items": sum.items, "bytes": sum.bytes, "seconds": sum.seconds, "dollars": sum.dollars,
        })
    });
    let kept = proposal.kept.iter().map(|(why, kept)| {
        json!({
            "why": why.as_ref().map(|w| w.words()), "records": kept.records, "bytes": kept.bytes,
        })
    });
    json!({
        "store": store.root(),
        "applied": swept.is_some(),
        "held_bytes": proposal.held_bytes,
        "bytes": items.iter().map(|i| i.bytes).sum::<u64>(),
        "cap": cap,
        "above_cap": cap.map(|cap| proposal.above(cap)),
        "seconds_per_dollar": SECONDS_PER_DOLLAR,
        "tiers": tiers.collect::<Vec<_>>(),
        "items": items.iter().map(item).collect::<Vec<_>>(),
        "spared": swept.map_or(0, |s| s.spared.len()),
        "left": swept.and_then(|s| s.busy.as_ref()).map_or(0, |b| b.left),
        "kept": kept.collect::<Vec<_>>(),
        "careful": proposal.careful,
        "calls": json!({ "answers": answers, "bytes": sizes::below(&store.calls()) }),
    })
}

fn item(item: &Item) -> Value {
    let (key, outputs) = match &item.what {
        What::Record { key, outputs } => (Some(key), Some(outputs)),
        What::Attempt { key, .. } => (key.as_ref(), None),
        _ => (None, None),
    };
    json!({
        "tier": item.tier.word(), "what": sort(&item.what), "name": item.name, "key": key, "outputs": outputs,
        "why": item.why, "bytes": item.bytes, "seconds": item.seconds, "dollars": item.dollars,
        "age_seconds": item.age_ms as f64 / 1e3,
    })
}

/// After a run: comes under the store's cap, where it has one and the run made something. What went, for telling.
pub(super) fn after_run(store: &Store) -> anyhow::Result<Option<(u64, Swept)>> {
    const SHORT: Duration = Duration::from_secs(2);
    let Some(cap) = settings::read(store)?.cap else {
        return Ok(None);
    };
    Ok(sweep::collect(store, cap, SHORT)?.map(|swept| (cap, swept)))
}

/// What the run says of it.
pub(super) fn collected(cap: u64, swept: &Swept) -> String {
    let total: u64 = swept.gone.iter().map(|i| i.bytes).sum();
    let mut out = format!("the store was above its cap of {}: ", bytes(cap));
    out += &match swept.gone.is_empty() {
        true => "nothing could go, what is left is protected\n".to_string(),
        false => format!("removed {}\n{}", bytes(total), table(&swept.gone)),
    };
    if let Some(busy) = &swept.busy {
        out += &format!("{}\n", in_use(busy));
    }
    out
}

pub(super) fn collected_json(cap: u64, swept: &Swept) -> Value {
    json!({ "cap": cap, "items": swept.gone.iter().map(item).collect::<Vec<_>>() })
}
