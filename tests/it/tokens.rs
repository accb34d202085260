//! What a node will be trained on or asked, before it runs: the same ids and masks as in training, for every kind that has
//! a model.

use crate::fixtures;
use crate::study::Study;
use pipe::base::rows::{self, CompletedPrompt, Completion, Pair, Prompt, PromptClass};
use pipe::base::tokens::Tokens;
use pipe::base::value::Value;
use pipe::engine::kind::estimate::NodePreview;
use pipe::kinds::REGISTRY;
use pipe::learn::tokenizer::Tokenizer;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A model folder, and folders of rows.
struct Inputs {
    study: Study,
    model: PathBuf,
}

impl Inputs {
    fn new() -> Inputs {
        let study = Study::new();
        let recipe = "[node.model]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 16\n";
        let model = study.dir.path().join("model");
        study.run(recipe).export("model", "model", &model);
        Inputs { study, model }
    }

    fn rows<T: Serialize>(&self, name: &str, all: &[T]) -> PathBuf {
        let folder = self.study.dir.path().join(name);
        std::fs::create_dir_all(&folder).unwrap();
        rows::write_rows(&folder, all).unwrap();
        folder
    }

    fn look(
        &self,
        kind: &str,
        inputs: &[(&'static str, &Path)],
        params: &[(&str, Value)],
    ) -> Tokens {
        let kind = REGISTRY.get(kind).unwrap();
        let mut values = pipe::base::params::unsaid((kind.params)());
        values.extend(params.iter().map(|(n, v)| (n.to_string(), v.clone())));
        let mut folders = BTreeMap::from([("model", self.model.clone())]);
        folders.extend(
            inputs
                .iter()
                .map(|(port, path)| (*port, path.to_path_buf())),
        );
        let exec = Default::default();
        let look = NodePreview {
            inputs: folders,
            most: 2,
            ..NodePreview::new(&values, &values, &exec)
        };
        (kind.tokens.unwrap())(&look).unwrap()
    }
}

fn prompt(id: &str, text: &str) -> Prompt {
    fixtures::prompt(id, PromptClass::Harmless, text)
}

fn completion(id: &str, response: &str) -> Completion {
    fixtures::completion(prompt(id, "use the hammer"), 0, response)
}

/// The trained text of an example.
fn trained(tokens: &Tokens, at: usize) -> String {
    let runs = tokens.shown[at].runs.iter().filter(|(_, trained)| *trained);
    runs.map(|(text, _)| text.as_str()).collect()
}

#[test]
fn pairs_show_the_chosen_and_the_rejected_answer() {
    let inputs = Inputs::new();
    let pair = |id: &str, chosen: &str, finished: bool| Pair {
        id: id.into(),
        prompt: CompletedPrompt::from(prompt(id, "use the hammer")),
        chosen: chosen.into(),
        rejected: "sorry .".into(),
        chosen_score: 1.0,
        rejected_score: 0.0,
        chosen_finished: true,
        rejected_finished: finished,
    };
    let pairs = [
        pair("a", "sorry , i cannot", false),
        pair("b", "sorry", true),
        pair("empty", " ", true),
        pair("long", &"sorry , ".repeat(50), true),
    ];
    let pairs = inputs.rows("pairs", &pairs);
    let tokens = inputs.look(
        "dpo",
        &[("pairs", &pairs)],
        &[("max_tokens", Value::Int(40))],
    );
    let ids: Vec<&str> = tokens.shown.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["a, chosen", "a, rejected"]);
    let end = Tokenizer::load(&inputs.model).unwrap().stop_texts()[0].clone();
    assert!(
        trained(&tokens, 0).starts_with("sorry , i cannot"),
        "{}",
        trained(&tokens, 0)
    );
    assert!(
        trained(&tokens, 0).contains(&end),
        "its end of turn is trained"
    );
    // It ran into its length limit: no end of turn.
    assert_eq!(trained(&tokens, 1).trim(), "sorry .");
    assert_eq!(tokens.examples, 4, "two pairs are left");
    let dropped: Vec<(&str, usize)> = tokens
        .dropped
        .iter()
        .map(|(w, n)| (w.as_str(), *n))
        .collect();
    assert_eq!(
        dropped,
        [
            ("of pairs longer than 40 tokens", 2),
            ("of pairs with an empty answer", 2)
        ]
    );
}

#[test]
fn prompts_end_where_the_model_begins() {
    let inputs = Inputs::new();
    let prompts = [
        prompt("a", "use the hammer"),
        prompt("b", "wash"),
        prompt("c", "cool"),
    ];
    let prompts = inputs.rows("prompts", &prompts);
    let ports = [("prompts", prompts.as_path())];
    let tokenizer = Tokenizer::load(&inputs.model).unwrap();
    let reward = Value::Table(BTreeMap::from([(
        "harmless".into(),
        Value::Str("1".into()),
    )]));
    for kind in ["grpo", "generate", "probe"] {
        let tokens = inputs.look(
            kind,
            &ports,
            &[("reward", reward.clone()), ("steps", Value::Int(1))],
        );
        assert_eq!(
            (tokens.examples, tokens.trained, tokens.shown.len()),
            (3, 0, 2),
            "{kind}"
        );
        assert!(tokens.then.is_some(), "{kind}");
        let shown = &tokens.shown[0];
        let asked = pipe::kinds::shared::model_io::asked(&tokenizer, "use the hammer", None);
        let ids = asked.unwrap().ids;
        assert_eq!(shown.ids, ids, "{kind}");
        assert_eq!(
            shown.runs,
            [(tokenizer.decode(&ids, false).unwrap(), false)],
            "{kind}"
        );
    }
    let prefill = [("prefill", Value::Str("sorry".into()))];
    let tokens = inputs.look("generate", &ports, &prefill);
    assert!(
        tokens.shown[0].runs[0].0.ends_with("sorry"),
        "{:?}",
        tokens.shown[0].runs
    );
}

#[test]
fn both_sets_of_a_rerouting_are_shown_with_what_was_too_long() {
    let inputs = Inputs::new();
    let harmful = inputs.rows("harmful", &[completion("h", "sorry , i cannot")]);
    let retain = [
        completion("r", "sorry ."),
        completion("l", &"sorry . ".repeat(30)),
    ];
    let retain = inputs.rows("retain", &retain);
    let params = [
        ("layers", Value::List(vec![Value::Int(1)])),
        ("max_tokens", Value::Int(40)),
    ];
    let tokens = inputs.look(
        "rerouting",
        &[("harmful", &harmful), ("retain", &retain)],
        &params,
    );
    let ids: Vec<&str> = tokens.shown.iter().map(|s| s.id.as_str()).collect();
    assert_eq!(ids, ["h#0, harmful", "r#0, retain"]);
    assert!(trained(&tokens, 0).starts_with("sorry , i cannot"));
    assert_eq!(tokens.dropped, [("longer than 40 tokens".to_string(), 1)]);
}
