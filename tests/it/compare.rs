//! What differs between recipes: structure, paired measures, refusals, costs, and how it reads.

use crate::sides::{BASE, Rows, Space, defense, first, refs};
use pipe::base::claim::Axes;
use pipe::base::rows::{METRICS, Measured, Metric};
use pipe::base::stats::crossed::Range;
use pipe::engine::kind::Written;
use pipe::kinds::REGISTRY;
use pipe::kinds::shared::measure;
use pipe::report::compare::structure::{Change, Changed};
use pipe::report::compare::{Asked, Comparison, Costs, compare, show};
use pipe::report::grid::grid;
use pipe::report::metrics;
use pipe::report::reading::{Over, Reading, mean};
use pipe::report::side::Side;

#[test]
fn graphs_part_at_a_parameter_and_what_hangs_below_is_a_consequence() {
    let space = Space::new();
    let base = space.sides("base.toml", &[], |_, _| Some(defense(&[1.0, 0.0])));
    let wide = space.sides("wide.toml", &[], |_, _| Some(defense(&[1.0, 1.0])));
    let found = one(&space, &base, &wide);
    let s = &found.structure;
    let change = Change {
        what: "hidden_size".into(),
        first: Some("16".into()),
        second: Some("32".into()),
    };
    let changed = Changed {
        node: "model".into(),
        kind: "world-model".into(),
        changes: vec![change],
    };
    assert_eq!(s.changed, [changed]);
    assert_eq!(s.parts_at.as_deref(), Some("model"));
    assert_eq!(s.below, ["answers", "eval"]);
    assert_eq!(
        (&s.shared, s.shared_seconds),
        (&vec!["prompts".into()], 1.0)
    );
    assert!(!found.same && s.only_first.is_empty() && s.only_second.is_empty());
    let costs = Costs {
        nodes: 3,
        seconds: 15.5,
        cpu_seconds: 31.0,
        dollars: 0.25,
        calls: Default::default(),
        peak_bytes: 1_000_000,
        unknown: 0,
    };
    assert_eq!(found.costs, [costs.clone(), costs]);
    let same = one(
        &space,
        &base,
        &space.sides("base.toml", &[], |_, _| Some(defense(&[1.0, 0.0]))),
    );
    assert!(same.same && same.evaluations[0].one_artifact);
    assert_eq!(same.structure.parts_at, None);
    assert_eq!(same.costs, [Costs::default(), Costs::default()]);
}

#[test]
fn without_artifacts_graphs_are_compared_all_the_same() {
    let space = Space::new();
    let bare = |file: &str| {
        let mut sides = space.sides(file, &[], |_, _| None);
        sides[0].records.clear();
        sides
    };
    let found = one(&space, &bare("base.toml"), &bare("wide.toml"));
    assert_eq!(found.structure.shared, ["prompts"]);
    assert_eq!(found.structure.below, ["answers", "eval"]);
    assert_eq!(found.costs[1].unknown, 4);
    let refused = found.evaluations[0].refused.as_ref().unwrap();
    let of = |name: &str| {
        let file = space.dir.path().join(format!("{name}.toml"));
        let file = file.display();
        format!("`{name}` has no artifact of `eval`: pipe run {file} --only eval")
    };
    assert_eq!(*refused, format!("{}; {}", of("base"), of("wide")));
    assert!(one(&space, &bare("base.toml"), &bare("base.toml")).same);
}

#[test]
fn nodes_of_one_side_inputs_and_tables_are_told() {
    let space = Space::new();
    let scored = |reward: &str| {
        format!(
            "{BASE}[node.probe]\nkind = \"probe\"\nin = {{ model = \"model\", prompts = \"prompts.validation\" }}\n\
             reward = {{ harmful = \"{reward}\", harmless = \"task\", ambiguous = \"task\" }}\n"
        )
    };
    space.file("scored.toml", &scored("safety"));
    let other = scored("format * safety")
        .replace(
            "prompts = \"prompts.eval\"",
            "prompts = \"prompts.validation\"",
        )
        .replace("node.model]", "node.net]")
        .replace("model = \"model\"", "model = \"net\"");
    space.file(
        "other.toml",
        &other.replace("name = \"base\"", "name = \"other\""),
    );
    let none = |_: &str, _: &Axes| None;
    let found = one(
        &space,
        &space.sides("scored.toml", &[], none),
        &space.sides("other.toml", &[], none),
    );
    let s = &found.structure;
    let names = |c: &Changed| -> Vec<String> { c.changes.iter().map(|c| c.what.clone()).collect() };
    let of = |node: &str| names(s.changed.iter().find(|c| c.node == node).unwrap());
    assert_eq!(of("answers"), ["in.model", "in.prompts"]);
    assert_eq!(of("probe"), ["reward.harmful", "in.model"]);
    // The model is the same under another name.
    let lone = |l: &pipe::report::compare::structure::Lone| (l.node.clone(), l.same_as.clone());
    assert_eq!(lone(&s.only_first[0]), ("model".into(), Some("net".into())));
    assert_eq!(
        lone(&s.only_second[0]),
        ("net".into(), Some("model".into()))
    );
    assert_eq!(s.parts_at.as_deref(), Some("model"));
}

#[test]
fn one_seed_is_compared_over_prompts() {
    let space = Space::new();
    // Of 100: 60 both, 10 only the base, 25 only the wide one.
    let base = space.sides("base.toml", &[], |_, _| Some(defense(&first(70, 100))));
    let wide = space.sides("wide.toml", &[], |_, _| {
        let both = |i: usize| f64::from(i < 60 || (70..95).contains(&i));
        Some(defense(&(0..100).map(both).collect::<Vec<f64>>()))
    });
    let found = one(&space, &base, &wide);
    let n = found.evaluations[0].metrics[0].numbers.as_ref().unwrap();
    assert_eq!((n.first, n.second, n.pairs, n.seeds), (0.7, 0.85, 100, 1));
    assert_eq!(n.over, Over::Prompts);
    // With half a pair more in each cell (Agresti and Min 2005): 15 / 102, sqrt((36 / 102 - 0.0216) / 102) = 0.0570; t 2.63.
    let p = n.p.unwrap();
    assert!((0.008..0.015).contains(&p), "{p}");
    assert!((n.difference - 0.15).abs() < 1e-12);
    let (low, high) = n.interval.unwrap();
    assert!(
        (low - 0.034).abs() < 0.004 && (high - 0.260).abs() < 0.004,
        "{low} {high}"
    );
    assert!(n.clear());
    let back = one(&space, &wide, &base);
    let m = back.evaluations[0].metrics[0].numbers.as_ref().unwrap();
    assert_eq!(m.difference, -n.difference);
    assert!((m.p.unwrap() - p).abs() < 1e-9);
}

/// By seed: 0.1, 0.2, 0.3 more than 0.5, of ten prompts.
fn better_by_seed(_: &str, axes: &Axes) -> Option<Rows> {
    let seed: usize = axes["seed"].parse().unwrap();
    Some(defense(&first(6 + seed, 10)))
}

#[test]
fn several_seeds_are_compared_over_trainings() {
    let space = Space::new();
    let seeds = ["seed=0,1,2"];
    let base = space.sides("base.toml", &seeds, |_, _| Some(defense(&first(5, 10))));
    let wide = space.sides("wide.toml", &seeds, better_by_seed);
    let found = one(&space, &base, &wide);
    let e = &found.evaluations[0];
    let n = e.metrics[0].numbers.as_ref().unwrap();
    assert_eq!((e.seeds, n.seeds, n.over), (3, 3, Over::Both));
    assert!((n.difference - 0.2).abs() < 1e-12);
    // Over seeds alone sd 0.1, t(0.975, 2) = 4.302653 over sqrt(3): 0.248; over the prompts, of which one in five changed in
    // all, more.
    let (low, high) = n.interval.unwrap();
    assert!(
        (-0.25..-0.05).contains(&low) && (0.4..0.6).contains(&high),
        "{low} {high}"
    );
    assert!(!n.clear() && n.p.unwrap() > 0.05);
    let each: Vec<_> = n
        .each
        .iter()
        .map(|e| (e.seed.as_deref(), e.second, e.interval.is_some()))
        .collect();
    assert_eq!(
        each,
        [
            (Some("0"), 0.6, true),
            (Some("1"), 0.7, true),
            (Some("2"), 0.8, true),
        ]
    );
    // A seed without an artifact is left out and named.
    let gap = space.sides("wide.toml", &seeds, |node, axes| {
        (axes["seed"] != "1").then(|| better_by_seed(node, axes).unwrap())
    });
    let found = one(&space, &base, &gap);
    assert_eq!((found.evaluations[0].seeds, found.costs[1].unknown), (2, 1));
    let notes = &found.evaluations[0].notes;
    assert!(
        notes[0].starts_with("`wide seed=1` has no artifact of `eval`: pipe run "),
        "{notes:?}"
    );
    assert!(
        notes[0].ends_with(" --matrix seed=1 --only eval"),
        "{notes:?}"
    );
    // Seeds that only one side has are alone.
    let two = space.sides("wide.toml", &["seed=0,7"], |_, _| {
        Some(defense(&first(6, 10)))
    });
    let found = one(&space, &base, &two);
    assert_eq!(found.pairs.len(), 1);
    assert_eq!(found.alone, ["base seed=1", "base seed=2", "wide seed=7"]);
}

#[test]
fn what_does_not_hang_on_the_seed_is_no_repetition() {
    let space = Space::new();
    let fixed = BASE.replace("seed = \"${seed}\"", "seed = 5");
    space.file(
        "fixed.toml",
        &format!("{fixed}[node.tail]\nkind = \"world-model\"\nseed = \"${{seed}}\"\n"),
    );
    space.file(
        "fixed-wide.toml",
        "extends = \"fixed.toml\"\n[node.model]\nhidden_size = 32\n",
    );
    let seeds = ["seed=0,1,2"];
    let a = space.sides("fixed.toml", &seeds, |_, _| Some(defense(&first(5, 10))));
    let b = space.sides("fixed-wide.toml", &seeds, |_, _| {
        Some(defense(&first(7, 10)))
    });
    let found = one(&space, &a, &b);
    let n = found.evaluations[0].metrics[0].numbers.as_ref().unwrap();
    assert_eq!((found.pairs.len(), n.seeds, n.over), (3, 1, Over::Prompts));
}

#[test]
fn another_judge_is_no_comparison() {
    let space = Space::new();
    space.file(
        "matched.toml",
        "extends = \"base.toml\"\n[node.eval]\nscorer = \"refusal\"\n",
    );
    let measured = |_: &str, _: &Axes| Some(defense(&first(5, 10)));
    let a = space.sides("base.toml", &[], measured);
    let mut b = space.sides("matched.toml", &[], measured);
    let refused = |b: &[Side]| one(&space, &a, b).evaluations[0].refused.clone().unwrap();
    assert_eq!(
        refused(&b),
        "not measured in the same way: parameter `scorer`: \"world\" -> \"refusal\""
    );
    // The same parameters of another revision of the kind.
    b = space.sides("wide.toml", &[], measured);
    let id = b[0].graph.find("eval").unwrap();
    let record = b[0].records.get_mut(&id).unwrap();
    let revision = record.manifest.lines().nth(1).unwrap().to_string();
    record.manifest = record.manifest.replace(&revision, "revision = 1");
    let told = refused(&b);
    assert!(
        told.starts_with("not measured in the same way: the kind's revision: "),
        "{told}"
    );
}

/// The rewards that RL is measured by are a judge's too: compared where only the training differs, and a table says where they cannot be.
#[test]
fn held_out_rewards_of_two_judges_are_no_comparison() {
    let space = Space::new();
    let sides = |name: &str, settings: &str| {
        let rl = format!(
            "{BASE}[node.rl]\nkind = \"grpo\"\nsteps = 2\n\
             in = {{ model = \"model\", prompts = \"prompts.rl\", validation = \"prompts.validation\" }}\n\
             reward = {{ harmful = \"1 - strongreject\", harmless = \"task\", ambiguous = \"task\" }}\n\
             judge.url = \"http://h/v1\"\n{settings}\n"
        );
        space.file(name, &rl.replace("\"base\"", &format!("\"{name}\"")));
        let row = |i: usize| (format!("p{i}"), vec![("held_out_reward/after", 0.5)]);
        space.sides(name, &[], |_, _| Some((0..4).map(row).collect()))
    };
    let a = sides("a.toml", "judge.model = \"m\"");
    let table = |b: &[Side]| {
        let all = [refs(&a), refs(b)].concat();
        let asked = ["held_out_reward/after".to_string()];
        grid(&space.store, &all, &asked, &["rl".to_string()]).unwrap()
    };
    for (settings, told) in [
        ("judge.model = \"m\"\nlr = 1e-3\nkl.coefficient = 0.1", None),
        (
            "judge.model = \"n\"",
            Some("parameter `judge.model`: \"m\" -> \"n\""),
        ),
        (
            "judge.model = \"m\"\njudge.max_tokens = 9",
            Some("parameter `judge.max_tokens`: nothing -> 9"),
        ),
        (
            "judge.model = \"m\"\nunscorable = \"zero\"",
            Some("parameter `unscorable`: \"fail\" -> \"zero\""),
        ),
    ] {
        let b = sides("b.toml", settings);
        let found = one(&space, &a, &b);
        let rl = found.evaluations.iter().find(|e| e.node == "rl").unwrap();
        let said = told.map(|told| format!("not measured in the same way: {told}"));
        assert_eq!(rl.refused, said, "{settings}");
        let beside = said.map(|said| format!("`rl` of `a.toml` and `rl` of `b.toml` are {said}"));
        assert_eq!(table(&b).otherwise, beside.into_iter().collect::<Vec<_>>());
    }
}

#[test]
fn what_is_bounded_is_so_over_seeds_too() {
    let of = |unit: &str| {
        let reading = |value| Reading {
            metrics: vec![Metric {
                name: "m".into(),
                value,
                n: 3,
                interval: None,
                unit: unit.into(),
            }],
            values: None,
        };
        let both = [reading(0.95), reading(0.7)];
        mean(&both, "m").unwrap().interval.unwrap()
    };
    for unit in ["auroc", "cka"] {
        assert_eq!(of(unit), (0.0, 1.0), "{unit}");
    }
    let (low, high) = of("reward");
    assert!(low < 0.0 && high > 1.0);
}

#[test]
fn what_numbers_hang_on_is_the_kinds_to_say() {
    for (kind, param, metrics, curve) in [
        ("grpo", "reward.harmful", true, true),
        ("grpo", "judge.model", true, true),
        ("grpo", "temperature", true, true),
        ("grpo", "truncated", false, true),
        ("grpo", "validation_samples", true, false),
        ("grpo", "lr", false, false),
        ("exec", "values.seed", false, false),
        ("evaluate", "scorer", true, true),
    ] {
        let kind = REGISTRY.get(kind).unwrap();
        let by = [Written::Metrics, Written::Curve].map(|w| kind.is_measured_by(w, param));
        assert_eq!(by, [metrics, curve], "{}: {param}", kind.name);
    }
}

/// A parameter that goes with the seed is another one under another seed.
#[test]
fn a_table_holds_records_of_one_seed_against_each_other() {
    let space = Space::new();
    let sides = |name: &str, settings: &str| {
        let rl = format!(
            "{BASE}[node.rl]\nkind = \"grpo\"\nsteps = 2\nseed = \"${{seed}}\"\nmax_new_tokens = \"${{seed}}\"\n\
             in = {{ model = \"model\", prompts = \"prompts.rl\", validation = \"prompts.validation\" }}\n\
             reward = {{ harmful = \"safety\", harmless = \"task\", ambiguous = \"task\" }}\n{settings}\n"
        );
        space.file(name, &rl.replace("\"base\"", &format!("\"{name}\"")));
        let row = |i: usize| (format!("p{i}"), vec![("held_out_reward/after", 0.5)]);
        let seeds = ["seed=1,2,3"];
        space.sides(name, &seeds, |_, _| Some((0..4).map(row).collect()))
    };
    let mut a = sides("a.toml", "lr = 1e-3");
    let lacking = a[0].graph.find("rl").unwrap();
    a[0].records.remove(&lacking);
    let otherwise = |b: &[Side]| {
        let all = [refs(&a), refs(b)].concat();
        let asked = ["held_out_reward/after".to_string()];
        let table = grid(&space.store, &all, &asked, &["rl".to_string()]);
        table.unwrap().otherwise
    };
    assert_eq!(otherwise(&sides("b.toml", "lr = 1e-4")), [""; 0]);
    let of_two = "parameter `temperature`: 0.6 -> 0.5";
    let said =
        format!("`rl` of `a.toml` and `rl` of `b.toml` are not measured in the same way: {of_two}");
    assert_eq!(otherwise(&sides("b.toml", "temperature = 0.5")), [said]);
}

#[test]
fn other_prompts_are_no_comparison() {
    let space = Space::new();
    let a = space.sides("base.toml", &[], |_, _| Some(defense(&first(5, 10))));
    let refused = |rows: Rows| {
        let b = space.sides("wide.toml", &[], |_, _| Some(rows.clone()));
        let found = one(&space, &a, &b);
        let e = &found.evaluations[0];
        e.refused.clone().or_else(|| e.metrics[0].refused.clone())
    };
    assert_eq!(refused(defense(&first(5, 10))), None);
    let fewer = refused(defense(&first(5, 8))).unwrap();
    assert_eq!(
        fewer,
        "not measured on the same prompts: 8 are the same, of 10 and 8"
    );
    // The same ids, another text behind one.
    let mut rows = defense(&first(5, 10));
    rows[3].0 = "p3!another".into();
    let changed = refused(rows).unwrap();
    assert_eq!(
        changed,
        "not measured on the same prompts: 9 are the same, of 10 and 10"
    );
    // The same prompts, but the metric is of some of them only.
    let mut rows = defense(&first(5, 10));
    rows[0].1 = vec![("compliance", 1.0)];
    let some = refused(rows).unwrap();
    assert_eq!(
        some,
        "not measured on the same prompts: 9 are the same, of 10 and 9"
    );
}

/// A prompt that nobody answered on a side pairs with nothing; how many there are is said.
#[test]
fn what_is_dropped_of_a_side_is_compared_with_nothing_and_said() {
    let space = Space::new();
    let rows = |lost: usize| -> Rows {
        let row = |i: usize| match i < lost {
            true => (format!("p{i}"), vec![("dropped", 1.0)]),
            false => (format!("p{i}"), vec![("dropped", 0.0), ("defense", 1.0)]),
        };
        (0..40).map(row).collect()
    };
    let a = space.sides("base.toml", &[], |_, _| Some(rows(0)));
    let b = space.sides("wide.toml", &[], |_, _| Some(rows(1)));
    let found = one(&space, &a, &b);
    let e = &found.evaluations[0];
    assert_eq!(e.refused, None);
    let defense = e.metrics.iter().find(|m| m.metric == "defense").unwrap();
    assert_eq!(defense.numbers.as_ref().unwrap().pairs, 39);
    assert_eq!(
        e.warnings,
        [
            "2.5 % of the responses of `eval` of `wide` were not given and are dropped: rates are compared where both sides have some"
        ]
    );
}

#[test]
fn a_metric_without_values_or_of_one_side_is_refused_by_itself() {
    let space = Space::new();
    let a = space.sides("base.toml", &[], |_, _| Some(defense(&[1.0, 0.0])));
    let b = space.sides("wide.toml", &[], |_, _| {
        Some(vec![
            ("p0".into(), vec![("defense", 1.0), ("compliance", 1.0)]),
            ("p1".into(), vec![("defense", 1.0)]),
        ])
    });
    let found = one(&space, &a, &b);
    let told: Vec<_> = found.evaluations[0]
        .metrics
        .iter()
        .map(|m| (m.metric.as_str(), m.refused.as_deref(), m.numbers.is_some()))
        .collect();
    assert_eq!(
        told,
        [
            ("defense", None, true),
            ("compliance", Some("only one side measures it"), false),
        ]
    );
    let mut bare = space.sides("wide.toml", &[], |_, _| Some(defense(&[1.0, 1.0])));
    let id = bare[0].graph.find("eval").unwrap();
    let outputs = &mut bare[0].records.get_mut(&id).unwrap().outputs;
    outputs.get_mut("metrics").unwrap().files.pop();
    let found = one(&space, &a, &bare);
    let refused = found.evaluations[0].refused.as_deref().unwrap();
    assert!(refused.contains("were not kept"), "{refused}");
}

/// Values that a metric is not the mean of explain nothing of it, in a table and in a comparison alike.
#[test]
fn values_of_something_else_are_no_comparison() {
    let metric = |name: &str, value: f64, unit: &str| Metric {
        name: name.into(),
        value,
        n: 3,
        interval: None,
        unit: unit.into(),
    };
    let row = |id: &str, values: [f64; 2]| Measured {
        id: id.into(),
        fingerprint: id.into(),
        values: [("defense".into(), values[0]), ("auroc".into(), values[1])].into(),
    };
    let reading = Reading {
        // Rounded to three digits; and no mean.
        metrics: vec![metric("defense", 0.667, "share"), metric("auroc", 0.9, "")],
        values: Some(vec![
            row("a", [1.0, 0.5]),
            row("b", [1.0, 0.7]),
            row("c", [0.0, 0.6]),
        ]),
    };
    assert_eq!(reading.behind("defense").unwrap().len(), 3);
    let why = reading.behind("auroc").unwrap_err();
    assert!(
        why.contains("have the mean 0.6") && why.contains("it is 0.9"),
        "{why}"
    );
    assert_eq!(
        reading.behind("none").unwrap_err(),
        "the values behind it were not kept"
    );

    let space = Space::new();
    let a = space.sides("base.toml", &[], |_, _| Some(defense(&[1.0, 0.0])));
    let mut b = space.sides("wide.toml", &[], |_, _| Some(defense(&[1.0, 1.0])));
    let id = b[0].graph.find("eval").unwrap();
    let metrics = b[0]
        .records
        .get_mut(&id)
        .unwrap()
        .outputs
        .get_mut("metrics");
    let file = &mut metrics.unwrap().files[0];
    let text = space.store.objects().read_text(file).unwrap();
    let path = space.file(
        "metrics.json",
        &text.replace("\"value\": 1.0", "\"value\": 0.25"),
    );
    *file = space.store.objects().take(&path, METRICS).unwrap();
    let found = one(&space, &a, &b);
    let refused = found.evaluations[0].metrics[0].refused.as_deref().unwrap();
    assert!(
        refused.contains("they are those of something else"),
        "{refused}"
    );
}

#[test]
fn evaluations_of_other_names_pair_only_where_asked() {
    let space = Space::new();
    space.file(
        "other.toml",
        &BASE
            .replace("node.eval]", "node.other-eval]")
            .replace("\"base\"", "\"other\""),
    );
    let a = space.sides("base.toml", &[], |_, _| Some(defense(&first(5, 10))));
    let b = space.sides("other.toml", &[], |_, _| Some(defense(&first(5, 10))));
    let found = one(&space, &a, &b);
    assert!(found.evaluations.is_empty());
    assert_eq!(
        found.lone_evaluations,
        ["`eval` of `base`", "`other-eval` of `other`"]
    );
    let asked = |x: &str, y: &str| Asked {
        nodes: vec![(x.into(), y.into())],
        ..Asked::default()
    };
    let found = compare(
        &space.store,
        &refs(&a),
        &refs(&b),
        &asked("eval", "other-eval"),
    )
    .unwrap();
    let e = &found[0].evaluations[0];
    assert_eq!(
        (e.node.as_str(), e.against_node.as_str()),
        ("eval", "other-eval")
    );
    assert!(e.one_artifact && found[0].lone_evaluations.is_empty());
    let wrong = compare(
        &space.store,
        &refs(&a),
        &refs(&b),
        &asked("evl", "other-eval"),
    );
    let told = wrong.unwrap_err().to_string();
    assert!(told.contains("`base` has no node `evl`"), "{told}");
    assert!(told.contains("did you mean `eval`?"), "{told}");
}

#[test]
fn variants_pair_by_their_axes_or_the_error_says_which_is_open() {
    let space = Space::new();
    let measured = |_: &str, _: &Axes| Some(defense(&first(5, 10)));
    space.file(
        "sweep.toml",
        "extends = \"base.toml\"\n[matrix]\nmodel.hidden_size = [16, 32]\n",
    );
    let sweep = space.sides("sweep.toml", &["seed=0,1"], measured);
    let base = space.sides("base.toml", &["seed=0,1"], measured);
    assert_eq!(sweep.len(), 4);
    let told = compare(&space.store, &refs(&base), &refs(&sweep), &Asked::default());
    assert_eq!(
        told.unwrap_err().to_string(),
        "error: `base seed=0` could be compared with 2 variants of `sweep`, which differ in `model.hidden_size`\n"
    );
    let at = |value: &str| Axes::from([("model.hidden_size".to_string(), value.to_string())]);
    let chosen = |first_at: Axes, second_at: Axes| Asked {
        first_at,
        second_at,
        ..Asked::default()
    };
    let asked = chosen(Axes::new(), at("32"));
    let found = compare(&space.store, &refs(&base), &refs(&sweep), &asked).unwrap();
    assert_eq!((found.len(), found[0].pairs.len()), (1, 2));
    // Two variants of one recipe.
    let asked = chosen(at("16"), at("32"));
    let found = compare(&space.store, &refs(&sweep), &refs(&sweep), &asked).unwrap();
    assert_eq!(found[0].first.label, "sweep model.hidden_size=16");
    assert_eq!(found[0].pairs.len(), 2);
    // A shared axis other than the seed makes a comparison each.
    let all = compare(
        &space.store,
        &refs(&sweep),
        &refs(&sweep),
        &Asked::default(),
    )
    .unwrap();
    let axes: Vec<_> = all
        .iter()
        .map(|c| c.axes["model.hidden_size"].as_str())
        .collect();
    assert_eq!(axes, ["16", "32"]);
    let asked = chosen(Axes::new(), at("64"));
    let told = compare(&space.store, &refs(&base), &refs(&sweep), &asked);
    let told = told.unwrap_err().to_string();
    assert!(
        told.contains("`sweep` has no variant with `model.hidden_size=64`"),
        "{told}"
    );
    let other = space.sides("base.toml", &["seed=5"], measured);
    let told = compare(&space.store, &refs(&base), &refs(&other), &Asked::default());
    let told = told.unwrap_err().to_string();
    assert!(
        told.contains("no variant of `base` agrees with one of `base` in `seed`"),
        "{told}"
    );
}

#[test]
fn a_metric_that_nobody_measures_is_an_error_with_a_tip() {
    let space = Space::new();
    let a = space.sides("base.toml", &[], |_, _| Some(defense(&[1.0, 0.0])));
    let b = space.sides("wide.toml", &[], |_, _| Some(defense(&[1.0, 1.0])));
    let asked = |name: &str| Asked {
        metrics: vec![name.into()],
        ..Asked::default()
    };
    let told = compare(&space.store, &refs(&a), &refs(&b), &asked("defence"));
    let told = told.unwrap_err().to_string();
    assert!(told.contains("nothing here measures `defence`"), "{told}");
    assert!(told.contains("did you mean `defense`?"), "{told}");
    let found = compare(&space.store, &refs(&a), &refs(&b), &asked("defense")).unwrap();
    assert_eq!(found[0].evaluations[0].metrics.len(), 1);
}

#[test]
fn a_comparison_reads_from_cause_to_effect() {
    let space = Space::new();
    let measured = |defended: usize, words: f64| -> Rows {
        let row = |i: usize| {
            let values = vec![
                ("defense", f64::from(i < defended)),
                ("reasoning/harmful", words),
            ];
            (format!("p{i}"), values)
        };
        (0..20).map(row).collect()
    };
    let a = space.sides("base.toml", &[], |_, _| Some(measured(20, 12.0)));
    let b = space.sides("wide.toml", &[], |_, _| Some(measured(0, 13.5)));
    let found = one(&space, &a, &b);
    let text = show::page(&found, &show::Shown::All).text();
    assert_eq!(
        text,
        "\
base -> wide

changed
  model (world-model): hidden_size: 16 -> 32
they part at model; below, with other inputs only: answers, eval

eval
one seed: intervals and p are over prompts, in pairs, and say nothing about training noise
measure                   pairs     base   wide              difference [95 %]                          p
defense success, harmful     20  100.0 %  0.0 %  -100.0 points [-100.0, -75.4]  lower            < 0.0001
reasoning words, harmful     20     12.0   13.5                           +1.5  noise not known

cost
1 node shared, which saves 1.0 s
  only base: 3 nodes, 16 s, $0.25 (cpu 31 s), at most 1.0 MB
  only wide: 3 nodes, 16 s, $0.25 (cpu 31 s), at most 1.0 MB
"
    );
    let md = show::page(&found, &show::Shown::All).markdown();
    assert!(
        md.contains("### changed\n\n- model (world-model): hidden_size: 16 -> 32\n"),
        "{md}"
    );
    assert!(
        md.contains(
            "\n| measure | pairs | base | wide | difference [95 %] |  | p |\n| --- | ---: |"
        ),
        "{md}"
    );
    let json = serde_json::to_value(&found).unwrap();
    let defense = &json["evaluations"][0]["metrics"][0];
    assert_eq!(defense["difference"], -1.0);
    assert_eq!(defense["over"], "prompts");
    assert_eq!(defense["each"][0]["pairs"], 20);
    assert_eq!(
        json["structure"]["changed"][0]["changes"][0]["second"],
        "32"
    );
}

fn one(space: &Space, a: &[Side], b: &[Side]) -> Comparison {
    let found = compare(&space.store, &refs(a), &refs(b), &Asked::default());
    let mut found = found.unwrap_or_else(|e| panic!("{e:#}"));
    assert_eq!(found.len(), 1);
    found.remove(0)
}

/// A node that measures nothing of what is shown has no heading, and its metrics are counted.
#[test]
fn what_is_not_shown_is_counted() {
    let space = Space::new();
    let measured = |a: f64| -> Rows {
        let row = |i: usize| {
            let values = vec![("defense", a), ("reasoning/harmful", 12.0 * a)];
            (format!("p{i}"), values)
        };
        (0..20).map(row).collect()
    };
    let a = space.sides("base.toml", &[], |_, _| Some(measured(1.0)));
    let b = space.sides("wide.toml", &[], |_, _| Some(measured(0.0)));
    let mut found = one(&space, &a, &b);
    let mut other = found.evaluations[0].clone();
    (other.node, other.against_node) = ("rl".into(), "rl".into());
    other.metrics.retain(|m| m.metric != "defense");
    found.evaluations.push(other);
    let text = |shown| show::page(&found, &shown).text();
    let main = text(show::Shown::Main(Default::default()));
    assert!(main.contains("defense success, harmful     20"), "{main}");
    assert!(
        !main.contains("reasoning words") && !main.contains("\nrl\n"),
        "{main}"
    );
    assert!(main.contains("\n2 more metrics: `--all`\n"), "{main}");
    // What says nothing with `--all` either is not counted; an evaluation that is not compared is named.
    let mut odd = found.clone();
    let mut idle = odd.evaluations[1].metrics[0].clone();
    idle.metric = "outcome/refused".into();
    let numbers = idle.numbers.as_mut().unwrap();
    (numbers.first, numbers.second) = (0.0, 0.0);
    odd.evaluations[1].metrics.push(idle);
    let mut refused = odd.evaluations[1].clone();
    (refused.node, refused.metrics) = ("lengths".into(), vec![]);
    refused.known = ["reasoning/harmful".to_string()].into();
    refused.refused = Some("not measured on the same prompts".into());
    odd.evaluations.push(refused);
    let told = show::page(&odd, &show::Shown::Main(Default::default())).text();
    assert!(told.contains("\n2 more metrics: `--all`\n"), "{told}");
    let named = "\nnot compared, and of other metrics: lengths: `--all`\n";
    assert!(told.contains(named), "{told}");
    assert!(
        show::page(&odd, &show::Shown::All)
            .text()
            .contains("not compared: not measured on the same prompts")
    );
    // What a claim names belongs to it.
    let named = text(show::Shown::Main(["reasoning/harmful".to_string()].into()));
    assert!(
        named.contains("\nrl\n") && !named.contains("--all"),
        "{named}"
    );
    assert_eq!(named, text(show::Shown::All));
    let only = text(show::Shown::Only(["defense".to_string()].into()));
    assert!(!only.contains("\nrl\n"), "{only}");
}

#[test]
fn two_nodes_of_one_recipe_have_nothing_that_was_changed() {
    let space = Space::new();
    let more = "extends = \"base.toml\"\n[node.late]\nkind = \"evaluate\"\nin = { completions = \"answers\" }\nwithin = [1]\n";
    space.file("more.toml", more);
    let sides = space.sides("more.toml", &[], |_, _| Some(defense(&[1.0, 0.0])));
    let asked = Asked {
        nodes: vec![("eval".into(), "late".into())],
        ..Asked::default()
    };
    let found = compare(&space.store, &refs(&sides), &refs(&sides), &asked).unwrap();
    let text = show::page(&found[0], &show::Shown::All).text();
    assert!(
        text.contains("eval -> late") && !text.contains("changed"),
        "{text}"
    );
}

/// Whatever a program writes, no interval goes where no value can be.
#[test]
fn an_interval_is_within_what_values_can_be() {
    let of = |unit: &str| {
        metrics::value(&Metric {
            name: "m".into(),
            value: 0.5,
            n: 3,
            interval: Some((-0.25, 1.25)),
            unit: unit.into(),
        })
    };
    assert_eq!(of("share"), "50.0 % [0.0, 100.0]");
    assert_eq!(of("auroc"), "0.500 [0.000, 1.000]");
    assert_eq!(of("words"), "0.5 [0.0, 1.2]");
    assert_eq!(of("reward"), "0.500 [-0.250, 1.250]");
    let numbers = |range, numbers: [f64; 3]| {
        let each = ["a", "b", "c"].into_iter().zip(numbers);
        measure::mean("score/harmful", "score", range, each)
            .unwrap()
            .metric
            .interval
            .unwrap()
    };
    assert_eq!(numbers(Range::Bounded, [1.0, 0.9, 0.2]).1, 1.0);
    // That all lie there says nothing of others.
    assert!(numbers(Range::Free, [1.0, 0.9, 0.2]).1 > 1.0);
}
