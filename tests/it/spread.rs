//! What makes runs differ, out of records: components of crossed seeds, what is missing, what does not depend on a seed, the formats.

use crate::sides::{Rows, Space, defense, first, refs};
use pipe::base::claim::Axes;
use pipe::kinds::REGISTRY;
use pipe::recipe::Overrides;
use pipe::recipe::study::Study;
use pipe::report::side::Side;
use pipe::report::spread::show::{csv, page};
use pipe::report::spread::{Spread, spread};
use std::path::Path;

const CROSSED: &str = r#"
extends = "base.toml"
name = "crossed"
[vars]
model_seed = 0
answer_seed = 0
[matrix]
model_seed = [0, 1]
answer_seed = [0, 1]
[node.model]
seed = "${model_seed}"
[node.answers]
seed = "${answer_seed}"
"#;

fn space() -> Space {
    let space = Space::new();
    space.file("crossed.toml", CROSSED);
    space
}

fn number(axes: &Axes, axis: &str) -> usize {
    axes.get(axis).map_or(0, |v| v.parse().unwrap())
}

/// Of ten prompts 5, 6, 7, 10: 50 and 60 % by answers, with the other model 70 and 100 %.
fn by_seeds(_: &str, axes: &Axes) -> Option<Rows> {
    let at = 2 * number(axes, "model_seed") + number(axes, "answer_seed");
    Some(defense(&first([5, 6, 7, 10][at], 10)))
}

fn of(space: &Space, sides: &[Side], seeds: &[&str]) -> Result<Spread, String> {
    let seeds: Vec<String> = seeds.iter().map(|s| s.to_string()).collect();
    spread(&space.store, &refs(sides), &seeds, &[], &[]).map_err(|e| format!("{e:#}"))
}

#[test]
fn runs_differ_by_their_axes_what_those_do_together_and_the_prompts() {
    let space = space();
    let sides = space.sides("crossed.toml", &[], by_seeds);
    let found = of(&space, &sides, &[]).unwrap();
    let cell = found.rows[0].cells[0].as_ref().unwrap();
    let near = |ours: f64, theirs: f64| assert!((ours - theirs).abs() < 1e-9, "{ours} {theirs}");
    near(cell.mean, 0.7);
    // Axes stand in the order of their names: answers, models. Mean squares 0.04 of answers, 0.09 of models, 0.01 of both.
    near(cell.total.variance, 0.015 + 0.04 + 0.01);
    near(cell.axes[0].only.variance, (0.005 + 0.045) / 2.0);
    let parts = cell.axes.iter().map(|a| a.alone.variance).sum::<f64>();
    let rest = cell.together.unwrap().variance + cell.prompts.unwrap().variance;
    near(parts + rest, cell.total.variance);
    assert!(cell.prompts.unwrap().variance > 0.0);
    let text = page(&found).text();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines[0].split_whitespace().collect::<Vec<_>>().join(" "),
        "eval: defense success, harmful, % crossed"
    );
    for (line, start) in [
        (1, "runs 4 = 2 x 2"),
        (2, "prompts a run 10"),
        (3, "mean 70.0"),
        (4, "between runs, sd 25.5 ["),
        (5, "answer_seed "),
        (6, "model_seed "),
        (7, "together "),
        (8, "prompts "),
        (9, "answer_seed alone differs, sd 15.8 ["),
        (10, "model_seed alone differs, sd "),
    ] {
        let words: Vec<&str> = lines[line].split_whitespace().collect();
        assert!(words.join(" ").starts_with(start), "{text}");
    }
    assert!(
        text.contains("\nan axis of two values has one degree of freedom"),
        "{text}"
    );
    let json = serde_json::to_value(&found).unwrap();
    assert_eq!(json["rows"][0]["seeds"][1]["axis"], "model_seed");
    assert_eq!(json["rows"][0]["cells"][0]["n"], 10);
    assert!(page(&found).markdown().contains("| mean | 70.0 |\n"));
    let csv = csv(&found).unwrap();
    let lines: Vec<&str> = csv.lines().collect();
    assert_eq!(
        lines[0],
        "recipe,axes,evaluation,metric,unit,mean,runs,n,part,axis,variance,sd,low,high,share,unreadable,unfinished,unjudged,dropped,short"
    );
    assert!(
        lines[1].starts_with("crossed,,eval,defense,share,0.7"),
        "{csv}"
    );
    let parts: Vec<&str> = lines[1..]
        .iter()
        .map(|l| l.split(',').nth(8).unwrap())
        .collect();
    let expected = [
        "total", "axis", "axis", "together", "prompts", "only", "only",
    ];
    assert_eq!(parts, expected);
}

/// Whatever a judge says nothing of in some runs is shown over the others, with a word on it.
#[test]
fn what_a_run_has_no_verdict_on_is_shown_over_the_others() {
    let space = space();
    let judged = |lost: &dyn Fn(usize, usize) -> bool, axes: &[&str]| {
        let sides = space.sides("crossed.toml", axes, |name, axes| {
            let (model, answer) = (number(axes, "model_seed"), number(axes, "answer_seed"));
            let lost = lost(model, answer);
            let mut rows = defense(&first([5, 6, 7, 10][(model + answer) % 4], 10));
            for (_, values) in &mut rows {
                values.retain(|_| !lost);
                values.push(("unscorable", f64::from(lost)));
                values.push(("unscorable/harmful", f64::from(lost)));
            }
            let _ = name;
            Some(rows)
        });
        let asked = ["defense".to_string()];
        spread(&space.store, &refs(&sides), &[], &asked, &[]).map_err(|e| format!("{e:#}"))
    };
    let why = "the judge said nothing readable of any of the answers behind it";
    let wide = ["model_seed=0,1,2,3"];
    let found = judged(&|model, answer| (model, answer) == (2, 1), &wide).unwrap();
    let row = &found.rows[0];
    let cell = row.cells[0].as_ref().unwrap();
    assert_eq!((row.runs, cell.runs, cell.n), (8, 6, 10));
    // Of models 0, 1 and 3 by answers 0 and 1.
    let values = [0.5, 0.6, 0.6, 0.7, 1.0, 0.5];
    assert!(
        (cell.mean - values.iter().sum::<f64>() / 6.0).abs() < 1e-9,
        "{}",
        cell.mean
    );
    let text = page(&found).text();
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("runs 6 of 8 = 2 x 3"), "{text}");
    let told =
        format!("defense success, harmful: 7 of 8 runs have a value, and it is over 6: {why}");
    assert_eq!(row.notes, [told.as_str()]);
    assert!(
        words.contains(&format!("eval of crossed: {told}")),
        "{text}"
    );
    assert!(csv(&found).unwrap().contains(",6,10,total,"));
    // Of two values of an axis none can be left out.
    let found = judged(&|model, answer| (model, answer) == (1, 1), &[]).unwrap();
    let row = &found.rows[0];
    assert_eq!(row.cells, [None]);
    assert_eq!(
        row.notes,
        [format!(
            "defense success, harmful: 3 of 4 runs have a value, so nothing is shown: {why}"
        )]
    );
    // Without a gap nothing is said.
    assert!(judged(&|_, _| false, &[]).unwrap().rows[0].notes.is_empty());
    let none = judged(&|_, _| true, &[]).unwrap_err();
    assert!(
        none.contains(&format!("nothing here measures `defense`: {why}")),
        "{none}"
    );
}

#[test]
fn a_mean_of_rates_has_its_unreadable_answers_below_it() {
    let space = space();
    let sides = space.sides("crossed.toml", &[], |name, axes| {
        let mut rows = by_seeds(name, axes)?;
        for (i, (_, values)) in rows.iter_mut().enumerate() {
            values.push(("unreadable", f64::from(i < 1)));
        }
        Some(rows)
    });
    let found = of(&space, &sides, &[]).unwrap();
    let text = page(&found).text();
    let line = text.lines().nth(4).unwrap();
    let words: Vec<&str> = line.split_whitespace().collect();
    assert_eq!(words, ["!", "unreadable", "10.0", "%"], "{text}");
    assert!(
        csv(&found)
            .unwrap()
            .lines()
            .nth(1)
            .unwrap()
            .ends_with(",0.1,,,,")
    );
}

#[test]
fn another_axis_is_a_column_and_a_seed_that_does_nothing_is_named() {
    let space = space();
    let matrix = ["model.hidden_size=16,32", "seed=0,1"];
    let sides = space.sides("crossed.toml", &matrix, by_seeds);
    assert_eq!(sides.len(), 16);
    let found = of(&space, &sides, &[]).unwrap();
    let labels: Vec<String> = found.rows.iter().map(|r| r.label()).collect();
    assert_eq!(
        labels,
        [
            "crossed model.hidden_size=16",
            "crossed model.hidden_size=32"
        ]
    );
    for row in &found.rows {
        assert_eq!(
            (row.runs, row.fixed.as_slice()),
            (4, &["seed".to_string()][..])
        );
        assert_eq!(row.seeds.len(), 2);
    }
    let text = page(&found).text();
    let head = text.lines().next().unwrap();
    assert!(
        head.ends_with("crossed model.hidden_size=16  crossed model.hidden_size=32"),
        "{text}"
    );
    assert!(text.contains("  eval of crossed model.hidden_size=16 does not depend on seed\n"));
    // Of one axis what it does alone is all there is.
    let one = of(&space, &sides, &["answer_seed"]).unwrap();
    assert_eq!(
        one.rows.len(),
        4,
        "models are columns now, seeds that do nothing are none"
    );
    assert_eq!(one.rows[0].also.len(), 1);
    assert!(one.rows[0].cells[0].as_ref().unwrap().together.is_none());
    assert!(!page(&one).text().contains("differs, sd"));
}

#[test]
fn runs_that_are_missing_are_named_with_one_command() {
    let space = space();
    let sides = space.sides("crossed.toml", &[], |node, axes| {
        match number(axes, "model_seed") + number(axes, "answer_seed") {
            1 => None,
            _ => by_seeds(node, axes),
        }
    });
    let found = of(&space, &sides, &[]).unwrap();
    assert_eq!(
        found.rows[0].problem.as_deref(),
        Some("2 of 4 runs are missing")
    );
    let [line] = found.missing.as_slice() else {
        panic!("{:?}", found.missing);
    };
    let file = space.dir.path().join("crossed.toml");
    assert_eq!(
        *line,
        format!(
            "`crossed` has no artifacts of `eval` under answer_seed=0 model_seed=1; answer_seed=1 model_seed=0: \
             pipe run {} --matrix answer_seed=0,1 --matrix model_seed=1,0",
            file.display()
        )
    );
    let text = page(&found).text();
    assert!(
        text.starts_with("  eval of crossed: 2 of 4 runs are missing\n"),
        "{text}"
    );
    assert_eq!(csv(&found).unwrap().lines().count(), 1);
}

#[test]
fn what_is_not_crossed_or_no_seed_is_said() {
    let space = space();
    space.file(
        "zipped.toml",
        "extends = \"crossed.toml\"\n[matrix]\nzip = [[\"model_seed\", \"answer_seed\"]]\n",
    );
    let sides = space.sides("zipped.toml", &[], by_seeds);
    let found = of(&space, &sides, &[]).unwrap();
    let problem = found.rows[0].problem.as_deref().unwrap();
    assert!(
        problem.contains(
            "are not fully crossed: `[matrix]` has no choice answer_seed=0, model_seed=1"
        ),
        "{problem}"
    );
    let base = space.sides("base.toml", &[], by_seeds);
    let said = of(&space, &base, &[]).unwrap_err();
    assert!(said.contains("`base` has no axis of seeds"), "{said}");
    let crossed = space.sides("crossed.toml", &[], by_seeds);
    let said = of(&space, &crossed, &["modelseed"]).unwrap_err();
    assert!(said.contains("no recipe has an axis `modelseed`"), "{said}");
    assert!(said.contains("did you mean `model_seed`?"), "{said}");
}

#[test]
fn the_recipe_that_ships_is_tars_where_its_seeds_are_those_of_tars() {
    let recipes = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let load = |names: &[&str]| {
        let files: Vec<_> = names.iter().map(|name| recipes.join(name)).collect();
        Study::load(&files, &Overrides::default(), &REGISTRY)
            .unwrap_or_else(|diags| panic!("{}", diags.render(false)))
    };
    let tars = load(&["tars.toml"]).graph.nodes().len();
    let spread = load(&["spread.toml"]);
    // Eight evals, their answers and RL; four light SFTs; of each base five nodes, of each of the prompts three.
    assert_eq!(spread.graph.nodes().len(), 3 * 8 + 4 + 2 * 5 + 2 * 3);
    let both = load(&["tars.toml", "spread.toml"]).graph.nodes().len();
    assert_eq!(both, tars + spread.graph.nodes().len() - 12);
    let evaluations = |s: &Study| {
        let nodes = s.variants[0].loaded.graph.nodes().iter();
        let kinds: Vec<&str> = nodes.map(|n| n.kind.name).collect();
        kinds.iter().filter(|k| **k == "evaluate").count()
    };
    assert_eq!(evaluations(&spread), 1);
}
