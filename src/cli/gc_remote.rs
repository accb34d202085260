//! `pipe gc --remote`: room at a shared store, made by one maintainer.

use super::keyring;
use super::output::{Error, Outcome, print_json, print_lines, room};
use super::remote::{self, Use};
use ::remote::Bucket;
use ::remote::collect::{self, DAY_MS, Item, LEAST_GRACE_MS, Policy, Proposal};
use ::remote::sweep::{self, Holder, Swept, Taken};
use anyhow::anyhow;
use base::hash::Key;
use base::text::{bytes, count, duration, parse_duration};
use engine::gc::pins;
use engine::store::Store;
use engine::store::remote::Remote;
use engine::system::{Process, clock};
use report::table::{Table, left, right};
use report::words;
use serde_json::json;
use std::collections::BTreeMap;

/// More lines are counted, not shown; `--json` has all.
const SHOWN: usize = 40;

/// What is said of the shared store.
#[derive(clap::Args)]
pub struct RemoteGc {
    /// Of the shared store: what records stay that are younger, and all that they were made from, as `90d`
    #[arg(long, value_name = "AGE", default_value = "90d", requires = "remote")]
    recent: String,
    /// Of the shared store: blobs that are younger stay, as somebody may be about to publish their record; at least 8 days
    #[arg(long, value_name = "AGE", default_value = "14d", requires = "remote")]
    grace: String,
    /// Of the shared store: go on in place of a maintainer who left his lock
    #[arg(long, requires = "remote")]
    take_over: bool,
    /// The shared store of this profile, a name of `pipe profiles` or a file, rather than of the store's settings
    #[arg(long, value_name = "PROFILE", requires = "remote")]
    pub(super) on: Option<String>,
}

pub fn run(store: &Store, args: &RemoteGc, apply: bool, as_json: bool) -> Outcome {
    let (recent_ms, grace_ms) = (age("recent", &args.recent)?, age("grace", &args.grace)?);
    if grace_ms < LEAST_GRACE_MS {
        return Err(Error::Usage(format!(
            "`--grace {}` is too short: a push counts on blobs that are younger than a week, so it is at least {} days",
            args.grace,
            LEAST_GRACE_MS / DAY_MS
        )));
    }
    let policy = Policy {
        recent_ms,
        grace_ms,
        pinned: pinned(store)?,
    };
    let how = Use {
        read_only: !apply,
        patient: true,
        ..Use::default()
    };
    let meant = remote::needed(store, args.on.as_deref())?;
    if apply {
        meant.gives()?;
    }
    let bucket = &remote::bucket(store, &meant, how);
    if !apply {
        let proposal = collect::propose(bucket, &policy, None)?;
        tell(bucket, &proposal, None, as_json);
        return Ok(());
    }
    let lock = match sweep::lock(bucket, &maintainer(), args.take_over)? {
        Taken::Ours(lock) => lock,
        Taken::By(holder) => return Err(Error::World(anyhow!(held(&holder)))),
    };
    let proposal = collect::propose(bucket, &policy, Some(lock.at_ms))?;
    let swept = sweep::sweep(&lock, &policy, &proposal.items)?;
    tell(bucket, &proposal, Some(&swept), as_json);
    Ok(())
}

/// The maintainer's own pins count as those at the remote do. One that cannot be read hides what it may be about.
fn pinned(store: &Store) -> Result<BTreeMap<Key, String>, Error> {
    let mut pinned = BTreeMap::new();
    for (name, pin) in pins::all(store)? {
        let nodes = pin?.nodes.into_iter();
        pinned.extend(nodes.map(|node| (node.key, name.clone())));
    }
    Ok(pinned)
}

/// By the key, where there is one, and the machine.
fn maintainer() -> String {
    let own = keyring::config()
        .ok()
        .and_then(|folder| keyring::own(&folder).ok().flatten());
    let name = own.map_or_else(
        || "somebody without a key".into(),
        |own| own.identity().name.clone(),
    );
    let host = Process::own().map(|process| format!(", {process} on {}", process.host));
    name + &host.unwrap_or_default()
}

fn held(holder: &Holder) -> String {
    let since = clock::now_ms().saturating_sub(holder.since_ms) as f64 / 1e3;
    // One that cannot be read does not say since when.
    let since = match holder.since_ms {
        0 => String::new(),
        _ => format!(", for {} by their clock", duration(since)),
    };
    format!(
        "{} makes room there{since}, and one does at a time; if they are gone: --take-over",
        holder.who
    )
}

fn tell(bucket: &Bucket, proposal: &Proposal, swept: Option<&Swept>, as_json: bool) {
    if as_json {
        return print_json(&json!({
            "remote": bucket.name(),
            "applied": swept.is_some(),
            "records": proposal.records,
            "held_bytes": proposal.held_bytes,
            "bytes": swept.map_or(proposal.bytes(), |s| s.bytes),
            "blobs": swept.map_or_else(|| blobs(&proposal.items), |s| s.blobs),
            "spared": swept.map_or(0, |s| s.spared),
            "leases": swept.map_or(0, |s| s.leases),
            "items": proposal.items,
            "kept": proposal.kept,
            "careful": proposal.careful,
        }));
    }
    let mut out = String::new();
    if !proposal.items.is_empty() {
        out += &table(&proposal.items);
    }
    for (why, kept) in &proposal.kept {
        let of = match kept.records {
            0 => bytes(kept.bytes),
            n => format!("{} ({})", count(n, "record", "records"), bytes(kept.bytes)),
        };
        out += &format!("kept: {of}: {why}\n");
    }
    for line in &proposal.careful {
        out += &format!("careful: {line}\n");
    }
    out += &match swept {
        Some(swept) => {
            let leases = match swept.leases {
                0 => String::new(),
                n => format!(", and {} that nobody holds", count(n, "lease", "leases")),
            };
            let gone = format!(
                "removed {}, {}{leases}\n",
                count(swept.blobs, "blob", "blobs"),
                bytes(swept.bytes)
            );
            match swept.spared {
                0 => gone,
                n => {
                    gone + &format!(
                        "{} stayed: needed since a moment ago\n",
                        count(n, "blob", "blobs")
                    )
                }
            }
        }
        None if proposal.items.is_empty() => "nothing to remove\n".into(),
        None => format!(
            "{}, {} would go, the records stay; `--apply` removes them\n",
            count(blobs(&proposal.items), "blob", "blobs"),
            bytes(proposal.bytes())
        ),
    };
    let left = proposal.held_bytes - swept.map_or(0, |s| s.bytes).min(proposal.held_bytes);
    out += &format!(
        "{} holds {} and {}\n",
        bucket.name(),
        count(proposal.records, "record", "records"),
        bytes(left)
    );
    print_lines(&out);
}

fn blobs(items: &[Item]) -> u64 {
    items.iter().map(|item| item.blobs.len() as u64).sum()
}

fn table(items: &[Item]) -> String {
    let mut table = Table::new([
        left("tier"),
        left("what"),
        left("why"),
        right("size"),
        right("to make again"),
        right("age"),
    ]);
    for item in items.iter().take(SHOWN) {
        let (name, again) = match item.key {
            Some(_) => (item.name.clone(), words::cost(item.seconds, item.dollars)),
            None => (
                count(item.blobs.len() as u64, "blob", "blobs"),
                String::new(),
            ),
        };
        table.push([
            item.tier.to_string(),
            name,
            item.why.to_string(),
            bytes(item.bytes),
            again,
            duration(item.age_ms as f64 / 1e3),
        ]);
    }
    let more = match items.len() {
        n if n > SHOWN => format!("and {} more\n", n - SHOWN),
        _ => String::new(),
    };
    table.fit(room()) + &more
}

/// In milliseconds.
pub(super) fn age(flag: &str, text: &str) -> Result<u64, Error> {
    let seconds = parse_duration(text).ok_or_else(|| {
        Error::Usage(format!(
            "`--{flag} {text}` is not an age, as `30d`, `12h` or `90m`"
        ))
    })?;
    Ok((seconds * 1e3) as u64)
}
