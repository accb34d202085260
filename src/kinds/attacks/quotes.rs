//! Quotation marks around what a model was asked to write without any.

use crate::attacks::letters::is_space;

/// The text without white space around it and without one pair of triple, double or single quotes around all of it. Of a text that is nothing
/// but a mark nothing is left.
pub fn stripped(text: &str) -> &str {
    let text = text.trim_matches(is_space);
    let around = ["\"\"\"", "\"", "'"]
        .into_iter()
        .find(|mark| text.starts_with(mark) && text.ends_with(mark));
    match around {
        Some(mark) => {
            let end = text.len().saturating_sub(mark.len());
            text.get(mark.len()..end).unwrap_or("")
        }
        None => text,
    }
}
