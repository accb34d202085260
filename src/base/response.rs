//! A response splits into reasoning and answer at the think tags. The rules are those of the released TARS code
//! (github.com/danielkty/tars, commit 32c10be): the format asks for each tag exactly once, in order; the split asks for
//! the exact delimiter and otherwise takes the whole response as both.

pub const OPEN: &str = "<think>";
pub const CLOSE: &str = "</think>";
/// Where the reasoning ends and the answer begins.
pub const DELIMITER: &str = "\n</think>\n\n";

/// (reasoning, answer). Without the exact delimiter both are the whole response.
pub fn split(response: &str) -> (&str, &str) {
    match response.split_once(DELIMITER) {
        Some((reasoning, answer)) => (
            reasoning.strip_prefix("<think>\n").unwrap_or(reasoning),
            answer,
        ),
        None => (response, response),
    }
}

/// Exactly one `<think>` and exactly one `</think>`, in that order. Nothing else is asked for.
pub fn well_formed(response: &str) -> bool {
    let open: Vec<usize> = response.match_indices(OPEN).map(|(i, _)| i).collect();
    let close: Vec<usize> = response.match_indices(CLOSE).map(|(i, _)| i).collect();
    matches!((open.as_slice(), close.as_slice()), ([o], [c]) if o < c)
}

/// The response a model should give.
pub fn join(reasoning: &str, answer: &str) -> String {
    format!("{OPEN}\n{reasoning}{DELIMITER}{answer}")
}

/// A response taken apart for its lengths.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// Empty where the response does not reason.
    pub reasoning: &'a str,
    /// Empty where the reasoning never ends.
    pub answer: &'a str,
    /// Whether there is reasoning that ends.
    pub closed: bool,
}

/// Everything up to the first `</think>` is reasoning (without a `<think>` at its beginning, which some templates put into the
/// prompt); where none follows a `<think>`, so is all after that. A response without tags is an answer. Unlike `split` no text counts
/// on both sides.
pub fn parts(response: &str) -> Parts<'_> {
    match (response.find(OPEN), response.find(CLOSE)) {
        (open, Some(close)) => {
            let start = open.filter(|open| *open < close);
            let start = start.map_or(0, |open| open + OPEN.len());
            Parts {
                reasoning: response[start..close].trim(),
                answer: response[close + CLOSE.len()..].trim(),
                closed: true,
            }
        }
        (Some(open), None) => Parts {
            reasoning: response[open + OPEN.len()..].trim(),
            answer: "",
            closed: false,
        },
        (None, None) => Parts {
            reasoning: "",
            answer: response.trim(),
            closed: false,
        },
    }
}

/// The reasoning of a well-formed response, `None` where there is none to measure.
pub fn reasoning(response: &str) -> Option<&str> {
    let start = response.find(OPEN)? + OPEN.len();
    let end = response.find(CLOSE)?;
    (start <= end).then(|| response[start..end].trim())
}
