//! A file as its text, as programs in Python write it: packed or not, with a byte order mark or none, and JSON with `NaN`, `Infinity` and
//! halves of surrogate pairs, which `json.dumps` writes and JSON does not have.

use anyhow::{Context, Result, anyhow, ensure};
use base::bounded;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use std::borrow::Cow;
use std::io::Read;
use std::path::Path;

/// The largest file, in bytes. A file is in memory whole, but for the samples of an `.eval` log, which are read one by one.
pub(crate) const MOST_BYTES: u64 = 2 << 30;

/// The name of a file without the ending of its packing.
pub fn unpacked(path: &Path) -> String {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let plain = [".gz", ".zst", ".GZ", ".ZST"];
    let plain = plain.iter().find_map(|end| name.strip_suffix(end));
    plain.unwrap_or(&name).to_string()
}

/// A file's name in lower case, without the ending of what packs it.
pub fn name(path: &Path) -> String {
    unpacked(path).to_lowercase()
}

/// The text of a file that is read whole.
pub fn text(path: &Path) -> Result<String> {
    let bytes = bounded::read(path, MOST_BYTES)?;
    let unpack = |reader: &mut dyn Read| -> Result<Vec<u8>> {
        let mut bytes = vec![];
        reader.take(MOST_BYTES + 1).read_to_end(&mut bytes)?;
        ensure!(
            bytes.len() as u64 <= MOST_BYTES,
            "unpacked it is larger than 2 GiB"
        );
        Ok(bytes)
    };
    let packed = "it cannot be unpacked";
    let bytes = match bytes.as_slice() {
        [0x1f, 0x8b, ..] => {
            unpack(&mut flate2::read::MultiGzDecoder::new(bytes.as_slice())).context(packed)?
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            unpack(&mut zstd::stream::read::Decoder::new(bytes.as_slice())?).context(packed)?
        }
        _ => bytes,
    };
    decoded(bytes)
}

/// UTF-8, or UTF-16 as a mark at the beginning says; without the mark.
pub fn decoded(bytes: Vec<u8>) -> Result<String> {
    let wide = |of: fn([u8; 2]) -> u16| -> Result<String> {
        ensure!(
            bytes.len().is_multiple_of(2),
            "it is UTF-16 and ends inside a character"
        );
        let units = bytes[2..]
            .chunks_exact(2)
            .map(|pair| of([pair[0], pair[1]]));
        let text: Result<String, _> = char::decode_utf16(units).collect();
        text.map_err(|_| anyhow!("it is no UTF-16, although it begins so"))
    };
    match bytes.as_slice() {
        [0xff, 0xfe, ..] => wide(u16::from_le_bytes),
        [0xfe, 0xff, ..] => wide(u16::from_be_bytes),
        _ => {
            let mut text = String::from_utf8(bytes).map_err(|e| {
                let at = e.utf8_error().valid_up_to();
                anyhow!("byte {at} is not UTF-8")
            })?;
            if text.starts_with('\u{feff}') {
                text.drain(..'\u{feff}'.len_utf8());
            }
            Ok(text)
        }
    }
}

/// A JSON value as Python writes it. The error says what is wrong with it, and where.
pub fn parsed<T: DeserializeOwned>(text: &str) -> Result<T> {
    serde_json::from_str(&plain(text)).map_err(|e| {
        let place = format!("line {}, column {}", e.line(), e.column());
        match e.classify() {
            _ if text.trim().is_empty() => anyhow!("it is no JSON: it is empty"),
            serde_json::error::Category::Eof => {
                anyhow!(
                    "it is no JSON: it ends inside of a value ({place}), as a file that was cut off"
                )
            }
            _ => anyhow!("it is no JSON of this kind: {e}"),
        }
    })
}

/// Words that Python writes and JSON lacks; the longer one first.
const WORDS: [&str; 3] = ["-Infinity", "Infinity", "NaN"];

/// A text as JSON has it: a number that is none is its name as a text, half of a surrogate pair the sign for what cannot be read.
pub fn plain(text: &str) -> Cow<'_, str> {
    let escaped = text.contains("\\ud") || text.contains("\\uD");
    if !escaped && !WORDS.iter().any(|word| text.contains(word)) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 64);
    let (mut string, mut from, mut at) = (false, 0, 0);
    let bytes = text.as_bytes();
    while at < bytes.len() {
        let mut put = |until: usize, with: &str, next: usize, from: &mut usize| {
            out.push_str(&text[*from..until]);
            out.push_str(with);
            *from = next;
            next
        };
        at = match bytes[at] {
            b'"' => {
                string = !string;
                at + 1
            }
            b'\\' if string => match surrogates(&bytes[at..]) {
                Some(Half::Alone) => put(at, "\\ufffd", at + 6, &mut from),
                Some(Half::Pair) => at + 12,
                None => at + 2,
            },
            b'-' | b'I' | b'N' if !string => {
                let word = WORDS
                    .iter()
                    .find(|word| bytes[at..].starts_with(word.as_bytes()));
                match word {
                    Some(word) => put(at, &format!("\"{word}\""), at + word.len(), &mut from),
                    None => at + 1,
                }
            }
            _ => at + 1,
        };
    }
    out.push_str(&text[from..]);
    Cow::Owned(out)
}

enum Half {
    Alone,
    Pair,
}

/// What an escape is, if it is one of a surrogate.
fn surrogates(bytes: &[u8]) -> Option<Half> {
    let unit = |bytes: &[u8]| -> Option<u16> {
        let digits = bytes.strip_prefix(b"\\u")?.get(..4)?;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    };
    let first = unit(bytes)?;
    let second = bytes.get(6..).and_then(unit);
    match (first, second) {
        (0xd800..=0xdbff, Some(0xdc00..=0xdfff)) => Some(Half::Pair),
        (0xd800..=0xdfff, _) => Some(Half::Alone),
        _ => None,
    }
}

pub fn read_json(path: &Path) -> Result<Json> {
    let read = || parsed(&text(path)?);
    read().with_context(|| format!("failed to read {}", path.display()))
}
