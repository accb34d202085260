//! Tables over seeds: cells, what is shared, what is missing, the formats.

use crate::sides::{Rows, Space, defense, first, refs};
use pipe::base::claim::Axes;
use pipe::report::closing;
use pipe::report::grid::{Grid, csv, grid, latex, page};
use pipe::report::reading::Over;
use pipe::report::side::Side;

fn of(space: &Space, sides: &[&Side], metrics: &[&str], nodes: &[&str]) -> Grid {
    let own = |names: &[&str]| -> Vec<String> { names.iter().map(|n| n.to_string()).collect() };
    grid(&space.store, sides, &own(metrics), &own(nodes)).unwrap_or_else(|e| panic!("{e:#}"))
}

/// 0.5, 0.6, 0.7 by seed.
fn by_seed(_: &str, axes: &Axes) -> Option<Rows> {
    let seed = axes.get("seed").map_or(0, |s| s.parse().unwrap());
    Some(defense(&first(5 + seed, 10)))
}

#[test]
fn a_mean_over_fewer_seeds_than_its_row_says_so() {
    let space = Space::new();
    let sides = space.sides("wide.toml", &["seed=0,1,2"], |name, axes| {
        let mut rows = by_seed(name, axes)?;
        if axes["seed"] == "1" {
            rows.iter_mut().for_each(|row| row.1[0].0 = "compliance");
        }
        Some(rows)
    });
    let text = page(&of(&space, &refs(&sides), &["defense"], &[])).text();
    assert!(text.contains("(2 of 3 seeds)"), "{text}");
    let text = page(&of(&space, &refs(&sides), &["compliance"], &[])).text();
    assert!(text.contains("(1 of 3 seeds)"), "{text}");
}

#[test]
fn a_cell_is_a_mean_over_seeds_and_its_interval() {
    let space = Space::new();
    let wide = space.sides("wide.toml", &["seed=0,1,2"], by_seed);
    let base = space.sides("base.toml", &[], by_seed);
    let all: Vec<&Side> = base.iter().chain(&wide).collect();
    let g = of(&space, &all, &[], &[]);
    let cell = g.rows[1].cells[0].as_ref().unwrap();
    assert_eq!((cell.over, cell.seeds, cell.n), (Over::Both, 3, 10));
    assert!((cell.mean - 0.6).abs() < 1e-12);
    // Over seeds alone 4.302653 · 0.1 / sqrt(3) = 0.248; with the prompts, of which eight never change, a little more, around a
    // middle that four prompts more move to 0.571.
    let (low, high) = cell.interval.unwrap();
    assert!(
        (0.25..0.33).contains(&low) && (0.8..0.9).contains(&high),
        "{low} {high}"
    );
    let one = g.rows[0].cells[0].as_ref().unwrap();
    assert_eq!(
        (one.over, one.interval),
        (Over::Prompts, Some((0.25, 0.75)))
    );
    assert_eq!(
        page(&g).text(),
        "\
recipe  evaluation  seeds  defense success, harmful, %
base    eval            1            50.0 [25.0, 75.0]
wide    eval            3            60.0 [29.2, 85.1]

[ ]: 95 % interval over seeds and prompts
[ ] of one seed: 95 % interval over prompts: says nothing about training noise
"
    );
    assert_eq!(
        csv(&g).unwrap().lines().collect::<Vec<_>>(),
        [
            "recipe,axes,evaluation,metric,unit,mean,low,high,over,seeds,n,unreadable,unfinished,unjudged,dropped,short"
                .to_string(),
            "base,,eval,defense,share,0.5,0.25,0.75,prompts,1,10,,,,,".to_string(),
            format!(
                "wide,,eval,defense,share,{},{low},{high},both,3,10,,,,,",
                cell.mean
            ),
        ]
    );
    assert_eq!(
        latex(&g),
        "\
\\begin{tabular}{llrr}
\\toprule
Recipe & Evaluation & Seeds & defense success, harmful, \\% \\\\
\\midrule
base & eval & 1 & $50.0 [25.0, 75.0]$ \\\\
wide & eval & 3 & $60.0 [29.2, 85.1]$ \\\\
\\bottomrule
\\end{tabular}
% [ ]: 95 % interval over seeds and prompts
% [ ] of one seed: 95 % interval over prompts: says nothing about training noise
"
    );
    let md = page(&g).markdown();
    assert!(
        md.contains("| wide | eval | 3 | 60.0 [29.2, 85.1] |\n"),
        "{md}"
    );
    let json = serde_json::to_value(&g).unwrap();
    assert_eq!(json["rows"][1]["cells"][0]["seeds"], 3);
    assert_eq!(json["metrics"][0]["metric"], "defense");
}

#[test]
fn variants_are_rows_and_seeds_are_not() {
    let space = Space::new();
    space.file(
        "under_score.toml",
        "extends = \"base.toml\"\n[matrix]\nmodel.hidden_size = [16, 32]\n",
    );
    let sweep = space.sides("under_score.toml", &["seed=0,1"], by_seed);
    let g = of(&space, &refs(&sweep), &[], &[]);
    let rows: Vec<_> = g.rows.iter().map(|r| (r.label(), r.seeds)).collect();
    assert_eq!(
        rows,
        [
            ("under_score model.hidden_size=16".to_string(), 2),
            ("under_score model.hidden_size=32".to_string(), 2),
        ]
    );
    let tex = latex(&g);
    assert!(
        tex.contains("under\\_score model.hidden\\_size=16 & eval"),
        "{tex}"
    );
}

#[test]
fn an_evaluation_of_several_recipes_stands_once_and_a_missing_one_is_named() {
    let space = Space::new();
    space.file(
        "more.toml",
        "extends = \"base.toml\"\n[node.more-answers]\nkind = \"generate\"\n\
         in = { model = \"model\", prompts = \"prompts.validation\" }\n\
         [node.more-eval]\nkind = \"evaluate\"\nin = { completions = \"more-answers\" }\n",
    );
    let base = space.sides("base.toml", &[], by_seed);
    let more = space.sides("more.toml", &[], |node, axes| match node {
        "more-eval" => None,
        _ => by_seed(node, axes),
    });
    let all: Vec<&Side> = base.iter().chain(&more).collect();
    let g = of(&space, &all, &["defense"], &[]);
    let rows: Vec<_> = g
        .rows
        .iter()
        .map(|r| (r.recipe.as_str(), r.node.as_str()))
        .collect();
    assert_eq!(rows, [("base", "eval"), ("more", "more-eval")]);
    assert_eq!(g.rows[0].also, ["more"]);
    assert!(g.rows[1].cells[0].is_none() && g.rows[1].seeds == 0);
    let text = page(&g).text();
    assert!(
        text.contains("  eval of base is also that of more\n"),
        "{text}"
    );
    // A variant is another one where its axis does not reach the node.
    let axis = ["more-answers.max_new_tokens=2,4"];
    let two = space.sides("more.toml", &axis, |node, axes| match node {
        "more-eval" => None,
        _ => by_seed(node, axes),
    });
    let variants: Vec<&Side> = two.iter().collect();
    let g = of(&space, &variants, &["defense"], &["eval"]);
    assert_eq!(g.rows.len(), 1);
    assert_eq!(g.rows[0].also, ["more more-answers.max_new_tokens=4"]);
    assert!(
        text.contains("`more` has no artifact of `more-eval`: pipe run "),
        "{text}"
    );
    assert!(csv(&g).unwrap().lines().count() == 2);
    let only = of(&space, &all, &[], &["more-eval"]);
    assert_eq!(only.rows.len(), 1);
}

#[test]
fn names_that_are_not_there_are_errors_with_a_tip() {
    let space = Space::new();
    let base = space.sides("base.toml", &[], by_seed);
    let told = |metrics: &[&str], nodes: &[&str]| {
        let own = |names: &[&str]| -> Vec<String> { names.iter().map(|n| n.to_string()).collect() };
        let found = grid(&space.store, &refs(&base), &own(metrics), &own(nodes));
        found.unwrap_err().to_string()
    };
    let said = told(&["defnse"], &[]);
    assert!(said.contains("nothing here measures `defnse`"), "{said}");
    assert!(said.contains("did you mean `defense`?"), "{said}");
    let said = told(&["xyz"], &[]);
    assert!(said.contains("there is `defense`"), "{said}");
    // What another node measures is asked for with its name; of many names a few are offered.
    let lengths = "extends = \"base.toml\"\n[node.lengths]\nkind = \"lengths\"\nin = { completions = \"answers\", model = \"model\" }\n";
    space.file("lengths.toml", lengths);
    let measured = |node: &str, _: &Axes| {
        let names = ["defense", "a", "b", "c", "d", "e", "f", "g"];
        let all = if node == "lengths" {
            &["words"]
        } else {
            &names[..]
        };
        Some(vec![(
            "p".to_string(),
            all.iter().map(|name| (*name, 0.5)).collect(),
        )])
    };
    let sides = space.sides("lengths.toml", &[], measured);
    let asked = |metric: &str, nodes: &[&str]| {
        let nodes: Vec<String> = nodes.iter().map(|n| n.to_string()).collect();
        grid(&space.store, &refs(&sides), &[metric.to_string()], &nodes)
    };
    let said = asked("words", &[]).unwrap_err().to_string();
    assert!(
        said.contains("no node that is shown measures `words`"),
        "{said}"
    );
    assert!(said.contains("`lengths` does: `--node lengths`"), "{said}");
    assert_eq!(asked("words", &["lengths"]).unwrap().rows.len(), 1);
    let said = asked("xyz", &[]).unwrap_err().to_string();
    assert!(said.contains(" and 3 more"), "{said}");
    let said = told(&[], &["evaal"]);
    assert!(said.contains("no recipe has a node `evaal`"), "{said}");
    assert!(said.contains("did you mean `eval`?"), "{said}");
}

/// Twelve widths, each evaluated twice, and a claim about the second evaluation of the last two.
const SIZES: &str = r#"
extends = "base.toml"
name = "sizes"
[matrix]
size = [16, 20, 24, 28, 32, 36, 40, 44, 48, 52, 56, 60]
[vars]
size = 16
[node.model]
hidden_size = "${size}"
[node.late-answers]
kind = "generate"
in = { model = "model", prompts = "prompts.deeper" }
[node.late-eval]
kind = "evaluate"
in = { completions = "late-answers" }
[[claim]]
about = "wider defends"
against = "sizes.toml"
node = "late-eval"
at = { size = 60 }
against_at = { size = 56 }
expect = [{ metric = "defense", is = "higher" }]
"#;

/// The last words of a run keep what claims compare, then every model once, and say what they leave out.
#[test]
fn of_many_evaluations_the_most_relevant_are_shown_and_the_others_named() {
    let space = Space::new();
    space.file("sizes.toml", SIZES);
    let measured = |_: &str, _: &Axes| {
        let mut rows = defense(&first(4, 10));
        for (i, (_, values)) in rows.iter_mut().enumerate() {
            values.push(("unreadable", f64::from(i < 5)));
        }
        Some(rows)
    };
    let sides = space.sides("sizes.toml", &[], measured);
    let told = closing::several(&space.store, &refs(&sides), 1000, "pipe table sizes.toml");
    let told = told.unwrap();
    assert!(!told.whole);
    let row = |size: usize, node: &str| {
        let words = |l: &str| l.split_whitespace().map(String::from).collect::<Vec<_>>();
        let wanted = ["sizes".to_string(), format!("size={size}"), node.into()];
        told.text.lines().any(|l| words(l).starts_with(&wanted))
    };
    for size in (16..=60).step_by(4) {
        assert!(row(size, "eval"), "{size}: {}", told.text);
        let kept = size <= 36 || size >= 56;
        assert_eq!(row(size, "late-eval"), kept, "{size}: {}", told.text);
    }
    let left = "\n4 more evaluations, 4 of them with such a warning, of `sizes size=40`, `sizes size=44`, `sizes size=48`, `sizes size=52`: pipe table sizes.toml\n";
    assert!(told.text.contains(left), "{}", told.text);
    assert_eq!(told.text.matches("warning: ").count(), 1);
    let warning = "\nwarning: many answers of 20 evaluations are unreadable";
    assert!(told.text.contains(warning), "{}", told.text);
    let few = closing::several(&space.store, &refs(&sides[..2]), 1000, "pipe table").unwrap();
    assert!(
        few.whole && !few.text.contains("pipe table"),
        "{}",
        few.text
    );
}
