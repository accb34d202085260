//! What a plan needs of a record, and its packed form: `length, key, identity of the file, evicted, the rest`.

use super::pack::{self, Pack, Unpack};
use crate::kind::Type;
use crate::store::record::{Cost, Record};
use base::calls::Calls;
use base::hash::{Digest, Key};

/// A record without its manifest, file names and logs.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordSummary {
    pub key: Key,
    pub kind: String,
    /// The name its node had.
    pub node: String,
    pub recipe: String,
    pub cost: Cost,
    /// By output name.
    pub outputs: Vec<Part>,
    /// Its blobs were removed to make room; they are made again when they are needed.
    pub evicted: bool,
    /// Nobody executed it: it was accepted or adopted.
    pub vouched: bool,
}

/// An output.
#[derive(Clone, Debug, PartialEq)]
pub struct Part {
    pub name: String,
    pub ty: Type,
    pub digest: Digest,
    pub blobs: Vec<PackedBlob>,
}

/// A blob: digest and size.
pub type PackedBlob = ([u8; 32], u64);

impl RecordSummary {
    pub fn of(record: &Record, evicted: bool) -> RecordSummary {
        RecordSummary {
            key: record.key.clone(),
            kind: record.kind.clone(),
            node: record.provenance.node.clone(),
            recipe: record.provenance.recipe.clone(),
            cost: record.cost.clone(),
            outputs: record
                .outputs
                .iter()
                .map(|(name, artifact)| Part {
                    name: name.clone(),
                    ty: artifact.ty,
                    digest: artifact.digest.clone(),
                    blobs: artifact
                        .files
                        .iter()
                        .filter_map(|f| Some((pack::raw(f.digest.as_str())?, f.size)))
                        .collect(),
                })
                .collect(),
            evicted,
            vouched: record.accepted.is_some() || record.adopted.is_some(),
        }
    }

    /// Of the output of this name.
    pub fn digest(&self, output: &str) -> Option<&Digest> {
        let mut named = self.outputs.iter().filter(|o| o.name == output);
        named.next().map(|o| &o.digest)
    }

    pub fn has(&self, ty: Type) -> bool {
        self.outputs.iter().any(|o| o.ty == ty)
    }
}

/// The file that an entry was read from.
#[derive(Clone, Copy, PartialEq)]
pub struct Identity {
    pub inode: u64,
    pub mtime: i64,
}

/// An entry's place in its shard.
pub struct Found<'a> {
    pub raw: [u8; 32],
    pub identity: Identity,
    /// After the flag of eviction.
    pub rest: &'a [u8],
    evicted: bool,
}

pub fn entries(bytes: &[u8]) -> impl Iterator<Item = Found<'_>> {
    let mut all = Unpack(bytes);
    std::iter::from_fn(move || {
        let length = all.u32()?;
        let mut entry = Unpack(all.take(length)?);
        Some(Found {
            raw: entry.raw()?,
            identity: Identity {
                inode: entry.u64()?,
                mtime: entry.u64()? as i64,
            },
            evicted: entry.take(1)? == [1],
            rest: entry.0,
        })
    })
}

pub fn find(bytes: &[u8], raw: &[u8; 32]) -> Option<RecordSummary> {
    entries(bytes)
        .find(|e| e.raw == *raw)
        .and_then(|e| read(&e))
}

pub fn all(bytes: &[u8]) -> Vec<RecordSummary> {
    entries(bytes).filter_map(|e| read(&e)).collect()
}

/// Appends an entry whose rest is packed already.
pub(crate) fn write_entry(
    out: &mut Vec<u8>,
    raw: &[u8; 32],
    identity: Identity,
    evicted: bool,
    rest: &[u8],
) {
    let mut entry = Pack::default();
    entry.u32(32 + 8 + 8 + 1 + rest.len());
    entry.0.extend(raw);
    entry.u64(identity.inode);
    entry.u64(identity.mtime as u64);
    entry.0.push(u8::from(evicted));
    entry.0.extend(rest);
    out.extend(entry.0);
}

pub(crate) fn pack_rest(brief: &RecordSummary) -> Vec<u8> {
    let mut out = Pack::default();
    for text in [&brief.kind, &brief.node, &brief.recipe] {
        out.text(text);
    }
    let cost = &brief.cost;
    for number in [cost.seconds, cost.cpu_seconds, cost.dollars, cost.flop] {
        out.f64(number);
    }
    let calls = match cost.calls.is_zero() {
        true => String::new(),
        false => serde_json::to_string(&cost.calls).expect("sums always have a JSON form"),
    };
    out.text(&calls);
    out.u64(cost.peak_bytes);
    out.u64(cost.started_ms);
    out.u32(cost.threads);
    out.u32(cost.attempts);
    out.0.push(u8::from(brief.vouched));
    out.u32(brief.outputs.len());
    for part in &brief.outputs {
        out.text(&part.name);
        out.text(part.ty.word());
        out.text(part.digest.as_str());
        out.u32(part.blobs.len());
        for (raw, size) in &part.blobs {
            out.0.extend(raw);
            out.u64(*size);
        }
    }
    out.0
}

fn read(entry: &Found) -> Option<RecordSummary> {
    let mut from = Unpack(entry.rest);
    let mut text = || from.text().map(str::to_string);
    let (kind, node, recipe) = (text()?, text()?, text()?);
    let cost = Cost {
        seconds: from.f64()?,
        cpu_seconds: from.f64()?,
        dollars: from.f64()?,
        flop: from.f64()?,
        calls: match from.text()? {
            "" => Calls::default(),
            calls => serde_json::from_str(calls).ok()?,
        },
        peak_bytes: from.u64()?,
        started_ms: from.u64()?,
        threads: from.u32()?,
        attempts: from.u32()?,
    };
    let vouched = from.take(1)? == [1];
    let mut outputs = vec![];
    for _ in 0..from.u32()? {
        let name = from.text()?.to_string();
        let ty = Type::from_word(from.text()?)?;
        let digest = Digest::parse(from.text()?)?;
        let mut blobs = vec![];
        for _ in 0..from.u32()? {
            blobs.push((from.raw()?, from.u64()?));
        }
        outputs.push(Part {
            name,
            ty,
            digest,
            blobs,
        });
    }
    Some(RecordSummary {
        key: Key::from_bytes(&entry.raw),
        kind,
        node,
        recipe,
        cost,
        outputs,
        evicted: entry.evicted,
        vouched,
    })
}
