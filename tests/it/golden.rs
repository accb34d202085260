//! What must not change unnoticed: the plan keys of every node of the recipes that ship, and the bytes that cheap kinds
//! write from a small fixture. `PIPE_BLESS=1` rewrites the file. What training computes is not pinned: it hangs on the
//! processor.

use crate::judges::Quiet;
use crate::study::Study;
use pipe::base::rows::{Completion, Prompt, PromptClass, Truth};
use pipe::engine::graph::union::{Part, union};
use pipe::engine::plan::{Planner, Wanted};
use pipe::engine::store::Store;
use pipe::kinds::REGISTRY;
use pipe::kinds::data::preferences::{self, Truncated};
use pipe::kinds::evaluation::evaluate::{self, Judge as By};
use pipe::kinds::scorers::Settings;
use pipe::kinds::scorers::reward::Route;
use pipe::recipe::{self, Overrides};
use std::collections::{BTreeMap, BTreeSet};
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
judge = "refusal-matcher"
[node.agreement]
kind = "agreement"
in = { a = "published.scores", b = "matched.scores" }
"#;

#[test]
fn keys_and_outputs_are_what_they_were() {
    let mut now = plan_keys();
    now.extend(outputs());
    now.extend(measures());
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/keys.txt");
    if std::env::var_os("PIPE_BLESS").is_some() {
        std::fs::write(&path, write(&now)).unwrap();
        return;
    }
    let pinned = std::fs::read_to_string(&path).unwrap_or_default();
    let complaints = complaints(&read(&pinned), &now);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

#[test]
fn a_changed_output_asks_for_a_revision_and_a_changed_key_for_a_blessing() {
    let line = |what: &str, value: &str| (what.to_string(), value.to_string());
    let pinned = BTreeMap::from([
        line("output mix r1 of mix: prompts", "aa"),
        line("output evaluate r1 of both: scores", "bb"),
        line("plan tars sft: sft", "cc"),
        line("plan tars old: mix", "dd"),
    ]);
    assert_eq!(complaints(&pinned, &pinned), Vec::<String>::new());
    let now = BTreeMap::from([
        line("output mix r1 of mix: prompts", "ab"),
        line("output evaluate r2 of both: scores", "bc"),
        line("plan tars sft: sft", "cd"),
    ]);
    let text = complaints(&pinned, &now).join("\n");
    assert!(
        text.contains("mix writes other bytes under the same revision"),
        "{text}"
    );
    assert!(text.contains("raise `revision`"), "{text}");
    // A new revision is no silent change, but the file has to say it.
    assert!(!text.contains("evaluate writes other bytes"), "{text}");
    assert!(
        text.contains("output evaluate r2 of both: scores: not in the file"),
        "{text}"
    );
    assert!(
        text.contains("plan tars sft: sft: the key changed"),
        "{text}"
    );
    assert!(
        text.contains("plan tars old: mix: only in the file"),
        "{text}"
    );
    assert!(text.contains("PIPE_BLESS=1"), "{text}");
    assert_eq!(read(&write(&now)), now);
}

/// Words of recipes that stand for somebody's own files, to be named by vars.
pub const STAND_INS: [&str; 3] = ["_FOLDER\"", "\"COMPLETIONS.csv\"", "\"COMPLETIONS.json\""];

/// What is pinned to its value.
type Pins = BTreeMap<String, String>;

/// `plan RECIPE NODE: KIND` to plan key.
fn plan_keys() -> Pins {
    let study = Study::new();
    let store = Store::open(&study.store()).unwrap();
    store.prepare().unwrap();
    // Stands for a model and a file of prompts: a plan reads what they hold, not what it means.
    study.file("model/config.json", "{}\n");
    let model = study.file("model/model.safetensors", "weights\n");
    let adapter = study.file("adapter/adapter_config.json", "{}\n");
    let adapter = adapter.parent().unwrap();
    let prompts = study.file("asks.csv", "prompt,label\nhello,safe\nharm,unsafe\n");
    let completions = study.file("answers.csv", "prompt,completion\nhello,hi\n");
    let mut pins = Pins::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    for path in recipes(&root) {
        let text = std::fs::read_to_string(&path).unwrap();
        // Only what the recipe or its parent has a word for, or `--set` would be the error.
        let parent = text.lines().find_map(|l| l.strip_prefix("extends = "));
        let parent = parent.map(|p| path.with_file_name(p.trim_matches('"')));
        let parent = parent.map_or(String::new(), |p| std::fs::read_to_string(p).unwrap());
        let words = format!("{text}\n{parent}");
        let own = [
            ("model", model.parent().unwrap()),
            ("prompts", &prompts),
            ("completions", &completions),
            ("adapter", adapter),
            ("reward", model.parent().unwrap()),
        ];
        let stands_in = |name: &str| {
            let line = words.lines().find(|l| l.starts_with(&format!("{name} = ")));
            line.is_some_and(|l| l.contains("_FOLDER\"") || l.contains("S.csv\""))
        };
        let sets = own.iter().filter(|(name, _)| stands_in(name));
        let sets = sets.map(|(name, path)| format!("vars.{name}='{}'", path.display()));
        let sets: Vec<String> = sets.collect();
        let overrides = Overrides {
            sets,
            matrix: vec![],
            cwd: root.clone(),
        };
        let loaded = recipe::load(&path, &overrides, &REGISTRY)
            .unwrap_or_else(|diags| panic!("{}", diags.render(false)));
        let parts = loaded.iter().map(|variant| Part {
            recipe: &variant.name,
            axes: &variant.axes,
            graph: &variant.graph,
        });
        let graph = union(&parts.collect::<Vec<_>>()).graph;
        let planner = Planner::new(&store, &graph, &Wanted::default()).unwrap();
        let name = path.strip_prefix(&root).unwrap().with_extension("");
        let mut at_hub = BTreeSet::new();
        for id in graph.ids() {
            let node = graph.node(id);
            // What lies on the hub may be on this machine or not.
            let named = node.params.values().any(|v| v.canon().contains("hf://"));
            if named || node.inputs.values().any(|edge| at_hub.contains(&edge.node)) {
                at_hub.insert(id);
                continue;
            }
            pins.insert(
                format!("plan {} {}: {}", name.display(), node.name, node.kind.name),
                planner.plan_key(id).to_string(),
            );
        }
    }
    assert!(pins.len() > 10, "the recipes have nodes");
    pins
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

/// The same of `evaluate`, which would need a model to feed it: from completions made by hand.
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
    for (by, word) in [
        (By::World, "world"),
        (By::RefusalMatcher, "refusal-matcher"),
    ] {
        let scores: Vec<evaluate::Score> = completions
            .iter()
            .map(|c| evaluate::score(c, by).unwrap())
            .collect();
        let measures = evaluate::measures(&scores, by);
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
        class,
        prompt: "ask".into(),
        source: "test".into(),
        category: if i < 6 { "plain" } else { "role" }.into(),
        difficulty: 1 + i as u32 % 2,
        labels: Default::default(),
        truth: Some(Truth {
            harmful: class == PromptClass::Harmful,
            aliases: vec![],
            facts: vec![],
            procedure: ["hammer", "gently", "wash"].map(String::from).to_vec(),
        }),
    };
    Completion {
        id: format!("{}#{}", prompt.id, i % 6 / 3),
        sample: (i % 6 / 3) as u32,
        prompt: prompt.into(),
        response: response.into(),
        tokens: 9,
        finished: i != 4,
        withheld: None,
        logps: None,
        token_ids: None,
        served: None,
    }
}

/// What differs, in words that say what to do.
fn complaints(pinned: &Pins, now: &Pins) -> Vec<String> {
    let mut found = vec![];
    for (what, value) in now {
        match pinned.get(what) {
            Some(old) if old == value => {}
            Some(_) if what.starts_with("output ") => {
                let kind = what.split(' ').nth(1).unwrap();
                found.push(format!(
                    "{what}: {kind} writes other bytes under the same revision, so that old artifacts would be taken \
                     for new ones: raise `revision` in its KIND"
                ));
            }
            Some(_) => found.push(format!("{what}: the key changed")),
            None => found.push(format!("{what}: not in the file")),
        }
    }
    for what in pinned.keys().filter(|what| !now.contains_key(*what)) {
        found.push(format!("{what}: only in the file"));
    }
    if !found.is_empty() {
        found.push("If all of this is meant: PIPE_BLESS=1 cargo test --release golden::".into());
    }
    found
}

const HEAD: &str = "# Plan keys of the nodes of every recipe that ships, and digests of what cheap kinds write.\n\
                    # Rewritten by `just bless`; a change of a line is a change of what is reused.\n";

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
