//! Placeholders and what is wrong with them, with carets; lines that are progress; what is missing before a run.

use super::rows_after;
use crate::study::Study;
use pipe::base::value::Values;
use pipe::kinds::REGISTRY;
use pipe::kinds::command::{self, Said, said};
use pipe::recipe::{self, Overrides};
use std::collections::BTreeMap;

fn complaints(recipe: &str) -> String {
    let study = Study::new();
    study.file("train.py", "");
    study.file("other/train.py", "");
    let overrides = Overrides {
        cwd: study.dir.path().into(),
        ..Overrides::default()
    };
    match recipe::from_text("r.toml", recipe, &overrides, &REGISTRY) {
        Ok(_) => String::new(),
        Err(diags) => diags.render(false),
    }
}

/// A node with this second argument.
fn with(argument: &str, lines: &str) -> String {
    format!(
        "[node.it]\nkind = \"exec\"\ncommand = [\"sh\", '{argument}']\nfiles = [\"train.py\"]\noutputs = [\"metrics\"]\n{lines}\n"
    )
}

#[test]
fn an_unknown_placeholder_is_shown_with_what_may_be_meant() {
    let values = "values = { lr = 1.0 }";
    for (argument, message, help) in [
        (
            "{file.trian.py}",
            "unknown placeholder `{file.trian.py}`",
            "did you mean `{file.train.py}`?",
        ),
        (
            "a {values.rl} b",
            "unknown placeholder `{values.rl}`",
            "did you mean `{values.lr}`?",
        ),
        (
            "{param.lr}",
            "unknown placeholder `{param.lr}`",
            "did you mean `{values.lr}`?",
        ),
        (
            "{in.promts}",
            "unknown placeholder `{in.promts}`",
            "did you mean `{in.prompts}`?",
        ),
        (
            "{out.model}",
            "unknown placeholder `{out.model}`",
            "`outputs` does not name `model`",
        ),
        (
            "{file.1}",
            "unknown placeholder `{file.1}`",
            "did you mean `{file.0}`?",
        ),
        (
            "{nothing at all}",
            "unknown placeholder `{nothing at all}`",
            "placeholders: {in.PORT}",
        ),
        ("{open", "`{` without its `}`", "`{{` stands for a brace"),
    ] {
        let text = complaints(&with(argument, values));
        assert!(
            text.contains(message) && text.contains(help),
            "{argument}\n{text}"
        );
        assert!(text.contains("r.toml:3:18") && text.contains('^'), "{text}");
    }
    for fine in [
        "{{}}",
        "{values}",
        "{job}",
        "{threads}",
        "{file.0}",
        "x}y",
        "{out.metrics}",
        "{resume}",
    ] {
        assert_eq!(complaints(&with(fine, values)), "", "{fine}");
    }
}

#[test]
fn a_port_that_a_placeholder_names_has_to_be_connected() {
    let text = complaints(&with("{in.model}", ""));
    assert!(text.contains("node `it` lacks the input `model`"), "{text}");
    assert!(text.contains("where `{in.model}` is written"), "{text}");
    assert_eq!(complaints(&with("{{in.model}}", "")), "");
    let adapter = with("x", "").replace("\"metrics\"", "\"adapter\"");
    assert!(complaints(&adapter).contains("lacks the input `model`"));
}

#[test]
fn what_cannot_be_is_said_at_its_place() {
    for (lines, message) in [
        (
            "env = { A-B = \"x\" }",
            "`A-B` is no name of an environment variable",
        ),
        (
            "env = { PIPE_JOB = \"x\" }",
            "`PIPE_JOB` is not to be set: the engine does",
        ),
        (
            "env = { A = \"x\" }\npass_env = [\"A\"]",
            "`A` is in `env` as well",
        ),
        (
            "env = { A = \"{values.x}\" }",
            "unknown placeholder `{values.x}`",
        ),
        ("timeout_seconds = 0", "has to be above 0"),
        ("threads = 0", "`threads` is 0, outside of 1 to 4096"),
    ] {
        let text = complaints(&with("x", lines));
        assert!(text.contains(message), "{lines}\n{text}");
    }
    let twice = with("x", "").replace("[\"train.py\"]", "[\"train.py\", \"other/train.py\"]");
    assert!(complaints(&twice).contains("two of `files` are called `train.py`"));
    let none = with("x", "").replace("[\"metrics\"]", "[]");
    assert!(complaints(&none).contains("`outputs` is empty"));
    let twice = with("x", "").replace("[\"metrics\"]", "[\"metrics\", \"metrics\"]");
    assert!(complaints(&twice).contains("`metrics` is in `outputs` twice"));
    let word = with("x", "").replace("[\"metrics\"]", "[\"metric\"]");
    assert!(complaints(&word).contains("did you mean `metrics`?"));
    let empty = with("x", "").replace("[\"sh\", 'x']", "[]");
    assert!(complaints(&empty).contains("`command` names no program"));
}

#[test]
fn a_name_alone_is_the_output_that_fits_and_one_that_is_not_delivered_is_told() {
    let below = "[node.b]\nkind = \"mix\"\nin = { prompts = \"it\" }\ntotal = 1\n";
    let text = complaints(&(with("x", "") + below));
    assert!(
        text.contains("`it` gives no `prompts` as it is set"),
        "{text}"
    );
    assert!(text.contains("write `prompts` into `outputs`"), "{text}");
    let both = with("x", "").replace("[\"metrics\"]", "[\"metrics\", \"prompts\"]");
    assert_eq!(complaints(&(both + below)), "");
}

#[test]
fn lines_of_progress_are_known_from_others() {
    let step = |step, of, values: &[(&str, f64)]| {
        let values: BTreeMap<String, f64> =
            values.iter().map(|(n, v)| (n.to_string(), *v)).collect();
        Some(Said::Step { step, of, values })
    };
    let count = |done, total| Some(Said::Count { done, total });
    for (line, expected) in [
        (
            r#"{"step": 3, "of": 100, "loss": 1.25, "note": "x"}"#,
            step(3, Some(100), &[("loss", 1.25)]),
        ),
        (r#"  {"step": 3.0}  "#, step(3, None, &[])),
        (
            "PIPE step=3 of=100 loss=1.25 name=x",
            step(3, Some(100), &[("loss", 1.25)]),
        ),
        ("PIPE step=3 loss=nan", step(3, None, &[])),
        (
            " 45%|####      | 9/20 [00:01<00:02,  4.5it/s]",
            count(9, 20),
        ),
        (
            "Map:  45%|####      | 1.2k/2.4k [00:01<00:02]",
            count(45, 100),
        ),
        ("3/100", count(3, 100)),
        ("Step 3/100: loss 2", count(3, 100)),
        ("[3/100] loss 2", count(3, 100)),
        ("epoch=1/3", count(1, 3)),
        (r#"{"loss": 1.0}"#, None),
        (r#"{"step": -1}"#, None),
        (r#"{"step": 3"#, None),
        ("PIPE", None),
        ("5/3", None),
        ("3/100/2", None),
        ("2026/11 is a date", None),
        ("a 3/100", None),
        ("145%|####", None),
        ("", None),
    ] {
        assert_eq!(said(line), expected, "{line}");
    }
}

#[test]
fn progress_is_heard_while_a_program_runs() {
    let script = "printf ' 10%%|#   | 1/10 [x]\\r 20%%|##  | 2/10 [x]\\r'; echo; echo '{{\"step\": 3, \"of\": 10, \"loss\": 0.5}}'";
    let study = super::study();
    let mut heard = vec![];
    let ran = study.run_with(
        &rows_after(script, ""),
        |_| {},
        |event| {
            if let pipe::engine::events::event::Event::Progress {
                done, total, note, ..
            } = event
            {
                heard.push((*done, *total, note.clone()));
            }
        },
    );
    assert!(heard.contains(&(1, 10, String::new())), "{heard:?}");
    let logs = ran.record("it").logs;
    let metrics = logs.iter().find(|blob| blob.path == "metrics.jsonl");
    assert!(metrics.is_some(), "{logs:?}");
}

#[test]
fn what_a_program_needs_is_looked_for_before_the_run() {
    let study = Study::new();
    study.file("train.py", "");
    study.file("venv/x", "");
    let graph = |lines: &str, program: &str| {
        let text = with("{file.0}", lines).replace("\"sh\"", program);
        study.graph(&text)
    };
    let missing = |lines: &str, program: &str| {
        let graph = graph(lines, program);
        let node = graph.node(graph.find("it").unwrap());
        command::missing(&node.params, &node.exec, "/usr/bin:/bin")
    };
    assert_eq!(missing("", "\"sh\""), Vec::<String>::new());
    assert_eq!(missing("", "\"{file.train.py}\""), Vec::<String>::new());
    let [told] = &missing("", "\"no-such-program\"")[..] else {
        panic!("one thing is missing")
    };
    assert_eq!(
        told,
        "there is no program `no-such-program` in /usr/bin, /bin"
    );
    let [told] = &missing("venv = \"venv\"", "\"{python}\"")[..] else {
        panic!("one thing is missing")
    };
    assert!(told.contains("venv/bin/python"), "{told}");
    assert_eq!(
        command::missing(&Values::new(), &Values::new(), ""),
        Vec::<String>::new()
    );
}
