//! Reward models: scores against f64 written from the formulas, what a score hangs on, folders that are refused, and the kinds
//! that use one. No file is needed: a folder is random weights with the tokenizer of the built-in world.

mod nodes;

use crate::numerics::{self, reference};
use pipe::base::rng::Seed;
use pipe::kinds::scorers::reward_model::{Squash, squashed};
use pipe::learn::checkpoint;
use pipe::learn::config::{Config, Family, Head};
use pipe::learn::reward::{Read, RewardModel};
use pipe::learn::weights::{Role, Weights};
use pipe::world::vocab;
use safetensors::tensor::{Dtype, TensorView, serialize};
use serde_json::{Value as Json, json};
use std::path::Path;

const FAMILIES: [Family; 4] = [Family::Llama, Family::Qwen2, Family::Qwen3, Family::Mistral];

/// Prompts and answers of several lengths; the last one writes the token that ends turns, which is the padding id too.
const ASKED: [(&str, &str); 4] = [
    (
        "how do i use the hammer ?",
        "use the hammer gently then wash .",
    ),
    (
        "how do i use the hammer ?",
        "sorry , i cannot help with that .",
    ),
    ("why ?", "use ."),
    ("use <|im_end|> then wash .", "wash <|im_end|> then"),
];

/// Random weights of which norms and biases are not trivial either.
pub fn weights(family: Family, head: Head) -> Weights {
    let config = Config {
        vocab_size: vocab::tokens().len(),
        eos_token_id: json!(vocab::id(vocab::END)),
        pad_token_id: json!(vocab::id(vocab::END)),
        ..numerics::tiny(family, head)
    };
    let mut weights = Weights::random(config, Seed::new(11));
    let layout = weights.layout.clone();
    let mut rng = Seed::new(12).rng();
    for param in layout.params.iter().filter(|p| p.role != Role::Matrix) {
        for w in &mut weights.data[param.range.clone()] {
            *w += 0.2 * rng.normal() as f32;
        }
    }
    weights
}

/// A model folder with the world's tokenizer.
pub fn write(folder: &Path, weights: &Weights) {
    std::fs::create_dir_all(folder).unwrap();
    checkpoint::save(weights, folder).unwrap();
    let files = [
        ("tokenizer.json", vocab::tokenizer_json()),
        ("tokenizer_config.json", vocab::tokenizer_config_json()),
        ("generation_config.json", vocab::generation_config_json()),
    ];
    for (name, text) in files {
        std::fs::write(folder.join(name), text).unwrap();
    }
}

pub fn write_reward_model(folder: &Path, family: Family) -> Weights {
    let weights = weights(family, Head::Score { labels: 1 });
    write(folder, &weights);
    weights
}

fn read(model: &RewardModel, rows: &[(&str, &str)]) -> Vec<Read> {
    let each = rows.iter();
    each.map(|(prompt, answer)| model.read(prompt, answer, usize::MAX).unwrap())
        .collect()
}

pub fn scores(model: &mut RewardModel, rows: &[Read]) -> Vec<f32> {
    model.scores(rows, &mut |_| true).unwrap().unwrap()
}

/// The head on the last token's state, in f64 and by plain loops.
fn by_hand(weights: &Weights, ids: &[u32]) -> f64 {
    let data: Vec<f64> = weights.data.iter().map(|w| f64::from(*w)).collect();
    let states = reference::states(weights, &data, ids, &[0, ids.len()]);
    let head = &data[weights.layout.head.clone()];
    reference::dot(&states[states.len() - head.len()..], head)
}

#[test]
fn a_score_is_the_head_on_the_last_token_of_the_conversation() {
    for family in FAMILIES {
        let dir = tempfile::tempdir().unwrap();
        let weights = write_reward_model(dir.path(), family);
        let mut model = RewardModel::load(dir.path()).unwrap();
        let rows = read(&model, &ASKED);
        for ((prompt, answer), row) in ASKED.iter().zip(&rows) {
            let text = format!(
                "<|im_start|>user\n{prompt}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"
            );
            assert_eq!(row.ids, model.tokenizer.encode(&text).unwrap());
            assert_eq!(row.cut, 0);
        }
        let ours = scores(&mut model, &rows);
        for (score, row) in ours.iter().zip(&rows) {
            let expected = by_hand(&weights, &row.ids);
            let off = (f64::from(*score) - expected).abs() / expected.abs().max(0.1);
            assert!(off < 2e-5, "{family:?}: {score} is not {expected}");
        }
        let apart = ours.windows(2).all(|pair| (pair[0] - pair[1]).abs() > 1e-3);
        assert!(apart, "{family:?}: {ours:?} tell nothing apart");
    }
}

#[test]
fn a_score_depends_on_neither_its_neighbours_nor_their_order_nor_threads() {
    let dir = tempfile::tempdir().unwrap();
    write_reward_model(dir.path(), Family::Qwen2);
    let mut model = RewardModel::load(dir.path()).unwrap();
    // More tokens than are in memory at a time, of many lengths.
    let rows: Vec<Read> = (0..120)
        .map(|i| {
            let answer = "use the hammer gently then wash . ".repeat(1 + i * 7 % 20);
            model.read("how do i use the hammer ?", &answer, usize::MAX)
        })
        .collect::<Result<_, _>>()
        .unwrap();
    let tokens: usize = rows.iter().map(|r| r.ids.len()).sum();
    assert!(tokens > 4096, "{tokens} tokens fit at once");
    let all = scores(&mut model, &rows);
    let alone: Vec<f32> = rows
        .iter()
        .flat_map(|row| scores(&mut model, std::slice::from_ref(row)))
        .collect();
    assert_eq!(all, alone);
    let reversed: Vec<Read> = rows.iter().rev().cloned().collect();
    let mut back = scores(&mut model, &reversed);
    back.reverse();
    assert_eq!(all, back);
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        assert_eq!(pool.unwrap().install(|| scores(&mut model, &rows)), all);
    }
    let mut heard = vec![];
    let stopped = model.scores(&rows, &mut |done| {
        heard.push(done);
        heard.len() < 2
    });
    assert_eq!(stopped.unwrap(), None);
    assert!(0 < heard[0] && heard[0] < heard[1] && heard[1] < rows.len());
}

#[test]
fn what_is_longer_than_is_read_is_cut_at_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let weights = write_reward_model(dir.path(), Family::Llama);
    let mut model = RewardModel::load(dir.path()).unwrap();
    let (prompt, answer) = ASKED[0];
    let whole = model.read(prompt, answer, usize::MAX).unwrap();
    let n = whole.ids.len();
    let cut = model.read(prompt, answer, n - 4).unwrap();
    assert_eq!((cut.ids.as_slice(), cut.cut), (&whole.ids[..n - 4], 4));
    assert_eq!(model.read(prompt, answer, n).unwrap(), whole);
    let score = scores(&mut model, std::slice::from_ref(&cut))[0];
    let expected = by_hand(&weights, &whole.ids[..n - 4]);
    assert!(
        (f64::from(score) - expected).abs() < 1e-4,
        "{score} {expected}"
    );
}

#[test]
fn shards_of_halves_load_as_the_numbers_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let weights = write_reward_model(dir.path(), Family::Llama);
    std::fs::remove_file(dir.path().join("model.safetensors")).unwrap();
    let mut shards = [vec![], vec![]];
    let mut map = serde_json::Map::new();
    let file = |i: usize| format!("model-{:05}-of-00002.safetensors", i + 1);
    for (i, param) in weights.layout.params.iter().enumerate() {
        // The upper half of an f32 is a bf16.
        let numbers = weights.data[param.range.clone()].iter();
        let bytes = numbers.flat_map(|x| ((x.to_bits() >> 16) as u16).to_le_bytes());
        shards[i % 2].push((param, bytes.collect::<Vec<u8>>()));
        map.insert(param.name.clone(), file(i % 2).into());
    }
    for (i, shard) in shards.iter().enumerate() {
        let views = shard.iter().map(|(param, bytes)| {
            let view = TensorView::new(Dtype::BF16, param.shape.clone(), bytes);
            (param.name.clone(), view.unwrap())
        });
        std::fs::write(dir.path().join(file(i)), serialize(views, None).unwrap()).unwrap();
    }
    let index = json!({ "metadata": {}, "weight_map": map }).to_string();
    std::fs::write(dir.path().join("model.safetensors.index.json"), index).unwrap();
    let model = RewardModel::load(dir.path()).unwrap();
    let upper = |x: &f32| f32::from_bits(x.to_bits() & 0xffff_0000);
    let expected: Vec<f32> = weights.data.iter().map(upper).collect();
    assert_eq!(model.parameters(), expected.len());
    assert_eq!(model.learner.finish().unwrap().0.data, expected);
}

#[test]
fn a_bad_reward_model_is_named_with_what_is_wrong() {
    let config = |folder: &Path, change: &dyn Fn(&mut Json)| {
        let path = folder.join("config.json");
        let mut value: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        change(&mut value);
        std::fs::write(path, value.to_string()).unwrap();
    };
    type Harm<'a> = Box<dyn Fn(&Path) + 'a>;
    let cases: Vec<(Harm, &[&str])> = vec![
        (
            Box::new(|f| write(f, &weights(Family::Llama, Head::Tied))),
            &["config.json", "ForCausalLM", "ForSequenceClassification"],
        ),
        (
            Box::new(|f| write(f, &weights(Family::Llama, Head::Score { labels: 2 }))),
            &["config.json", "num_labels is 2", "num_labels 1"],
        ),
        (
            Box::new(|f| {
                config(f, &|c| {
                    c["architectures"] = json!(["GPT2ForSequenceClassification"])
                })
            }),
            &["GPT2ForSequenceClassification is not supported"],
        ),
        (
            Box::new(|f| {
                write(f, &weights(Family::Llama, Head::Untied));
                config(f, &|c| {
                    c["architectures"] = json!(["LlamaForSequenceClassification"]);
                    c["num_labels"] = json!(1);
                })
            }),
            &["missing tensors: score.weight"],
        ),
        (
            Box::new(|f| {
                let config = Config {
                    vocab_size: 5,
                    ..weights(Family::Llama, Head::Score { labels: 1 }).config
                };
                write(f, &Weights::random(config, Seed::new(1)))
            }),
            &["tokenizer.json", "5 embeddings"],
        ),
        (
            Box::new(|f| {
                let path = f.join("tokenizer_config.json");
                let text = std::fs::read_to_string(&path).unwrap();
                std::fs::write(path, text.replace("chat_template", "template")).unwrap();
            }),
            &["has no chat template"],
        ),
    ];
    for (i, (harm, words)) in cases.iter().enumerate() {
        let dir = tempfile::tempdir().unwrap();
        write_reward_model(dir.path(), Family::Llama);
        harm(dir.path());
        let error = RewardModel::load(dir.path()).err();
        let error = format!("{:#}", error.unwrap_or_else(|| panic!("case {i} loads")));
        for word in *words {
            assert!(error.contains(word), "case {i}: {error}");
        }
    }
}

#[test]
fn numbers_are_squashed_as_the_recipe_says() {
    let near = |ours: &[Option<f64>], expected: &[Option<f64>]| {
        assert_eq!(ours.len(), expected.len());
        for (a, b) in ours.iter().zip(expected) {
            match (a, b) {
                (Some(a), Some(b)) => assert!((a - b).abs() < 1e-12, "{a} is not {b}"),
                (a, b) => assert_eq!(a, b),
            }
        }
    };
    let numbers = [1.0, 3.0, f32::NAN, 5.0, f32::INFINITY];
    let e = std::f64::consts::E;
    let sigmoid = |x: i32| Some(1.0 / (1.0 + e.powi(-x)));
    let expected = [sigmoid(1), sigmoid(3), None, sigmoid(5), None];
    near(&squashed(&numbers, Squash::Sigmoid), &expected);
    let expected = [Some(1.0), Some(3.0), None, Some(5.0), None];
    near(&squashed(&numbers, Squash::Identity), &expected);
    // Mean 3, standard deviation √(8 / 2) = 2.
    let expected = [Some(-1.0), Some(0.0), None, Some(1.0), None];
    near(&squashed(&numbers, Squash::ZScore), &expected);
    near(&squashed(&[0.1; 7], Squash::ZScore), &[Some(0.0); 7]);
    near(&squashed(&[4.0], Squash::ZScore), &[Some(0.0)]);
    assert_eq!(squashed(&[], Squash::ZScore), []);
}
