//! Records by their keys: what the store knows of one, added once, taken back where it cannot be used.

use super::record::Record;
use super::{EVICTED, Lookup, Store};
use crate::system::clock;
use crate::system::fault;
use crate::system::files::{self, names};
use anyhow::{Context, Result, bail};
use base::hash::Key;
use std::fs;
use std::io;
use std::path::PathBuf;

impl Store {
    pub fn lookup(&self, key: &Key) -> Lookup {
        let record = match self.record(key) {
            Ok(None) => return Lookup::Absent,
            Err(error) => return Lookup::Damaged(vec![format!("{error:#}")]),
            Ok(Some(record)) => record,
        };
        let missing: Vec<String> = record
            .outputs
            .iter()
            .flat_map(|(name, artifact)| artifact.files.iter().map(move |f| (name, f)))
            .filter(|(_, file)| !self.objects.has(file))
            .map(|(name, file)| format!("{name}/{}", file.path))
            .collect();
        if missing.is_empty() {
            Lookup::Whole(Box::new(record))
        } else if self.is_evicted(key) || !self.record_path(key).exists() {
            Lookup::Evicted(Box::new(record))
        } else {
            Lookup::Damaged(missing)
        }
    }

    /// Whether the key's blobs were removed to make room.
    pub fn is_evicted(&self, key: &Key) -> bool {
        self.record_path(key).with_extension(EVICTED).exists()
    }

    /// The record of a key, whatever the state of its files: here, else as it was found at the remote.
    pub fn record(&self, key: &Key) -> Result<Option<Record>> {
        let Some(text) = self.record_text(key)? else {
            return Ok(self.second.as_ref().and_then(|s| s.record(key)));
        };
        let record = Record::from_text(&text)
            .with_context(|| format!("record {} is not readable", key.short()))?;
        if record.key != *key {
            bail!("record {} is about another key", key.short());
        }
        Ok(Some(record))
    }

    /// A record as it was written.
    pub(super) fn record_text(&self, key: &Key) -> Result<Option<String>> {
        match fs::read_to_string(self.record_path(key)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            other => {
                Ok(Some(other.with_context(|| {
                    format!("reading record {}", key.short())
                })?))
            }
        }
    }

    /// All readable records, by key.
    pub fn records(&self) -> Result<Vec<Record>> {
        let mut keys = vec![];
        for shard in names(&self.root.join("actions"))? {
            for name in names(&self.root.join("actions").join(shard))? {
                keys.extend(name.strip_suffix(".json").and_then(Key::parse));
            }
        }
        keys.sort();
        Ok(keys
            .iter()
            .filter_map(|key| self.record(key).ok().flatten())
            .collect())
    }

    /// Create-only: false where a record of this key exists already. Everything it names is durable by now.
    pub fn add_record(&self, record: &Record) -> Result<bool> {
        let text = record.to_text()?;
        let key = &record.key;
        let shown = || format!("writing record {}", key.short());
        self.actions.ready(key.shard()).with_context(shown)?;
        let path = self.record_path(key);
        if !path.exists() {
            self.forget_found(key);
        }
        fault::point("record-ready").with_context(shown)?;
        files::write_new(&self.tmp(), &path, text.as_bytes()).with_context(shown)
    }

    /// Takes a record back: it is kept in `quarantine/` for whoever wants to look.
    pub fn retire_record(&self, key: &Key) -> Result<()> {
        let aside = self
            .root
            .join("quarantine")
            .join(format!("{key}-{}.json", clock::unique()));
        fault::point("record-retire")?;
        self.forget_found(key);
        fs::rename(self.record_path(key), aside)
            .with_context(|| format!("moving record {} to quarantine", key.short()))
    }

    /// Removes what cannot be used of a damaged key, so that executing it again restores it.
    pub fn quarantine_damage(&self, key: &Key) -> Result<()> {
        let Ok(Some(record)) = self.record(key) else {
            return self.retire_record(key);
        };
        for file in record.outputs.values().flat_map(|a| &a.files) {
            if !self.objects.has(file) {
                self.objects.quarantine(&file.digest)?;
            }
        }
        Ok(())
    }

    pub(super) fn record_path(&self, key: &Key) -> PathBuf {
        self.actions
            .root()
            .join(key.shard())
            .join(format!("{key}.json"))
    }
}
