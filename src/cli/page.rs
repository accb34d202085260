//! A page of the manual in the columns of a terminal: paragraphs are broken anew, tables are drawn, what stands in blocks is left as it
//! is, of links only the text is shown. Knows as much of Markdown as `docs/` uses.

use report::table::{Table, left};
use report::wrap::wrap;

pub fn fitted(page: &str, room: usize) -> String {
    if room == usize::MAX {
        return page.to_string();
    }
    let mut out = String::new();
    let mut lines = page.lines().peekable();
    while let Some(line) = lines.next() {
        if line.starts_with("```") {
            for inner in lines.by_ref().take_while(|inner| !inner.starts_with("```")) {
                out += format!("    {inner}").trim_end();
                out.push('\n');
            }
        } else if line.starts_with('|') {
            let mut rows = vec![line];
            while let Some(row) = lines.next_if(|next| next.starts_with('|')) {
                rows.push(row);
            }
            out += &table(&rows).fit(room);
        } else if line.is_empty() || line.starts_with('#') {
            out += &format!("{}\n", unlinked(line));
        } else if !line.starts_with("<!--") {
            let mut text = line.to_string();
            while let Some(next) = lines.next_if(|next| goes_on(next)) {
                text += &format!(" {}", next.trim());
            }
            let indent = if text.starts_with("- ") { 2 } else { 0 };
            for line in wrap(&unlinked(&text), room, indent) {
                out += &format!("{line}\n");
            }
        }
    }
    out
}

/// Whether a line belongs to the paragraph or the item before it.
fn goes_on(line: &str) -> bool {
    !line.is_empty()
        && !["|", "#", "```", "<!--", "- "]
            .iter()
            .any(|begin| line.starts_with(begin))
}

/// `[text](target)` as its text: a terminal follows no link. What stands in backquotes is no link.
fn unlinked(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['`', '[']) {
        let (before, from) = rest.split_at(at);
        out += before;
        rest = match link(from) {
            Some((label, after)) => {
                out += label;
                after
            }
            None => {
                let code = from[1..].find('`').filter(|_| from.starts_with('`'));
                let end = code.map_or(1, |n| n + 2);
                out += &from[..end];
                &from[end..]
            }
        };
    }
    out + rest
}

/// The text of a link that begins here, and what stands behind the link.
fn link(text: &str) -> Option<(&str, &str)> {
    let (label, rest) = text.strip_prefix('[')?.split_once("](")?;
    let (target, after) = rest.split_once(')')?;
    let one = !label.contains('[') && !target.contains(' ');
    one.then_some((label, after))
}

/// The first row is the head, the second only says how columns lie.
fn table(rows: &[&str]) -> Table {
    let cells = |row: &str| -> Vec<String> {
        let row = row.trim().trim_start_matches('|').trim_end_matches('|');
        row.split(" | ").map(|cell| unlinked(cell.trim())).collect()
    };
    let head = cells(rows[0]);
    let mut table = Table::new(head.iter().map(|title| left(title)));
    for row in rows.iter().skip(2) {
        let mut row = cells(row);
        row.resize(head.len(), String::new());
        table.push(row);
    }
    table
}
