//! Numbers that a judge was asked to write in double brackets. Knows no attack.

/// The number in the first double brackets that hold one, 1 to 10; the last bracket may be cut off.
pub fn rating(text: &str) -> Option<u32> {
    let places = (0..text.len()).filter(|at| text.as_bytes()[*at..].starts_with(b"[["));
    let found = places.filter_map(|at| {
        let inside = &text[at + 2..];
        let digits = inside.find(|c: char| !c.is_ascii_digit())?;
        (digits > 0 && inside[digits..].starts_with(']')).then(|| &inside[..digits])
    });
    let number: u32 = found.map(str::parse).next()?.ok()?;
    (1..=10).contains(&number).then_some(number)
}
