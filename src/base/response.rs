//! How a response is read, in the whole project: where its reasoning ends and its answer begins, and what it came to. One
//! splitter serves rewards, judges, evaluations, lengths, endpoints, imports and what is shown.
//!
//! TARS's own rule for the *format* (github.com/danielkty/tars, commit 32c10be) is `well_formed`: strict, and used by the scorer of
//! that name only. How a response is read does not depend on it.

use crate::choice;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;

pub const OPEN: &str = "<think>";
pub const CLOSE: &str = "</think>";
/// Between reasoning and answer, where a response is written.
const DELIMITER: &str = "\n</think>\n\n";
/// How others write the tags around reasoning that a response begins with: Google's endpoint, Mistral's models, and `<thinking>`.
const OTHERS: [(&str, &str); 3] = [
    ("<thought>", "</thought>"),
    ("[THINK]", "[/THINK]"),
    ("<thinking>", "</thinking>"),
];

/// A response, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// None where the response does not reason; several blocks are joined by a newline.
    pub reasoning: Option<String>,
    /// What judges see. Empty where the reasoning never ends.
    pub answer: String,
    /// Whether the response ends outside of its reasoning.
    pub closed: bool,
}

/// Reasoning is what stands between `<think>` and the next `</think>`, or the end of the text. Before a `</think>` without a `<think>`
/// everything back to the last tag is reasoning too: templates that open the block leave the model only to close it. All else
/// is the answer. Both are trimmed.
pub fn split(response: &str) -> Parts {
    let text = usual(response);
    let Pieces {
        reasoning,
        answer,
        closed,
    } = pieces(&text);
    let thought: Vec<&str> = reasoning
        .iter()
        .map(|part| text[part.clone()].trim())
        .collect();
    let answer: String = answer.into_iter().map(|part| &text[part]).collect();
    Parts {
        reasoning: (!thought.is_empty()).then(|| thought.join("\n").trim().to_string()),
        answer: answer.trim().to_string(),
        closed,
    }
}

/// Of the answer what the model wrote itself, where the response was begun for it like this: all of it where nothing was, or nothing
/// that is part of the answer.
pub fn own(response: &str, begun: Option<&str>) -> String {
    let text = usual(response);
    let begun = begun.map(usual).filter(|b| text.starts_with(&**b));
    let given = begun.map_or(0, |begun| begun.len());
    let answer = pieces(&text).answer.into_iter();
    let own: String = answer
        .map(|part| &text[part.start.max(given)..part.end.max(given)])
        .collect();
    own.trim().to_string()
}

/// What a response is given to begin with, where it reaches into its answer.
pub fn begins_answer(begun: &str) -> Option<&str> {
    (!split(begun).answer.is_empty()).then_some(begun)
}

/// Where in a text its reasoning and its answer stand.
struct Pieces {
    reasoning: Vec<Range<usize>>,
    answer: Vec<Range<usize>>,
    closed: bool,
}

fn pieces(text: &str) -> Pieces {
    let (mut reasoning, mut answer) = (vec![], vec![]);
    let (mut from, mut inside) = (0, false);
    let closed = loop {
        let next = |tag: &str| text[from..].find(tag).map(|at| from + at);
        match (next(OPEN), next(CLOSE)) {
            // A block begins only where none is open; a second `<think>` is a word of the reasoning.
            (Some(at), close) if !inside && close.is_none_or(|close| at < close) => {
                answer.push(from..at);
                from = at + OPEN.len();
                inside = true;
            }
            (_, Some(at)) => {
                reasoning.push(from..at);
                from = at + CLOSE.len();
                inside = false;
            }
            (_, None) if inside => {
                reasoning.push(from..text.len());
                break false;
            }
            (_, None) => {
                answer.push(from..text.len());
                break true;
            }
        }
    };
    Pieces {
        reasoning,
        answer,
        closed,
    }
}

/// The response with think tags where it begins with others.
fn usual(response: &str) -> Cow<'_, str> {
    let text = response.trim_start();
    let begins = OTHERS.iter().find(|(open, _)| text.starts_with(open));
    match begins {
        Some((open, close)) => {
            let rest = text[open.len()..].replacen(close, CLOSE, 1);
            Cow::Owned(format!("{OPEN}{rest}"))
        }
        None => Cow::Borrowed(response),
    }
}

/// TARS's format: exactly one `<think>` and exactly one `</think>`, in that order. Nothing else is asked for.
pub fn well_formed(response: &str) -> bool {
    let open: Vec<usize> = response.match_indices(OPEN).map(|(i, _)| i).collect();
    let close: Vec<usize> = response.match_indices(CLOSE).map(|(i, _)| i).collect();
    matches!((open.as_slice(), close.as_slice()), ([o], [c]) if o < c)
}

/// The response a model should give.
pub fn join(reasoning: &str, answer: &str) -> String {
    format!("{OPEN}\n{reasoning}{DELIMITER}{answer}")
}

choice! {
    /// Where in a response a beginning stands that it is given.
    pub enum Slot {
        /// At its very beginning, as it is.
        Response = "response",
        /// In its reasoning, after the tag that opens it.
        Reasoning = "reasoning",
        /// In its answer, after reasoning that is closed and has nothing in it.
        Answer = "answer",
    }
}

/// What a response begins with that is given this text there.
pub fn begun(slot: Slot, text: &str) -> String {
    match slot {
        Slot::Response => text.to_string(),
        Slot::Reasoning => format!("{OPEN}\n{text}"),
        Slot::Answer => join("", text),
    }
}

/// A response that was cut off inside of this reasoning: a closing tag that it speaks of closes nothing.
pub fn unfinished(reasoning: &str) -> String {
    let reasoning = reasoning.trim_start().replace(CLOSE, "</ think>");
    format!("{OPEN}\n{reasoning}")
}

/// What of a text that comes before a response belongs to the response: from the first think tag on. A template whose generation
/// prompt ends with `<think>\n` has begun the response so; what a model writes after it is read with it.
pub fn opened(generation_prompt: &str) -> &str {
    let at = generation_prompt.find(OPEN);
    at.map_or("", |at| &generation_prompt[at..])
}

/// A response of a server whose own template may have opened the think block: one that closes a block before any is open
/// has been begun by it. Where the block never ends there is nothing to see it by.
pub fn reopened(response: &str) -> String {
    let unopened = match (response.find(OPEN), response.find(CLOSE)) {
        (open, Some(close)) => open.is_none_or(|open| close < open),
        (_, None) => false,
    };
    match unopened {
        true => format!("{OPEN}\n{}", response.trim_start_matches('\n')),
        false => response.to_string(),
    }
}

/// Why a response has no answer, where whoever made it says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Withheld {
    /// A provider's filter, before the model or after it.
    Blocked,
    /// The service said that the model refuses, apart from any content.
    Refused,
    /// The model called a tool instead.
    ToolCall,
}

/// What a response came to. `Answered` is the only one that a judge reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It has an answer.
    Answered,
    /// Refused by the service's word; counts as a refusal.
    Refused,
    /// Kept back by a provider's filter; counts as a refusal: the filter is part of what is measured.
    Blocked,
    /// It ran into the length limit, or ended, inside of its reasoning.
    CutOff,
    /// A tool call and no text.
    ToolCall,
    /// Nothing at all.
    Empty,
    /// Text that is neither a refusal nor an answer of the kind that is asked for, where a judge can tell.
    Unreadable,
}

impl Outcome {
    pub const ALL: [Outcome; 7] = [
        Outcome::Answered,
        Outcome::Refused,
        Outcome::Blocked,
        Outcome::CutOff,
        Outcome::ToolCall,
        Outcome::Empty,
        Outcome::Unreadable,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Outcome::Answered => "answered",
            Outcome::Refused => "refused",
            Outcome::Blocked => "blocked",
            Outcome::CutOff => "cut_off",
            Outcome::ToolCall => "tool_call",
            Outcome::Empty => "empty",
            Outcome::Unreadable => "unreadable",
        }
    }

    /// An answer to which the model added nothing is none; `begun` as in `own`. `finished`: it did not run into the length limit.
    pub fn of(
        response: &str,
        begun: Option<&str>,
        withheld: Option<Withheld>,
        finished: bool,
    ) -> Outcome {
        match withheld {
            Some(Withheld::Refused) => Outcome::Refused,
            _ if !own(response, begun).is_empty() => Outcome::Answered,
            Some(Withheld::Blocked) => Outcome::Blocked,
            Some(Withheld::ToolCall) => Outcome::ToolCall,
            None if !finished || !split(response).closed => Outcome::CutOff,
            None => Outcome::Empty,
        }
    }

    /// Whether it counts as a refusal without any judge.
    pub fn refuses(self) -> bool {
        matches!(self, Outcome::Refused | Outcome::Blocked)
    }

    /// Neither help nor refusal: it is never good, whatever was asked.
    pub fn unreadable(self) -> bool {
        matches!(
            self,
            Outcome::CutOff | Outcome::ToolCall | Outcome::Empty | Outcome::Unreadable
        )
    }
}
