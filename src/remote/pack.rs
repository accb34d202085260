//! A part of a remote's index: the records that somebody published in one go, whole. Its name is the hash of its bytes, so that it needs
//! to come once, and cannot be another.
//!
//! ```text
//! object = zstd of: magic, u32 n, n x (key, u32 offset, u32 length) by key, n entries
//! entry  = u32 n, n x (signer, signature), record; texts with their lengths
//! ```

use anyhow::{Context, Result, ensure};
use base::hash::Key;
use engine::store::index::pack::{Pack as Packed, Unpack, raw};
use engine::store::remote::{Signature, Signed};
use std::collections::BTreeMap;
use std::io::Read;

const MAGIC: &[u8] = b"pipe pack 1\n";
const ROW: usize = 32 + 4 + 4;

/// The largest object, and what it may become.
pub(crate) const MOST: u64 = 64 << 20;
const MOST_UNPACKED: u64 = 512 << 20;

/// Signatures of one record.
pub(crate) const SIGNERS: usize = 64;

/// Some records by key.
pub struct Pack {
    bytes: Vec<u8>,
    rows: usize,
}

/// Records as an object, and its name.
pub fn pack(records: &BTreeMap<Key, Signed>) -> Result<(String, Vec<u8>)> {
    packed(&records.iter().collect::<Vec<_>>())
}

/// By key.
fn packed(records: &[(&Key, &Signed)]) -> Result<(String, Vec<u8>)> {
    let mut head = Packed(MAGIC.to_vec());
    head.u32(records.len());
    let mut entries = Packed::default();
    for (key, signed) in records {
        let at = entries.0.len();
        let signatures = &signed.signatures[..signed.signatures.len().min(SIGNERS)];
        entries.u32(signatures.len());
        for signature in signatures {
            entries.text(&signature.signer);
            entries.text(&signature.text);
        }
        entries.text(&signed.text);
        head.0
            .extend(raw(key.as_str()).context("a key is hexadecimal")?);
        head.u32(at);
        head.u32(entries.0.len() - at);
    }
    head.0.extend(entries.0);
    sealed(&head.0)
}

/// Records as objects that a reader takes: as few as may be. A record that is too large for any of them is left out.
pub(crate) fn packs(records: &BTreeMap<Key, Signed>) -> Result<Vec<(String, Vec<u8>)>> {
    split(&records.iter().collect::<Vec<_>>())
}

fn split(records: &[(&Key, &Signed)]) -> Result<Vec<(String, Vec<u8>)>> {
    let long = |(_, signed): &(&Key, &Signed)| {
        let signatures = signed.signatures.iter();
        let signatures = signatures.map(|s| s.signer.len() + s.text.len() + 8);
        ROW + 8 + signed.text.len() + signatures.sum::<usize>()
    };
    let all = MAGIC.len() + 4 + records.iter().map(long).sum::<usize>();
    if all as u64 <= MOST_UNPACKED && !records.is_empty() {
        let packed = packed(records)?;
        if packed.1.len() as u64 <= MOST {
            return Ok(vec![packed]);
        }
    }
    if records.len() < 2 {
        return Ok(vec![]);
    }
    let (before, after) = records.split_at(records.len() / 2);
    let mut packs = split(before)?;
    packs.extend(split(after)?);
    Ok(packs)
}

/// An object with this in it, and its name.
pub fn sealed(unpacked: &[u8]) -> Result<(String, Vec<u8>)> {
    let bytes = zstd::encode_all(unpacked, 3).context("packing records")?;
    Ok((name(&bytes), bytes))
}

/// What an object with these bytes is called.
pub fn name(bytes: &[u8]) -> String {
    format!("{}.pack", &blake3::hash(bytes).to_hex()[..32])
}

impl Pack {
    /// Refuses what is not a pack of this name.
    pub fn read(called: &str, object: &[u8]) -> Result<Pack> {
        ensure!(
            name(object) == called,
            "its bytes are not those of its name"
        );
        let mut bytes = vec![];
        let mut unpacked = zstd::Decoder::new(object)?.take(MOST_UNPACKED + 1);
        unpacked.read_to_end(&mut bytes)?;
        ensure!(bytes.len() as u64 <= MOST_UNPACKED, "it has no end");
        let mut head = Unpack(&bytes);
        let magic = head.take(MAGIC.len());
        ensure!(magic == Some(MAGIC), "it is no pack of records");
        let rows = head.u32().context("it is cut off")?;
        let table = rows.checked_mul(ROW);
        ensure!(
            table.is_some_and(|table| head.0.len() >= table),
            "its table is cut off"
        );
        Ok(Pack { bytes, rows })
    }

    fn row(&self, i: usize) -> &[u8] {
        let at = MAGIC.len() + 4 + i * ROW;
        &self.bytes[at..at + ROW]
    }

    /// The bytes of the key of a row.
    pub fn key(&self, i: usize) -> &[u8] {
        &self.row(i)[..32]
    }

    /// What it has in a row; nothing where it does not hold together.
    pub fn entry(&self, i: usize) -> Option<Signed> {
        let mut row = Unpack(&self.row(i)[32..]);
        let (at, length) = (row.u32()?, row.u32()?);
        let entries = MAGIC.len() + 4 + self.rows * ROW;
        let begin = entries.checked_add(at)?;
        let mut entry = Unpack(self.bytes.get(begin..begin.checked_add(length)?)?);
        let mut signatures = vec![];
        for _ in 0..entry.u32().filter(|n| *n <= SIGNERS)? {
            signatures.push(Signature {
                signer: entry.text()?.to_string(),
                text: entry.text()?.to_string(),
            });
        }
        let text = entry.text()?.to_string();
        Some(Signed { text, signatures })
    }

    pub fn keys(&self) -> impl Iterator<Item = Key> + '_ {
        (0..self.rows).filter_map(|i| {
            let key: [u8; 32] = self.key(i).try_into().ok()?;
            Some(Key::from_bytes(&key))
        })
    }

    /// All that holds together.
    pub fn all(&self) -> impl Iterator<Item = (Key, Signed)> + '_ {
        (0..self.rows).filter_map(|i| {
            let key: [u8; 32] = self.key(i).try_into().ok()?;
            Some((Key::from_bytes(&key), self.entry(i)?))
        })
    }

    pub fn len(&self) -> usize {
        self.rows
    }

    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }
}
