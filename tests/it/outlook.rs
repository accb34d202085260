//! What a plan tells of a study whose weights, data and keys are elsewhere.

use crate::study::Study;
use pipe::engine::graph::Graph;
use pipe::engine::plan::estimate::{Basis, Formula};
use pipe::engine::plan::{self, Wanted};
use pipe::engine::store::Store;
use pipe::world::{CorpusSpec, World, vocab};
use std::collections::BTreeMap;

/// By node.
fn told(recipe: &str) -> BTreeMap<String, Formula> {
    let study = Study::new();
    let store = Store::open(&study.store()).unwrap();
    store.prepare().unwrap();
    let graph: Graph = study.graph(recipe);
    let plan = plan::plan(&store, &graph, &Wanted::default()).unwrap();
    let nodes = plan.nodes.into_iter();
    let told = nodes.filter_map(|p| {
        let name = graph.node(p.decision.id).name.clone();
        Some((name, *p.estimate.formula?))
    });
    told.collect()
}

fn near(found: f64, expected: f64, share: f64) {
    let off = (found / expected - 1.0).abs();
    assert!(off < share, "{found:e} is not near {expected:e}");
}

/// Billions of parameters, as their pages on the hub say.
const MODELS: [(&str, f64); 10] = [
    ("Qwen/Qwen2.5-0.5B-Instruct", 0.494),
    ("Qwen/Qwen2.5-1.5B-Instruct", 1.54),
    ("Qwen/Qwen2.5-3B", 3.09),
    ("Qwen/Qwen2.5-7B-Instruct", 7.62),
    ("Qwen/Qwen3-0.6B", 0.6),
    ("meta-llama/Llama-3.2-1B-Instruct", 1.24),
    ("meta-llama/Llama-3.2-3B-Instruct", 3.21),
    ("meta-llama/Llama-3.1-8B-Instruct", 8.03),
    ("mistralai/Mistral-7B-Instruct-v0.3", 7.25),
    ("CMU-AIRe/TARS-1.5B", 1.54),
];

#[test]
fn well_known_models_are_as_large_as_they_are() {
    for (name, billions) in MODELS {
        let recipe = format!("[node.m]\nkind = \"local-model\"\npath = \"hf://{name}\"\n");
        let told = told(&recipe);
        // Weights in f32.
        near(told["m"].memory, 4e9 * billions, 0.02);
    }
    let unknown = told("[node.m]\nkind = \"local-model\"\npath = \"hf://some/model\"\n");
    assert!(!unknown.contains_key("m"), "nothing is known of it");
}

/// `bench/memory`, two steps on this shape, layers recomputed: 7.70 GiB of full training, 2.17 GiB of LoRA at rank 16.
#[test]
fn memory_of_training_is_near_what_was_measured() {
    let recipe = "[node.m]\nkind = \"local-model\"\npath = \"hf://Qwen/Qwen2.5-0.5B\"\n\
                  [node.p]\nkind = \"world-prompts\"\n\
                  [node.t]\nkind = \"teacher\"\nin = { prompts = \"p.sft\", model = \"m\" }\nfrom = \"model\"\nmax_new_tokens = 416\n\
                  [node.s]\nkind = \"sft\"\nin = { model = \"m\", conversations = \"t\" }\nrecompute = true\n";
    const GIB: f64 = (1u64 << 30) as f64;
    near(told(recipe)["s"].memory, 7.70 * GIB, 0.1);
    let lora = format!("{recipe}lora.rank = 16\n");
    near(told(&lora)["s"].memory, 2.17 * GIB, 0.15);
}

/// A small study is run before the whole one: what its nodes took is not what the others will take.
#[test]
fn a_record_of_less_work_is_taken_times_what_the_work_is_now() {
    let recipe = |prompts: usize, epochs: f64| {
        format!(
            "[node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 16\n\
             [node.p]\nkind = \"world-prompts\"\nsft = {prompts}\nrl = 8\nvalidation = 4\neval = 4\ndeeper = 4\n\
             [node.t]\nkind = \"teacher\"\nin = {{ prompts = \"p.sft\" }}\nsamples = 1\n\
             [node.s]\nkind = \"sft\"\nin = {{ model = \"m\", conversations = \"t\" }}\nepochs = {epochs:?}\nbatch = 4\n"
        )
    };
    let study = Study::new();
    let ran = study.run(&recipe(12, 1.0));
    let took = ran.record("s").cost.seconds;
    let expected = |recipe: &str| {
        let store = Store::open(&study.store()).unwrap();
        let graph = study.graph(recipe);
        let plan = plan::plan(&store, &graph, &Wanted::default()).unwrap();
        let id = graph.find("s").unwrap();
        let node = plan.nodes.into_iter().find(|p| p.decision.id == id);
        node.expect("the plan has it").estimate.seconds
    };
    assert_eq!(expected(&recipe(12, 1.0)), 0.0, "a hit takes nothing");
    near(expected(&recipe(12, 8.0)), 8.0 * took, 0.01);
    // Of more rows from above, which are not made yet.
    near(expected(&recipe(36, 1.0)), 3.0 * took, 0.05);
    near(expected(&recipe(36, 200.0)), 600.0 * took, 0.05);
}

#[test]
fn calls_tokens_dollars_and_work_follow_from_parameters() {
    let recipe = r#"
[node.m]
kind = "local-model"
path = "hf://Qwen/Qwen2.5-1.5B-Instruct"
[node.set]
kind = "dataset"
schema = "strongreject"
path = "hf://datasets/walledai/StrongREJECT"
[node.some]
kind = "filter"
in = { prompts = "set" }
shuffle = 0
skip = 13
take = 100
[node.traces]
kind = "teacher"
in = { prompts = "some" }
from = "endpoint"
endpoint.model = "who"
endpoint.url = "http://localhost:1/v1"
samples = 4
max_new_tokens = 1000
endpoint.price_prompt = 1.0
endpoint.price_completion = 2.0
[node.sft]
kind = "sft"
in = { model = "m", conversations = "traces" }
epochs = 2
[node.answers]
kind = "generate"
in = { model = "sft", prompts = "set" }
samples = 2
max_new_tokens = 904
[node.judged]
kind = "evaluate"
in = { completions = "answers" }
scorer = "strongreject"
judge.model = "judge"
judge.url = "http://localhost:1/v1"
"#;
    let told = told(recipe);
    let traces = told["traces"].calls.unwrap();
    // 96 tokens of each prompt, where nothing is known.
    assert_eq!((traces.made, traces.prompt_tokens), (400, 400 * 96));
    assert_eq!(traces.completion_tokens, 400_000);
    near(traces.dollars, 0.0384 + 0.8, 1e-9);
    let parameters = told["m"].memory / 4.0;
    near(
        told["sft"].flop,
        6.0 * parameters * 400.0 * 1096.0 * 2.0,
        1e-9,
    );
    // All 313 prompts of the set, twice.
    near(
        told["answers"].flop,
        2.0 * parameters * 626.0 * 1000.0,
        1e-9,
    );
    assert_eq!(told["judged"].calls.unwrap().made, 626);
    assert!(
        told.values().all(|t| t.seconds.is_none()),
        "nothing ran here"
    );
}

/// A base on a corpus, neither of which is there.
const BASE: &str = "[node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n\
     [node.corpus]\nkind = \"world-corpus\"\nn = 1500\n\
     [node.base]\nkind = \"sft\"\nin = { model = \"m\", conversations = \"corpus\" }\nepochs = 1\n";

#[test]
fn the_work_of_a_base_is_known_before_its_corpus_is_there() {
    let ran = Study::new().run(BASE);
    near(told(BASE)["base"].flop, ran.record("base").cost.flop, 0.15);
    let study = concat!(env!("CARGO_MANIFEST_DIR"), "/recipes/tars.toml");
    let text = std::fs::read_to_string(study).unwrap();
    let recipe: toml::Table = toml::from_str(&text).unwrap();
    let n = recipe["node"]["corpus"]["n"].as_integer().unwrap() as usize;
    let corpus = World::new(0).corpus(n, &CorpusSpec::default()).unwrap();
    let messages = corpus.iter().flat_map(|row| &row.messages);
    let tokens = messages.map(|m| m.content.split_whitespace().count() + vocab::AROUND_MESSAGE);
    // `pipe show recipes/tars.toml untrained`: 360,288 parameters, each 6 operations a token.
    let expected = 6.0 * 360_288.0 * tokens.sum::<usize>() as f64;
    near(told(&text)["base"].flop, expected, 0.15);
}

/// What others of its kind took says nothing of what it pays: the formula does, and the time comes of a speed.
#[test]
fn a_node_that_computes_and_pays_is_expected_to_do_both() {
    let study = Study::new();
    let ran = study.run(&format!(
        "{BASE}[node.p]\nkind = \"world-prompts\"\nsft = 4\nrl = 1\nvalidation = 1\neval = 4\n"
    ));
    assert!(ran.record("base").cost.flop > 0.0);
    let recipe = |prompts: &str| {
        format!(
            "{BASE}[node.p]\nkind = \"world-prompts\"\nsft = 4\nrl = 1\nvalidation = 1\neval = 4\n\
             [node.few]\nkind = \"filter\"\nin = {{ prompts = \"p.sft\" }}\ntake = 3\n\
             [node.x]\nkind = \"pair\"\nin = {{ prompts = \"{prompts}\", target = \"base\" }}\nstreams = 2\nsteps = 3\n\
             attacker = {{ from = \"endpoint\", model = \"m\", url = \"http://localhost:1/v1\", price_prompt = 1.0, \
             price_completion = 2.0 }}\n"
        )
    };
    let expected = |prompts: &str| {
        let store = Store::open(&study.store()).unwrap();
        let graph = study.graph(&recipe(prompts));
        let plan = plan::plan(&store, &graph, &Wanted::default()).unwrap();
        let id = graph.find("x").unwrap();
        let node = plan.nodes.into_iter().find(|p| p.decision.id == id);
        node.expect("the plan has it").estimate
    };
    // The prompts are not there: by the formulas alone.
    let told = expected("few");
    let formula = told.formula.clone().unwrap();
    assert_eq!(told.basis, Basis::Formula);
    assert_eq!(Some(told.seconds), formula.seconds);
    let asked = formula.calls.unwrap();
    assert!(
        asked.dollars > 0.0 && asked.made == 3 * 2 * 3 * 20,
        "{asked:?}"
    );
    assert_eq!(told.dollars, asked.dollars);
    // They are there: what is counted is at most so much.
    let told = expected("p.sft");
    let (counted, by_formula) = (told.calls.unwrap(), told.formula.unwrap().calls.unwrap());
    assert_eq!((told.basis, counted.make), (Basis::Formula, 4 * 2 * 3 * 20));
    assert_eq!(told.dollars, counted.dollars.min(by_formula.dollars));
    assert!(told.dollars > 0.0);
}

#[test]
fn a_run_that_does_not_fit_the_machine_is_refused() {
    use pipe::engine::run::{self, Settings};
    let study = Study::new();
    let recipe = "[node.m]\nkind = \"world-model\"\nhidden_size = 64\nlayers = 2\nheads = 2\nintermediate_size = 128\n\
                  [node.p]\nkind = \"world-prompts\"\nsft = 4\nrl = 4\nvalidation = 4\neval = 4\n\
                  [node.a]\nkind = \"generate\"\nin = { model = \"m\", prompts = \"p.eval\" }\nmax_new_tokens = 8\n";
    let graph = study.graph(recipe);
    let store = Store::open(&study.store()).unwrap();
    let mut settings = Settings::new().unwrap();
    settings.program = crate::study::program();
    settings.capacity.memory = Some(1 << 20);
    let ran = run::run(&store, &graph, &Wanted::default(), &settings, &mut |_| {});
    let failure = ran.err().expect("it is not to run").to_string();
    assert!(
        failure.contains("nodes need more memory than the 1.0 MB there are:\n  `a`: about "),
        "{failure}"
    );
    assert!(failure.contains("nothing was started"), "{failure}");
}
