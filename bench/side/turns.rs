//! The line protocol: a line in asks for a unit of work, a line of JSON out answers it.

use serde_json::{Value, json};
use std::io::Write;
use std::time::Instant;

/// Says that this side stands ready, and what it holds.
pub fn ready(about: Value) {
    answer(about);
}

/// The next unit that is asked for; None once nobody asks any more.
pub fn asked() -> Option<String> {
    let mut line = String::new();
    match std::io::stdin().read_line(&mut line) {
        Ok(n) if n > 0 => Some(line.trim().to_string()),
        _ => None,
    }
}

pub fn answer(value: Value) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{value}")
        .and_then(|()| out.flush())
        .expect("whoever asks reads the answers");
}

/// Answers with the seconds that `unit` takes.
pub fn timed<T>(unit: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let out = unit();
    answer(json!({"seconds": start.elapsed().as_secs_f64()}));
    out
}
