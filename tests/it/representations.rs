//! States of prompts and how they part, through the engine: what the nodes deliver is what the rooms below compute, every value is a part of
//! its number, and input that means nothing is refused in words.

use crate::study::{Ran, Study};
use pipe::analysis::points::Points;
use pipe::analysis::probe::{self, Probe};
use pipe::analysis::sides::Sides;
use pipe::base::picture::{PICTURES, POINTS, Pictures, Point};
use pipe::base::rows::{self, Measured, Metrics, Prompt, STATES};
use pipe::base::stats;
use pipe::engine::kind::Type;
use pipe::kinds::shared::asked::asked;
use pipe::learn::checkpoint;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::tensors::TensorFile;
use pipe::learn::tokenizer::Tokenizer;
use std::collections::BTreeMap;
use tempfile::TempDir;

/// A model that has learned something of the world, another that has not, and prompts.
const BASE: &str = r#"
[node.model]
kind = "world-model"
hidden_size = 16
layers = 2
heads = 2
intermediate_size = 32
[node.other]
kind = "world-model"
hidden_size = 24
layers = 2
heads = 2
intermediate_size = 32
seed = 1
[node.prompts]
kind = "world-prompts"
sft = 4
rl = 30
validation = 6
eval = 4
[node.inside]
kind = "states"
in = { model = "model", prompts = "prompts.rl" }
"#;

fn folder(ran: &Ran, node: &str, output: &str) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    ran.export(node, output, dir.path());
    dir
}

#[test]
fn states_are_those_of_the_decoder_whatever_is_computed_at_a_time() {
    let more = r#"
[node.few]
kind = "states"
in = { model = "model", prompts = "prompts.rl" }
rows = 3
[node.mean]
kind = "states"
in = { model = "model", prompts = "prompts.rl" }
position = "mean"
layers = [2, 1, 1]
[node.begun]
kind = "states"
in = { model = "model", prompts = "prompts.rl" }
prefill = "<think>\n"
layers = [2]
"#;
    let study = Study::new();
    let ran = study.run(&format!("{BASE}{more}"));
    assert_eq!(ran.digests("few"), ran.digests("inside"), "rows at a time");
    let model = folder(&ran, "model", "model");
    let weights = checkpoint::load(model.path()).unwrap();
    let tokenizer = Tokenizer::load(model.path()).unwrap();
    let prompts: Vec<Prompt> = ran.rows("prompts", "rl");
    for (node, prefill, layers, is_mean) in [
        ("inside", None, vec![0, 1, 2], false),
        ("mean", None, vec![1, 2], true),
        ("begun", Some("<think>\n"), vec![2], false),
    ] {
        let states = folder(&ran, node, "states");
        let told = Type::States.check(states.path()).unwrap();
        assert!(told.contains("of 90 prompts"), "{told}");
        assert_eq!(rows::read_rows::<Prompt>(states.path()).unwrap(), prompts);
        let mut file = TensorFile::open(&states.path().join(STATES)).unwrap();
        let names: Vec<String> = layers.iter().map(|n| format!("layer.{n}")).collect();
        assert_eq!(file.names(), names);
        for place in [0, 31, 89] {
            let ids = asked(&tokenizer, &prompts[place].prompt, prefill)
                .unwrap()
                .ids;
            let starts = [0, ids.len()];
            let batch = Packed {
                ids: &ids,
                starts: &starts,
            };
            let all = decoder::hidden_states(&weights, batch, &mut Workspace::new());
            for layer in &layers {
                let numbers = file.array(&format!("layer.{layer}")).unwrap();
                let ours = &numbers[place * 16..(place + 1) * 16];
                let rows: Vec<&[f32]> = all[*layer].chunks_exact(16).collect();
                let expected: Vec<f32> = match is_mean {
                    false => rows[rows.len() - 1].to_vec(),
                    true => (0..16)
                        .map(|i| {
                            let sum: f64 = rows.iter().map(|row| f64::from(row[i])).sum();
                            (sum / rows.len() as f64) as f32
                        })
                        .collect(),
                };
                assert_eq!(ours, expected, "{node}, layer {layer}, prompt {place}");
            }
        }
    }
}

#[test]
fn a_separation_tells_what_the_rooms_below_compute_and_every_value_is_a_part_of_it() {
    let more = r#"
[node.others]
kind = "states"
in = { model = "other", prompts = "prompts.rl" }
[node.apart]
kind = "separation"
in = { states = "inside", against = "others" }
positive = ["harmful"]
negative = ["ambiguous"]
scale = false
seeds = 7
"#;
    let study = Study::new();
    let ran = study.run(&format!("{BASE}{more}"));
    let states = folder(&ran, "inside", "states");
    let mut file = TensorFile::open(&states.path().join(STATES)).unwrap();
    let all: Vec<Prompt> = ran.rows("prompts", "rl");
    let chosen: Vec<usize> = (0..90)
        .filter(|i| all[*i].class.word() != "harmless")
        .collect();
    let labels: Vec<bool> = chosen
        .iter()
        .map(|i| all[*i].class.word() == "harmful")
        .collect();
    let points = Points::of_floats(&file.array("layer.2").unwrap(), 16).taken(&chosen);
    let ids: Vec<&str> = chosen.iter().map(|i| all[*i].id.as_str()).collect();
    let fold = probe::deal(&ids, &labels, 5);
    let probe = Probe {
        c: 1.0,
        scaled: false,
    };
    let scores = probe.out_of_fold(&points, &labels, &fold);
    let (area, _) = probe::area(&scores, &labels, &fold);
    let apart = Sides::of(&points, &labels).apart();
    for (name, expected) in [
        ("probe", area),
        ("probe/layer/2", area),
        ("d_prime", apart.d_prime),
        ("d_prime/layer/2", apart.d_prime),
        ("fisher", apart.fisher),
        ("axis_auroc", apart.axis_auroc),
        ("centroid/distance", apart.distance),
    ] {
        let metric = ran.metric("apart", name);
        assert!(
            (metric.value - expected).abs() < 1e-12,
            "{name}: {metric:?}"
        );
    }
    // Every value is the number and what the prompt adds to it.
    let text = ran.text("apart", "metrics", "values.jsonl");
    let values: Vec<Measured> = rows::parse_lines(text.as_bytes()).unwrap();
    assert_eq!(values.len(), 60);
    let metrics: Metrics =
        serde_json::from_str(&ran.text("apart", "metrics", rows::METRICS)).unwrap();
    let mut paired = 0;
    for metric in &metrics.metrics {
        let own = values.iter().filter_map(|row| row.values.get(&metric.name));
        let own: Vec<f64> = own.copied().collect();
        if own.is_empty() {
            continue;
        }
        paired += 1;
        let mean = stats::mean(&own).unwrap();
        assert!((mean - metric.value).abs() < 1e-9, "{metric:?}: {mean}");
        let (low, high) = metric.interval.unwrap();
        assert!(low <= metric.value && metric.value <= high, "{metric:?}");
        assert_eq!(metric.n, 60);
    }
    assert!(paired >= 13, "{paired}");
    // In pictures of seven seeds the median lies in the middle, and its interval is the range.
    let of = |name: &str| ran.metric("apart", name);
    let (margin, lowest, highest) = (
        of("umap/margin"),
        of("umap/margin/lowest"),
        of("umap/margin/highest"),
    );
    assert!(lowest.value <= margin.value && margin.value <= highest.value);
    if margin.n == 7 {
        assert_eq!(margin.interval, Some((lowest.value, highest.value)));
    }
    let pictures: Pictures = serde_json::from_str(&ran.text("apart", "metrics", PICTURES)).unwrap();
    assert_eq!((pictures.layer, pictures.pictures.len()), (2, 7));
    let shown = &pictures.pictures[pictures.shown];
    assert!(
        shown
            .margin
            .is_none_or(|m| (m - margin.value).abs() < 1e-12)
    );
    let text = ran.text("apart", "metrics", POINTS);
    let drawn: Vec<Point> = rows::parse_lines(text.as_bytes()).unwrap();
    assert_eq!(drawn.len(), 60);
    for (i, point) in drawn.iter().enumerate() {
        assert_eq!((point.id.as_str(), point.positive), (ids[i], labels[i]));
        assert_eq!((point.fold, point.score), (fold[i], scores[i]));
        assert_eq!(point.all.len(), 7);
        assert_eq!(point.all[pictures.shown], [point.x, point.y]);
        assert_eq!(point.value, if labels[i] { "harmful" } else { "ambiguous" });
    }
    // Of labels that mean nothing an area is near one half, and the line through the points is not.
    let shuffled = of("probe/shuffled").value;
    assert!((0.2..0.8).contains(&shuffled), "{shuffled}");
    assert!(of("d_prime/shuffled").value > 0.3);
    let (cka, chance) = (of("cka").value, of("cka/shuffled").value);
    assert!(chance < cka && cka < 1.0, "{chance} {cka}");
    assert!(ran.said("apart", "layer 0 is one point for all prompts"));
    assert!(ran.said("apart", "30 of neither side left out"));
    // With the states of one model on both ports everything is aligned.
    let same = study.run(&format!(
        "{BASE}{}",
        more.replace("\"others\" }", "\"inside\" }")
    ));
    assert!((same.metric("apart", "cka").value - 1.0).abs() < 1e-9);
}

/// What a failed `apart` says.
fn refusal(study: &Study, node: &str) -> String {
    let ran = study.try_run(&format!("{BASE}{node}"));
    ran.failure("apart")
}

#[test]
fn what_cannot_be_measured_is_said_in_words() {
    let study = Study::new();
    let apart = |lines: &str| {
        format!("[node.apart]\nkind = \"separation\"\nin = {{ states = \"inside\" }}\n{lines}\n")
    };
    for (lines, words) in [
        ("layer = 0", "layer 0 is one point for all prompts"),
        ("layer = 7", "have no layer 7; they have [0, 1, 2]"),
        (
            "neighbours = 60",
            "60 prompts are on the two sides, and UMAP asks for more",
        ),
        (
            "positive = [\"gcg\"]",
            "no prompt is on the side `positive`: `class` is `gcg` there, and the prompts have `ambiguous`, `harmful`",
        ),
        (
            "label = \"attack\"\npositive = [\"gcg\"]\nnegative = [\"\"]",
            "`attack` is `gcg` there, and the prompts have `\"\"`",
        ),
        (
            "folds = 40",
            "with `folds = 40` some fold has no prompt of one side",
        ),
    ] {
        let told = refusal(&study, &apart(lines));
        assert!(told.contains(words), "{lines}: {told}");
    }
    let other = |lines: &str| {
        format!(
            "[node.second]\nkind = \"states\"\nin = {{ model = \"other\", prompts = \"prompts.rl\" }}\n{lines}\n\
             [node.apart]\nkind = \"separation\"\nin = {{ states = \"inside\", against = \"second\" }}\n"
        )
    };
    let told = refusal(&study, &other("position = \"mean\""));
    assert!(told.contains("not taken in the same way"), "{told}");
    let told = refusal(&study, &other("layers = [1]"));
    assert!(
        told.contains("on the port `against` have no layer 2; they have [1]"),
        "{told}"
    );
    let told = refusal(
        &study,
        &other("").replace("\"prompts.rl\"", "\"prompts.validation\""),
    );
    assert!(
        told.contains("the states are of different prompts: of 60"),
        "{told}"
    );
    let told = refusal(
        &study,
        "[node.apart]\nkind = \"states\"\nin = { model = \"model\", prompts = \"prompts.rl\" }\nlayers = [3]\n",
    );
    assert!(
        told.contains("names layer 3, and the model has layers 0"),
        "{told}"
    );
}

#[test]
fn test_cases_of_one_behavior_are_one_observation_and_stay_in_one_fold() {
    let study = Study::new();
    let cases = |behaviors: usize, each: usize| {
        let of = |b: usize| -> Vec<String> {
            (0..each)
                .map(|k| format!("use the thing {b} and the case {}", 7 * k))
                .collect()
        };
        let merged: BTreeMap<String, Vec<String>> =
            (0..behaviors).map(|b| (format!("b{b}"), of(b))).collect();
        serde_json::to_string(&merged).unwrap()
    };
    study.file("cases.json", cases(6, 4));
    let asks: String = (0..16).map(|i| format!("ask the thing {i}\n")).collect();
    study.file("asks.csv", format!("prompt\n{asks}"));
    let recipe = format!(
        "{BASE}{}",
        r#"
[node.attacked]
kind = "dataset"
schema = "harmbench-cases"
path = "cases.json"
[node.asked]
kind = "prompts-file"
path = "asks.csv"
[node.both]
kind = "pool"
in = { a = "attacked", b = "asked" }
[node.of-both]
kind = "states"
in = { model = "model", prompts = "both" }
position = "mean"
[node.apart]
kind = "separation"
in = { states = "of-both" }
folds = 3
neighbours = 6
seeds = 2
shuffles = 1
"#
    );
    let ran = study.run(&recipe);
    let text = ran.text("apart", "metrics", POINTS);
    let points: Vec<Point> = rows::parse_lines(text.as_bytes()).unwrap();
    let prompts: Vec<Prompt> = ran.rows("both", "prompts");
    assert_eq!((points.len(), prompts.len()), (40, 40));
    let mut folds: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (prompt, point) in prompts.iter().zip(&points) {
        let observed = prompt.labels.get("behavior").unwrap_or(&prompt.id);
        folds.entry(observed).or_default().push(point.fold);
    }
    assert_eq!(folds.len(), 6 + 16);
    let alike = |of: &Vec<usize>| of.iter().all(|f| *f == of[0]);
    assert!(folds.values().all(alike), "{folds:?}");
    let metric = ran.metric("apart", "d_prime");
    assert_eq!(metric.n, 22, "behaviours, not cases");
    let text = ran.text("apart", "metrics", rows::VALUES);
    let values: Vec<Measured> = rows::parse_lines(text.as_bytes()).unwrap();
    let each: Vec<f64> = values.iter().map(|v| v.values["d_prime"]).collect();
    let mean = stats::mean(&each).unwrap();
    assert!(
        (mean / metric.value - 1.0).abs() < 1e-9,
        "{metric:?} and {mean} of {each:?}"
    );
    // A side with one prompt has no spread.
    study.file("cases.json", cases(1, 1));
    let told = study.try_run(&recipe).failure("apart");
    assert!(told.contains("the side `positive` has 1 prompt"), "{told}");
}

#[test]
fn a_folder_that_holds_no_states_is_refused() {
    let study = Study::new();
    let ran = study.run(BASE);
    let good = folder(&ran, "inside", "states");
    assert_eq!(
        Type::States.check(good.path()).unwrap(),
        "3 layers of 90 prompts"
    );
    let rows_file = good.path().join(rows::ROWS);
    let text = std::fs::read_to_string(&rows_file).unwrap();
    let (first, rest) = text.split_once('\n').unwrap();
    std::fs::write(&rows_file, rest).unwrap();
    let told = format!("{:#}", Type::States.check(good.path()).unwrap_err());
    assert!(
        told.contains("not of a row for each of 89 prompts"),
        "{told}"
    );
    std::fs::write(&rows_file, format!("{first}\n{rest}")).unwrap();
    let tensors = good.path().join(STATES);
    let bytes = std::fs::read(&tensors).unwrap();
    std::fs::write(&tensors, &bytes[..bytes.len() - 4]).unwrap();
    let told = format!("{:#}", Type::States.check(good.path()).unwrap_err());
    assert!(told.contains("is cut short"), "{told}");
}

#[test]
fn medians_have_intervals_from_six_values_on() {
    assert_eq!(stats::median(&[]), None);
    assert_eq!(stats::median(&[3.0, 1.0]), Some(2.0));
    assert_eq!(stats::median(&[3.0, 1.0, 7.0]), Some(3.0));
    let first = |n: usize| -> Vec<f64> { (1..=n).map(|i| i as f64).collect() };
    assert_eq!(stats::median_interval(&first(5)), None);
    assert_eq!(stats::median_interval(&first(6)), Some((1.0, 6.0)));
    // Tables of the sign test: 9 values 2nd to 8th, 15 values 4th to 12th, 30 values 10th to 21st.
    assert_eq!(stats::median_interval(&first(9)), Some((2.0, 8.0)));
    assert_eq!(stats::median_interval(&first(15)), Some((4.0, 12.0)));
    assert_eq!(stats::median_interval(&first(30)), Some((10.0, 21.0)));
}
