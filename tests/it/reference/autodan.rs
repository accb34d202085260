//! The rules of AutoDAN against tables of HarmBench's baseline and of AutoDAN's own program: sentences, crossover, parents, elites,
//! word scores, synonyms.

use super::Parity;
use crate::study::attack;
use pipe::kinds::attacks::autodan::genes::{Crossing, chances, elites, roulette, sentences};
use pipe::kinds::attacks::autodan::words::{WordScores, choose, learn};
use serde_json::Value;
use std::collections::BTreeMap;

/// A file of tables.
fn golden() -> Option<String> {
    let folder = attack(&["autodan.json"])?;
    Some(std::fs::read_to_string(folder.join("autodan.json")).expect("the tables"))
}

fn table(text: &str, name: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(text).expect("the tables are JSON");
    all[name].as_array().expect("a table").clone()
}

fn text<'v>(row: &'v Value, name: &str) -> &'v str {
    row[name].as_str().expect("a text")
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("a value of its kind")
}

#[test]
fn texts_are_split_and_crossed_over_as_in_harmbench() {
    let Some(golden) = golden() else {
        return;
    };
    let mut split = Parity::new("AutoDAN: sentences", 0.0);
    for row in table(&golden, "sentences") {
        let given = text(&row, "text");
        split.same(
            sentences(given),
            read::<Vec<String>>(&row["parts"])
                .iter()
                .map(|p| &**p)
                .collect(),
            given,
        );
    }
    split.report();
    let mut crossed = Parity::new("AutoDAN: crossover", 0.0);
    let mut exchanged = 0;
    for (i, row) in table(&golden, "crossover").iter().enumerate() {
        let (a, b) = (text(row, "a"), text(row, "b"));
        let points: usize = read(&row["num_points"]);
        let case = format!("row {i}");
        let (first, second) = (sentences(a), sentences(b));
        let cuts: Option<Vec<usize>> = read(&row["cut_points"]);
        let count = Crossing::cuts(first.len(), second.len(), points);
        crossed.same(count, cuts.as_ref().map(Vec::len), &case);
        assert_eq!(row["crossed"], cuts.is_some(), "{case}");
        let children = match cuts {
            Some(cuts) => {
                let straight = read(&row["straight"]);
                Crossing { cuts, straight }.children(&first, &second)
            }
            None => [a.to_string(), b.to_string()],
        };
        exchanged += usize::from(children[0] != a);
        let theirs = [text(row, "child_a"), text(row, "child_b")].map(String::from);
        crossed.same(children, theirs, &case);
    }
    assert!(exchanged > 0, "some texts exchange sentences");
    crossed.report();
}

#[test]
fn parents_and_elites_are_drawn_as_in_harmbench() {
    let Some(golden) = golden() else {
        return;
    };
    let mut odds = Parity::new("AutoDAN: chances of parents", 1e-12);
    let mut drawn = Parity::new("AutoDAN: parents and elites", 0.0);
    for (i, row) in table(&golden, "roulette").iter().enumerate() {
        let losses: Vec<f64> = read(&row["losses"]);
        let ours = chances(&losses);
        for (ours, theirs) in ours.iter().zip(read::<Vec<f64>>(&row["probabilities"])) {
            odds.check((ours - theirs).abs(), &format!("row {i}"));
        }
        let picked: Vec<usize> = read(&row["picked"]);
        for (u, theirs) in read::<Vec<f64>>(&row["uniforms"]).into_iter().zip(picked) {
            drawn.same(roulette(&ours, u), theirs, &format!("row {i}, u = {u}"));
        }
        for (share, theirs) in read::<BTreeMap<String, Vec<usize>>>(&row["elites_of"]) {
            let share: f64 = share.parse().expect("a share");
            drawn.same(elites(&losses, share), theirs, &format!("row {i}, {share}"));
        }
    }
    odds.report();
    drawn.report();
}

#[test]
fn words_are_scored_and_synonyms_drawn_as_in_autodan() {
    let Some(golden) = golden() else {
        return;
    };
    let mut scored = Parity::new("AutoDAN: word scores", 1e-12);
    for (i, row) in table(&golden, "words").iter().enumerate() {
        let mut scores: WordScores = read(&row["before"]);
        let texts = row["texts"].as_array().expect("texts").iter();
        learn(
            &mut scores,
            texts.map(|t| (read(&t["words"]), read(&t["loss"]))),
        );
        let theirs: WordScores = read(&row["after"]);
        assert_eq!(
            scores.keys().collect::<Vec<_>>(),
            theirs.keys().collect::<Vec<_>>()
        );
        for (word, score) in theirs {
            scored.check((scores[&word] - score).abs(), &format!("row {i}: {word}"));
        }
    }
    scored.report();
    let mut chosen = Parity::new("AutoDAN: synonyms", 0.0);
    for row in table(&golden, "synonyms") {
        // In the order of the file, by which they are drawn.
        let scores = row["scores"].as_object().expect("scores").iter();
        let options: Vec<(&str, f64)> = scores.map(|(word, s)| (&**word, read(s))).collect();
        let (word, u) = (text(&row, "word"), read(&row["u"]));
        chosen.same(
            choose(word, &options, u),
            read(&row["chosen"]),
            &format!("{word} at {u}"),
        );
    }
    chosen.report();
}
