//! How alike two texts are, against sets written out by hand; MinHash against every pair; and what `dedup` and `decontaminate` make
//! of planted copies.

use super::{params, prompts, sentence, spelt, why, word};
use pipe::base::rng::Seed;
use pipe::base::value::Value;
use pipe::kinds::data::decontaminate::{self, decontaminate};
use pipe::kinds::data::dedup::{self, dedup};
use pipe::kinds::data::likeness::{
    Bands, Grams, Inventory, Shingles, Shingling, near, normal, signatures,
};
use std::collections::BTreeSet;

#[test]
fn the_normal_form_forgets_case_blanks_and_a_last_full_stop() {
    for (text, expected) in [
        ("How do I?", "how do i?"),
        ("  Two\n\tlines. ", "two lines"),
        ("An ellipsis...", "an ellipsis"),
        ("GRÖSSE 数.", "grösse 数"),
        (".", ""),
    ] {
        assert_eq!(normal(text), expected, "{text:?}");
    }
}

/// The n-grams written out, without any hash.
fn grams(text: &str, how: &Shingling) -> BTreeSet<String> {
    let units: Vec<String> = match how.grams {
        Grams::Characters => text.chars().map(String::from).collect(),
        Grams::Words => text
            .split(|c: char| !c.is_alphanumeric())
            .filter(|w| !w.is_empty())
            .map(|w| format!("{w} "))
            .collect(),
    };
    match units.len() > how.ngram {
        true => units.windows(how.ngram).map(|w| w.concat()).collect(),
        false => BTreeSet::from([units.concat()]),
    }
}

fn by_hand(a: &str, b: &str, how: &Shingling) -> f64 {
    let (a, b) = (grams(a, how), grams(b, how));
    a.intersection(&b).count() as f64 / a.union(&b).count() as f64
}

fn how(grams: Grams, ngram: usize) -> Shingling {
    Shingling { grams, ngram }
}

#[test]
fn jaccard_is_that_of_the_sets_of_grams() {
    let texts = [
        "how do i bake a loaf of bread?",
        "how do i bake a loaf of bread",
        "how, do i bake a loaf; of bread",
        "how do i break a loaf of bread?",
        "tell me a tale",
        "größe 数数 größe 数数",
        "abababababab",
        "a",
        "",
        "?!",
    ];
    for how in [
        how(Grams::Characters, 1),
        how(Grams::Characters, 5),
        how(Grams::Words, 1),
        how(Grams::Words, 3),
    ] {
        for a in texts {
            let own = Shingles::of(a, &how);
            assert!(!own.is_empty());
            if a.chars().any(char::is_alphanumeric) {
                assert_eq!(own.len(), grams(a, &how).len(), "{how:?} {a:?}");
            }
            assert_eq!(own.jaccard(&own), 1.0);
            for b in texts
                .iter()
                .filter(|b| b.chars().any(char::is_alphanumeric))
            {
                if a.chars().any(char::is_alphanumeric) {
                    let found = own.jaccard(&Shingles::of(b, &how));
                    assert_eq!(found, by_hand(a, b, &how), "{how:?} {a:?} {b:?}");
                }
            }
        }
    }
}

#[test]
fn bands_are_the_widest_that_keep_the_recall() {
    let bands = Bands::fitting(128, 0.8, 0.99).unwrap();
    assert_eq!(bands, Bands { bands: 21, rows: 6 });
    let by_hand = 1.0 - (1.0 - 0.8f64.powi(6)).powi(21);
    assert!((bands.found(0.8) - by_hand).abs() < 1e-12 && by_hand > 0.998);
    let wider = Bands { bands: 18, rows: 7 };
    assert!(wider.found(0.8) < 0.99);
    assert_eq!(bands.found(1.0), 1.0);
    assert_eq!(bands.found(0.0), 0.0);
    assert_eq!(Bands::fitting(4, 0.1, 0.99), None);
}

/// Texts in clusters: a base sentence, and copies of it with more and more words replaced.
fn clusters(n: usize, seed: u64) -> Vec<String> {
    let seed = Seed::new(seed);
    let mut texts = vec![];
    for cluster in 0..n {
        let mut rng = seed.at(cluster as u64).rng();
        let length = 8 + rng.below(30);
        let base = sentence(&mut rng, length, 4000);
        texts.push(base.join(" "));
        for copy in 1..5 {
            let mut changed = base.clone();
            for _ in 0..copy {
                let place = rng.below(length);
                changed[place] = spelt(rng.below(4000));
            }
            texts.push(changed.join(" "));
        }
    }
    seed.child("order").rng().shuffle(&mut texts);
    texts
}

#[test]
fn minhash_finds_what_comparing_every_pair_finds() {
    let texts = clusters(400, 3);
    let how = how(Grams::Characters, 5);
    let threshold = 0.7;
    let shingles: Vec<Shingles> = texts.iter().map(|t| Shingles::of(t, &how)).collect();
    // The same greedy rule over every pair.
    let mut expected = vec![];
    let mut kept: Vec<usize> = vec![];
    for (i, own) in shingles.iter().enumerate() {
        let like = kept.iter().map(|j| (own.jaccard(&shingles[*j]), *j));
        let best = like
            .filter(|(s, _)| *s >= threshold)
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)));
        if best.is_none() {
            kept.push(i);
        }
        expected.push(best);
    }
    let all = expected.iter().flatten().count();
    assert!(all > 500 && kept.len() > 500, "{all} of {}", texts.len());
    let mut missed = 0;
    for seed in 0..3 {
        let bands = Bands::fitting(128, threshold, 0.99).unwrap();
        let found = near(&texts, &how, bands, threshold, seed);
        for (i, alike) in found.iter().enumerate() {
            // Never a false positive: what is found is as similar as it says.
            if let Some(alike) = alike {
                assert!(alike.of < i && found[alike.of].is_none());
                assert_eq!(alike.similarity, shingles[i].jaccard(&shingles[alike.of]));
                assert!(alike.similarity >= threshold);
            }
        }
        missed += expected
            .iter()
            .zip(&found)
            .filter(|(e, f)| e.is_some() && f.is_none())
            .count();
        assert_eq!(found, near(&texts, &how, bands, threshold, seed));
    }
    let recall = 1.0 - missed as f64 / (3 * all) as f64;
    println!("{} texts, {all} near ones, recall {recall:.4}", texts.len());
    // At the threshold itself 0.99 and more are found, above it more.
    assert!(recall > 0.99, "{recall}");
}

#[test]
fn candidates_are_as_frequent_as_the_curve_says() {
    let how = how(Grams::Characters, 5);
    let bands = Bands { bands: 8, rows: 6 };
    let base = sentence(&mut Seed::new(2).rng(), 40, 4000);
    for changed in [2, 4, 8] {
        let mut copy = base.clone();
        for (place, word) in copy.iter_mut().enumerate().take(changed) {
            *word = spelt(5000 + place);
        }
        let texts = [base.join(" "), copy.join(" ")];
        let jaccard = Shingles::of(&texts[0], &how).jaccard(&Shingles::of(&texts[1], &how));
        let draws = 2000;
        let found = (0..draws).filter(|seed| {
            let of = signatures(&texts, &how, bands, *seed);
            of[0].iter().zip(&of[1]).any(|(a, b)| a == b)
        });
        let share = found.count() as f64 / draws as f64;
        let expected = bands.found(jaccard);
        // Four standard errors of a share of 2,000 draws.
        let slack = 4.0 * (expected * (1.0 - expected) / draws as f64).sqrt();
        println!("J {jaccard:.3}: found {share:.3}, the curve says {expected:.3}");
        assert!(
            (share - expected).abs() < slack + 1e-3,
            "{jaccard}: {share} {expected}"
        );
    }
}

#[test]
fn planted_copies_go_where_their_jaccard_reaches_the_threshold() {
    // Words 1-grams: of 10 words of which k are others, J = (10 - k) / (10 + k).
    let base: Vec<String> = (0..10).map(spelt).collect();
    let copy = |k: usize| {
        let mut words = base.clone();
        for (place, word) in words.iter_mut().take(k).enumerate() {
            *word = spelt(100 * k + place + 50);
        }
        words.join(" ")
    };
    let texts: Vec<String> = (0..5).map(copy).collect();
    let upper = texts[0].to_uppercase() + ".";
    let all: Vec<String> = texts.iter().cloned().chain([upper]).collect();
    let of = |threshold: f64| {
        let p: dedup::Params = params(&[
            ("threshold", Value::Float(threshold)),
            ("grams", word("words")),
            ("ngram", Value::Int(1)),
            ("recall", Value::Float(0.999999)),
        ]);
        dedup(prompts(&all), &p).unwrap()
    };
    // 9/11 = 0.818, 8/12 = 0.667, 7/13 = 0.538, 6/14 = 0.429.
    for (threshold, gone) in [
        (0.82, vec!["5"]),
        (0.81, vec!["1", "5"]),
        (0.66, vec!["1", "2", "5"]),
        (0.53, vec!["1", "2", "3", "5"]),
        (0.42, vec!["1", "2", "3", "4", "5"]),
    ] {
        let picked = of(threshold);
        let why = why(&picked);
        assert_eq!(why.keys().copied().collect::<Vec<_>>(), gone, "{threshold}");
        assert_eq!(why["5"].0, "exact");
        for id in gone.iter().filter(|id| **id != "5") {
            let k: f64 = id.parse().unwrap();
            let told = format!("\"similarity\":{}", (10.0 - k) / (10.0 + k));
            assert!(
                why[id].0 == "near" && why[id].1.contains(&told),
                "{:?}",
                why[id]
            );
            assert!(
                why[id]
                    .1
                    .contains("\"like\":\"0\",\"like_source\":\"here\"")
            );
        }
    }
    let exact: dedup::Params = params(&[("by", word("exact"))]);
    let picked = dedup(prompts(&all), &exact).unwrap();
    assert_eq!(picked.kept().len(), 5);
    // A prompt that equals a removed one is like the kept one too.
    let p: dedup::Params = params(&[("grams", word("words")), ("ngram", Value::Int(1))]);
    let again = [texts[0].clone(), texts[1].clone(), texts[1].clone()];
    let picked = dedup(prompts(&again), &p).unwrap();
    assert_eq!(why(&picked)["1"], why(&picked)["2"]);
    assert!(why(&picked)["2"].1.contains("\"like\":\"0\""));
}

#[test]
fn equal_prompts_of_two_classes_may_both_stay() {
    let mut rows = prompts(&["one two three four", "one two three four"]);
    rows[1].class = pipe::base::rows::PromptClass::Harmless;
    for by in ["exact", "near"] {
        for (within, kept) in [("all", 1), ("class", 2)] {
            let p: dedup::Params = params(&[("by", word(by)), ("within", word(within))]);
            let picked = dedup(rows.clone(), &p).unwrap();
            assert_eq!(picked.kept().len(), kept, "{by} {within}");
        }
    }
}

#[test]
fn what_holds_an_eval_is_found_whatever_stands_around_it() {
    let mut rng = Seed::new(5).rng();
    let evals: Vec<String> = (0..40)
        .map(|_| sentence(&mut rng, 12, 3000).join(" "))
        .collect();
    let around = sentence(&mut rng, 60, 3000).join(" ");
    let mut changed: Vec<&str> = evals[3].split(' ').collect();
    changed[5] = "another";
    let train = [
        evals[0].to_uppercase() + ".",
        changed.join(" "),
        format!("{around} {} {around}", evals[7]),
        around.clone(),
    ];
    let of = |by: &str| {
        let p: decontaminate::Params =
            params(&[("by", word(by)), ("threshold", Value::Float(0.7))]);
        decontaminate(prompts(&train), &prompts(&evals), &p)
    };
    let told = |by: &str| -> Vec<(String, String)> {
        let picked = of(by);
        let why = why(&picked);
        let why = why
            .iter()
            .map(|(id, (reason, _))| (id.to_string(), reason.to_string()));
        why.collect()
    };
    let named = |list: &[(&str, &str)]| -> Vec<(String, String)> {
        list.iter()
            .map(|(a, b)| (a.to_string(), b.to_string()))
            .collect()
    };
    assert_eq!(told("exact"), named(&[("0", "exact")]));
    assert_eq!(told("near"), named(&[("0", "exact"), ("1", "near")]));
    assert_eq!(
        told("contained"),
        named(&[("0", "exact"), ("1", "near"), ("2", "contained")])
    );
    let picked = of("contained");
    let why = why(&picked);
    assert!(why["0"].1.contains("\"like\":\"0\""));
    assert!(why["1"].1.contains("\"like\":\"3\""), "{:?}", why["1"]);
    assert!(
        why["2"].1.contains("\"like\":\"7\"") && why["2"].1.contains("\"similarity\":1.0"),
        "{:?}",
        why["2"]
    );
}

#[test]
fn the_index_of_rare_grams_misses_nothing() {
    let texts = clusters(120, 11);
    let (evals, train) = texts.split_at(200);
    for how in [how(Grams::Characters, 5), how(Grams::Words, 2)] {
        let all: Vec<Shingles> = evals.iter().map(|t| Shingles::of(t, &how)).collect();
        for least in [0.2, 0.5, 0.8, 1.0] {
            let holdings = Inventory::new(evals, &how, least);
            let mut pairs = 0;
            for text in train {
                let own = Shingles::of(text, &how);
                let share = |e: &Shingles| own.shared(e) as f64 / e.len() as f64;
                let expected: Vec<usize> = (0..all.len())
                    .filter(|i| share(&all[*i]) >= least)
                    .collect();
                let found = holdings.of(text);
                for held in &found {
                    assert_eq!(held.containment, share(&all[held.held]));
                    assert_eq!(held.jaccard, own.jaccard(&all[held.held]));
                }
                let found = found.iter().filter(|h| h.containment >= least);
                assert_eq!(found.map(|h| h.held).collect::<Vec<_>>(), expected);
                pairs += expected.len();
            }
            assert!(pairs > 0 || least == 1.0, "{how:?} {least} has pairs");
        }
    }
}
