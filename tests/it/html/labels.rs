//! Charts by label: where defense and compliance begin to differ between evaluations and recipes, with the numbers of claims and tables.

use crate::sides::{BASE, Rows, Space, refs};
use pipe::base::claim::Axes;
use pipe::report::compare::numbers::together;
use pipe::report::compare::{Asked, compare};
use pipe::report::grid;
use pipe::report::html::plot::Chart;
use pipe::report::html::{Options, Page, render};
use pipe::report::metrics::difference;
use pipe::report::reading::{self, mean_of};
use pipe::report::side::Side;

/// Names of metrics by number of lookups: defense, compliance, words of reasoning.
const LOOKUPS: [[&str; 3]; 3] = [
    [
        "defense/lookups/0",
        "compliance/lookups/0",
        "reasoning/lookups/0",
    ],
    [
        "defense/lookups/2",
        "compliance/lookups/2",
        "reasoning/lookups/2",
    ],
    [
        "defense/lookups/10",
        "compliance/lookups/10",
        "reasoning/lookups/10",
    ],
];

/// Twenty harmful and twenty harmless prompts by number of lookups, of each as many good as is said; words of reasoning on all.
fn measured(good: [usize; 3], words: f64) -> Rows {
    let mut rows = vec![];
    for ([defense, compliance, reasoning], good) in LOOKUPS.iter().zip(good) {
        for i in 0..20 {
            let value = f64::from(i < good);
            let harmful = vec![
                ("defense", value),
                (*defense, value),
                (*reasoning, words * (1 + i % 3) as f64),
            ];
            rows.push((format!("{defense} {i}"), harmful));
            let value = f64::from(i < 18);
            let harmless = vec![
                ("compliance", value),
                (*compliance, value),
                (*reasoning, words * (1 + i % 3) as f64),
            ];
            rows.push((format!("{compliance} {i}"), harmless));
        }
    }
    rows
}

/// Tokens that a `lengths` node counted are drawn by class and by label, with the interval over seeds, beside the words of evaluations.
#[test]
fn lengths_in_tokens_are_drawn_by_class_and_category() {
    let space = Space::new();
    let lengths = "[node.counted]\nkind = \"lengths\"\nin = { completions = \"answers\", model = \"model\" }\n";
    space.file("base.toml", &format!("{BASE}{lengths}"));
    let sides = space.sides("base.toml", &["seed=0,1"], |node, axes| {
        let more = axes["seed"].parse::<f64>().unwrap();
        let row = |i: usize| {
            let (hard, tokens) = (i % 2 == 1, 100.0 + 50.0 * (i % 2) as f64 + more + i as f64);
            let class = if hard {
                "reasoning/tokens/ambiguous"
            } else {
                "reasoning/tokens/harmful"
            };
            let kind = if hard {
                "reasoning/tokens/type/advice"
            } else {
                "reasoning/tokens/type/hate"
            };
            let named = ["reasoning/tokens", class, kind];
            (format!("p{i}"), named.map(|name| (name, tokens)).to_vec())
        };
        match node {
            "counted" => Some((0..20).map(row).collect()),
            _ => Some(measured([10, 5, 4], 3.0)),
        }
    });
    let page = page(&space, sides);
    let names: Vec<&str> = page
        .reasoning
        .charts
        .iter()
        .map(|c| c.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "reasoning-lookups",
            "reasoning-tokens-class",
            "reasoning-tokens-type"
        ]
    );
    let [_, class, kind] = page.reasoning.charts.as_slice() else {
        panic!("three charts");
    };
    assert_eq!(
        (&class.rows[..], &kind.rows[..]),
        (
            &["ambiguous".to_string(), "harmful".into()][..],
            &["advice".to_string(), "hate".into()][..]
        )
    );
    for chart in [class, kind] {
        let marks = &chart.series[0].marks;
        // Of the second seed a token more; 150 and 100, and the mean place of the odd and of the even prompts.
        assert_eq!((marks[0].x, marks[1].x), (160.5, 109.5));
        let (low, high) = marks[0].x_interval.expect("the values were kept");
        assert!(low < 160.5 && 160.5 < high);
    }
}

/// By form: code is defended as the wide model does; forms and types are one label under two names.
fn by_form(good: usize) -> Rows {
    let names = [
        ["defense/form/plain", "defense/type/plain"],
        ["defense/form/code", "defense/type/code"],
    ];
    let mut rows = vec![];
    for (names, good) in names.iter().zip([20, good]) {
        for i in 0..20 {
            let value = f64::from(i < good);
            let both = names.map(|name| (name, value)).to_vec();
            rows.push((format!("{} {i}", names[0]), both));
            let other = names[0].replace("defense", "compliance");
            let names = match other.ends_with("plain") {
                true => ["compliance/form/plain", "compliance/type/plain"],
                false => ["compliance/form/code", "compliance/type/code"],
            };
            rows.push((format!("{other} {i}"), names.map(|n| (n, 1.0)).to_vec()));
        }
    }
    rows
}

pub fn page(space: &Space, sides: Vec<Side>) -> Page {
    let options = Options {
        samples: 0,
        given: vec![],
    };
    Page::gather(&space.store, &sides, &[], &options).unwrap()
}

#[test]
fn a_chart_by_label_has_the_numbers_of_the_table_and_of_claims() {
    let space = Space::new();
    let seeds = ["seed=0,1"];
    let base = |_: &str, axes: &Axes| {
        let more = usize::from(axes["seed"] == "1");
        Some(measured([10 + more, 5, 4], 0.0))
    };
    let wide = |_: &str, axes: &Axes| {
        let more = usize::from(axes["seed"] == "1");
        Some(measured([11, 19, 20 - more], 12.0))
    };
    let both = || {
        let mut sides = space.sides("base.toml", &seeds, base);
        sides.extend(space.sides("wide.toml", &seeds, wide));
        sides
    };
    let sides = both();
    let page = page(&space, both());
    let [split] = page.apart.labels.as_slice() else {
        panic!("one label: {}", page.apart.labels.len());
    };
    let chart = &split.chart;
    assert_eq!((&*chart.name, &*chart.x.label), ("mean-lookups", "lookups"));
    let labels: Vec<&str> = chart.series.iter().map(|s| s.label.as_str()).collect();
    assert_eq!(labels, ["base eval", "wide eval"]);
    let styles = |c: &Chart| -> Vec<(String, usize)> {
        let each = c.series.iter();
        each.map(|s| (s.label.clone(), s.style)).collect()
    };
    let frontier = page.frontier.chart.as_ref().unwrap();
    assert_eq!(styles(chart), styles(frontier));
    let at: Vec<f64> = chart.series[0].marks.iter().map(|m| m.x).collect();
    assert_eq!(at, [0.0, 2.0, 10.0], "as numbers, not as texts");

    // Against what claims on the mean and tables say of the same records.
    let (first, second) = sides.split_at(2);
    let found = compare(&space.store, &refs(first), &refs(second), &Asked::default());
    let found = found.unwrap();
    let read = |sides: &[Side]| -> Vec<reading::Reading> {
        let record = |s: &Side| reading::read(&space.store, s.record("eval").unwrap()).unwrap();
        sides.iter().map(record).collect()
    };
    let asked = LOOKUPS.map(|[_, _, words]| words.to_string());
    let table = grid::grid(&space.store, &refs(&sides), &asked, &[]).unwrap();
    let mut differences = vec![];
    for (i, [defense, compliance, words]) in LOOKUPS.iter().enumerate() {
        let numbers = |name: &str| {
            let all = &found[0].evaluations[0].metrics;
            let metric = all.iter().find(|m| m.metric == name).unwrap();
            metric.numbers.clone().unwrap()
        };
        let parts = [numbers(defense), numbers(compliance)];
        let claimed = together(&[("share", &parts[0]), ("share", &parts[1])]).unwrap();
        for (side, sides, value) in [(0, first, claimed.first), (1, second, claimed.second)] {
            let mark = &chart.series[side].marks[i];
            assert!((mark.y - value).abs() < 1e-12, "{} and {value}", mark.y);
            let (low, high) = mark.y_interval.expect("the values were kept");
            assert!(low < value && value < high);
            let mean = mean_of(&read(sides), &[defense, compliance]).unwrap();
            assert_eq!((mean.value, mean.interval), (mark.y, mark.y_interval));
            assert_eq!((mean.seeds, mean.n), (2, 40));
        }
        differences.push(difference("share", claimed.difference, claimed.interval));
        // Reasoning is drawn as the table has it.
        let mark = &page.reasoning.charts[0].series[0].marks[i];
        let cell = table.rows[1].cells[i].as_ref().unwrap();
        assert_eq!(
            (mark.x, mark.y, mark.y_interval),
            (at[i], cell.mean, cell.interval)
        );
        assert_eq!(table.metrics[i].metric, *words);
    }
    assert_eq!(page.reasoning.silent, ["base eval"]);
    assert_eq!(page.reasoning.charts.len(), 1);
    assert_eq!(page.reasoning.charts[0].name, "reasoning-lookups");

    // Where they part, in the words of the same numbers.
    let [none, some, most] = differences.as_slice() else {
        panic!("three values");
    };
    assert_eq!(
        split.said,
        [format!(
            "`eval`, wide against base: at lookups 0 the difference is {none}, at 10 {most}; 2 is the first value at which its \
             interval leaves 0 out ({some})."
        )]
    );
    let html = render::page(&page).unwrap();
    assert!(html.contains("2 is the first value at which") && html.contains("href=\"#labels\""));
}

#[test]
fn a_mark_of_rates_says_what_of_its_answers_cannot_be_read() {
    let space = Space::new();
    let sides = space.sides("base.toml", &[], |_, _| {
        let mut rows = measured([10, 5, 4], 0.0);
        for (i, (_, values)) in rows.iter_mut().enumerate() {
            values.push(("unreadable/harmful", f64::from(i.is_multiple_of(20))));
        }
        Some(rows)
    });
    let page = page(&space, sides);
    let about = page.apart.labels[0].chart.series[0].marks[0]
        .about
        .as_deref();
    let about = about.unwrap();
    assert!(about.starts_with("lookups 0: 70.0 % ["), "{about}");
    assert!(
        about.ends_with(", n 40, 1 seed; defense: 5.0 % unreadable"),
        "{about}"
    );
}

#[test]
fn what_does_not_part_says_so_and_one_recipe_says_nothing() {
    let space = Space::new();
    let sides = |good: [usize; 3]| {
        let mut sides = space.sides("base.toml", &[], |_, _| Some(measured([10, 10, 10], 1.0)));
        sides.extend(space.sides("wide.toml", &[], |_, _| Some(measured(good, 1.0))));
        sides
    };
    let said = |good| page(&space, sides(good)).apart.labels[0].said.concat();
    let none = said([10, 11, 10]);
    assert!(
        none.ends_with("; at no value does its interval leave 0 out."),
        "{none}"
    );
    let at_once = said([20, 20, 20]);
    assert!(
        at_once.contains("; 0 is the first value at which"),
        "{at_once}"
    );
    let alone = page(&space, sides([20, 20, 20]).drain(..1).collect());
    assert_eq!(alone.apart.labels[0].said, [""; 0]);
    assert_eq!(alone.apart.labels[0].chart.series[0].label, "eval");
}

#[test]
fn values_without_an_order_are_rows_and_a_category_that_a_label_repeats_is_one_chart() {
    let space = Space::new();
    let mut sides = space.sides("base.toml", &[], |_, _| Some(by_form(2)));
    sides.extend(space.sides("wide.toml", &[], |_, _| Some(by_form(20))));
    let page = page(&space, sides);
    let [split] = page.apart.labels.as_slice() else {
        panic!("one label: {}", page.apart.labels.len());
    };
    assert_eq!(split.chart.name, "mean-form");
    assert_eq!(split.chart.rows, ["code", "plain"]);
    let marks = &split.chart.series[0].marks;
    assert_eq!((marks[0].x, marks[0].y), (0.55, 0.0));
    assert_eq!((marks[1].x, marks[1].y), (1.0, 1.0));
    assert!(marks[0].x_interval.is_some() && marks[0].y_interval.is_none());
    let said = split.said.concat();
    assert!(
        said.contains("leaves 0 out at form code (+45.0 points ["),
        "{said}"
    );
    assert!(!said.contains("plain"), "{said}");
    assert!(page.reasoning.charts.is_empty() && page.reasoning.silent.is_empty());
}

#[test]
fn evaluations_with_other_labels_share_a_legend() {
    let space = Space::new();
    let mut sides = space.sides("base.toml", &[], |_, _| Some(by_form(2)));
    sides.extend(space.sides("wide.toml", &[], |_, _| Some(measured([1, 2, 3], 1.0))));
    let page = page(&space, sides);
    let drawn = |i: usize| -> Vec<&str> {
        let series = page.apart.labels[i].chart.series.iter();
        series.map(|s| s.label.as_str()).collect()
    };
    assert_eq!((drawn(0), drawn(1)), (vec!["wide eval"], vec!["base eval"]));
    let legend: Vec<&str> = page.apart.series.iter().map(|k| &*k.label).collect();
    assert_eq!(legend, ["wide eval", "base eval"]);
    let said: Vec<_> = page.apart.labels.iter().map(|l| l.said.len()).collect();
    assert_eq!(said, [0, 0], "nothing that both measure parts them");
}

#[test]
fn one_value_of_a_label_and_one_of_the_two_measures_are_no_chart() {
    let space = Space::new();
    let one = |rows: Rows| {
        page(
            &space,
            space.sides("base.toml", &[], |_, _| Some(rows.clone())),
        )
        .apart
    };
    let rows = measured([1, 2, 3], 0.0);
    let kept = |words: &[&str]| -> Rows {
        let row = |(id, values): &(String, Vec<(&'static str, f64)>)| {
            let fits = |name: &str| words.iter().any(|w| name.contains(w));
            let values = values.iter().filter(|(name, _)| fits(name)).copied();
            (id.clone(), values.collect())
        };
        rows.iter().map(row).collect()
    };
    assert_eq!(one(kept(&["/0"])).labels.len(), 0);
    assert_eq!(one(kept(&["defense"])).labels.len(), 0);
    assert_eq!(one(kept(&["/0", "/2"])).labels.len(), 1);
}
