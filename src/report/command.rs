//! Commands that are advised, as they are typed.

/// A command as it is typed: `pipe` and these words, each quoted where a shell would read it as another.
pub fn command<S: AsRef<str>>(words: impl IntoIterator<Item = S>) -> String {
    let words = words.into_iter();
    let words: Vec<String> = words.map(|w| quoted(w.as_ref())).collect();
    format!("pipe {}", words.join(" "))
}

/// As a shell reads it as one word.
pub fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "=._-+/:,@%".contains(c);
    match !word.is_empty() && word.chars().all(plain) {
        true => word.into(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}
