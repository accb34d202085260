//! Answers that are shared, by choice: as segments that never change, named by their bytes, which others lay beside their own.

use super::segment::{EXTENSION, line, parse};
use super::{CallKey, Journal};
use anyhow::{Context, Result, ensure};
use std::fs;
use std::io::Write;
use std::path::Path;

/// Of a segment that is shared, in bytes; an answer that is longer has one of its own.
const FULL: usize = 16 << 20;

/// Before the name of one that came from elsewhere.
const FROM: &str = "shared-";

/// What a segment with these bytes is called.
pub fn name(bytes: &[u8]) -> String {
    format!("{}.{EXTENSION}", &blake3::hash(bytes).to_hex()[..32])
}

/// Whether this came from elsewhere before.
pub fn has(dir: &Path, name: &str) -> bool {
    dir.join(format!("{FROM}{name}")).exists()
}

/// Takes a segment, and the keys of what is in it.
pub type Taking<'a> = &'a mut dyn FnMut(Vec<u8>, &[CallKey]) -> Result<()>;

/// Gives the entries that are wanted, as segments, with the keys in each.
pub fn give(journal: &mut Journal, wanted: &dyn Fn(&CallKey) -> bool, each: Taking) -> Result<()> {
    let (mut bytes, mut keys) = (vec![], vec![]);
    let mut given = Ok(());
    journal.each(&mut |key, entry| {
        if wanted(key) {
            bytes.extend(line(key, &entry));
            keys.push(*key);
        }
        if bytes.len() >= FULL {
            given = each(std::mem::take(&mut bytes), &keys);
            keys.clear();
        }
        given.is_ok()
    })?;
    given?;
    match keys.is_empty() {
        true => Ok(()),
        false => each(bytes, &keys),
    }
}

/// Lays a segment of this name beside those that are there; each of its lines has to check. How many answers it has.
pub fn take(dir: &Path, called: &str, bytes: &[u8]) -> Result<usize> {
    ensure!(name(bytes) == called, "its bytes are not those of its name");
    // The journal would pass over the last line for ever.
    let whole = bytes.last().is_none_or(|last| *last == b'\n');
    ensure!(whole, "its last line is cut off");
    let mut answers = 0;
    for line in bytes.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        ensure!(parse(line).is_some(), "a line of it is no answer");
        answers += 1;
    }
    let shown = || format!("writing into {}", dir.display());
    fs::create_dir_all(dir).with_context(shown)?;
    // Not called like a segment until it is whole.
    let draft = dir.join(format!(".{FROM}{called}.draft"));
    let mut file = fs::File::create(&draft).with_context(shown)?;
    file.write_all(bytes).with_context(shown)?;
    file.sync_all().with_context(shown)?;
    let at = dir.join(format!("{FROM}{called}"));
    fs::rename(&draft, at).with_context(shown)?;
    Ok(answers)
}
