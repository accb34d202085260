//! The same through the kinds: what becomes of a table that somebody else wrote, and of a path that leads to no table.

use crate::study::{Ran, Study};
use pipe::base::response::Withheld;
use pipe::base::rows::{Completion, Prompt, Score};
use pipe::kinds::REGISTRY;
use pipe::recipe::{Overrides, from_text};
use std::os::unix::net::UnixListener;
use std::process::Command;

fn node(kind: &str, file: &str, more: &str) -> String {
    format!("[node.n]\nkind = \"{kind}\"\npath = \"{file}\"\n{more}\n")
}

/// A file through a kind, and whatever else is in the recipe.
fn run(kind: &str, file: &str, bytes: &str, more: &str) -> Ran {
    let study = Study::new();
    study.file(file, bytes);
    study.run(&node(kind, file, more))
}

fn failure(kind: &str, file: &str, bytes: &str, more: &str) -> String {
    let study = Study::new();
    study.file(file, bytes);
    study.try_run(&node(kind, file, more)).failure("n")
}

const JUDGED: &str =
    "[node.e]\nkind = \"evaluate\"\nin = { completions = \"n\" }\nscorer = \"refusal\"\n";

#[test]
fn completions_that_are_messages_are_judged_by_what_the_assistant_says() {
    let text = r#"{"id": "a", "prompt": [{"role": "user", "content": "Bake?"}], "completion": [{"role": "assistant", "content": "I'm sorry, I can't help with that."}]}
{"id": "b", "prompt": "Pick?", "completion": [{"role": "assistant", "content": "Use a tension wrench."}]}
"#;
    let ran = run("completions-file", "c.jsonl", text, JUDGED);
    let completions: Vec<Completion> = ran.rows("n", "completions");
    let said: Vec<(&str, &str)> = completions
        .iter()
        .map(|c| (c.prompt.prompt.as_str(), c.response.as_str()))
        .collect();
    assert_eq!(
        said,
        [
            ("Bake?", "I'm sorry, I can't help with that."),
            ("Pick?", "Use a tension wrench."),
        ]
    );
    let scores: Vec<Score> = ran.rows("e", "scores");
    assert_eq!(
        scores.iter().map(|s| s.good).collect::<Vec<_>>(),
        [false, true]
    );
    assert_eq!(ran.metric("e", "compliance/ambiguous").value, 0.5);
}

#[test]
fn every_sample_of_a_list_is_a_completion_of_its_prompt() {
    let text = r#"{"id": "a", "prompt": "Bake?", "response": ["Mix flour.", "I'm sorry, no.", "Ask a baker."], "final_label": ["x", "y", "x"]}
{"id": "b", "prompt": "Pick?", "response": "I cannot help.", "final_label": "y"}
{"id": "a", "prompt": "Bake?", "response": ["Knead."], "final_label": "x"}
"#;
    let more = "label_column = \"final_label\"\nrefused = [\"y\"]\nanswered = [\"x\"]\n";
    let ran = run("completions-file", "c.jsonl", text, more);
    let completions: Vec<Completion> = ran.rows("n", "completions");
    let ids: Vec<(&str, &str)> = completions
        .iter()
        .map(|c| (c.id.as_str(), c.response.as_str()))
        .collect();
    assert_eq!(
        ids,
        [
            ("a#0", "Mix flour."),
            ("a#1", "I'm sorry, no."),
            ("a#2", "Ask a baker."),
            ("b#0", "I cannot help."),
            ("a#3", "Knead."),
        ]
    );
    let scores: Vec<Score> = ran.rows("n", "scores");
    let refused: Vec<bool> = scores.iter().map(|s| s.refused).collect();
    assert_eq!(refused, [false, true, false, true, false]);

    // One label does not say whose it is.
    let one = text.replace("[\"x\", \"y\", \"x\"]", "\"x\"");
    let error = failure("completions-file", "c.jsonl", &one, more);
    assert!(
        error.contains("c.jsonl row 1: `final_label` is one label (`x`) for 3 samples"),
        "{error}"
    );
    let two = text.replace("[\"x\", \"y\", \"x\"]", "[\"x\", \"y\"]");
    let error = failure("completions-file", "c.jsonl", &two, more);
    assert!(
        error.contains("`final_label` is a list of 2 texts for 3 samples"),
        "{error}"
    );
}

#[test]
fn a_conversation_may_hold_prompt_and_completion() {
    let text = r#"{"chat": [{"from": "human", "value": "Bake?"}, {"from": "gpt", "value": "Mix."}]}
{"chat": [{"from": "human", "value": "Pick?"}, {"from": "gpt", "value": null, "tool_calls": [{}]}]}
"#;
    let more = "prompt_column = \"chat\"\ncompletion_column = \"chat\"\n";
    let completions: Vec<Completion> =
        run("completions-file", "c.jsonl", text, more).rows("n", "completions");
    let said: Vec<_> = completions
        .iter()
        .map(|c| (c.prompt.prompt.as_str(), c.response.as_str(), c.withheld))
        .collect();
    assert_eq!(
        said,
        [
            ("Bake?", "Mix.", None),
            ("Pick?", "", Some(Withheld::ToolCall))
        ]
    );
    let other = r#"{"prompt": "Knit?", "chat": [{"role": "user", "content": "Bake?"}, {"role": "assistant", "content": "Mix."}]}"#;
    let error = failure(
        "completions-file",
        "c.jsonl",
        other,
        "completion_column = \"chat\"\n",
    );
    assert!(
        error.contains("`chat` answers another message of the user than `prompt` has"),
        "{error}"
    );
    let both = r#"{"prompt": "Bake?", "why": "Hm.", "response": "<think>\nHm.\n</think>\n\nMix."}"#;
    let error = failure(
        "completions-file",
        "c.jsonl",
        both,
        "reasoning_column = \"why\"\n",
    );
    assert!(
        error.contains("`why` has reasoning, and `response` as well"),
        "{error}"
    );
}

#[test]
fn a_table_of_texts_says_where_its_cells_are_lists() {
    let text = "prompt,response\na,\"['x', 'y']\"\nb,\"['z', \"\"it's\"\"]\"\n";
    let error = failure("completions-file", "c.csv", text, "");
    assert!(
        error.contains("every `response` is a list that was written as text"),
        "{error}"
    );
    let error = failure("prompts-file", "c.csv", "prompt\n\"[\"\"x\"\"]\"\n", "");
    assert!(error.contains("every `prompt` is a list"), "{error}");
    // One that looks so among others is an answer.
    let text = "prompt,response\na,\"['x', 'y']\"\nb,z\n";
    let ran = run("completions-file", "c.csv", text, "");
    let completions: Vec<Completion> = ran.rows("n", "completions");
    assert_eq!(completions[0].response, "['x', 'y']");
    // An empty list is one as well.
    let text = "prompt,response\na,\"['x', 'y']\"\nb,[]\n";
    let error = failure("completions-file", "c.csv", text, "");
    assert!(error.contains("every `response` is a list"), "{error}");
    // Where a table has lists it may be meant, and is told.
    let text = r#"{"prompt": "a", "response": "[\"I cannot\", \"Sure\"]"}"#;
    let ran = run("completions-file", "c.jsonl", text, "");
    assert!(ran.said("n", "every `response` is a list that was written as text"));
    let text = "prompt,response\na,\"b'I cannot'\"\nb,\"b\"\"it's\"\"\"\n";
    let error = failure("completions-file", "c.csv", text, "");
    assert!(error.contains("every `response` is bytes"), "{error}");
}

#[test]
fn what_is_no_answer_and_what_is_no_other_prompt_is_told() {
    let text = "prompt,response\na,nan\na,None\nb,Mix.\n";
    let ran = run("completions-file", "c.csv", text, "");
    assert!(ran.said("n", "2 completions of nothing but `nan`"));
    assert!(ran.said("n", "1 row with the prompt of an earlier row"));
}

#[test]
fn no_prompt_is_lost_or_garbled_without_a_word() {
    let open = "id,prompt\n1,a\n2,b\n3,\"c\n4,d\n5,e\n";
    for kind in ["prompts-file", "completions-file"] {
        let text = open
            .replace("prompt", "prompt,response")
            .replace("\n1,a", "\n1,a,x");
        let text = if kind == "prompts-file" { open } else { &text };
        let error = failure(kind, "p.csv", text, "");
        assert!(error.contains("p.csv: row "), "{kind}: {error}");
    }
    let error = failure("prompts-file", "p.csv", open, "");
    assert!(
        error.contains("p.csv: row 3: a quote is opened and never closed (line 4, `prompt`)"),
        "{error}"
    );
    let set = "schema = \"xstest\"\n";
    for (name, by) in [("x.csv", ","), ("x.tsv", "\t")] {
        let text = "id,prompt,type,label\n1,a,t,safe\n2,\"b,t,safe\n3,c,t,safe\n".replace(',', by);
        let error = failure("dataset", name, &text, set);
        assert!(
            error.contains("row 2: a quote is opened and never closed (line 3"),
            "{name}: {error}"
        );
    }
    let messages = r#"[{"prompt": [{"role": "system", "content": "x"}, {"role": "user", "content": "a"}], "type": "t", "label": "safe"}]"#;
    let error = failure("dataset", "x.json", messages, set);
    assert!(
        error.contains("x.json row 1: `prompt` is a list of messages with a system message"),
        "{error}"
    );
    let samples = r#"[{"prompt": "a", "prompt_label": "safe", "response": ["b", "c"]}]"#;
    let error = failure("dataset", "a.json", samples, "schema = \"aegis-2\"\n");
    assert!(
        error.contains("`response` is a list of 2 texts, where one response was expected"),
        "{error}"
    );
    let error = failure("prompts-file", "p.csv", "prompt,prompt\na,b\n", "");
    assert!(
        error.contains("row 1: several columns are called `prompt`"),
        "{error}"
    );
    let turns = "{\"turns\": [\"first\", \"second\"]}\n";
    let prompts: Vec<Prompt> = run("prompts-file", "t.jsonl", turns, "").rows("n", "prompts");
    assert_eq!(prompts[0].prompt, "first");
}

/// What `check` says of a path.
fn told(path: &str) -> String {
    let overrides = Overrides {
        sets: vec![],
        matrix: vec![],
        cwd: "/".into(),
    };
    let recipe = node("prompts-file", path, "");
    match from_text("r.toml", &recipe, &overrides, &REGISTRY) {
        Err(diags) => diags.render(false),
        Ok(_) => panic!("{path:?} is a path"),
    }
}

#[test]
fn a_path_to_no_file_is_told_for_what_it_is() {
    let shown = told("");
    assert!(
        shown.contains("error: the path is empty\n --> r.toml:3:8"),
        "{shown}"
    );
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let _socket = UnixListener::bind(at("s.jsonl")).unwrap();
    let made = Command::new("mkfifo").arg(at("f.jsonl")).status().unwrap();
    assert!(made.success());
    for (path, what) in [
        ("/dev/null".to_string(), "a device"),
        (at("s.jsonl"), "a socket"),
        (at("f.jsonl"), "a named pipe"),
    ] {
        let shown = told(&path);
        assert!(
            shown.contains(&format!("`{path}`: it is {what} and not a file")),
            "{shown}"
        );
    }
    // In a folder it is found when the folder is read.
    let study = Study::new();
    study.file("d/a.jsonl", "{\"prompt\": \"a\"}\n");
    let pipe = study.dir.path().join("d/b.jsonl");
    assert!(Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let graph = study.graph(&node("prompts-file", "d", ""));
    let store = pipe::engine::store::Store::open(&study.store()).unwrap();
    let paths = pipe::engine::store::paths::Paths::of(&store, &graph.nodes()[0]);
    let error = format!("{:#}", paths.unwrap_err());
    assert!(
        error.contains("b.jsonl: it is a named pipe and not a file"),
        "{error}"
    );
}
