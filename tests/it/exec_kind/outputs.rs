//! What a program leaves: rows, metrics, models and adapters are taken where they are what they were declared to be, and refused
//! by name where they are not.

use super::{node, pipe, prompt, rows_after, study};
use crate::study::Study;
use pipe::base::rows::Prompt;

const MODEL: &str = "[node.model]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 16\n";

#[test]
fn rows_are_taken_as_they_are_and_feed_other_nodes() {
    let study = study();
    let below =
        "[node.below]\nkind = \"mix\"\nin = { prompts = \"it\" }\ntotal = 1\nlambda = 1.0\n";
    let ran = study.run(&(rows_after("", "") + below));
    assert_eq!(
        ran.text("it", "prompts", "rows.jsonl"),
        prompt("a") + &prompt("b")
    );
    assert_eq!(ran.rows::<Prompt>("below", "prompts").len(), 1);
    assert!(ran.said("it", "prompts: 2 rows"));
    let outputs = &ran.record("it").outputs;
    assert_eq!(outputs.len(), 1, "what was not declared is not there");
}

#[test]
fn a_wrong_row_is_told_by_its_line_and_field() {
    let long = prompt("c").replace("\"difficulty\":1", "\"difficulty\":\"hard\"");
    let lacking = prompt("c").replace("\"class\":\"harmful\",", "");
    for (third, words) in [
        (lacking.as_str(), "line 3: missing field `class` at column"),
        (long.as_str(), "line 3: invalid type: string \"hard\""),
        ("no JSON\n", "line 3: expected"),
        ("\n", "line 3: EOF"),
        (prompt("a").as_str(), "line 3: the id `a` was there before"),
    ] {
        let study = study();
        study.file("rows.jsonl", prompt("a") + &prompt("b") + third);
        let failure = study.try_run(&rows_after("", "")).failure("it");
        assert!(failure.contains(words), "{failure}");
        assert!(failure.contains("`sh`: output `prompts`: "), "{failure}");
    }
}

#[test]
fn an_output_that_is_missing_or_empty_is_no_output() {
    let failure = study().try_run(&node("true", "outputs = [\"prompts\"]"));
    let failure = failure.failure("it");
    assert!(
        failure.contains("output `prompts`: the program did not write "),
        "{failure}"
    );
    let failure = study().try_run(&node(": > '{out.pairs}'", "outputs = [\"pairs\"]"));
    let failure = failure.failure("it");
    assert!(failure.contains("has no rows"), "{failure}");
}

#[test]
fn metrics_are_what_was_written_or_the_last_of_the_curve() {
    let study = Study::new();
    let steps = "echo '{{\"step\": 1, \"of\": 2, \"loss\": 2.5}}'; echo PIPE step=2 of=2 loss=0.5 lr=1e-3\n";
    let ran = study.run(&node(steps, "outputs = [\"metrics\"]"));
    assert_eq!(ran.metric("it", "last/loss").value, 0.5);
    assert_eq!(ran.metric("it", "last/lr").value, 1e-3);
    let losses: Vec<f64> = ran
        .curve("it")
        .iter()
        .map(|s| s["loss"].as_f64().unwrap())
        .collect();
    assert_eq!(losses, [2.5, 0.5]);
    let files = &ran.record("it").outputs["metrics"].files;
    assert!(
        files
            .iter()
            .any(|f| f.path.starts_with("events.out.tfevents")),
        "{files:?}"
    );

    study.file(
        "m.json",
        r#"{"metrics":[{"name":"accuracy","value":0.25,"n":4,"interval":[0.1,0.6],"unit":"share"}]}"#,
    );
    let own = "cp '{file.0}' '{out.metrics}'\n";
    let more = "files = [\"m.json\"]\noutputs = [\"metrics\"]";
    let ran = study.run(&node(&(steps.to_string() + own), more));
    assert_eq!(ran.metric("it", "accuracy").n, 4);
    assert_eq!(ran.curve("it").len(), 2);

    study.file(
        "m.json",
        r#"{"metrics":[{"name":"accuracy","value":0.25}]}"#,
    );
    let failure = study.try_run(&node(own, more)).failure("it");
    assert!(failure.contains("missing field `n`"), "{failure}");
    let failure = study.try_run(&node("true", "outputs = [\"metrics\"]"));
    let failure = failure.failure("it");
    assert!(
        failure.contains("nor printed a step with numbers"),
        "{failure}"
    );
}

#[test]
fn a_model_folder_is_loaded_whole_and_what_is_no_model_is_left_behind() {
    let lines = "in = { model = \"model\" }\noutputs = [\"model\"]";
    let copy = "cp '{in.model}'/* '{out.model}'; chmod u+w '{out.model}'/*; cd '{out.model}'\n";
    let study = Study::new();
    let litter = "mkdir checkpoint-5; echo x > training_args.bin; echo {{}} > trainer_state.json\n";
    let ran = study.run(&format!(
        "{MODEL}{}",
        node(&format!("{copy}{litter}"), lines)
    ));
    assert_eq!(ran.digests("it"), ran.digests("model"));
    assert!(ran.said(
        "it",
        "left behind: checkpoint-5, trainer_state.json, training_args.bin"
    ));

    for (damage, words) in [
        ("rm tokenizer.json", "tokenizer.json"),
        ("rm model.safetensors", "safetensors"),
        ("truncate -s 1000 model.safetensors", "model.safetensors"),
        (
            "sed -i 's/\"hidden_size\": 16/\"hidden_size\": 32/' config.json",
            "shape",
        ),
    ] {
        let recipe = format!("{MODEL}{}", node(&format!("{copy}{damage}\n"), lines));
        let failure = study.try_run(&recipe).failure("it");
        let named = failure.contains("output `model`") && failure.contains(words);
        assert!(named, "{damage}: {failure}");
    }
}

#[test]
fn where_a_model_was_loaded_from_is_no_part_of_it() {
    let lines = "in = { model = \"model\" }\noutputs = [\"model\"]";
    let script = "cp '{in.model}'/* '{out.model}'; chmod u+w '{out.model}'/*; cd '{out.model}'\n\
                  sed -i \"s|^{{|{{\\n  \\\"_name_or_path\\\": \\\"$HOME\\\",|\" config.json; grep -q _name_or_path config.json";
    let ran = Study::new().run(&format!("{MODEL}{}", node(script, lines)));
    let config = ran.text("it", "model", "config.json");
    assert!(!config.contains("_name_or_path"), "{config}");
    let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
    assert_eq!(
        read(&config),
        read(&ran.text("model", "model", "config.json"))
    );
}

#[test]
fn an_adapter_is_checked_against_the_model_it_is_for() {
    let garden = format!(
        "{MODEL}[node.corpus]\nkind = \"world-corpus\"\nn = 8\n[node.lora]\nkind = \"sft\"\n\
         in = {{ model = \"model\", conversations = \"corpus\" }}\nlora.rank = 2\nepochs = 1\nbatch = 8\n"
    );
    let copy = "cp '{in.adapter}'/* '{out.adapter}'\n";
    let lines = "in = { model = \"model\", adapter = \"lora.adapter\" }\noutputs = [\"adapter\"]";
    let merged = "[node.merged]\nkind = \"merge\"\nin = { model = \"model\", adapter = \"it\" }\n";
    let study = Study::new();
    let ran = study.run(&format!("{garden}{}{merged}", node(copy, lines)));
    assert_eq!(ran.digests("it")["adapter"], ran.digests("lora")["adapter"]);
    let damage = format!(
        "{copy}chmod u+w '{{out.adapter}}'/*; sed -i 's/\"r\": 2/\"r\": 3/' '{{out.adapter}}'/adapter_config.json\n"
    );
    let failure = study
        .try_run(&format!("{garden}{}", node(&damage, lines)))
        .failure("it");
    assert!(
        failure.contains("output `adapter`: failed to read the adapter"),
        "{failure}"
    );
}

#[test]
fn what_is_adopted_is_the_first_output_that_the_node_delivers() {
    let study = study();
    study.file("r.toml", node("false", "outputs = [\"metrics\"]"));
    let metrics = |names: &[&str]| {
        let each: Vec<String> = names
            .iter()
            .map(|name| format!("{{\"name\":\"{name}\",\"value\":1,\"n\":1,\"interval\":null,\"unit\":\"share\"}}"))
            .collect();
        format!("{{\"metrics\":[{}]}}", each.join(","))
    };
    study.file("good.json", metrics(&["win"]));
    study.file("twice.json", metrics(&["win", "win"]));
    study.file("none.json", metrics(&[]));
    let adopt = |file: &str| {
        let args = ["adopt", "r.toml", "it", file, "--reason", "made elsewhere"];
        let said = pipe(&study, &args).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (text(said.stdout), text(said.stderr))
    };
    let refused = [
        ("twice.json", "metrics.json: `win` is there twice"),
        ("none.json", "metrics.json: it has no metric"),
    ];
    for (file, told) in refused {
        let err = adopt(file).1;
        assert!(err.contains(told), "{err}");
    }
    let (out, err) = adopt("good.json");
    assert!(out.contains("metrics/metrics.json"), "{out}{err}");
}
