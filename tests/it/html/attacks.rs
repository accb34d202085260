//! Attacks on the page: which charts and series there are, that their numbers are the table's, and what is said beside them.

use super::labels::page;
use crate::sides::{Rows, Space};
use pipe::base::claim::Axes;
use pipe::report::html::plot::Chart;
use pipe::report::html::render;
use pipe::report::reading::{self, mean_of};
use pipe::report::side::Side;

/// A model that is wider along an axis.
const SIZES: &str = r#"
extends = "base.toml"
name = "sizes"
[matrix]
size = [16, 32]
[vars]
size = 16
[node.model]
hidden_size = "${size}"
"#;

const HOSTILE: &str = "success/attack/<b>x</b>";

/// Twenty prompts, of which `gcg` breaks the first so many and `pap` the last so many; a fifth of the answers to `pap` is unreadable.
fn attacked(gcg: usize, pap: usize) -> Rows {
    let row = |i: usize| {
        let (by_gcg, by_pap) = (f64::from(i < gcg), f64::from(i >= 20 - pap));
        let values = vec![
            ("success", (by_gcg + by_pap) / 2.0),
            ("success/attack/gcg", by_gcg),
            ("success/attack/pap", by_pap),
            ("success/mean", (by_gcg + by_pap) / 2.0),
            ("success/union", by_gcg.max(by_pap)),
            ("unreadable/defense/attack/gcg", 0.0),
            ("unreadable/defense/attack/pap", f64::from(i < 4)),
        ];
        (format!("p{i}"), values)
    };
    (0..20).map(row).collect()
}

/// Success within 10, 2, 1 and 4 tries, all names out of order.
fn within(more: f64) -> Rows {
    let row = |i: usize| {
        let often = f64::from(i.is_multiple_of(4)) + more;
        let values = vec![
            ("success", 0.1 * often),
            ("success/within/10", 0.5 * often),
            ("success/within/2", 0.2 * often),
            ("success/within/1", 0.1 * often),
            ("success/within/4", 0.4 * often),
        ];
        (format!("p{i}"), values)
    };
    (0..20).map(row).collect()
}

fn labels(chart: &Chart) -> Vec<&str> {
    chart.series.iter().map(|s| s.label.as_str()).collect()
}

#[test]
fn a_row_an_attack_and_a_series_a_model_with_the_intervals_of_seeds_and_prompts() {
    let space = Space::new();
    space.file("sizes.toml", SIZES);
    let measured = |_: &str, axes: &Axes| {
        let wide = if axes["size"] == "32" { 6 } else { 0 };
        let seed = usize::from(axes["seed"] == "1");
        Some(attacked(10 - wide + seed, 5))
    };
    let sides = || space.sides("sizes.toml", &["seed=0,1"], measured);
    let page = page(&space, sides());
    let [chart] = page.attacks.charts.as_slice() else {
        panic!("one node: {}", page.attacks.charts.len());
    };
    assert_eq!(
        (&*chart.name, &*chart.title),
        ("attacks-eval", "Success by attack: eval")
    );
    assert_eq!(chart.rows, ["gcg", "pap", "mean of attacks", "any attack"]);
    assert_eq!(labels(chart), ["size = 16", "size = 32"]);
    assert!(page.attacks.within.is_empty());

    // What every table says of the same records.
    let metrics = [
        "success/attack/gcg",
        "success/attack/pap",
        "success/mean",
        "success/union",
    ];
    for (series, size) in chart.series.iter().zip(["16", "32"]) {
        let sides = sides();
        let own = sides.iter().filter(|s: &&Side| s.axes["size"] == size);
        let read = |s: &Side| reading::read(&space.store, s.record("eval").unwrap()).unwrap();
        let readings: Vec<_> = own.map(read).collect();
        assert_eq!(readings.len(), 2);
        for (row, metric) in metrics.iter().enumerate() {
            let mean = mean_of(&readings, &[metric]).unwrap();
            let mark = &series.marks[row];
            assert_eq!(
                (mark.x, mark.y),
                (mean.value, row as f64),
                "{size} {metric}"
            );
            assert!(mark.x_interval.is_some() && mark.x_interval == mean.interval);
        }
    }
    // 10 and 11 of 20, then 4 and 5.
    assert!((chart.series[0].marks[0].x - 0.525).abs() < 1e-12);
    assert!((chart.series[1].marks[0].x - 0.225).abs() < 1e-12);

    // One answer in five to `pap` cannot be read, none to `gcg`.
    let numbers = &page.attacks.numbers;
    let told: Vec<(&str, &str, usize, usize)> = numbers
        .iter()
        .map(|n| (&*n.evaluation, &*n.what, n.success.n, n.success.seeds))
        .collect();
    assert_eq!(told.len(), 8);
    assert_eq!(told[0], ("eval, size = 16", "gcg", 20, 2));
    assert_eq!(told[7], ("eval, size = 32", "any attack", 20, 2));
    let beside = |i: usize| numbers[i].success.beside.and_then(|b| b.unreadable);
    assert_eq!((beside(0), beside(1)), (Some(0.0), Some(0.2)));
    assert_eq!(
        page.attacks.doubtful,
        ["eval, size = 16 (pap)", "eval, size = 32 (pap)"]
    );
    let html = render::page(&page).unwrap();
    assert!(html.contains("id=\"attacks\"") && html.contains("href=\"#attacks\""));
    assert!(html.contains("<td class=\"text\">any attack</td>"));
    assert!(html.contains("20.0 % unreadable"));
    assert!(html.contains("eval, size = 16 (pap); eval, size = 32 (pap)."));
}

#[test]
fn of_many_models_that_cannot_be_read_the_worst_are_named() {
    let space = Space::new();
    let many = SIZES.replace("[16, 32]", "[16, 20, 24, 28, 32, 36]");
    space.file("sizes.toml", &many);
    let sides = space.sides("sizes.toml", &[], |_, axes| {
        let lost = (axes["size"].parse::<usize>().unwrap() - 12) / 4;
        let mut rows = attacked(10, 5);
        for (i, (_, values)) in rows.iter_mut().enumerate() {
            values[5].1 = f64::from(i < lost);
        }
        Some(rows)
    });
    let page = page(&space, sides);
    // Of `gcg` 1 to 6 of 20 are lost, of `pap` always 4.
    let both = |size: usize| format!("eval, size = {size} (gcg, pap)");
    let pap = |size: usize| format!("eval, size = {size} (pap)");
    let expected = [both(36), both(32), pap(16), pap(20), "2 more".into()];
    assert_eq!(page.attacks.doubtful, expected);
}

#[test]
fn recipes_share_the_chart_of_a_node() {
    let space = Space::new();
    let mut sides = space.sides("base.toml", &[], |_, _| Some(attacked(10, 5)));
    sides.extend(space.sides("wide.toml", &[], |_, _| Some(attacked(2, 5))));
    let page = page(&space, sides);
    assert_eq!(page.attacks.charts.len(), 1);
    assert_eq!(labels(&page.attacks.charts[0]), ["base", "wide"]);
    let legend: Vec<&str> = page.attacks.series.iter().map(|k| &*k.label).collect();
    assert_eq!(legend, ["base", "wide"]);
    let evaluations: Vec<&str> = page
        .attacks
        .numbers
        .iter()
        .map(|n| &*n.evaluation)
        .collect();
    assert_eq!((evaluations[0], evaluations[4]), ("base eval", "wide eval"));
}

#[test]
fn success_within_k_is_a_curve_on_an_axis_that_doubles() {
    let space = Space::new();
    let mut sides = space.sides("base.toml", &[], |_, _| Some(within(0.0)));
    sides.extend(space.sides("wide.toml", &[], |_, _| Some(within(1.0))));
    let page = page(&space, sides);
    assert!(page.attacks.charts.is_empty(), "no attack has a name");
    let [chart] = page.attacks.within.as_slice() else {
        panic!("one node: {}", page.attacks.within.len());
    };
    assert_eq!(
        (&*chart.name, &*chart.title),
        ("within-eval", "Success within k tries: eval")
    );
    assert_eq!(labels(chart), ["base", "wide"]);
    let first = &chart.series[0];
    assert!(first.line && first.marks.iter().all(|m| m.y_interval.is_some()));
    let at: Vec<f64> = first.marks.iter().map(|m| m.x).collect();
    assert_eq!(at, [1.0, 2.0, 4.0, 10.0], "as numbers, not as texts");
    let rates: Vec<f64> = first.marks.iter().map(|m| m.y).collect();
    for (rate, expected) in rates.iter().zip([0.025, 0.05, 0.1, 0.125]) {
        assert!((rate - expected).abs() < 1e-12, "{rates:?}");
    }
    let whats: Vec<&str> = page.attacks.numbers.iter().map(|n| &*n.what).collect();
    assert_eq!(
        whats[..4],
        ["within 1", "within 2", "within 4", "within 10"]
    );
    let svg = chart.figure();
    let ticks = ["1", "2", "4", "8"].map(|k| tick(&svg, k));
    let steps: Vec<f64> = ticks.windows(2).map(|w| w[1] - w[0]).collect();
    assert!(steps[0] > 20.0, "{ticks:?}");
    assert!(
        steps.iter().all(|s| (s - steps[0]).abs() < 0.21),
        "to a tenth of a pixel: {ticks:?}"
    );
}

/// Where a number is written at the axis.
fn tick(svg: &str, text: &str) -> f64 {
    let line = svg
        .lines()
        .find(|l| l.ends_with(&format!(">{text}</text>")));
    let line = line.unwrap_or_else(|| panic!("no {text} in {svg}"));
    let x = line
        .split("x=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    x.unwrap().parse().unwrap()
}

#[test]
fn a_study_without_attacks_has_no_section_and_a_name_is_text() {
    let space = Space::new();
    let html = |rows: Rows| {
        let sides = space.sides("base.toml", &[], |_, _| Some(rows.clone()));
        render::page(&page(&space, sides)).unwrap()
    };
    let none = html(vec![("p0".into(), vec![("defense", 1.0)])]);
    assert!(!none.contains("id=\"attacks\"") && !none.contains("#attacks"));
    let hostile = html(vec![("p1".into(), vec![("success", 1.0), (HOSTILE, 1.0)])]);
    assert!(hostile.contains("id=\"attacks\"") && !hostile.contains("<b>"));
    assert!(hostile.contains("&lt;b&gt;x"));
}
