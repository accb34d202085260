//! What people read of metrics and models: labels, values, tables of a study, parameter counts.

use pipe::base::hash::Key;
use pipe::base::rows::{self, METRICS, Metric};
use pipe::engine::kind::Type;
use pipe::engine::store::Store;
use pipe::engine::store::index::RecordSummary;
use pipe::engine::store::record::{Artifact, Cost, Provenance, Record};
use pipe::kinds::REGISTRY;
use pipe::report::closing;
use pipe::report::metrics::{difference, rows as lines, value};
use pipe::report::model;
use pipe::report::summary::{self, Item, WIDE};
use std::collections::BTreeMap;
use tempfile::TempDir;

#[test]
fn known_measures_have_labels_and_others_keep_their_names() {
    let labels = [
        ("defense", "defense success, harmful"),
        ("defense/plain", "defense success, plain harmful"),
        ("compliance", "compliance, harmless and ambiguous"),
        ("compliance/ambiguous", "compliance, ambiguous"),
        ("compliance/type/homonyms", "compliance, type homonyms"),
        ("refusal/harmless", "refusals, harmless"),
        ("reasoning/lookups/2", "reasoning words, lookups/2"),
        ("reasoning/difficulty_3", "reasoning/difficulty_3"),
        ("reasoning/harmful", "reasoning words, harmful"),
        ("my/own", "my/own"),
    ];
    let kind = REGISTRY.get("evaluate").unwrap();
    for (name, expected) in labels {
        assert_eq!(kind.label(name), expected);
    }
}

#[test]
fn a_value_is_shown_in_its_unit_with_its_interval() {
    let with = |unit: &str, v: f64, interval| {
        let mut m = metric("m", v, 9, unit);
        m.interval = interval;
        value(&m)
    };
    assert_eq!(
        with("share", 0.43, Some((0.374, 0.4871))),
        "43.0 % [37.4, 48.7]"
    );
    assert_eq!(with("share", 1.0, None), "100.0 %");
    assert_eq!(
        with("words", 17.46, Some((17.4, 17.55))),
        "17.5 [17.4, 17.6]"
    );
    assert_eq!(with("reward", 0.25, None), "0.250");
    assert_eq!(with("nats", 0.00012, None), "1.20e-4");
}

#[test]
fn a_difference_has_its_sign_and_is_in_points() {
    let cases = [
        (
            "share",
            -0.0331,
            Some((-0.061, -0.0004)),
            "-3.3 points [-6.1, 0.0]",
        ),
        (
            "share",
            0.015,
            Some((-0.0004, 0.03)),
            "+1.5 points [0.0, +3.0]",
        ),
        ("words", 1.5, None, "+1.5"),
        ("words", -0.0, None, "0.0"),
    ];
    for (unit, d, interval, expected) in cases {
        assert_eq!(difference(unit, d, interval), expected);
    }
}

#[test]
fn before_and_after_are_one_line() {
    let metrics = [
        metric("held_out_reward/before", 0.2, 10, "reward"),
        metric("held_out_reward/before/harmful", 0.1, 5, "reward"),
        metric("held_out_reward/after", 0.8, 10, "reward"),
        metric("held_out_reward/after/harmful", 0.9, 5, "reward"),
        metric("alone/before", 1.0, 2, "reward"),
    ];
    let lines = lines(&[(REGISTRY.get("grpo").unwrap(), &metrics)]);
    let told: Vec<(String, String)> = lines
        .iter()
        .map(|l| (l.label.clone(), l.cells[0].as_ref().unwrap().text()))
        .collect();
    let told: Vec<(&str, &str)> = told.iter().map(|(a, b)| (a.as_str(), b.as_str())).collect();
    assert_eq!(
        told,
        [
            ("held-out reward, all", "0.200 -> 0.800"),
            ("held-out reward, harmful", "0.100 -> 0.900"),
            ("alone/before", "1.000"),
        ]
    );
}

#[test]
fn lines_keep_the_order_of_the_metrics_over_columns_that_lack_some() {
    let of =
        |names: &[&str]| -> Vec<Metric> { names.iter().map(|n| metric(n, 1.0, 1, "x")).collect() };
    let (one, two) = (of(&["a", "c"]), of(&["a", "b", "c", "d"]));
    let kind = REGISTRY.get("lengths").unwrap();
    let lines = lines(&[(kind, &one), (kind, &two)]);
    let labels: Vec<&str> = lines.iter().map(|l| l.label.as_str()).collect();
    assert_eq!(labels, ["a", "b", "c", "d"]);
    assert!(lines[1].cells[0].is_none() && lines[1].cells[1].is_some());
}

#[test]
fn what_is_numbered_stands_in_the_order_of_its_numbers() {
    let of =
        |names: &[&str]| -> Vec<Metric> { names.iter().map(|n| metric(n, 1.0, 1, "x")).collect() };
    let one = of(&[
        "a",
        "a/form/box",
        "a/lookups/2",
        "a/lookups/3",
        "b/lookups/3",
        "c",
    ]);
    let deeper = of(&["a", "a/form/box", "a/lookups/4", "b/lookups/4", "d"]);
    let rest = of(&["a", "a/lookups/10", "a/lookups/0", "x/9", "x/10"]);
    let kind = REGISTRY.get("lengths").unwrap();
    let lines = lines(&[(kind, &one), (kind, &deeper), (kind, &rest)]);
    let names: Vec<&str> = lines.iter().map(|l| l.name.as_str()).collect();
    assert_eq!(
        names,
        [
            "a",
            "a/form/box",
            "a/lookups/0",
            "a/lookups/2",
            "a/lookups/3",
            "a/lookups/4",
            "a/lookups/10",
            "x/9",
            "x/10",
            "b/lookups/3",
            "b/lookups/4",
            "d",
            "c",
        ]
    );
}

#[test]
fn evaluations_are_columns_and_the_rest_follows() {
    let space = Space::new();
    let share = |v: f64, n| metric("defense/plain", v, n, "share");
    let mut reward = metric("held_out_reward/after", 0.5, 7, "reward");
    reward.interval = Some((0.25, 0.75));
    let briefs = [
        space.brief("evaluate", vec![share(0.5, 40)]),
        space.brief("evaluate", vec![share(0.25, 20)]),
        space.brief("grpo", vec![reward, metric("loss", 0.1, 1, "nats")]),
    ];
    let names = ["base-eval", "rl-eval", "rl"];
    let items = items(&names, &briefs);
    let text = summary::text(&space.store, &items, WIDE).unwrap();
    assert_eq!(
        text,
        "\
measure [95 % interval]              n         base           rl
defense success, plain harmful  varies  50.0 % n=40  25.0 % n=20

base: about base-eval
rl: about rl-eval

rl (grpo)               n                 value
held-out reward, after  7  0.500 [0.250, 0.750]

"
    );
    let json = summary::json(&space.store, &items).unwrap();
    assert_eq!(json[1]["metrics"][0]["value"], 0.25);
    assert_eq!(json[1]["description"], "about rl-eval");
}

/// As a run of the default study ends: what is on the same prompts side by side, the attacked ones in a line of their own.
#[test]
fn the_measures_of_the_default_study_fit_80_columns() {
    let space = Space::new();
    let share = |name: &str, n, value: f64, low: f64, high: f64| {
        let interval = Some((low / 100.0, high / 100.0));
        let metric = metric(name, value / 100.0, n, "share");
        Metric { interval, ..metric }
    };
    let plain = |d: [f64; 3], c: [f64; 3]| {
        let defense = share("defense", 200, d[0], d[1], d[2]);
        let lookups = share("defense/lookups/0", 50, d[0], d[1], d[2]);
        let compliance = share("compliance", 400, c[0], c[1], c[2]);
        space.brief("evaluate", vec![defense, compliance, lookups])
    };
    let briefs = [
        plain([11.5, 7.8, 16.7], [89.0, 85.6, 91.7]),
        plain([78.0, 71.8, 83.2], [87.5, 83.9, 90.4]),
        plain([98.5, 95.7, 99.5], [96.0, 93.6, 97.5]),
        space.brief("evaluate", vec![share("defense", 24, 45.8, 27.9, 64.9)]),
    ];
    let names = ["base-eval", "sft-eval", "rl-eval", "rl-attacked-eval"];
    let closing = closing::one(&space.store, &items(&names, &briefs), 80, "pipe show").unwrap();
    assert_eq!(
        closing.text,
        "\
measure [95 % interval]              n          base           sft            rl
defense success, harmful           200        11.5 %        78.0 %        98.5 %
                                         [7.8, 16.7]  [71.8, 83.2]  [95.7, 99.5]
compliance, harmless and           400        89.0 %        87.5 %        96.0 %
  ambiguous                             [85.6, 91.7]  [83.9, 90.4]  [93.6, 97.5]

on other prompts   n  defense success, harmful
rl-attacked       24       45.8 % [27.9, 64.9]
"
    );
}

#[test]
fn what_the_last_words_leave_out_is_named_with_the_command_that_shows_it() {
    let space = Space::new();
    let whole = [
        metric("defense", 0.5, 200, "share"),
        metric("compliance", 0.5, 400, "share"),
    ];
    let attacked = [
        metric("defense", 0.25, 24, "share"),
        metric("unreadable/harmful", 0.04, 24, "share"),
    ];
    let briefs = [
        space.brief("evaluate", whole.to_vec()),
        space.brief("evaluate", attacked.to_vec()),
        space.brief("evaluate", vec![metric("refusal", 0.5, 10, "share")]),
    ];
    let names = ["rl-eval", "rl-attacked-eval", "over-eval"];
    let told = closing::one(
        &space.store,
        &items(&names, &briefs),
        80,
        "pipe show r.toml",
    )
    .unwrap();
    assert!(
        told.text.contains("  25.0 % (4.0 % unreadable)\n"),
        "{}",
        told.text
    );
    let left = "\nnot shown, of other measures: `over`: pipe show r.toml\n";
    assert!(told.text.contains(left), "{}", told.text);

    let many = (0..40).map(|i| metric(&format!("measure/{i}"), 0.5, 10, "share"));
    let briefs = [space.brief("evaluate", many.collect())];
    let told = closing::one(
        &space.store,
        &items(&["odd-eval"], &briefs),
        80,
        "pipe show r.toml",
    );
    let told = told.unwrap();
    assert!(
        !told.whole && told.text.ends_with("\n21 more lines: pipe show r.toml\n"),
        "{}",
        told.text
    );
    assert_eq!(told.text.lines().count(), 21);
}

/// What a node that is no evaluation says of attacks is no rate without its unreadable answers either.
#[test]
fn a_rate_of_another_node_has_its_unreadable_answers_below_it() {
    let space = Space::new();
    let mut success = metric("success", 0.25, 24, "share");
    success.interval = Some((0.1, 0.4));
    let lost = metric("unreadable/harmful", 0.04, 24, "share");
    let briefs = [space.brief("world-prompts", vec![success, lost])];
    let text = summary::text(&space.store, &items(&["attack"], &briefs), 80).unwrap();
    let words: Vec<&str> = text.split_whitespace().collect();
    assert!(words.ends_with(&["!", "unreadable", "4.0", "%"]), "{text}");
}

#[test]
fn a_table_that_is_too_wide_is_cut_between_columns() {
    let space = Space::new();
    let mut share = metric("defense/plain", 0.5, 40, "share");
    share.interval = Some((0.374, 0.626));
    let briefs: Vec<RecordSummary> = (0..9)
        .map(|_| space.brief("evaluate", vec![share.clone()]))
        .collect();
    let names: Vec<String> = (0..9).map(|i| format!("n{i}-eval")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let text = summary::text(&space.store, &items(&names, &briefs), WIDE).unwrap();
    assert_eq!(text.matches("measure [95 % interval]").count(), 3, "{text}");
    assert!(text.lines().all(|l| l.len() <= 120), "{text}");
    for i in 0..9 {
        let heads = text.lines().filter(|l| l.starts_with("measure"));
        let all: String = heads.collect();
        assert_eq!(all.matches(&format!("n{i}")).count(), 1, "{text}");
    }
}

#[test]
fn parameters_are_counted_from_the_headers_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("model.safetensors");
    let header = r#"{"__metadata__":{"format":"pt"},
        "a":{"dtype":"F32","shape":[3,5],"data_offsets":[0,60]},
        "b":{"dtype":"BF16","shape":[7],"data_offsets":[60,74]},
        "c":{"dtype":"F32","shape":[],"data_offsets":[74,78]}}"#;
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.as_bytes());
    std::fs::write(&path, &bytes).unwrap();
    let counts = model::parameters(&path).unwrap();
    assert_eq!(
        counts,
        BTreeMap::from([("BF16".into(), 7), ("F32".into(), 16)])
    );
    std::fs::write(&path, &bytes[..20]).unwrap();
    assert!(model::parameters(&path).is_err(), "a torn header");
    std::fs::write(&path, [0xff; 40]).unwrap();
    assert!(model::parameters(&path).is_err(), "not a header at all");
}

/// A store with records of metrics.
struct Space {
    dir: TempDir,
    store: Store,
}

impl Space {
    fn new() -> Space {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        store.prepare().unwrap();
        Space { dir, store }
    }

    /// Of a node of this kind, with a record in the store.
    fn brief(&self, kind: &str, metrics: Vec<Metric>) -> RecordSummary {
        let folder = tempfile::tempdir_in(self.dir.path()).unwrap();
        rows::write_metrics(folder.path(), metrics).unwrap();
        let file = folder.path().join(METRICS);
        let blob = self.store.objects().take(&file, METRICS).unwrap();
        let artifact = Artifact {
            ty: Type::Metrics,
            digest: blob.digest.clone(),
            files: vec![blob],
        };
        let manifest = format!("kind = {kind}\n{}\n", blob_names(&artifact));
        let record = Record {
            key: Key::new(blake3::hash(manifest.as_bytes())),
            kind: kind.into(),
            manifest,
            outputs: BTreeMap::from([("metrics".into(), artifact)]),
            cost: Cost::default(),
            provenance: Provenance::default(),
            logs: vec![],
            accepted: None,
            adopted: None,
        };
        self.store.add_record(&record).unwrap();
        RecordSummary::of(&record, false)
    }
}

fn blob_names(artifact: &Artifact) -> String {
    let names = artifact.files.iter().map(|f| f.digest.to_string());
    names.collect()
}

fn items<'a>(names: &[&'a str], briefs: &'a [RecordSummary]) -> Vec<Item<'a>> {
    let told = |name: &str| match name {
        "base-eval" => Some("about base-eval"),
        "rl-eval" => Some("about rl-eval"),
        _ => None,
    };
    let both = names.iter().zip(briefs);
    both.map(|(node, brief)| Item {
        node,
        kind: REGISTRY.get(&brief.kind).unwrap(),
        brief,
        hit: false,
        cost: &brief.cost,
        about: told(node),
    })
    .collect()
}

fn metric(name: &str, value: f64, n: usize, unit: &str) -> Metric {
    Metric {
        name: name.into(),
        value,
        n,
        interval: None,
        unit: unit.into(),
    }
}
