//! Hidden states of prompts against transformers: last token and mean, plain and with a response that has begun; and what is told of
//! recorded states against scikit-learn.

use super::separation::{check_apart, check_aurocs, labels, number, off, off_of_largest, whole};
use super::{Golden, Parity, worst};
use crate::study::{attack, reference};
use pipe::analysis::cka::Alignment;
use pipe::analysis::points::Points;
use pipe::analysis::probe::{self, Probe};
use pipe::base::rows::Message;
use pipe::learn::states::{Position, Wanted, of_prompts};
use pipe::learn::tokenizer::Tokenizer;
use pipe::learn::{chat, checkpoint};
use serde_json::Value;

fn golden() -> Option<Golden> {
    let folder = attack(&["states.json"])?;
    Some(Golden::open(&folder.join("states")))
}

fn models(golden: &Golden) -> Vec<(&String, &Value)> {
    let models = golden.json["models"].as_object().expect("models");
    assert!(!models.is_empty(), "some model has states");
    models.iter().collect()
}

/// Layer by layer of [layers, prompts, hidden].
fn layers(golden: &Golden, name: &str) -> Vec<Points> {
    let [count, prompts, width] = golden.shape(name).try_into().expect("three dimensions");
    let each = golden.get(name).chunks_exact(prompts * width);
    let layers: Vec<Points> = each.map(|x| Points::new(x.to_vec(), width)).collect();
    assert_eq!(layers.len(), count);
    layers
}

#[test]
fn states_agree_with_transformers_for_every_model() {
    let (Some(golden), Some(base)) = (golden(), reference(&["models"])) else {
        return;
    };
    let texts: Vec<&str> = golden.json["prompts"]
        .as_array()
        .expect("prompts")
        .iter()
        .map(|prompt| prompt["text"].as_str().expect("a text"))
        .collect();
    let mut ids = Parity::new("states: ids of prompts", f64::MIN_POSITIVE);
    let mut states = Parity::new("states: last, mean, with a think tag", 2e-5);
    let mut same = Parity::new("states: prompts at a time", f64::MIN_POSITIVE);
    for (model, _) in models(&golden) {
        let folder = base.join("models").join(model);
        let tokenizer = Tokenizer::load(&folder).expect("a tokenizer");
        let weights = checkpoint::load(&folder).expect("a checkpoint");
        let asked = |prefill: Option<&str>| -> Vec<Vec<u32>> {
            let one = |text: &&str| {
                let messages = [Message::new("user", text)];
                let prompt = chat::prompt(&tokenizer, &messages, prefill).expect("a prompt");
                tokenizer.encode(&prompt.text).expect("ids")
            };
            texts.iter().map(one).collect()
        };
        let plain = asked(None);
        let width = golden.shape(&format!("{model}.plain.ids"))[1];
        let padded = golden
            .get(&format!("{model}.plain.ids"))
            .chunks_exact(width);
        let masks = golden
            .get(&format!("{model}.plain.mask"))
            .chunks_exact(width);
        for ((ours, padded), mask) in plain.iter().zip(padded).zip(masks) {
            let real = padded.iter().zip(mask).filter(|(_, m)| **m == 1.0);
            let golden: Vec<u32> = real.map(|(id, _)| *id as u32).collect();
            ids.same(ours, &golden, model);
        }
        let all: Vec<usize> = (0..=weights.config.layers).collect();
        let of = |prompts: &[Vec<u32>], layers: &[usize], position: Position, at_once: usize| {
            let wanted = Wanted { layers, position };
            of_prompts(&weights, prompts, wanted, at_once, &mut |_| true).expect("not stopped")
        };
        for (position, name) in [(Position::Last, "last"), (Position::Mean, "mean")] {
            let ours = of(&plain, &all, position, 7);
            let golden = golden.get(&format!("{model}.plain.{name}"));
            let case = format!("{model}, {name}");
            states.check(worst(&ours.concat(), golden), &case);
            same.same(of(&plain, &all, position, 1) == ours, true, &case);
            let chosen = [all[1], all[all.len() - 1]];
            let few = [ours[chosen[0]].clone(), ours[chosen[1]].clone()];
            same.same(of(&plain, &chosen, position, 64) == few, true, &case);
        }
        let begun = of(
            &asked(Some("<think>\n")),
            &all[all.len() - 1..],
            Position::Last,
            64,
        );
        let golden = golden.get(&format!("{model}.think.last"));
        states.check(worst(&begun.concat(), golden), &format!("{model}, think"));
    }
    ids.report();
    states.report();
    same.report();
}

#[test]
fn recorded_states_are_told_as_scikit_learn_tells_them() {
    let Some(golden) = golden() else {
        return;
    };
    let (y, fold) = (labels(&golden, "labels"), whole(&golden, "fold"));
    let ids: Vec<String> = (0..y.len()).map(|i| format!("prompt {i}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let folds = fold.iter().max().expect("a fold") + 1;
    let mut exact = Parity::new("states: folds, constant layers", f64::MIN_POSITIVE);
    exact.same(probe::deal(&ids, &y, folds), fold.clone(), "dealt in order");
    let mut told = Parity::new("states: scores by layer", 1e-6);
    let mut scores = Parity::new("states: probe scores", 1e-4);
    let mut areas = Parity::new("states: probe AUROC", 1e-3);
    let plain = Probe {
        c: 1.0,
        scaled: false,
    };
    for (model, case) in models(&golden) {
        let last = layers(&golden, &format!("{model}.plain.last"));
        let of_layers = case["layers"].as_array().expect("layers");
        assert_eq!(last.len(), of_layers.len(), "{model} has its layers");
        for (layer, (points, golden_layer)) in last.iter().zip(of_layers).enumerate() {
            let place = format!("{model}, layer {layer}");
            let constant = golden_layer["constant"].as_bool().expect("a flag");
            exact.same(points.constant(), constant, &place);
            if constant {
                continue;
            }
            check_apart(&mut told, golden_layer, points, &y, &place);
            let ours = plain.out_of_fold(points, &y, &fold);
            let expected = golden.get(&format!("{model}.plain.layer{layer}.probe_scores"));
            scores.check(off_of_largest(&ours, expected), &place);
            let names = ["probe_auroc_per_fold", "probe_auroc", "probe_auroc_pooled"];
            check_aurocs(&mut areas, golden_layer, names, (&ours, &y, &fold), &place);
        }
        if !case["last_with_think"].is_null() {
            let think = golden.floats(&format!("{model}.think.last"));
            let width = think.len() / y.len();
            let points = Points::of_floats(&think, width);
            check_apart(&mut told, &case["last_with_think"], &points, &y, model);
        }
    }
    let mut alignment = Parity::new("states: CKA", 1e-6);
    for case in golden.json["cka"].as_array().expect("pairs of layers") {
        let of = |i: usize| {
            let model = case["models"][i].as_str().expect("a model");
            let layer = case["layers"][i].as_u64().expect("a layer") as usize;
            layers(&golden, &format!("{model}.plain.last")).swap_remove(layer)
        };
        let ours = Alignment::of(&of(0), &of(1)).cka();
        alignment.check(off(ours, number(case, "linear_cka")), &case.to_string());
    }
    exact.report();
    told.report();
    scores.report();
    areas.report();
    alignment.report();
}
