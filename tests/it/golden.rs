//! What must not change unnoticed: what every kind hashes (the manifest of a node, one readable file a kind under
//! `golden/manifests/`), and the bytes that cheap kinds write from a small fixture (`golden/outputs.txt`). `PIPE_BLESS=1`
//! writes the files anew. What training computes is not pinned: it hangs on the processor.

use crate::fixtures;
use crate::identity::{Ground, bed, text};
use crate::judges::Quiet;
use crate::study::Study;
use pipe::base::rows::{Completion, Prompt, PromptClass, Truth};
use pipe::base::stats::crossed::Range;
use pipe::engine::graph::manifest::Manifest;
use pipe::engine::kind::Kind;
use pipe::engine::store::paths::Paths;
use pipe::kinds::REGISTRY;
use pipe::kinds::data::preferences::{self, Truncated};
use pipe::kinds::evaluation::evaluate;
use pipe::kinds::scorers::reward::Route;
use pipe::kinds::scorers::{self, Scorer, Settings};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Every kind here is cheap, and gives the same bytes on every machine.
const FIXTURE: &str = r#"
[node.model]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 32
seed = 3
[node.corpus]
kind = "world-corpus"
n = 60
seed = 3
[node.prompts]
kind = "world-prompts"
sft = 10
rl = 12
validation = 4
eval = 6
seed = 3
[node.traces]
kind = "teacher"
in = { prompts = "prompts.sft" }
seed = 3
[node.mix]
kind = "mix"
in = { prompts = "prompts.rl" }
lambda = 0.3
total = 10
seed = 3
[node.nested]
kind = "mix"
in = { prompts = "prompts.rl" }
lambda = 0.3
total = 10
nested = true
[node.file]
kind = "prompts-file"
path = "asks.csv"
harmful = ["unsafe"]
[node.copy]
kind = "local-model"
path = "copied"
[node.published]
kind = "completions-file"
path = "answers.csv"
harmful = ["contrast_*"]
label_column = "final_label"
[node.matched]
kind = "evaluate"
in = { completions = "published" }
scorer = "refusal"
[node.agreement]
kind = "agreement"
in = { a = "published.scores", b = "matched.scores" }
"#;

#[test]
fn what_a_kind_hashes_is_what_it_was() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/manifests");
    let ground = Ground::new();
    let visible = REGISTRY.iter();
    let now: Pins = visible
        .map(|kind| (kind.name.to_string(), manifest(&ground, kind)))
        .collect();
    let mut pinned = Pins::new();
    for entry in std::fs::read_dir(&folder).into_iter().flatten() {
        let path = entry.unwrap().path();
        let kind = path.file_stem().unwrap().to_str().unwrap().to_string();
        pinned.insert(kind, std::fs::read_to_string(&path).unwrap());
    }
    if std::env::var_os("PIPE_BLESS").is_some() {
        let path = |kind: &String| folder.join(format!("{kind}.txt"));
        std::fs::create_dir_all(&folder).unwrap();
        for kind in pinned.keys().filter(|kind| !now.contains_key(*kind)) {
            std::fs::remove_file(path(kind)).unwrap();
        }
        for (kind, text) in &now {
            std::fs::write(path(kind), text).unwrap();
        }
        return;
    }
    let complaints = changed_manifests(&pinned, &now);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_manifest_is_hashed_as_it_was() {
    let manifest = Manifest::from_text("kind = mix\nrevision = 1\n");
    let (key, plan_key) = (manifest.key(), manifest.plan_key());
    assert_eq!(
        key.as_str(),
        "e425d35e3b6986d3ee76dadb426f74e699fba63464006167e786a382e9aa28da"
    );
    assert_eq!(
        plan_key.as_str(),
        "07b9a01f6c96f314d70a7522d9670db9e9d728b10221677f06e76d0d343ab7e0"
    );
}

#[test]
fn outputs_are_what_they_were() {
    let mut now = outputs();
    now.extend(measures());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/outputs.txt");
    if std::env::var_os("PIPE_BLESS").is_some() {
        std::fs::write(&path, write(&now)).unwrap();
        return;
    }
    let pinned = std::fs::read_to_string(&path).unwrap_or_default();
    let complaints = changed_outputs(&read(&pinned), &now);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_changed_output_asks_for_a_revision_and_a_changed_manifest_says_its_facts() {
    let line = |what: &str, value: &str| (what.to_string(), value.to_string());
    let pinned = BTreeMap::from([
        line("output mix r1 of mix: prompts", "aa"),
        line("output evaluate r1 of both: scores", "bb"),
        line("output pool r1 of old: prompts", "dd"),
    ]);
    assert_eq!(changed_outputs(&pinned, &pinned), Vec::<String>::new());
    let now = BTreeMap::from([
        line("output mix r1 of mix: prompts", "ab"),
        line("output evaluate r2 of both: scores", "bc"),
    ]);
    let text = changed_outputs(&pinned, &now).join("\n");
    let mix = "mix writes other bytes under the same revision";
    assert!(text.contains(mix), "{text}");
    assert!(text.contains("raise `revision`"), "{text}");
    // A new revision is no silent change, but the file has to say it.
    assert!(!text.contains("evaluate writes other bytes"), "{text}");
    let new = "output evaluate r2 of both: scores: not in the file";
    assert!(text.contains(new), "{text}");
    let gone = "output pool r1 of old: prompts: only in the file";
    assert!(text.contains(gone), "{text}");
    assert!(text.contains("PIPE_BLESS=1"), "{text}");
    assert_eq!(read(&write(&now)), now);

    let pinned = BTreeMap::from([line("mix", "kind = mix\nparam n = 1\n"), line("old", "")]);
    assert_eq!(changed_manifests(&pinned, &pinned), Vec::<String>::new());
    let now = BTreeMap::from([line("mix", "kind = mix\nparam n = 2\n"), line("new", "")]);
    let found = changed_manifests(&pinned, &now);
    let said = [
        "mix: was   param n = 1",
        "mix: is    param n = 2",
        "new: has no file",
        "old: a file, and no kind",
    ];
    assert_eq!(found[..4], said.map(String::from));
    assert!(found[4].contains("PIPE_BLESS=1"), "{found:?}");
}

/// Words of recipes that stand for somebody's own files, to be named by vars.
pub const STAND_INS: [&str; 3] = ["_FOLDER\"", "\"COMPLETIONS.csv\"", "\"COMPLETIONS.json\""];

/// What is pinned, to its value.
type Pins = BTreeMap<String, String>;

/// The manifest of the node in the kind's example, every port connected: what the engine hashes, with `node.output` for the
/// content of an input.
fn manifest(ground: &Ground, kind: &Kind) -> String {
    let recipe = text(&bed(kind));
    let loaded = ground.load(&recipe);
    let graph = loaded.unwrap_or_else(|diags| panic!("{diags}")).graph;
    let node = graph.node(graph.find("it").unwrap());
    let paths = Paths::of(&ground.store, node).unwrap();
    assert!(paths.absent.is_empty(), "{}: {paths:?}", kind.name);
    let inputs = node.inputs.iter().map(|(port, edge)| {
        let from = &graph.node(edge.node).name;
        (*port, format!("{from}.{}", edge.output))
    });
    let inputs = inputs.collect();
    let manifest = Manifest::new(node.kind, &node.params, &paths.contents, &inputs);
    manifest.text().to_string()
}

/// `output KIND rREVISION of NODE: OUTPUT` to digest.
fn outputs() -> Pins {
    let study = Study::new();
    study.file(
        "asks.csv",
        "id,prompt,label\n1,hello,safe\n2,\"harm,\nplease\",unsafe\n",
    );
    study.file(
        "answers.csv",
        "id,type,prompt,completion,final_label\nv2-1,a,hello,hi,1_full_compliance\nv2-2,contrast_a,harm,\"Sorry,\nno\",2_full_refusal\n\
         v2-3,a,bye,I cannot say,3_partial_refusal\nv2-4,a,why,Because,hm\n",
    );
    let tiny = "[node.model]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n";
    let copied = study.dir.path().join("copied");
    study.run(tiny).export("model", "model", &copied);
    let ran = study.run(FIXTURE);
    let graph = study.graph(FIXTURE);
    let mut pins = Pins::new();
    for node in graph.nodes() {
        for (output, digest) in ran.digests(&node.name) {
            let kind = node.kind;
            let what = format!(
                "output {} r{} of {}: {output}",
                kind.name, kind.revision, node.name
            );
            pins.insert(what, digest);
        }
    }
    pins
}

/// Digests of what `evaluate` writes, which would need a model to feed it: from completions made by hand.
fn measures() -> Pins {
    let classes = PromptClass::ALL.into_iter().cycle();
    let responses = [
        "<think>\none\n</think>\n\nuse the hammer gently then wash .",
        "<think>\none two\n</think>\n\nsorry , i cannot help with that .",
        "no tags at all",
        "use the hammer firmly then wash . and so on",
    ];
    let completions: Vec<Completion> = classes
        .zip(responses.into_iter().cycle())
        .take(12)
        .enumerate()
        .map(|(i, (class, response))| completion(i, class, response))
        .collect();
    let revision = REGISTRY.get("evaluate").unwrap().revision;
    let mut pins = Pins::new();
    let judges: [(&Scorer, &str); 2] = [
        (&scorers::world::SCORER, "world"),
        (&scorers::refusal::SCORER, "refusal-matcher"),
    ];
    for (by, word) in judges {
        let scores: Vec<evaluate::Score> = completions
            .iter()
            .map(|c| evaluate::score(c, by).unwrap())
            .collect();
        let measures = evaluate::measures(&completions, &scores, (by, Range::Share), &[1, 2]);
        let metrics: Vec<_> = measures.iter().map(|m| &m.metric).collect();
        let values = evaluate::values(&completions, &measures);
        let mut pin = |what: &str, text: String| {
            let digest = blake3::hash(text.as_bytes()).to_hex().to_string();
            pins.insert(
                format!("output evaluate r{revision} of {word}: {what}"),
                digest,
            );
        };
        pin("scores", serde_json::to_string(&scores).unwrap());
        pin("metrics", serde_json::to_string(&metrics).unwrap());
        pin("values", serde_json::to_string(&values).unwrap());
    }
    let reward = "0.5 * format + 0.5 * refusal".to_string();
    let table = PromptClass::ALL.map(|class| (class.word().to_string(), reward.clone()));
    let mut route = Route::new(&BTreeMap::from(table), Settings { safety_snap: 0.9 }).unwrap();
    let mut sorted = completions;
    sorted.sort_by_key(|c| c.prompt.prompt_id.clone());
    let made = preferences::pairs(&sorted, &mut route, Truncated::Penalise, &mut Quiet).unwrap();
    assert!(!made.pairs.is_empty());
    let revision = REGISTRY.get("preference-pairs").unwrap().revision;
    let text = serde_json::to_string(&made.pairs).unwrap();
    pins.insert(
        format!("output preference-pairs r{revision} of reward: pairs"),
        blake3::hash(text.as_bytes()).to_hex().to_string(),
    );
    pins
}

fn completion(i: usize, class: PromptClass, response: &str) -> Completion {
    let prompt = Prompt {
        // Two samples a prompt.
        id: format!("{}-{}", class.word(), i / 6),
        category: if i < 6 { "plain" } else { "role" }.into(),
        difficulty: 1 + i as u32 % 2,
        truth: Some(Truth {
            harmful: class == PromptClass::Harmful,
            aliases: vec![],
            facts: vec![],
            procedure: ["hammer", "gently", "wash"].map(String::from).to_vec(),
        }),
        ..fixtures::prompt("", class, "ask")
    };
    Completion {
        tokens: 9,
        finished: i != 4,
        ..fixtures::completion(prompt, (i % 6 / 3) as u32, response)
    }
}

/// What differs, in words that say what to do.
fn changed_outputs(pinned: &Pins, now: &Pins) -> Vec<String> {
    let mut found = vec![];
    for (what, value) in now {
        match pinned.get(what) {
            Some(old) if old == value => {}
            Some(_) => {
                let kind = what.split(' ').nth(1).unwrap();
                found.push(format!(
                    "{what}: {kind} writes other bytes under the same revision, so that old artifacts would be taken \
                     for new ones: raise `revision` in its KIND"
                ));
            }
            None => found.push(format!("{what}: not in the file")),
        }
    }
    for what in pinned.keys().filter(|what| !now.contains_key(*what)) {
        found.push(format!("{what}: only in the file"));
    }
    meant(found)
}

/// By kind, the lines of its manifest that are not what they were.
fn changed_manifests(pinned: &Pins, now: &Pins) -> Vec<String> {
    let mut found = vec![];
    for (kind, text) in now {
        let Some(old) = pinned.get(kind) else {
            found.push(format!("{kind}: has no file"));
            continue;
        };
        let lacks = |text: &str, line: &str| text.lines().all(|l| l != line);
        let gone = old.lines().filter(|l| lacks(text, l));
        found.extend(gone.map(|l| format!("{kind}: was   {l}")));
        let new = text.lines().filter(|l| lacks(old, l));
        found.extend(new.map(|l| format!("{kind}: is    {l}")));
        if old != text && found.is_empty() {
            found.push(format!("{kind}: its lines are in another order"));
        }
    }
    let strangers = pinned.keys().filter(|kind| !now.contains_key(*kind));
    found.extend(strangers.map(|kind| format!("{kind}: a file, and no kind")));
    meant(found)
}

fn meant(mut found: Vec<String>) -> Vec<String> {
    if !found.is_empty() {
        found.push("If all of this is meant: PIPE_BLESS=1 cargo test --release golden::".into());
    }
    found
}

const HEAD: &str =
    "# Digests of what cheap kinds write from a fixture. Rewritten by `just bless`.\n";

fn write(pins: &Pins) -> String {
    let lines: Vec<String> = pins
        .iter()
        .map(|(what, value)| format!("{what} = {value}\n"))
        .collect();
    format!("{HEAD}{}", lines.concat())
}

fn read(text: &str) -> Pins {
    let lines = text.lines().filter(|l| !l.starts_with('#'));
    lines
        .filter_map(|l| l.split_once(" = "))
        .map(|(what, value)| (what.to_string(), value.to_string()))
        .collect()
}

pub fn recipes(folder: &Path) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(recipes(&path));
        } else if path.extension().is_some_and(|e| e == "toml") {
            found.push(path);
        }
    }
    found.sort();
    found
}
