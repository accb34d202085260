//! Small pieces of text for people: near names, durations, sizes, counts, and how wide a string is on a terminal.
//! Knows no terminal and no clock.

use unicode_width::UnicodeWidthStr;

/// Names of a list that are written out.
const LISTED: usize = 100;

/// A longer name is no slip of the fingers, and comparing costs the product of two lengths.
const LONGEST_NAME: usize = 100;

/// The candidate nearest to a name that is probably misspelt; the first of several equally near. Case is ignored, and a
/// third of the longer name may differ by letters inserted, deleted, replaced, or swapped with a neighbour.
pub fn did_you_mean<'a>(
    name: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<String> {
    if name.chars().nth(LONGEST_NAME).is_some() {
        return None;
    }
    let length = name.chars().count();
    let lower = name.to_lowercase();
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate.len() > 4 * LONGEST_NAME {
            continue;
        }
        let other = candidate.chars().count();
        let longer = length.max(other);
        // No distance is less than what the lengths differ by.
        if length.abs_diff(other) > longer.div_ceil(3) {
            continue;
        }
        let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
        let near = distance <= longer.div_ceil(3) && distance < longer;
        if near && best.is_none_or(|(least, _)| distance < least) {
            best = Some((distance, candidate));
        }
    }
    best.map(|(_, candidate)| candidate.to_string())
}

/// The candidates in the order of their likeness to a name, the most alike first; those that are equally alike in their own order. Alike is
/// what has letters in common in the same order, or neighbours: `world-prompts` is like `prompts`.
pub fn alike<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    let name: String = name.to_lowercase().chars().take(LONGEST_NAME).collect();
    let likeness = |candidate: &str| {
        let other = candidate.to_lowercase();
        let longer = name.chars().count().max(other.chars().count()).max(1);
        let by_letters = 1.0 - strsim::osa_distance(&name, &other) as f64 / longer as f64;
        by_letters.max(strsim::sorensen_dice(&name, &other))
    };
    let scored = candidates.into_iter().map(|c| (likeness(c), c));
    let mut scored: Vec<(f64, &str)> = scored.collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().map(|(_, candidate)| candidate).collect()
}

/// A few of many names, those most like this one first, as they stand in a message: `` `a`, `b` and 12 more ``.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    const FEW: usize = 5;
    let all = alike(name, candidates);
    let few: Vec<String> = all.iter().take(FEW).map(|n| format!("`{n}`")).collect();
    match all.len().saturating_sub(FEW) {
        0 => few.join(", "),
        more => format!("{} and {more} more", few.join(", ")),
    }
}

/// A duration in the two largest units that matter: `12 ms`, `0.8 s`, `42 s`, `4 m 12 s`, `2 h 5 m`, `3 d 4 h`.
pub fn duration(seconds: f64) -> String {
    assert!(
        seconds.is_finite() && seconds >= 0.0,
        "a duration is finite and not negative"
    );
    if seconds == 0.0 {
        return "0 s".into();
    }
    if seconds < 0.0995 {
        return format!("{} ms", (seconds * 1e3).round().max(1.0));
    }
    if (seconds * 10.0).round() < 100.0 {
        return format!("{seconds:.1} s");
    }
    let whole = seconds.round() as u64;
    let (days, hours) = (whole / 86_400, whole / 3600 % 24);
    let (minutes, rest) = (whole / 60 % 60, whole % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{rest} s"),
        (0, 0, _) => format!("{minutes} m {rest} s"),
        (0, _, _) => format!("{hours} h {minutes} m"),
        _ => format!("{days} d {hours} h"),
    }
}

/// An amount of money: `$12.50`, `$0.0031`; what is more than nothing does not look like nothing.
pub fn dollars(amount: f64) -> String {
    match amount {
        0.0 => "$0".into(),
        _ if amount < 0.000_05 => "<$0.0001".into(),
        _ if amount < 0.1 => format!("${amount:.4}"),
        _ => format!("${amount:.2}"),
    }
}

/// A size in decimal units: `512 B`, `1.5 kB`, `3.1 GB`.
pub fn bytes(count: u64) -> String {
    if count < 1000 {
        return format!("{count} B");
    }
    let mut size = count as f64 / 1e3;
    let mut units = ["kB", "MB", "GB", "TB", "PB", "EB"].into_iter();
    let mut unit = units.next().expect("there are units");
    // 999.95 would print as 1000.0, so the next unit begins there.
    while size >= 999.95 {
        size /= 1e3;
        unit = units.next().expect("a u64 is below 19 EB");
    }
    format!("{size:.1} {unit}")
}

/// A size as people write it: `512`, `1.5 kB`, `200GB`, `64GiB`; nothing where it is none.
pub fn parse_bytes(text: &str) -> Option<u64> {
    let (number, unit) = split_unit(text)?;
    let scale: f64 = match unit.to_ascii_lowercase().as_str() {
        "" | "b" => 1.0,
        "k" | "kb" => 1e3,
        "m" | "mb" => 1e6,
        "g" | "gb" => 1e9,
        "t" | "tb" => 1e12,
        "kib" => 1024.0,
        "mib" => 1_048_576.0,
        "gib" => 1_073_741_824.0,
        "tib" => 1_099_511_627_776.0,
        _ => return None,
    };
    let size = number * scale;
    (size <= 1e18).then_some(size.round() as u64)
}

/// A length of time in seconds: `90s`, `15m`, `12h`, `30d`, `4w`; nothing where it is none.
pub fn parse_duration(text: &str) -> Option<f64> {
    let (number, unit) = split_unit(text)?;
    let scale = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        "w" => 604_800.0,
        _ => return None,
    };
    let seconds = number * scale;
    (seconds <= 1e11).then_some(seconds)
}

/// A number that is not negative, and the letters behind it.
fn split_unit(text: &str) -> Option<(f64, &str)> {
    let text = text.trim();
    let end = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let number: f64 = text[..end].parse().ok()?;
    number
        .is_finite()
        .then_some((number, text[end..].trim_start()))
}

/// `1 node`, `2 nodes`, `1,200 rows`.
pub fn count(n: u64, one: &str, many: &str) -> String {
    format!("{} {}", thousands(n), if n == 1 { one } else { many })
}

/// `1234567` as `1,234,567`.
pub fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut text = String::new();
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A number of tokens, to two figures or three: `950 tokens`, `12 k tokens`, `4.1 M tokens`.
pub fn tokens(n: u64) -> String {
    let short = |scale: f64, unit: &str| match n as f64 / scale {
        // 9.95 would print as 10.0.
        small if small < 9.95 => format!("{small:.1} {unit}"),
        large => format!("{large:.0} {unit}"),
    };
    let number = match n {
        0..1_000 => n.to_string(),
        1_000..999_500 => short(1e3, "k"),
        999_500..999_500_000 => short(1e6, "M"),
        _ => short(1e9, "G"),
    };
    format!("{number} {}", if n == 1 { "token" } else { "tokens" })
}

/// Names in backticks, as in a list of what there is; of a long list its beginning.
pub fn listed<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let mut names = names.into_iter();
    let mut list: Vec<String> = names
        .by_ref()
        .take(LISTED)
        .map(|n| format!("`{n}`"))
        .collect();
    match names.count() {
        0 => {}
        more => list.push(format!("{} more", thousands(more as u64))),
    }
    list.join(", ")
}

/// Terminal columns of a text without control characters.
pub fn width(text: &str) -> usize {
    text.width()
}
