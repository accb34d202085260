//! Overlaps of real sets, as far as they are at hand: every count is made here as well, in the plainest way.

use super::{params, word};
use crate::study::data_dir;
use pipe::base::params::{ParamSet, defaults};
use pipe::base::rows::Prompt;
use pipe::base::value::{Value, Values};
use pipe::kinds::data::decontaminate::{self, decontaminate};
use pipe::kinds::data::dedup::{self, dedup};
use pipe::kinds::data::likeness::{Grams, Shingles, Shingling, normal};
use pipe::kinds::data::prompts_file;
use std::collections::BTreeSet;
use std::path::Path;

fn read(path: &Path) -> Vec<Prompt> {
    let mut values: Values = defaults::<prompts_file::Params>();
    values.insert("path".into(), Value::Str(path.display().to_string()));
    let params = prompts_file::Params::read(&values).unwrap();
    let mut prompts = vec![];
    let take = &mut |prompt| {
        prompts.push(prompt);
        Ok(())
    };
    prompts_file::import(&params, take).unwrap();
    prompts
}

/// Every table of prompts there is, by its name.
fn sets(folder: &Path) -> Vec<(String, Vec<Prompt>)> {
    let mut found = vec![];
    let mut files: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .filter_map(|e| std::fs::read_dir(e.unwrap().path()).ok())
        .flatten()
        .map(|e| e.unwrap().path())
        .collect();
    files.sort();
    for path in files {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let table = name.ends_with(".csv") || name.ends_with(".jsonl");
        if table && !name.contains("completions") {
            found.push((name, read(&path)));
        }
    }
    found
}

#[test]
fn exact_overlaps_are_those_of_the_normal_texts() {
    let Some(folder) = data_dir() else { return };
    let sets = sets(&folder);
    assert!(!sets.is_empty(), "{} has sets", folder.display());
    let p: decontaminate::Params = params(&[("by", word("exact"))]);
    for (name, set) in &sets {
        for (other, against) in &sets {
            let texts: BTreeSet<String> = against.iter().map(|p| normal(&p.prompt)).collect();
            let own = set.iter().filter(|p| texts.contains(&normal(&p.prompt)));
            let expected = own.count();
            let picked = decontaminate(set.clone(), against, &p);
            assert_eq!(picked.removed().len(), expected, "{name} in {other}");
            if name == other {
                assert_eq!(expected, set.len());
            } else if expected > 0 {
                println!("{name} in {other}: {expected} of {} exactly", set.len());
            }
            let published = |a: &str, b: &str| name.starts_with(a) && other.starts_with(b);
            if published("xstest", "harmbench") || published("harmbench", "xstest") {
                assert_eq!(expected, 0, "published as zero");
            }
        }
    }
}

#[test]
fn near_overlaps_are_those_of_every_pair() {
    let Some(folder) = data_dir() else { return };
    let sets = sets(&folder);
    let how = Shingling {
        grams: Grams::Characters,
        ngram: 5,
    };
    let shingles = |set: &[Prompt]| -> Vec<Shingles> {
        set.iter()
            .map(|p| Shingles::of(&normal(&p.prompt), &how))
            .collect()
    };
    let p: decontaminate::Params = params(&[("threshold", Value::Float(0.6))]);
    for (name, set) in &sets {
        let own = shingles(set);
        for (other, against) in sets.iter().filter(|(other, _)| other != name) {
            let evals = shingles(against);
            let near = |a: &Shingles, b: &Shingles| {
                a.jaccard(b) >= 0.6 || a.shared(b) as f64 >= 0.9 * b.len() as f64
            };
            let is_near = |a: &&Shingles| evals.iter().any(|b| near(a, b));
            let expected = own.iter().filter(is_near).count();
            let picked = decontaminate(set.clone(), against, &p);
            assert_eq!(picked.removed().len(), expected, "{name} in {other}");
            if expected > 0 {
                println!("{name} in {other}: {}", picked.summary());
            }
        }
    }
}

#[test]
fn repeated_prompts_of_a_set_are_found() {
    let Some(folder) = data_dir() else { return };
    for (name, set) in sets(&folder) {
        let texts: BTreeSet<String> = set.iter().map(|p| normal(&p.prompt)).collect();
        let p: dedup::Params = params(&[("by", word("exact"))]);
        let exact = dedup(set.clone(), &p).unwrap();
        assert_eq!(exact.kept().len(), texts.len(), "{name}");
        let near = dedup(set, &params(&[])).unwrap();
        println!("{name}: exact {}; near {}", exact.summary(), near.summary());
        assert!(near.kept().len() <= exact.kept().len());
    }
}
