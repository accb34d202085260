//! `pipe show NODE` as a first look: fields, counts and lengths of rows, curves, models and adapters; as text and as JSON; of files
//! that are larger than memory should get.

use super::Space;
use serde_json::Value;
use std::process::Stdio;

const WORLD: &str = r#"
[node.model]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 16
[node.prompts]
kind = "world-prompts"
sft = 5
rl = 4
validation = 2
eval = 4
[node.traces]
kind = "teacher"
in = { prompts = "prompts.sft" }
[node.lora]
kind = "sft"
in = { model = "model", conversations = "traces" }
epochs = 3
batch = 4
lora.rank = 2
[node.answers]
kind = "generate"
in = { model = "model", prompts = "prompts.eval" }
max_new_tokens = 4
"#;

/// The numbers after the bars of a histogram.
fn bars(text: &str) -> Vec<usize> {
    let lines = text.lines().filter(|l| l.contains('█') || l.contains('▏'));
    let last = lines.filter_map(|l| l.split_whitespace().last());
    last.filter_map(|n| n.replace(',', "").parse().ok())
        .collect()
}

#[test]
fn rows_are_told_by_their_fields_counts_and_lengths() {
    let space = Space::with(WORLD);
    space.pipe(&["run", "r.toml", "--quiet"]).ok();
    let text = space
        .pipe(&["show", "r.toml", "prompts.eval", "-n", "0"])
        .ok()
        .out;
    assert!(text.contains("12 of 12 rows fit; 0 shown\n"), "{text}");
    let field = |name: &str| {
        let mut lines = text
            .lines()
            .map(|l| l.split_whitespace().collect::<Vec<_>>());
        lines
            .find(|words| words.first() == Some(&name))
            .expect(&text)
    };
    assert_eq!(field("class"), ["class", "string", "100.0", "%"]);
    assert_eq!(field("difficulty"), ["difficulty", "integer", "100.0", "%"]);
    assert_eq!(field("truth")[1], "object");
    assert!(
        text.contains("  class: ambiguous 4 · harmful 4 · harmless 4\n"),
        "{text}"
    );
    assert!(text.contains("  source: world 12\n"), "{text}");
    // `answers` asks its model these prompts.
    assert!(
        text.contains("  tokens of `prompt` (of the tokenizer of `model`): "),
        "{text}"
    );
    assert_eq!(bars(&text).iter().sum::<usize>(), 12, "{text}");

    // Nobody with a model takes these in.
    let text = space
        .pipe(&["show", "r.toml", "prompts.rl", "-n", "0"])
        .ok()
        .out;
    assert!(
        text.contains("  words of `prompt` (no model takes them in here): "),
        "{text}"
    );

    let args = [
        "show",
        "r.toml",
        "prompts.eval",
        "--where",
        "class=harmful",
        "--json",
    ];
    let json = space.pipe(&args).ok().json();
    assert_eq!((&json["rows"], &json["fit"]), (&12.into(), &4.into()));
    assert_eq!(json["counts"]["class"], serde_json::json!({ "harmful": 4 }));
    assert_eq!(json["lengths"]["unit"], "tokens");
    let bins = json["lengths"]["bins"].as_array().unwrap().iter();
    assert_eq!(bins.map(|b| b["rows"].as_u64().unwrap()).sum::<u64>(), 4);
    let fields = json["fields"].as_array().unwrap();
    assert!(
        fields
            .iter()
            .any(|f| f["name"] == "id" && f["present"] == 4),
        "{fields:?}"
    );

    // Lengths are those of what a row is about, in the node's own tokens.
    let json = space
        .pipe(&["show", "r.toml", "answers", "--json"])
        .ok()
        .json();
    let lengths = &json["lengths"];
    assert_eq!(
        (&lengths["of"], &lengths["unit"]),
        (&"response".into(), &"tokens".into())
    );
    assert!(lengths["max"].as_u64().unwrap() <= 4, "{lengths}");
    let json = space
        .pipe(&["show", "r.toml", "traces", "--json"])
        .ok()
        .json();
    assert_eq!(json["lengths"]["of"], "messages");
}

#[test]
fn a_curve_is_drawn_and_models_and_adapters_tell_what_they_are() {
    let space = Space::with(WORLD);
    space.pipe(&["run", "r.toml", "--quiet"]).ok();
    let text = space.pipe(&["show", "r.toml", "lora.metrics"]).ok().out;
    let drawn = text.lines().find(|l| l.starts_with("loss ")).expect(&text);
    assert!(drawn.contains('█') && drawn.contains('▁'), "{drawn}");
    let json = space
        .pipe(&["show", "r.toml", "lora.metrics", "--json"])
        .ok()
        .json();
    let steps = json["curve"]["steps"].as_u64().unwrap();
    assert!(text.contains(&format!("\n{steps} steps\n")), "{text}");
    assert_eq!(json["curve"]["series"]["loss"]["n"].as_u64(), Some(steps));

    let model = space.pipe(&["show", "r.toml", "model"]).ok().out;
    for words in [
        "architectures: [\"LlamaForCausalLM\"]",
        "num_attention_heads: 2",
        "num_key_value_heads: 2",
        "max_position_embeddings: ",
        "rope_theta: 100.0",
        " in 1 file\n",
    ] {
        assert!(model.contains(words), "{words} in {model}");
    }
    let json = space
        .pipe(&["show", "r.toml", "model", "--json"])
        .ok()
        .json();
    assert_eq!(json["model"]["config"]["num_hidden_layers"], 1);
    assert!(json["model"]["parameters"]["F32"].as_u64().unwrap() > 1000);

    let json = space
        .pipe(&["show", "r.toml", "lora.adapter", "--json"])
        .ok()
        .json();
    let adapter = &json["adapter"];
    assert_eq!(adapter["config"]["r"], 2);
    // Rank 2 on q, k, v, o and gate, up, down of one layer, all 16 wide.
    assert_eq!(adapter["parameters"]["F32"], 7 * 2 * (16 + 16));
    let text = space.pipe(&["show", "r.toml", "lora.adapter"]).ok().out;
    assert!(
        text.contains("  target_modules: [") && text.contains("  r: 2\n"),
        "{text}"
    );
}

#[test]
fn rows_that_are_not_what_was_stored_are_not_shown() {
    let space = Space::with(
        "[node.p]\nkind = \"world-prompts\"\nsft = 2\nrl = 2\nvalidation = 1\neval = 1\n",
    );
    space.pipe(&["run", "r.toml", "--quiet"]).ok();
    let json = space
        .pipe(&["show", "r.toml", "p.rl", "--json"])
        .ok()
        .json();
    let digest = json["files"][0]["digest"].as_str().unwrap();
    let path = space.path(&format!("cache/objects/{}/{digest}", &digest[..2]));
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    std::fs::write(&path, text.replacen("harm", "hbrm", 1)).unwrap();
    let said = space.pipe(&["show", "r.toml", "p.rl"]).ends(3);
    assert!(
        said.out.is_empty() && said.err.contains("is not what was stored"),
        "{}",
        said.err
    );
}

#[test]
fn a_large_file_of_rows_is_looked_at_without_being_held() {
    // 96 MB of rows, written by awk; looking at them takes what looking at anything takes.
    let row = "{\"id\":\"%d\",\"class\":\"harmful\",\"prompt\":\"%s\",\"source\":\"s\",\"category\":\"c%d\",\"difficulty\":1}\n";
    let program = format!(
        "BEGIN {{ for (i = 0; i < 60; i++) text = text \"twenty-five letters long. \"; for (i = 0; i < 60000; i++) printf {row:?}, i, text, i % 3 }}"
    );
    let space = Space::new();
    space.file("rows.awk", &program);
    space.file(
        "r.toml",
        "[node.it]\nkind = \"exec\"\ncommand = [\"sh\", \"-c\", \"awk -f {file.rows.awk} > {out.prompts}\"]\n\
         files = [\"rows.awk\"]\noutputs = [\"prompts\"]\n",
    );
    space.pipe(&["run", "r.toml", "--quiet"]).ok();
    let mut command = space.command(&["show", "r.toml", "it", "--json"]);
    let child = command.stderr(Stdio::inherit()).spawn().unwrap();
    let pid = child.id();
    let reader = std::thread::spawn(move || {
        let mut text = String::new();
        std::io::Read::read_to_string(&mut { child }.stdout.take().unwrap(), &mut text).unwrap();
        text
    });
    let mut status = 0;
    // SAFETY: a plain structure of numbers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: both places are ours, and the child is nobody else's to wait for.
    let waited = unsafe { libc::wait4(pid as i32, &mut status, 0, &mut usage) };
    assert_eq!((waited, status), (pid as i32, 0));
    let json: Value = serde_json::from_str(&reader.join().unwrap()).unwrap();
    assert_eq!(json["rows"], 60_000);
    assert_eq!(json["counts"]["category"]["c1"], 20_000);
    let size = json["files"][0]["size"].as_u64().unwrap();
    assert!(size > 90_000_000, "{size}");
    let lengths = &json["lengths"];
    assert_eq!(
        (&lengths["min"], &lengths["max"]),
        (&180.into(), &180.into())
    );
    assert!(
        lengths["measured"].as_u64().unwrap() < 20_000 && lengths["every"] == 4,
        "{lengths}"
    );
    // A new process begins with the number of the one that started it, which is this test.
    let own = std::fs::read_to_string("/proc/self/status").unwrap();
    let own = own.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap();
    let own: i64 = own.trim().trim_end_matches(" kB").parse().unwrap();
    let peak = usage.ru_maxrss;
    assert!(
        peak < 60_000 || peak <= own,
        "{peak} kB, {own} of this test"
    );
}
