//! What an attacker proposes, read from what it wrote.
//!
//! A reply is read as JSON by the rules of Python's decoder with control characters allowed in strings, which models write. The released
//! programs read Python literals from the first `{` to the first `}` instead, which fails on braces in a prompt, on `null`, on
//! objects in objects, and ends the whole attack at a set.

use crate::attacks::letters::is_space;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A message to the target, and what its author thinks is better about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    pub improvement: String,
    pub prompt: String,
}

impl Proposal {
    /// As the attacker is kept it.
    pub fn json(&self) -> String {
        serde_json::to_string(self).expect("two texts have a JSON form")
    }
}

/// The first object, wherever it stands, that has `improvement` and `prompt` as texts, the prompt not blank; of a key that is there twice
/// the last counts. Where there is none, once more with `}` and with `"}` behind it: attackers are cut off there.
pub fn proposal(text: &str) -> Option<Proposal> {
    let endings = ["", "}", "\"}"].into_iter();
    endings
        .map(|ending| format!("{text}{ending}"))
        .find_map(|whole| {
            let mut places = whole.match_indices('{');
            places.find_map(|(at, _)| proposed(&whole[at..]))
        })
}

fn proposed(text: &str) -> Option<Proposal> {
    let mut fields = Scan::new(text).object(0)?;
    let mut take = |name: &str| fields.remove(name).flatten();
    let (improvement, prompt) = (take("improvement")?, take("prompt")?);
    let blank = prompt.chars().all(is_space);
    (!blank).then_some(Proposal {
        improvement,
        prompt,
    })
}

/// Deeper values are none.
const DEEPEST: usize = 1000;

/// The texts of an object by their keys; nothing for what is no text.
type Fields = BTreeMap<String, Option<String>>;

/// A reader of one JSON value from the beginning of a text. `None` where it is not one.
struct Scan<'a> {
    rest: &'a str,
}

impl Scan<'_> {
    fn new(text: &str) -> Scan<'_> {
        Scan { rest: text }
    }

    fn space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn eats(&mut self, head: &str) -> bool {
        match self.rest.strip_prefix(head) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take(&mut self, head: &str) -> Option<()> {
        self.eats(head).then_some(())
    }

    fn object(&mut self, depth: usize) -> Option<Fields> {
        self.take("{")?;
        let mut fields = Fields::new();
        self.space();
        if self.eats("}") {
            return Some(fields);
        }
        loop {
            let key = self.string()?;
            self.space();
            self.take(":")?;
            self.space();
            fields.insert(key, self.value(depth + 1)?);
            self.space();
            if self.eats("}") {
                return Some(fields);
            }
            self.take(",")?;
            self.space();
        }
    }

    fn array(&mut self, depth: usize) -> Option<()> {
        self.take("[")?;
        self.space();
        if self.eats("]") {
            return Some(());
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            if self.eats("]") {
                return Some(());
            }
            self.take(",")?;
            self.space();
        }
    }

    /// A text, or anything else.
    fn value(&mut self, depth: usize) -> Option<Option<String>> {
        if depth > DEEPEST {
            return None;
        }
        match self.rest.bytes().next()? {
            b'"' => return self.string().map(Some),
            b'{' => drop(self.object(depth)?),
            b'[' => self.array(depth)?,
            _ => {
                let words = ["null", "true", "false", "NaN", "Infinity", "-Infinity"];
                if !words.into_iter().any(|word| self.eats(word)) {
                    self.number()?;
                }
            }
        }
        Some(None)
    }

    fn number(&mut self) -> Option<()> {
        self.eats("-");
        if !self.eats("0") {
            self.digits()?;
        }
        let whole = self.rest;
        if !(self.eats(".") && self.digits().is_some()) {
            self.rest = whole;
        }
        let whole = self.rest;
        let power = self.eats("e") || self.eats("E");
        let _ = power && (self.eats("+") || self.eats("-"));
        if !(power && self.digits().is_some()) {
            self.rest = whole;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let rest = self.rest.trim_start_matches(|c: char| c.is_ascii_digit());
        let some = rest.len() < self.rest.len();
        self.rest = rest;
        some.then_some(())
    }

    fn string(&mut self) -> Option<String> {
        self.take("\"")?;
        let mut text = String::new();
        loop {
            let plain = self.rest.find(['"', '\\'])?;
            text.push_str(&self.rest[..plain]);
            self.rest = &self.rest[plain..];
            if self.eats("\"") {
                return Some(text);
            }
            self.take("\\")?;
            text.push(self.escaped()?);
        }
    }

    /// Half of a pair of surrogates alone becomes the character that stands for what is none.
    fn escaped(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(match c {
            '"' | '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let high = self.four()?;
                let after = self.rest;
                let paired = (0xd800..0xdc00).contains(&high) && self.eats("\\u");
                let low = if paired { Some(self.four()?) } else { None };
                match low.filter(|low| (0xdc00..0xe000).contains(low)) {
                    Some(low) => {
                        let code = 0x10000 + ((high - 0xd800) << 10) + (low - 0xdc00);
                        char::from_u32(code)?
                    }
                    None => {
                        self.rest = after;
                        char::from_u32(high).unwrap_or(char::REPLACEMENT_CHARACTER)
                    }
                }
            }
            _ => return None,
        })
    }

    fn four(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4)?;
        let hexadecimal = digits.bytes().all(|b| b.is_ascii_hexdigit());
        let code = u32::from_str_radix(digits, 16).ok().filter(|_| hexadecimal);
        self.rest = &self.rest[4..];
        code
    }
}
