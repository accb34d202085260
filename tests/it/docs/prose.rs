//! What a reader meets between commands: how long README and lines are, where links lead, what marks of blocks mean.

use super::{Page, assert_none, pages, root};
use std::path::Path;

#[test]
fn the_readme_is_read_in_one_sitting() {
    let lines = Page::read("README.md").text.lines().count();
    assert!(lines <= 200, "{lines} lines");
}

/// Rows of tables cannot be broken, nor can what something printed.
#[test]
fn lines_fit_a_window() {
    let mut long = vec![];
    for page in pages() {
        for (at, line) in page.prose() {
            if line.chars().count() >= 120 && !line.starts_with('|') {
                long.push(format!("{}:{at}: {}", page.name, line.chars().count()));
            }
        }
        for block in page.blocks().iter().filter(|b| b.language != "text") {
            let wide = block.text.lines().any(|line| line.chars().count() >= 120);
            long.extend(wide.then(|| format!("{}:{}: a block", page.name, block.line)));
        }
    }
    assert_none(&long);
}

#[test]
fn every_link_leads_somewhere() {
    let mut wrong = vec![];
    for page in pages() {
        let folder = Path::new(&page.name).parent().unwrap();
        for (line, target) in page.links() {
            if target.starts_with("https://") {
                continue;
            }
            let (file, anchor) = target.split_once('#').unwrap_or((&target, ""));
            let path = match file {
                "" => root().join(&page.name),
                file => root().join(folder).join(file),
            };
            let place = format!("{}:{line}: {target}", page.name);
            if !path.exists() {
                wrong.push(format!("{place}: there is no such file"));
            } else if !anchor.is_empty() {
                let other = Page {
                    name: file.into(),
                    text: std::fs::read_to_string(&path).unwrap(),
                };
                if !other.anchors().iter().any(|a| a == anchor) {
                    wrong.push(format!("{place}: it has {:?}", other.anchors()));
                }
            }
        }
    }
    assert_none(&wrong);
}

/// A block that nobody looks at is one that can be wrong.
#[test]
fn every_block_says_what_it_is() {
    let mut wrong = vec![];
    for page in pages() {
        for block in page.blocks() {
            let marks: Vec<&str> = block.marks.keys().map(String::as_str).collect();
            let known = matches!(
                (block.language.as_str(), &marks[..]),
                ("toml", [] | ["base"] | ["file"] | ["unchecked"])
                    | ("sh", [] | ["parsed"])
                    | ("text", [])
                    | (_, ["file"])
            );
            if !known {
                let what = format!("`{} {}`", block.language, marks.join(" "));
                wrong.push(format!("{}:{}: {what}", page.name, block.line));
            }
        }
    }
    assert_none(&wrong);
}
