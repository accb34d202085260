//! Every command is run beside a small study, or, where its block says why it is not, parsed.

use super::{Block, Checkout, Page, assert_none, at, pages};

/// Lines with their continuations, without empty ones and comments.
fn commands(block: &Block) -> Vec<String> {
    let whole = block.text.replace("\\\n", " ");
    let lines = whole.lines().map(str::trim);
    let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(String::from).collect()
}

fn of_pipe(command: &str) -> bool {
    command.starts_with("pipe ")
}

#[test]
fn every_command_runs() {
    let checkout = Checkout::new();
    let mut wrong = vec![];
    let mut ran = 0;
    for page in pages() {
        for block in page.blocks() {
            if let Some(name) = block.marks.get("file") {
                checkout.file(name, &block.text);
            }
            if block.language != "sh" || block.marks.contains_key("parsed") {
                continue;
            }
            for command in commands(&block) {
                ran += 1;
                wrong.extend(problem(&checkout, &page, &block, &command));
            }
        }
    }
    assert_none(&wrong);
    assert!(ran >= 30, "{ran} commands are few");
}

fn problem(checkout: &Checkout, page: &Page, block: &Block, command: &str) -> Option<String> {
    let place = at(page, block);
    if !of_pipe(command) {
        return Some(format!(
            "{place}: `{command}` is not of `pipe`: parsed=\"…\" says why it is not run"
        ));
    }
    let output = checkout.shell(command).output().unwrap();
    let code = output.status.code();
    // `diff` says by 1 that something differs.
    if code == Some(0) || command.starts_with("pipe diff ") && code == Some(1) {
        return None;
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let said = said + &String::from_utf8_lossy(&output.stdout);
    let said: String = said.chars().take(1500).collect();
    Some(format!("{place}: `{command}` ended with {code:?}: {said}"))
}

#[test]
fn every_command_that_is_not_run_is_one_that_could_be() {
    let checkout = Checkout::new();
    let mut wrong = vec![];
    for page in pages() {
        for block in page.blocks() {
            let Some(reason) = block.marks.get("parsed") else {
                continue;
            };
            let place = at(&page, &block);
            assert!(reason.len() > 10, "{place}: `{reason}` is no reason");
            for command in commands(&block).into_iter().filter(|c| of_pipe(c)) {
                let words = words(&checkout, &command);
                if let Err(error) = pipe::cli::command().try_get_matches_from(words)
                    && error.use_stderr()
                {
                    wrong.push(format!("{place}: `{command}`: {error}"));
                }
            }
        }
    }
    assert_none(&wrong);
}

/// As a shell hands them over.
fn words(checkout: &Checkout, command: &str) -> Vec<String> {
    let line =
        format!("pipe() {{ printf '%s\\n' pipe \"$@\" >&3; }}; exec 3>&1; {command} > /dev/null");
    let output = checkout.shell(&line).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(String::from).collect()
}

/// In a sentence a command is often named without all that it needs; its verb and its options have to be there.
#[test]
fn every_command_in_a_sentence_names_a_verb_and_options_that_there_are() {
    let command = pipe::cli::command();
    let mut wrong = vec![];
    for page in pages() {
        for (line, code) in page.code() {
            let mut words = code.split_whitespace();
            let (Some("pipe"), Some(verb)) = (words.next(), words.next()) else {
                continue;
            };
            let place = format!("{}, paragraph of line {line}: `{code}`", page.name);
            if verb.starts_with('-') || verb.chars().all(|c| c.is_uppercase()) {
                continue;
            }
            let Some(verb) = command.find_subcommand(verb) else {
                wrong.push(format!("{place}: no verb `{verb}`"));
                continue;
            };
            for word in words.filter_map(|word| word.strip_prefix("--")) {
                let name = word.split('=').next().unwrap_or(word);
                let known = verb.get_arguments().any(|a| a.get_long() == Some(name));
                if !known && !["help", "json"].contains(&name) {
                    wrong.push(format!("{place}: no option `--{name}`"));
                }
            }
        }
    }
    assert_none(&wrong);
}
