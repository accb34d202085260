//! Prose in so many columns of a terminal. Knows what must stay together: commands, what is quoted, a number and its unit.

use base::text::width;

/// The text in lines of at most so many columns, broken at spaces; lines after the first begin `indent` columns further in. What is
/// between backticks stays on one line, as does a command (`pipe run r.toml`), and a word that is wider than a line: such
/// lines are left to the terminal, so that they can be pasted.
pub fn wrap(text: &str, room: usize, indent: usize) -> Vec<String> {
    if width(text) <= room {
        return vec![text.to_string()];
    }
    let own = text.len() - text.trim_start_matches(' ').len();
    let further = " ".repeat((own + indent).min(room / 2));
    let mut lines = vec![];
    let mut line = " ".repeat(own);
    let mut begun = false;
    for word in words(&text[own..]) {
        if begun && width(&line) + 1 + width(word) > room {
            let full = std::mem::replace(&mut line, further.clone());
            lines.push(full.trim_end().to_string());
            begun = false;
        }
        // Of several spaces in a row none begins a line.
        if !begun && word.is_empty() {
            continue;
        }
        if begun {
            line.push(' ');
        }
        line += word;
        begun = true;
    }
    lines.push(line);
    lines
}

fn is_number(word: &str) -> bool {
    let bare = word.trim_start_matches(['(', '[', '-', '+', '$']);
    bare.starts_with(|c: char| c.is_ascii_digit()) && !bare.contains(':')
}

fn begins_with_unit(text: &str) -> bool {
    let end = text.find(|c: char| !c.is_ascii_alphabetic() && c != '%');
    let units = ["%", "ms", "s", "m", "h", "d", "B", "kB", "MB", "GB", "TB"];
    units.contains(&&text[..end.unwrap_or(text.len())])
}

/// What `wrap` keeps together; a number and its unit too. A command is `pipe …` at the beginning or behind a colon, up to a semicolon.
fn words(text: &str) -> Vec<&str> {
    let mut found: Vec<&str> = vec![];
    let (mut from, mut quoted, mut advised) = (0, false, false);
    for (at, c) in text.char_indices() {
        match c {
            '`' => quoted = !quoted,
            ' ' if quoted || advised && !text[..at].ends_with(';') => {}
            ' ' if is_number(&text[from..at]) && begins_with_unit(&text[at + 1..]) => {}
            ' ' => {
                let word = &text[from..at];
                let advice = found.last().is_none_or(|w| w.ends_with([':', ';']));
                advised = word == "pipe" && advice;
                if !advised {
                    found.push(word);
                    from = at + 1;
                }
            }
            _ => {}
        }
    }
    found.push(&text[from..]);
    found
}
