//! Sorts of characters as Python tells them, since the attacks that are compared with were written in it. Knows no attack.

use regex::Regex;
use std::sync::LazyLock;

/// What `str.split()` and `str.strip()` take for white space.
pub fn is_space(c: char) -> bool {
    c.is_whitespace() || matches!(c, '\u{1c}'..='\u{1f}')
}

/// `str.isalpha()`: a letter by its general category.
pub fn is_letter(c: char) -> bool {
    static LETTER: LazyLock<Regex> = LazyLock::new(|| class(r"^\p{L}$"));
    match c.is_ascii() {
        true => c.is_ascii_alphabetic(),
        false => LETTER.is_match(c.encode_utf8(&mut [0; 4])),
    }
}

/// `str.isprintable()`: neither a separator but for the space, nor a control, nor unassigned.
pub fn is_printable(c: char) -> bool {
    static OTHER: LazyLock<Regex> = LazyLock::new(|| class(r"^[\p{C}\p{Z}]$"));
    match c.is_ascii() {
        true => matches!(c, ' '..='~'),
        false => !OTHER.is_match(c.encode_utf8(&mut [0; 4])),
    }
}

fn class(pattern: &str) -> Regex {
    Regex::new(pattern).expect("the pattern is one of this file")
}
