//! What comes from outside, within bounds: files that are read whole, and names that become parts of a path. Knows no format.

use crate::text;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

/// A configuration of a model, an adapter or a tokenizer, or the index of its shards.
pub const MOST_CONFIG: u64 = 16 << 20;

/// An error where a path leads to what is neither a file nor a folder: reading it may wait for ever, and has no content that stays.
pub fn special(path: &Path) -> io::Result<()> {
    let kind = std::fs::metadata(path)?.file_type();
    let what = match () {
        _ if kind.is_file() || kind.is_dir() => return Ok(()),
        _ if kind.is_fifo() => "a named pipe",
        _ if kind.is_socket() => "a socket",
        _ if kind.is_char_device() || kind.is_block_device() => "a device",
        _ => "something special",
    };
    Err(io::Error::new(
        io::ErrorKind::InvalidInput,
        format!("it is {what} and not a file; write its content into a file first"),
    ))
}

/// The bytes of a file that has no more than `most`.
pub fn read(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    special(path)?;
    let file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut bytes = vec![];
    // A file may grow, and a pipe has no length.
    if length <= most {
        file.take(most + 1).read_to_end(&mut bytes)?;
    }
    if length.max(bytes.len() as u64) > most {
        let most = text::bytes(most);
        return Err(io::Error::other(format!("the file is larger than {most}")));
    }
    Ok(bytes)
}

/// The same as text.
pub fn read_text(path: &Path, most: u64) -> io::Result<String> {
    let invalid = |e: std::string::FromUtf8Error| {
        let at = e.utf8_error().valid_up_to();
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("byte {at} is not UTF-8"),
        )
    };
    String::from_utf8(read(path, most)?).map_err(invalid)
}

/// Whether a relative path, `/` between its parts, stays below the folder that it is joined to, and names the same file on every
/// system.
pub fn is_inner(path: &str) -> bool {
    path.len() <= LONGEST && path.split('/').all(is_name)
}

/// Longest relative path, in bytes.
const LONGEST: usize = 1024;

/// Longest name that people give, in characters.
const LONGEST_NAME: usize = 100;

/// What is wrong with a name that somebody gave to something of theirs, which becomes words on a terminal and parts of files.
pub fn name_problem(name: &str) -> Option<String> {
    if name.trim().is_empty() {
        return Some("it is empty".into());
    }
    let length = name.chars().count();
    if length > LONGEST_NAME {
        return Some(format!(
            "it has {length} characters, more than {LONGEST_NAME}"
        ));
    }
    if let Some(c) = name.chars().find(|c| c.is_control() || is_unseen(*c)) {
        return Some(format!(
            "U+{:04X} in it cannot be seen, or turns what is around it",
            u32::from(c)
        ));
    }
    let what = "it cannot be the name of a file everywhere";
    (!is_name(name) || name.starts_with(' ')).then(|| what.into())
}

/// Whether a character shows nothing, or changes the order in which others are shown.
pub(crate) fn is_unseen(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
}

/// Whether a character changes the order in which others are shown.
fn turns(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// Whether this is one part of such a path.
pub fn is_name(name: &str) -> bool {
    let refused = |c: char| c.is_control() || turns(c) || "/\\:*?\"<>|".contains(c);
    let dots = name.chars().all(|c| c == '.');
    !dots && !name.contains(refused) && !name.ends_with(['.', ' ']) && !is_device(name)
}

/// Names that are devices where the file is copied to a system that has them, whatever follows the dot.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default();
    let stem = stem.trim_end().to_ascii_uppercase();
    let numbered = |device: &str| {
        let number = stem.strip_prefix(device);
        number.is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
    };
    ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT")
}
