//! Answers of services that are shared through the remote, by choice: `pipe push --calls`, `pipe pull --calls`.

use super::output::Error;
use super::remote::{self, Use};
use ::remote::Bucket;
use anyhow::{Context, Result};
use base::bounded;
use engine::store::Store;
use engine::store::remote::{Remote, Signature, Signed, Trust};
use services::journal::{CallKey, Journal, shared};
use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

const FOLDER: &str = "calls";

/// The largest segment that is taken, in bytes.
const MOST: u64 = 1 << 30;
const MOST_SIGNATURE: u64 = 4 << 10;
/// Signatures of strangers that are read to name one of them.
const STRANGERS: usize = 4;

/// Answers that moved, and segments that were not believed.
#[derive(Default)]
pub struct Moved {
    pub answers: usize,
    pub refused: Vec<String>,
}

struct Sharing<'a> {
    store: &'a Store,
    bucket: Bucket,
    trust: Arc<dyn Trust>,
    /// Keys of answers that went there or came from there, a line each; what is lost of it moves again.
    memo: PathBuf,
}

pub fn push(store: &Store, on: Option<&str>) -> Result<Moved, Error> {
    let sharing = sharing(store, on, true)?;
    // A remote that is not there is an error, though there be nothing to give.
    sharing.bucket.entries(FOLDER)?;
    let known = sharing.known();
    let mut journal = Journal::open(&store.calls())?;
    let mut moved = Moved::default();
    let wanted = |key: &CallKey| !known.contains(&key.hex());
    shared::give(&mut journal, &wanted, &mut |bytes, keys| {
        let name = shared::name(&bytes);
        if let Some(signature) = sharing.trust.sign(&signed_text(&name))? {
            let path = format!("{FOLDER}/{name}.{}.sig", signature.signer);
            sharing.bucket.write(&path, signature.text.into_bytes())?;
        }
        // Its name is of its bytes, and may have been taken by an upload that was cut off.
        sharing.bucket.write(&format!("{FOLDER}/{name}"), bytes)?;
        moved.answers += keys.len();
        sharing.remember(keys.iter().map(CallKey::hex))
    })?;
    Ok(moved)
}

pub fn pull(store: &Store, on: Option<&str>) -> Result<Moved, Error> {
    let sharing = sharing(store, on, false)?;
    let entries = sharing.bucket.entries(FOLDER)?;
    let named = entries.iter();
    let named = named.filter_map(|entry| Some((entry.path.strip_prefix("calls/")?, entry.size)));
    let segments = named.clone().map(|(name, _)| name);
    let segments = segments.filter(|name| name.ends_with(".calls") && bounded::is_name(name));
    // One that is too large is none.
    let small = named.filter(|(_, size)| *size <= MOST_SIGNATURE);
    let signatures: Vec<&str> = small.map(|(name, _)| name).collect();
    let mut moved = Moved::default();
    for name in segments {
        if shared::has(&store.calls(), name) {
            continue;
        }
        match sharing.take(name, &signatures) {
            Ok(answers) => moved.answers += answers,
            Err(error) => moved
                .refused
                .push(format!("answers {name}: {error:#}; they are left alone")),
        }
    }
    Ok(moved)
}

fn sharing<'a>(store: &'a Store, on: Option<&str>, gives: bool) -> Result<Sharing<'a>, Error> {
    let patient = Use {
        patient: true,
        ..Use::default()
    };
    let meant = remote::needed(store, on)?;
    let bucket = remote::bucket(store, &meant, patient);
    let id = &blake3_of(bucket.name());
    Ok(Sharing {
        store,
        trust: remote::trust(&meant, &bucket, gives)?,
        memo: store.root().join(format!("memo/remote/{id}.calls")),
        bucket,
    })
}

/// A short name for an address.
fn blake3_of(text: &str) -> String {
    shared::name(text.as_bytes()).chars().take(16).collect()
}

/// What a signature of a segment is of.
fn signed_text(name: &str) -> String {
    format!("answers {name}")
}

impl Sharing<'_> {
    fn known(&self) -> BTreeSet<String> {
        let text = fs::read_to_string(&self.memo).unwrap_or_default();
        text.lines().map(String::from).collect()
    }

    fn remember(&self, keys: impl Iterator<Item = String>) -> Result<()> {
        let shown = || format!("writing {}", self.memo.display());
        if let Some(folder) = self.memo.parent() {
            fs::create_dir_all(folder).with_context(shown)?;
        }
        let mut options = fs::File::options();
        let mut file = options
            .create(true)
            .append(true)
            .open(&self.memo)
            .with_context(shown)?;
        let lines: String = keys.flat_map(|key| [key, "\n".into()]).collect();
        file.write_all(lines.as_bytes()).with_context(shown)
    }

    /// Signed by somebody who is trusted, and whole.
    fn take(&self, name: &str, files: &[&str]) -> Result<usize> {
        let trusted = self.trust.trusted();
        let signers = files.iter().filter_map(|file| {
            let signer = file.strip_prefix(name)?.strip_prefix('.')?;
            Some((signer.strip_suffix(".sig")?.to_string(), file))
        });
        let (known, others): (Vec<_>, Vec<_>) =
            signers.partition(|(signer, _)| trusted.contains(signer));
        let mut signatures = vec![];
        // Whoever may write there may write many.
        for (signer, file) in known.into_iter().chain(others.into_iter().take(STRANGERS)) {
            let bytes = self
                .bucket
                .read(&format!("{FOLDER}/{file}"), MOST_SIGNATURE)?;
            let text = String::from_utf8(bytes.unwrap_or_default()).unwrap_or_default();
            signatures.push(Signature {
                signer,
                text: text.trim_end().into(),
            });
        }
        let text = signed_text(name);
        self.trust.signer(&Signed { text, signatures })?;
        let bytes = self.bucket.read(&format!("{FOLDER}/{name}"), MOST)?;
        let bytes = bytes.context("it is gone")?;
        let calls = self.store.calls();
        let answers = shared::take(&calls, name, &bytes)?;
        let keys = bytes
            .split(|b| *b == b'\n')
            .filter_map(|line| line.get(..32));
        self.remember(keys.map(|key| String::from_utf8_lossy(key).into_owned()))?;
        Ok(answers)
    }
}
