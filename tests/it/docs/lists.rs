//! What README and `docs/` list of the binary is what it prints: verbs, topics, scorers, metrics. The names behind
//! `<!-- pipe COMMAND -->` say which command; `PIPE_BLESS=1` writes these lists anew.

use super::{Page, pages, root};
use pipe::cli::help::TOPICS;
use pipe::kinds::scorers;
use std::collections::BTreeSet;
use std::process::Command;

const END: &str = "<!-- end -->";

fn printed(command: &str) -> String {
    let mut pipe = Command::new(env!("CARGO_BIN_EXE_pipe"));
    let output = pipe.args(command.split(' ')).env_remove("COLUMNS").output();
    let output = output.unwrap();
    assert!(output.status.success(), "pipe {command}");
    String::from_utf8(output.stdout).unwrap()
}

/// Holds a list of a page against what the binary prints, or writes it anew.
fn listed(page: &str, command: &str) -> String {
    let list = format!("```text\n{}```\n", printed(command));
    let path = root().join(page);
    let text = std::fs::read_to_string(&path).unwrap();
    let begin = format!("<!-- pipe {command} -->\n");
    let (before, rest) = text.split_once(&begin).expect("the list has a beginning");
    let (there, after) = rest.split_once(END).expect("the list has an end");
    if std::env::var_os("PIPE_BLESS").is_some() {
        std::fs::write(&path, format!("{before}{begin}{list}{END}{after}")).unwrap();
        return list;
    }
    assert_eq!(
        there, list,
        "PIPE_BLESS=1 cargo test --release docs::lists writes it anew"
    );
    list
}

#[test]
fn the_page_of_judges_lists_every_scorer() {
    let list = listed("docs/judges.md", "kinds --scorers");
    for scorer in scorers::ALL {
        assert!(list.contains(scorer.summary), "{}", scorer.name);
    }
}

#[test]
fn the_page_of_metrics_lists_what_every_kind_measures() {
    let list = listed("docs/metrics.md", "kinds --metrics");
    for kind in pipe::kinds::REGISTRY.iter() {
        for metric in kind.metrics {
            let names = metric.names();
            assert!(names.iter().all(|n| list.contains(n.as_str())), "{names:?}");
        }
    }
}

#[test]
fn the_page_of_data_lists_every_public_set() {
    let list = listed("docs/data.md", "kinds --datasets");
    for set in pipe::data::schema::ALL {
        assert!(list.contains(set.name), "{}", set.name);
    }
}

/// The table is a golden file: what a kind begins to hash, or stops hashing, shows in review.
#[test]
fn what_is_in_a_key_and_what_is_not_is_as_it_was() {
    let path = root().join("tests/it/golden/keys.md");
    let table = printed("kinds --keys");
    if std::env::var_os("PIPE_BLESS").is_some() {
        std::fs::write(&path, &table).unwrap();
    }
    let before = std::fs::read_to_string(&path).unwrap();
    assert_eq!(before, table, "`just bless` writes it anew");
    assert!(table.contains("| grpo ") && !table.contains("toy-"));
}

#[test]
fn the_readme_lists_every_verb_and_no_other() {
    let page = Page::read("README.md");
    let (_, rest) = page.text.split_once("\n## Verbs\n").expect("a section");
    let section = rest.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| "));
    let words = rows.flat_map(|row| row.split('`').skip(1).step_by(2));
    let listed: BTreeSet<String> = words.map(String::from).collect();
    let command = pipe::cli::command();
    let verbs = command.get_subcommands().filter(|c| !c.is_hide_set());
    let verbs: BTreeSet<String> = verbs.map(|c| c.get_name().to_string()).collect();
    assert_eq!(listed, verbs);
}

#[test]
fn every_page_is_a_topic_a_chapter_and_a_file() {
    let summary = Page::read("docs/SUMMARY.md");
    let chapters = summary.links().into_iter().map(|(_, target)| target);
    let chapters: Vec<String> = chapters.filter(|c| c != "README.md").collect();
    let topics: Vec<String> = TOPICS.iter().map(|t| format!("{}.md", t.name)).collect();
    assert_eq!(chapters, topics, "in one order");
    let files = pages().into_iter().skip(1).map(|p| p.name);
    let files = files.map(|name| name.trim_start_matches("docs/").to_string());
    let files: BTreeSet<String> = files
        .filter(|name| name != "SUMMARY.md" && name != "README.md")
        .collect();
    assert_eq!(files, topics.iter().cloned().collect());
    for topic in TOPICS {
        assert!(topic.page.starts_with("# "), "{}", topic.name);
    }
}

#[test]
fn help_prints_the_pages_and_answers_a_wrong_word_with_the_nearest() {
    for topic in TOPICS {
        assert_eq!(printed(&format!("help {}", topic.name)), topic.page);
    }
    let overview = printed("help");
    for topic in TOPICS {
        assert!(
            overview.contains(&format!("\n  {} ", topic.name)),
            "{overview}"
        );
    }
    assert!(printed("help run").contains("Example: pipe run"));
    assert!(printed("help calls show").contains("Usage: pipe calls show"));
    // In a window that is narrower than the page, nothing but what stands in blocks, and what must not be broken, is wider.
    let mut pipe = Command::new(env!("CARGO_BIN_EXE_pipe"));
    let narrow = pipe.args(["help", "claims"]).env("COLUMNS", "80");
    let narrow = String::from_utf8(narrow.output().unwrap().stdout).unwrap();
    let wide = narrow.lines().filter(|line| line.chars().count() > 80);
    let loose: Vec<&str> = wide
        .filter(|line| !line.starts_with("    ") && !line.contains('`'))
        .collect();
    assert!(loose.is_empty(), "{loose:?}");
    assert!(
        narrow.contains("\nverdict ") && !narrow.contains("| --- |"),
        "{narrow}"
    );
    let wrong = |words: &[&str]| {
        let mut pipe = Command::new(env!("CARGO_BIN_EXE_pipe"));
        let output = pipe.arg("help").args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        String::from_utf8(output.stderr).unwrap()
    };
    let said = wrong(&["metric"]);
    assert_eq!(
        said,
        "error: no verb or topic `metric`; did you mean `pipe help metrics`?\n"
    );
    assert!(wrong(&["rum"]).contains("`pipe help run`"));
    assert!(wrong(&["nothing-like-it"]).contains("`pipe help` lists both"));
    assert!(wrong(&["run", "metrics"]).contains("no verb or topic `metrics`"));
}
