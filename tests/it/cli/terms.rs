//! The terms on which the binary lives with its surroundings: the store's place and state, stdout, colours.

use super::{GREETING, Said, Space};
use crate::skipped::skip;
use std::io::{BufRead, BufReader};
use std::process::Command;

#[test]
fn a_store_of_a_newer_format_is_exit_3_and_untouched() {
    let space = Space::with(GREETING);
    space.file("cache/format", "99\n");
    for args in [
        &["run", "r.toml"][..],
        &["plan", "r.toml"],
        &["ls"],
        &["show", "r.toml"],
    ] {
        let said = space.pipe(args).ends(3);
        assert!(
            said.err
                .contains("has format 99, made by a newer version; this one reads up to "),
            "{}",
            said.err
        );
        assert_eq!(said.err.lines().count(), 1, "{}", said.err);
    }
    assert_eq!(std::fs::read_dir(space.path("cache")).unwrap().count(), 1);
}

#[test]
fn a_store_that_is_a_file_or_a_strange_folder_is_exit_3() {
    let space = Space::with(GREETING);
    space.file("a-file", "x");
    let said = space.pipe(&["run", "r.toml", "--store", "a-file"]).ends(3);
    assert!(said.err.contains("a-file"), "{}", said.err);
    assert!(!said.err.contains("File exists"), "{}", said.err);
    space.file("photos/cat.jpg", "x");
    let said = space.pipe(&["run", "r.toml", "--store", "photos"]).ends(3);
    assert!(said.err.contains("photos"), "{}", said.err);
    assert!(
        said.err.contains("not empty and is not a store"),
        "{}",
        said.err
    );
    assert_eq!(std::fs::read_dir(space.path("photos")).unwrap().count(), 1);
}

#[test]
fn the_option_comes_before_the_variable_and_that_before_the_default() {
    let space = Space::with(GREETING);
    let run = |args: &[&str]| {
        let output = space.command(args).env("PIPE_STORE", "from-env").output();
        Said::new(output.unwrap()).ok()
    };
    run(&["run", "r.toml", "--quiet"]);
    assert!(space.path("from-env/format").exists());
    run(&["run", "r.toml", "--quiet", "--store", "from-option"]);
    assert!(space.path("from-option/format").exists());
    assert!(!space.path("cache").exists());
    let output = space
        .command(&["run", "r.toml", "-q"])
        .env("PIPE_STORE", "")
        .output();
    Said::new(output.unwrap()).ok();
    assert!(
        space.path("cache/format").exists(),
        "an empty variable is none"
    );
}

#[test]
fn a_reader_that_goes_away_ends_the_command_quietly() {
    let space = Space::with(GREETING);
    for args in [
        &["kinds", "grpo"][..],
        &["completions", "bash"],
        &["run", "r.toml"],
        &["plan", "r.toml"],
    ] {
        let mut child = space.command(args).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut first)
            .unwrap();
        let said = Said::new(child.wait_with_output().unwrap());
        assert_ne!(said.code, None, "{}", said.err);
    }
    // Nobody reads stderr either: the study is made all the same.
    let script = "\"$0\" run r.toml --store other 2>&1 | true; \"$0\" plan r.toml --store other";
    let output = Command::new("sh")
        .args(["-c", script])
        .arg(&space.program)
        .current_dir(space.dir.path())
        .output()
        .unwrap();
    let said = Said::new(output).ok();
    assert!(
        said.out.contains("3 of 3 are hits"),
        "{}\n{}",
        said.out,
        said.err
    );
}

#[test]
fn nothing_is_coloured_unless_it_is_a_terminal_that_wants_colour() {
    let space = Space::with("[node.a]\nkind = \"no-such\"\n");
    for args in [&["check", "r.toml"][..], &["run", "r.toml"], &["kinds"]] {
        let said = space.pipe(args);
        assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'));
    }
    let on_terminal = |no_color: &str| {
        let pipe = env!("CARGO_BIN_EXE_pipe");
        let output = Command::new("script")
            .args(["-qec", &format!("{pipe} check r.toml"), "/dev/null"])
            .env("NO_COLOR", no_color)
            .current_dir(space.dir.path())
            .output();
        output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned())
    };
    let Ok(coloured) = on_terminal("") else {
        skip("`script` in PATH, to make a terminal with");
        return;
    };
    assert!(coloured.contains("\u{1b}[1;31m"), "{coloured}");
    let plain = on_terminal("1").unwrap();
    assert!(
        plain.contains("no-such") && !plain.contains('\u{1b}'),
        "{plain}"
    );
}

#[test]
fn a_result_that_cannot_be_written_is_exit_3() {
    let space = Space::new();
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else {
        skip("/dev/full");
        return;
    };
    let output = space.command(&["kinds"]).stdout(full).output().unwrap();
    let said = Said::new(output).ends(3);
    assert!(
        said.err.starts_with("error: cannot write the result: "),
        "{}",
        said.err
    );
}
