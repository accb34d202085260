//! What a recipe trains on and measures with.

use crate::study::Study;
use pipe::engine::kind::{Kind, Output, Port, Registry, Role, Type};
use pipe::kinds::REGISTRY;
use pipe::kinds::shared::leaks::{leaks, message};
use pipe::recipe::{self, Overrides};

const RECIPE: &str = r#"
[node.base]
kind = "local-model"
path = "model"
[node.asks]
kind = "prompts-file"
path = "asks.csv"
[node.exam]
kind = "prompts-file"
path = "exam.csv"
[node.other-exam]
kind = "prompts-file"
path = "other.csv"
[node.some]
kind = "filter"
in = { prompts = "exam" }
take = 1
[node.traces]
kind = "teacher"
in = { prompts = "asks" }
from = "endpoint"
endpoint.model = "who"
endpoint.url = "http://localhost:1/v1"
[node.sft]
kind = "sft"
in = { model = "base", conversations = "traces" }
[node.answers]
kind = "generate"
in = { model = "sft", prompts = "some" }
[node.eval]
kind = "evaluate"
in = { completions = "answers" }
scorer = "refusal"
[node.more-answers]
kind = "generate"
in = { model = "sft", prompts = "other-exam" }
[node.more]
kind = "lengths"
in = { completions = "more-answers", model = "base" }
"#;

/// A training kind that no list can name.
const OWN: Kind = Kind {
    name: "own-training",
    role: Role::Trains,
    inputs: &[
        Port::required("model", Type::Model, "where it begins"),
        Port::required("rows", Type::Conversations, "what it learns"),
    ],
    outputs: &[Output::always("model", Type::Model, "the trained model")],
    ..Kind::DEFAULTS
};

fn of(recipe: &str) -> Vec<String> {
    of_kinds(recipe, &REGISTRY)
}

fn of_kinds(recipe: &str, kinds: &Registry) -> Vec<String> {
    let study = Study::new();
    for file in ["asks.csv", "exam.csv", "other.csv"] {
        study.file(file, "prompt\nhello\n");
    }
    study.file("model/config.json", "{}");
    let overrides = Overrides {
        sets: vec![],
        matrix: vec![],
        cwd: study.dir.path().into(),
    };
    let loaded = recipe::from_text("study.toml", recipe, &overrides, kinds);
    let graph = match loaded {
        Ok(mut loaded) => loaded.remove(0).graph,
        Err(diags) => panic!("{}", diags.render(false)),
    };
    leaks(&graph)
        .iter()
        .map(|leak| message(&graph, leak))
        .collect()
}

fn open(set: &str) -> String {
    open_of("is", set)
}

fn open_of(is: &str, set: &str) -> String {
    format!(
        "`sft` {is} trained on prompts that nobody compared with those of `{set}`, which it may be evaluated on: see `pipe kinds \
         decontaminate`"
    )
}

#[test]
fn eval_prompts_that_nobody_looked_for_are_told() {
    assert_eq!(of(RECIPE), [open("exam"), open("other-exam")]);
}

#[test]
fn a_kind_that_trains_is_checked_by_its_role_alone() {
    let kinds = REGISTRY.iter().chain([&OWN]).collect();
    let kinds = Registry(vec![&*Vec::leak(kinds)].leak());
    let own = RECIPE.replace("kind = \"sft\"", "kind = \"own-training\"");
    let own = own.replace("conversations = \"traces\"", "rows = \"traces\"");
    assert_eq!(of_kinds(&own, &kinds), [open("exam"), open("other-exam")]);
}

#[test]
fn a_program_that_makes_a_model_of_rows_trains() {
    let sft = "kind = \"sft\"\nin = { model = \"base\", conversations = \"traces\" }";
    assert!(RECIPE.contains(sft));
    let before = "[node.base-answers]\nkind = \"generate\"\nin = { model = \"base\", prompts = \"other-exam\" }\n\
                  [node.base-eval]\nkind = \"evaluate\"\nin = { completions = \"base-answers\" }\nscorer = \"refusal\"";
    let program = |ports: &str, words: &str| {
        let lines = format!(
            "kind = \"exec\"\nin = {{ {ports} }}\ncommand = [\"x\", {words}]\noutputs = [\"model\"]\n{before}"
        );
        of(&RECIPE.replace(sft, &lines))
    };
    let learns = program(
        "model = \"base\", conversations = \"traces\"",
        "\"{in.model}\", \"{in.conversations}\"",
    );
    let may = |set| open_of("may be", set);
    assert_eq!(learns, [may("exam"), may("other-exam")]);
    let converts = program("model = \"base\"", "\"{in.model}\"");
    assert_eq!(converts, Vec::<String>::new());
    // It chooses a checkpoint by scores, or evaluates meanwhile: of neither has it learned.
    let chooses = program(
        "model = \"base\", metrics = \"base-eval\"",
        "\"{in.model}\", \"{in.metrics}\"",
    );
    assert_eq!(chooses, Vec::<String>::new());
    let measures = program(
        "model = \"base\", prompts-2 = \"exam\"",
        "\"{in.model}\", \"{in.prompts-2}\"",
    );
    assert_eq!(measures, Vec::<String>::new());
    let both = program(
        "model = \"base\", conversations = \"traces\", prompts-2 = \"exam\", metrics = \"base-eval\"",
        "\"{in.model}\", \"{in.conversations}\", \"{in.prompts-2}\", \"{in.metrics}\"",
    );
    assert_eq!(both, [may("exam"), may("other-exam")]);
}

#[test]
fn a_teacher_that_excludes_them_and_a_node_that_removes_them_count() {
    let excludes = RECIPE.replace(
        "in = { prompts = \"asks\" }",
        "in = { prompts = \"asks\", exclude = \"exam\" }",
    );
    assert_eq!(of(&excludes), [open("other-exam")]);
    let clean = "[node.both]\nkind = \"pool\"\nin = { a = \"some\", b = \"other-exam\" }\n\
                 [node.clean]\nkind = \"decontaminate\"\nin = { prompts = \"asks\", against = \"both\" }\n";
    let cleaned = RECIPE.replace(
        "in = { prompts = \"asks\" }",
        "in = { prompts = \"clean\" }",
    );
    assert_eq!(of(&(cleaned + clean)), Vec::<String>::new());
}

#[test]
fn training_on_the_exam_is_told_in_other_words() {
    let same = RECIPE.replace("in = { prompts = \"asks\" }", "in = { prompts = \"exam\" }");
    let told = "`sft` is trained on `exam`, and evaluated on it".to_string();
    assert_eq!(of(&same), [told, open("other-exam")]);
}

#[test]
fn texts_that_an_attack_quotes_are_no_exam() {
    let attacked = RECIPE.replace("prompts = \"some\"", "prompts = \"attacked\"")
        + "[node.prefixes]\nkind = \"prompts-file\"\npath = \"prefixes.csv\"\n\
           [node.attacked]\nkind = \"autodan\"\nin = { model = \"sft\", prompts = \"exam\", seeds = \"prefixes\" }\n\
           target = \"Sure\"\n";
    assert_eq!(of(&attacked), of(RECIPE));
}

#[test]
fn the_splits_of_the_world_share_nothing() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let tars = std::fs::read_to_string(root.join("tars.toml")).unwrap();
    assert_eq!(of(&tars), Vec::<String>::new());
}

#[test]
fn a_breaker_of_a_real_model_is_measured_with_what_it_did_not_learn() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/real-model.d");
    let overrides = Overrides {
        sets: vec![],
        matrix: vec![],
        cwd: folder.clone(),
    };
    for (file, variants, trains) in [("study.toml", 2, true), ("speed.toml", 1, false)] {
        let loaded = match recipe::load(&folder.join(file), &overrides, &REGISTRY) {
            Ok(loaded) => loaded,
            Err(diags) => panic!("{}", diags.render(false)),
        };
        assert_eq!(loaded.len(), variants, "{file}");
        for one in loaded {
            let graph = &one.graph;
            let trained = graph
                .nodes()
                .iter()
                .any(|node| node.kind.role == Role::Trains);
            assert_eq!(trained, trains, "{file}");
            let told: Vec<String> = leaks(graph).iter().map(|l| message(graph, l)).collect();
            assert_eq!(told, Vec::<String>::new(), "{file}");
        }
    }
}
