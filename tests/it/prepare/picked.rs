//! What `filter`, `pool` and `mix-sources` pick, in which order, and what they say of names that nobody has.

use super::{ids, params, prompt, prompts, why, word, words};
use pipe::base::params::Problem;
use pipe::base::params::defaults;
use pipe::base::rows::{Prompt, PromptClass};
use pipe::base::value::Value;
use pipe::kinds::REGISTRY;
use pipe::kinds::data::dedup;
use pipe::kinds::data::filter::{self, filter};
use pipe::kinds::data::mix_sources::{self, mix};
use pipe::kinds::data::pool::pool;
use pipe::kinds::data::removed::Picked;
use std::collections::{BTreeMap, BTreeSet};

/// A harmful prompt, a harmless one and an ambiguous one, of three sources.
fn three() -> Vec<Prompt> {
    let row = |id: &str, class, source: &str, category: &str, data_type: &str| Prompt {
        class,
        source: source.into(),
        category: category.into(),
        labels: match data_type {
            "" => BTreeMap::new(),
            value => BTreeMap::from([("data_type".to_string(), value.to_string())]),
        },
        ..prompt(id, &format!("Prompt {id}, größer"))
    };
    vec![
        row("a", PromptClass::Harmful, "one", "x", "vanilla_harmful"),
        row("bb", PromptClass::Harmless, "two", "y", "vanilla_benign"),
        row("ccc", PromptClass::Ambiguous, "one", "", ""),
    ]
}

fn sift(set: &[(&str, Value)]) -> anyhow::Result<Picked> {
    filter(three(), &params(set), None)
}

#[test]
fn every_condition_removes_with_its_own_reason() {
    let labels =
        |values: &[&str]| Value::Table(BTreeMap::from([("data_type".to_string(), words(values))]));
    // "Prompt a, größer" has 16 characters (and more bytes).
    type Case = (
        &'static str,
        Value,
        &'static [&'static str],
        &'static str,
        &'static str,
    );
    let cases: Vec<Case> = vec![
        (
            "max_chars",
            Value::Int(16),
            &["a"],
            "chars",
            "{\"chars\":17}",
        ),
        (
            "min_chars",
            Value::Int(18),
            &["ccc"],
            "chars",
            "{\"chars\":16}",
        ),
        (
            "matching",
            words(&["^Prompt", "b+|c+"]),
            &["bb", "ccc"],
            "pattern",
            "{\"pattern\":\"b+|c+\"}",
        ),
        (
            "not_matching",
            words(&["zzz", "(?i)T A"]),
            &["bb", "ccc"],
            "pattern",
            "{\"pattern\":\"(?i)T A\"}",
        ),
        (
            "classes",
            words(&["harmful", "ambiguous"]),
            &["a", "ccc"],
            "class",
            "{}",
        ),
        ("sources", words(&["one"]), &["a", "ccc"], "source", "{}"),
        (
            "categories",
            words(&["x", ""]),
            &["a", "ccc"],
            "category",
            "{}",
        ),
        (
            "labels",
            labels(&["vanilla_harmful"]),
            &["a"],
            "label",
            "{\"label\":\"data_type\"}",
        ),
    ];
    for (name, value, kept, reason, details) in cases {
        let picked = sift(&[(name, value)]).unwrap();
        assert_eq!(ids(picked.kept()), kept, "{name}");
        let why = why(&picked);
        assert_eq!(why.len(), 3 - kept.len());
        assert!(why.values().all(|(r, _)| *r == reason), "{name} {why:?}");
        assert!(why.values().any(|(_, d)| d == details), "{name} {why:?}");
    }
    assert_eq!(sift(&[]).unwrap().kept().len(), 3, "no condition, no loss");
}

#[test]
fn names_that_no_row_has_are_errors_with_the_names_there_are() {
    let table = |name: &str, values: &[&str]| {
        Value::Table(BTreeMap::from([(name.to_string(), words(values))]))
    };
    let one = |name, value: Value| format!("{:#}", sift(&[(name, value)]).err().unwrap());
    for (name, value, message) in [
        (
            "sources",
            words(&["one", "tow"]),
            "no prompt has the source `tow`, did you mean `two`? There are `one`, `two`",
        ),
        (
            "categories",
            words(&["nothing"]),
            "no prompt has the category `nothing`. There are ``, `x`, `y`",
        ),
        (
            "labels",
            table("datatype", &["x"]),
            "no prompt has the label `datatype`, did you mean `data_type`? There are `data_type`",
        ),
        (
            "labels",
            table("data_type", &["vanilla_harmfull"]),
            "no prompt has the value of the label `data_type` `vanilla_harmfull`, did you mean `vanilla_harmful`? There are \
             `vanilla_benign`, `vanilla_harmful`",
        ),
        (
            "take",
            Value::Int(4),
            "the slice is to end at row 4, and 3 meet the conditions: kept 0 of 0 prompts",
        ),
        (
            "skip",
            Value::Int(4),
            "the slice is to end at row 4, and 3 meet",
        ),
    ] {
        let error = one(name, value);
        assert!(error.contains(message), "{error}");
    }
    let mut harmful = three();
    harmful.truncate(1);
    let p = params(&[("classes", words(&["harmless"]))]);
    let error = format!("{:#}", filter(harmful.clone(), &p, None).err().unwrap());
    assert!(
        error.contains("no prompt has the class `harmless`"),
        "{error}"
    );
    harmful[0].labels.clear();
    let p = params(&[("labels", table("l", &["v"]))]);
    let error = format!("{:#}", filter(harmful, &p, None).err().unwrap());
    assert!(
        error.contains("no prompt has a label `l`; there is none at all"),
        "{error}"
    );
}

#[test]
fn slices_of_one_order_are_disjoint_and_whole() {
    let rows = prompts(&(0..900).map(|i| format!("text {i}")).collect::<Vec<_>>());
    let slice = |rows: &[Prompt], seed: i64, skip: i64, take: i64| -> Vec<String> {
        let p = params(&[
            ("shuffle", Value::Int(seed)),
            ("skip", Value::Int(skip)),
            ("take", Value::Int(take)),
        ]);
        let picked = filter(rows.to_vec(), &p, None).unwrap();
        assert_eq!(picked.kept().len() + picked.removed().len(), rows.len());
        picked.kept().iter().map(|p| p.id.clone()).collect()
    };
    let whole = slice(&rows, 0, 0, 900);
    assert_eq!(whole.iter().collect::<BTreeSet<_>>().len(), 900);
    let in_order: Vec<String> = (0..900).map(|i| i.to_string()).collect();
    assert_ne!(whole, in_order, "it is shuffled");
    assert_ne!(whole, slice(&rows, 1, 0, 900), "by its seed");
    let parts = [slice(&rows, 0, 0, 400), slice(&rows, 0, 400, 500)];
    assert_eq!(parts.concat(), whole);
    // The order hangs on the rows, not on how they came.
    let mut turned = rows.clone();
    turned.reverse();
    assert_eq!(slice(&turned, 0, 0, 900), whole);
    // Who leaves does not change the order of who stays.
    let fewer: Vec<Prompt> = rows
        .iter()
        .filter(|p| !p.id.ends_with('7'))
        .cloned()
        .collect();
    let of_whole = whole.iter().filter(|id| !id.ends_with('7')).cloned();
    assert_eq!(slice(&fewer, 0, 0, 810), of_whole.collect::<Vec<_>>());
    let plain = params(&[("skip", Value::Int(2)), ("take", Value::Int(3))]);
    let picked = filter(rows, &plain, None).unwrap();
    assert_eq!(
        ids(picked.kept()),
        ["2", "3", "4"],
        "without a seed its own order"
    );
    assert_eq!(why(&picked)["5"], ("slice", "{\"place\":6}".to_string()));
}

#[test]
fn metrics_count_by_source_and_reason() {
    let picked = sift(&[("classes", words(&["harmful"]))]).unwrap();
    let found: BTreeMap<String, (f64, usize)> = picked
        .metrics()
        .into_iter()
        .inspect(|m| assert_eq!((m.unit.as_str(), m.interval), ("prompts", None)))
        .map(|m| (m.name, (m.value, m.n)))
        .collect();
    let expected = [
        ("kept", (1.0, 3)),
        ("kept/one", (1.0, 2)),
        ("kept/two", (0.0, 1)),
        ("removed/class", (2.0, 3)),
        ("removed/class/one", (1.0, 2)),
        ("removed/class/two", (1.0, 1)),
    ];
    for (name, value) in expected {
        assert_eq!(found[name], value, "{name}");
    }
    let reasons = [
        "source", "category", "label", "chars", "tokens", "pattern", "slice",
    ];
    for reason in reasons {
        assert_eq!(found[&format!("removed/{reason}")], (0.0, 3));
    }
    assert_eq!(found.len(), expected.len() + reasons.len());
    assert_eq!(picked.summary(), "kept 1 of 3 prompts, 2 class");
}

#[test]
fn ids_of_a_pool_are_made_unique_where_they_collide() {
    let row = |id: &str, source: &str| Prompt {
        source: source.into(),
        ..prompt(id, "text")
    };
    let parts = vec![
        ("a", vec![row("1", "x"), row("2", "x"), row("own", "x")]),
        ("b", vec![row("1", "y"), row("x/1", "z")]),
        ("c", vec![row("2", "x")]),
    ];
    let (pool_, renamed) = pool(parts).unwrap();
    assert_eq!(
        ids(&pool_),
        ["a/x/1", "a/x/2", "own", "y/1", "x/1", "c/x/2"]
    );
    assert_eq!(renamed, 4);
    let twice = vec![("a", vec![row("1", "x"), row("1", "x")])];
    let error = pool(twice).unwrap_err().to_string();
    assert!(error.contains("`a/x/1` is 2 times in the pool"), "{error}");
}

/// Forty prompts of two sources, three classes.
fn forty() -> Vec<Prompt> {
    let mut rows = prompts(&(0..40).map(|i| format!("text {i}")).collect::<Vec<_>>());
    for (i, row) in rows.iter_mut().enumerate() {
        row.source = if i < 20 { "wild" } else { "ultra" }.into();
        row.class = match i {
            0..20 => PromptClass::Harmful,
            20..30 => PromptClass::Harmless,
            _ => PromptClass::Ambiguous,
        };
    }
    rows
}

fn counts(list: &[(&str, i64)], nested: bool) -> mix_sources::Params {
    let table = list
        .iter()
        .map(|(name, n)| (name.to_string(), Value::Int(*n)));
    params(&[
        ("counts", Value::Table(table.collect())),
        ("nested", Value::Bool(nested)),
    ])
}

fn drawn(list: &[(&str, i64)], nested: bool) -> BTreeSet<String> {
    let mixed = mix(forty(), &counts(list, nested)).unwrap();
    mixed.kept().iter().map(|p| p.id.clone()).collect()
}

#[test]
fn a_mix_of_sources_has_its_counts() {
    let list = [("wild", 7), ("ultra/harmless", 4), ("*/ambiguous", 0)];
    let mixed = mix(forty(), &counts(&list, false)).unwrap();
    let of = |source: &str| mixed.kept().iter().filter(|p| p.source == source).count();
    assert_eq!((of("wild"), of("ultra")), (7, 4));
    assert_eq!(mixed.removed().len(), 29);
    assert!(mixed.removed().iter().all(|r| r.reason == "not-drawn"));
    let mixed = mix(forty(), &counts(&[("*/harmful", 3)], false)).unwrap();
    let unnamed = mixed.removed().iter().filter(|r| r.reason == "not-named");
    assert_eq!(unnamed.count(), 20);
    let sorted: BTreeSet<&str> = ids(mixed.kept()).into_iter().collect();
    assert_eq!(sorted.len(), 3);
}

#[test]
fn nested_mixes_of_sources_contain_each_other_and_others_do_not() {
    let (few, many) = ([("wild", 5), ("ultra", 6)], [("wild", 12), ("ultra", 6)]);
    assert!(drawn(&few, true).is_subset(&drawn(&many, true)));
    assert!(!drawn(&few, false).is_subset(&drawn(&many, false)));
    assert_eq!(drawn(&few, false), drawn(&few, false));
    let shared = drawn(&few, true).intersection(&drawn(&few, false)).count();
    assert!(shared < 11, "{shared}");
}

#[test]
fn a_mix_of_sources_names_what_is_wrong() {
    for (list, message) in [
        (
            vec![("wilde", 1)],
            "`wilde` means no prompt; the pool has `ultra`, `ultra/ambiguous`, `ultra/harmless`, `wild`, `wild/harmful`",
        ),
        (
            vec![("wild", 21)],
            "the mix needs 21 prompts of `wild` and the pool has 20",
        ),
        (
            vec![("ultra", 1), ("*/harmless", 1)],
            "`ultra` and `*/harmless` both mean the prompt 20: a row may be meant once",
        ),
    ] {
        let error = mix(forty(), &counts(&list, false)).err().unwrap();
        assert!(error.to_string().contains(message), "{error}");
    }
}

#[test]
fn checks_see_what_leaves_nothing() {
    let problems = |kind: &str, set: &[(&str, Value)]| -> Vec<Problem> {
        let mut values = match kind {
            "filter" => defaults::<filter::Params>(),
            "dedup" => defaults::<dedup::Params>(),
            _ => Default::default(),
        };
        values.extend(set.iter().map(|(n, v)| (n.to_string(), v.clone())));
        REGISTRY.get(kind).unwrap().problems(&values)
    };
    let table = |name: &str, value: Value| Value::Table(BTreeMap::from([(name.into(), value)]));
    for (kind, set, path, message) in [
        (
            "filter",
            vec![("min_chars", Value::Int(9)), ("max_chars", Value::Int(8))],
            "min_chars",
            "`min_chars` is 9 and `max_chars` 8: nothing is left",
        ),
        (
            "filter",
            vec![("take", Value::Int(0))],
            "take",
            "nothing is left",
        ),
        (
            "filter",
            vec![("matching", words(&["a", "(b"]))],
            "matching",
            "`(b` is no regular expression: unclosed group",
        ),
        (
            "filter",
            vec![("labels", table("l", words(&[])))],
            "labels",
            "`labels.l` accepts no value",
        ),
        (
            "dedup",
            vec![
                ("threshold", Value::Float(0.05)),
                ("permutations", Value::Int(8)),
            ],
            "permutations",
            "8 permutations cannot find a pair at 0.05 with probability 0.99",
        ),
        (
            "dedup",
            vec![("ngram", Value::Int(0))],
            "ngram",
            "outside of 1 to 64",
        ),
        (
            "mix-sources",
            vec![
                ("counts", table("x", Value::Int(0))),
                ("seed", Value::Int(0)),
                ("nested", Value::Bool(true)),
            ],
            "counts",
            "at least one prompt",
        ),
    ] {
        let found = problems(kind, &set);
        assert_eq!(found.len(), 1, "{kind} {set:?}: {found:?}");
        assert_eq!(found[0].path, path);
        assert!(found[0].message.contains(message), "{found:?}");
    }
    assert!(problems("dedup", &[("by", word("exact"))]).is_empty());
}
