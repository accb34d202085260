//! The shards of a folder of the store: made when they are needed, their own names durable before what lies in them is counted on.
//! Knows nothing of what lies in them.

use crate::system::files::{names, sync_dir};
use std::collections::BTreeSet;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

pub(crate) struct Shards {
    root: PathBuf,
    /// Those whose names are known to be durable. No shard is ever removed, so that one sync of the folder is enough for each.
    durable: Mutex<BTreeSet<String>>,
}

impl Shards {
    pub fn new(root: PathBuf) -> Shards {
        Shards {
            root,
            durable: Mutex::default(),
        }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The folder of a shard, which would survive a loss of power from now on. What is put into it needs a sync of its own.
    pub fn ready(&self, shard: &str) -> io::Result<PathBuf> {
        let folder = self.root.join(shard);
        let new = match fs::create_dir(&folder) {
            Err(e) if e.kind() == ErrorKind::AlreadyExists => false,
            Err(e) if e.kind() == ErrorKind::NotFound => {
                fs::create_dir_all(&folder).map(|()| true)?
            }
            made => made.map(|()| true)?,
        };
        let mut durable = self.durable.lock().unwrap_or_else(PoisonError::into_inner);
        if new || !durable.contains(shard) {
            // Another process may have made it a moment ago, and not synced yet. The sync is of all names that are there before it.
            let there = names(&self.root).map_err(io::Error::other)?;
            sync_dir(&self.root)?;
            durable.extend(there);
        }
        Ok(folder)
    }
}
