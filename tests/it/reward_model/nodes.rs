//! Reward models through the engine: imported, asked for rewards, pairs and evaluations; and what a recipe is told.

use super::{read, scores, write_reward_model};
use crate::fixtures;
use crate::study::Study;
use pipe::base::response::{self, Outcome};
use pipe::base::rows::{Completion, Pair, Score};
use pipe::kinds::REGISTRY;
use pipe::kinds::scorers::neutral::neutral;
use pipe::learn::config::Family;
use pipe::learn::reward::RewardModel;
use pipe::recipe::{self, Overrides};
use std::collections::BTreeMap;
use std::path::Path;

fn start() -> String {
    fixtures::world(9, 6)
        + r#"
[node.preference]
kind = "local-reward-model"
path = "preference"
[node.answers]
kind = "generate"
in = { model = "model", prompts = "prompts.eval" }
samples = 4
max_new_tokens = 12
"#
}

fn study() -> (Study, RewardModel) {
    let study = Study::new();
    let folder = study.dir.path().join("preference");
    write_reward_model(&folder, Family::Llama);
    std::fs::write(folder.join("readme.md"), "not a model's").unwrap();
    let model = RewardModel::load(&folder).unwrap();
    (study, model)
}

/// The model's number for each completion, by its id; control strings mean nothing to it.
fn numbers(model: &mut RewardModel, completions: &[Completion]) -> BTreeMap<String, f64> {
    let texts: Vec<(String, String)> = completions
        .iter()
        .map(|c| {
            let answer = response::split(&c.response).answer;
            (neutral(&c.prompt.prompt).0, neutral(&answer).0)
        })
        .collect();
    let rows: Vec<(&str, &str)> = texts.iter().map(|(p, a)| (&**p, &**a)).collect();
    let read = read(model, &rows);
    let numbers = scores(model, &read);
    let ids = completions.iter().map(|c| c.id.clone());
    ids.zip(numbers.into_iter().map(f64::from)).collect()
}

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

#[test]
fn it_is_imported_judges_answers_and_ranks_them() {
    let (study, mut model) = study();
    let start = start();
    let ran = study.run(&format!(
        r#"{start}
[node.squashed]
kind = "evaluate"
in = {{ completions = "answers", reward_model = "preference" }}
scorer = "reward_model"
[node.plain]
kind = "evaluate"
in = {{ completions = "answers", reward_model = "preference" }}
scorer = "reward_model"
reward_model.squash = "identity"
[node.pairs]
kind = "preference-pairs"
in = {{ completions = "answers", reward_model = "preference" }}
reward = {{ harmful = "1 - reward_model", harmless = "reward_model", ambiguous = "reward_model" }}
truncated = "score"
"#
    ));
    let folder = study.dir.path().join("preference");
    for blob in &ran.record("preference").outputs["reward_model"].files {
        let original = std::fs::read(folder.join(&blob.path)).unwrap();
        let ours = ran.bytes("preference", "reward_model", &blob.path);
        assert_eq!(ours, original, "{}", blob.path);
        assert_ne!(blob.path, "readme.md");
    }
    let completions: Vec<Completion> = ran.rows("answers", "completions");
    let numbers = numbers(&mut model, &completions);
    for (node, squash) in [("squashed", sigmoid as fn(f64) -> f64), ("plain", |x| x)] {
        let rows: Vec<Score> = ran.rows(node, "scores");
        assert_eq!(rows.len(), completions.len());
        let judged = |row: &&Score| row.outcome == Outcome::Answered;
        assert!(rows.iter().filter(judged).count() > rows.len() / 2);
        for row in rows.iter().filter(|row| !judged(row)) {
            assert_eq!((row.score, row.good), (None, false), "{}", row.id);
        }
        for row in rows.iter().filter(judged) {
            let x = numbers[&row.id];
            assert!((row.score.unwrap() - squash(x)).abs() < 1e-12, "{node}");
            assert_eq!(row.good, x >= 0.0, "{node} {}", row.id);
            assert_eq!(row.scorable, Some(true));
        }
        for class in ["harmful", "harmless", "ambiguous"] {
            let metric = ran.metric(node, &format!("score/{class}"));
            let of_class = rows.iter().filter(|r| r.class.word() == class);
            // A prompt's mean is one observation, of those of its responses that have an answer.
            let mut prompts: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
            for row in of_class.filter(judged) {
                let score = row.score.unwrap();
                prompts.entry(&row.prompt_id).or_default().push(score);
            }
            let means = prompts
                .values()
                .map(|v| v.iter().sum::<f64>() / v.len() as f64);
            let mean = means.sum::<f64>() / prompts.len() as f64;
            assert!((metric.value - mean).abs() < 1e-9, "{node} {class}");
            let (low, high) = metric.interval.unwrap();
            assert!(low < mean && mean < high, "{node} {class}");
        }
    }
    let pairs: Vec<Pair> = ran.rows("pairs", "pairs");
    assert!(!pairs.is_empty());
    for pair in &pairs {
        let (prompt, samples) = pair.id.rsplit_once('#').unwrap();
        let (chosen, rejected) = samples.split_once('-').unwrap();
        let reward = |sample: &str| {
            let score = sigmoid(numbers[&format!("{prompt}#{sample}")]);
            match pair.prompt.class.word() {
                "harmful" => 1.0 - score,
                _ => score,
            }
        };
        assert!((pair.chosen_score - reward(chosen)).abs() < 1e-12);
        assert!((pair.rejected_score - reward(rejected)).abs() < 1e-12);
    }
    assert!(ran.said("pairs", "`reward_model` scored 72 answers"));
}

#[test]
fn it_is_the_reward_of_those_classes_that_name_it() {
    let (study, _) = study();
    let start = start();
    let recipe = |squash: &str| {
        format!(
            r#"{start}
[node.rl]
kind = "grpo"
in = {{ model = "model", prompts = "prompts.rl", validation = "prompts.validation", reward_model = "preference" }}
reward = {{ harmful = "format + safety", harmless = "format + reward_model", ambiguous = "format + reward_model" }}
reward_model.squash = "{squash}"
reward_model.max_tokens = 30
steps = 1
batch = 9
group = 4
max_new_tokens = 12
truncated = "score"
[node.probe]
kind = "probe"
in = {{ model = "model", prompts = "prompts.rl", reward_model = "preference" }}
reward = {{ harmless = "reward_model" }}
reward_model.squash = "{squash}"
max_new_tokens = 12
"#
        )
    };
    let ran = study.run(&recipe("sigmoid"));
    let step = &ran.curve("rl")[0];
    let mean = step["rewards/reward_model/mean"].as_f64().unwrap();
    let sd = step["rewards/reward_model/std"].as_f64().unwrap();
    assert!((0.0..=1.0).contains(&mean) && sd > 0.0, "{mean} {sd}");
    let harmless = step["reward/harmless"].as_f64().unwrap();
    let ambiguous = step["reward/ambiguous"].as_f64().unwrap();
    let format = step["rewards/format/mean"].as_f64().unwrap();
    // Three prompts a class, and no response of an untrained model has the format.
    assert_eq!(format, 0.0);
    assert!(((harmless + ambiguous) / 2.0 - mean).abs() < 1e-9);
    assert!(ran.said("rl", "longer than 30 tokens with the prompt"));
    let average = ran.metric("probe", "average/harmless").value;
    let best = ran.metric("probe", "best/harmless").value;
    assert!(0.0 < average && average < best && best < 1.0);
    assert_eq!(ran.metric("probe", "unscorable").value, 0.0);

    // Of the responses that are scored together the mean is 0 and the standard deviation 1.
    let step = &study.run(&recipe("z-score")).curve("rl")[0];
    let mean = step["rewards/reward_model/mean"].as_f64().unwrap();
    let sd = step["rewards/reward_model/std"].as_f64().unwrap();
    assert!(mean.abs() < 1e-6 && (sd - 1.0).abs() < 1e-6, "{mean} {sd}");
}

#[test]
fn a_recipe_without_the_model_is_told_where_it_is_needed() {
    let (study, _) = study();
    let start = start();
    let told = |node: &str| {
        let overrides = Overrides {
            cwd: study.dir.path().to_path_buf(),
            ..Overrides::default()
        };
        let text = format!("{start}[node.it]\n{node}");
        match recipe::from_text("study.toml", &text, &overrides, &REGISTRY) {
            Ok(_) => String::new(),
            Err(diags) => diags.render(false),
        }
    };
    let pairs = "kind = \"preference-pairs\"\nin = { completions = \"answers\" }\n";
    let evaluate = "kind = \"evaluate\"\nin = { completions = \"answers\" }\n";
    let cases = [
        (
            format!("{pairs}reward = {{ harmful = \"format * reward_model\" }}\n"),
            vec!["reward_model", "where `reward` names `reward_model`"],
        ),
        (
            format!("{evaluate}scorer = \"reward_model\"\n"),
            vec!["reward_model", "where `scorer` is `reward_model`"],
        ),
        (
            format!("{pairs}reward = {{ harmful = \"reward_modl\" }}\n"),
            vec!["did you mean `reward_model`?"],
        ),
        (
            "kind = \"evaluate\"\nin = { completions = \"answers\", reward_model = \"model\" }\n".into(),
            vec!["a reward model"],
        ),
        (
            "kind = \"evaluate\"\nin = { completions = \"answers\", reward_model = \"preference\" }\n\
             scorer = \"reward_model\"\nreward_model.squash = \"z-score\"\n"
                .into(),
            vec!["the mean of the z-scores", "`identity`"],
        ),
        (
            format!("{pairs}reward = {{ harmful = \"format\" }}\nreward_model.max_tokens = 0\n"),
            vec!["reward_model.max_tokens"],
        ),
    ];
    for (node, words) in cases {
        let text = told(&node);
        for word in words {
            assert!(text.contains(word), "{node}\n{text}");
        }
    }
    // Who does not name it needs no model.
    assert_eq!(
        told(&format!("{pairs}reward = {{ harmful = \"format\" }}\n")),
        ""
    );
    assert_eq!(told(evaluate), "");
}

#[test]
fn a_folder_that_is_no_reward_model_is_refused_before_anything_uses_it() {
    let study = Study::new();
    let made = study.run("[node.model]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n");
    made.export("model", "model", &study.dir.path().join("words"));
    let failure = study
        .try_run("[node.it]\nkind = \"local-reward-model\"\npath = \"words\"\n")
        .failure("it");
    assert!(failure.contains("ForSequenceClassification"), "{failure}");
    // Nor is one a language model.
    write_reward_model(
        Path::new(&study.dir.path().join("preference")),
        Family::Qwen2,
    );
    let ran = study.try_run("[node.it]\nkind = \"local-model\"\npath = \"preference\"\n");
    let failure = ran.failure("it");
    assert!(failure.contains("reward model"), "{failure}");
}
