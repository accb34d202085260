//! How searches of attacks go, on the page; and marks of the frontier that would hide each other.

use super::labels::page;
use crate::sides::{Rows, Space};
use pipe::base::claim::Axes;
use pipe::base::rows::AttackStep;
use pipe::engine::kind::Type;
use pipe::engine::store::record::Artifact;
use pipe::report::html::render;
use pipe::report::side::Side;

/// An attack on the model, which two widths have.
const ATTACKED: &str = r#"
extends = "base.toml"
name = "attacked"
[matrix]
size = [16, 32]
[vars]
size = 16
[node.model]
hidden_size = "${size}"
[node.attack]
kind = "gcg"
in = { model = "model", prompts = "prompts.eval" }
steps = 3
"#;

fn log(space: &Space, steps: &[(&str, u32, f64)]) -> Artifact {
    let lines = steps.iter().map(|(prompt, step, loss)| {
        let step = AttackStep {
            loss: Some(*loss),
            ..AttackStep::new(prompt, 0, *step, 7)
        };
        serde_json::to_string(&step).unwrap() + "\n"
    });
    let folder = tempfile::tempdir_in(space.dir.path()).unwrap();
    let path = folder.path().join("rows.jsonl");
    std::fs::write(&path, lines.collect::<String>()).unwrap();
    let blob = space.store.objects().take(&path, "rows.jsonl").unwrap();
    Artifact {
        ty: Type::AttackLog,
        digest: blob.digest.clone(),
        files: vec![blob],
    }
}

fn attacked(space: &Space) -> Vec<Side> {
    space.file("attacked.toml", ATTACKED);
    let mut sides = space.sides("attacked.toml", &["seed=0,1"], |_, _| None);
    for side in &mut sides {
        let later = f64::from(side.axes["seed"] == "1");
        // The second search ends at its first step; the first gets worse on its way and does not forget.
        let steps = [
            ("p0", 0, 4.0 + later),
            ("p0", 1, 6.0),
            ("p0", 2, 2.0 + later),
            ("p1", 0, 2.0 + later),
        ];
        let id = side.graph.find("attack").unwrap();
        let record = side.records.get_mut(&id).unwrap();
        record.outputs.insert("log".into(), log(space, &steps));
    }
    sides
}

#[test]
fn the_loss_of_a_search_is_drawn_by_step_with_its_seeds_behind() {
    let space = Space::new();
    let page = page(&space, attacked(&space));
    let [chart] = page.attacks.losses.as_slice() else {
        panic!("one attack: {}", page.attacks.losses.len());
    };
    assert_eq!(
        (&*chart.name, &*chart.title),
        ("search-loss-attack", "Loss of the search by step: attack")
    );
    let labels: Vec<&str> = chart.series.iter().map(|s| &*s.label).collect();
    assert_eq!(labels, ["size = 16", "size = 32"]);
    let series = &chart.series[0];
    let marks: Vec<(f64, f64)> = series.marks.iter().map(|m| (m.x, m.y)).collect();
    // Means of (4, 2) and (5, 3), then of (2, 2) and (3, 3).
    assert_eq!(marks, [(0.0, 3.5), (1.0, 3.5), (2.0, 2.5)]);
    assert_eq!(
        series.threads,
        [
            [(0.0, 3.0), (1.0, 3.0), (2.0, 2.0)],
            [(0.0, 4.0), (1.0, 4.0), (2.0, 3.0)]
        ]
    );
    let html = render::page(&page).unwrap();
    assert!(html.contains("id=\"attacks\"") && html.contains("href=\"#attacks\""));
}

#[test]
fn a_seed_whose_searches_end_at_their_first_step_stays_in_the_mean() {
    let space = Space::new();
    let mut sides = attacked(&space);
    for side in &mut sides {
        let id = side.graph.find("attack").unwrap();
        let record = side.records.get_mut(&id).unwrap();
        if side.axes["seed"] == "1" {
            let steps = [("p0", 0, 1.0), ("p1", 0, 2.0)];
            record.outputs.insert("log".into(), log(&space, &steps));
        }
        if side.axes["size"] == "32" {
            record
                .outputs
                .insert("log".into(), log(&space, &[("p0", 0, 1.0)]));
        }
    }
    let page = page(&space, sides);
    let series = &page.attacks.losses[0].series;
    let marks = |i: usize| -> Vec<(f64, f64)> {
        let marks = series[i].marks.iter();
        marks.map(|m| (m.x, m.y)).collect()
    };
    // Of the first seed 3, 3, 2; of the second 1.5 from its first step on.
    assert_eq!(marks(0), [(0.0, 2.25), (1.0, 2.25), (2.0, 1.75)]);
    assert_eq!(series[0].threads.len(), 2);
    assert_eq!(marks(1), [(0.0, 1.0)]);
    assert!(series[1].dots && !series[0].dots, "a point is no line");
}

#[test]
fn a_variant_that_another_recipe_has_as_well_is_in_the_legend_of_both() {
    let space = Space::new();
    let attack = "[node.attack]\nkind = \"gcg\"\nin = { model = \"model\", prompts = \"prompts.eval\" }\nsteps = 3\n";
    space.file(
        "plain.toml",
        &format!("extends = \"base.toml\"\nname = \"plain\"\n{attack}"),
    );
    let sweep = "extends = \"plain.toml\"\nname = \"sweep\"\n[matrix]\nlambda = [16, 32]\n[vars]\nlambda = 16\n\
                 [node.model]\nhidden_size = \"${lambda}\"\n";
    space.file("sweep.toml", sweep);
    let mut sides = space.sides("plain.toml", &[], |_, _| None);
    sides.extend(space.sides("sweep.toml", &[], |_, _| None));
    for side in &mut sides {
        let id = side.graph.find("attack").unwrap();
        let record = side.records.get_mut(&id).unwrap();
        let steps = [("p0", 0, 4.0), ("p0", 1, 2.0)];
        record.outputs.insert("log".into(), log(&space, &steps));
    }
    let page = page(&space, sides);
    let labels: Vec<&str> = page.attacks.losses[0]
        .series
        .iter()
        .map(|s| &*s.label)
        .collect();
    assert_eq!(labels, ["plain", "sweep, λ = 16", "sweep, λ = 32"]);
}

/// A log that names few steps, the last with the largest number that there is, is no longer than what it names.
#[test]
fn a_log_with_gaps_is_drawn_at_the_steps_that_it_has() {
    let space = Space::new();
    let mut sides = attacked(&space);
    for side in &mut sides {
        let id = side.graph.find("attack").unwrap();
        let record = side.records.get_mut(&id).unwrap();
        let steps = [("p0", 10, 4.0), ("p0", u32::MAX, 2.0), ("p1", 10, 2.0)];
        record.outputs.insert("log".into(), log(&space, &steps));
    }
    let page = page(&space, sides);
    let series = &page.attacks.losses[0].series[0];
    let marks: Vec<(f64, f64)> = series.marks.iter().map(|m| (m.x, m.y)).collect();
    assert_eq!(marks, [(10.0, 3.0), (f64::from(u32::MAX), 2.0)]);
}

/// The same numbers whatever the model.
fn alike(_: &str, _: &Axes) -> Option<Rows> {
    let row = |i: usize| {
        (
            format!("p{i}"),
            vec![("defense", 1.0), ("compliance", f64::from(i < 5))],
        )
    };
    Some((0..10).map(row).collect())
}

#[test]
fn marks_at_one_place_stand_beside_each_other_and_each_has_its_name() {
    let space = Space::new();
    let mut sides = vec![];
    for (i, size) in [16, 32, 48, 64].iter().enumerate() {
        let name = format!("m{i}.toml");
        space.file(
            &name,
            &format!(
                "extends = \"base.toml\"\nname = \"m{i}\"\n[node.model]\nhidden_size = {size}\n"
            ),
        );
        sides.extend(space.sides(&name, &[], alike));
    }
    let page = page(&space, sides);
    let chart = page.frontier.chart.as_ref().unwrap();
    for svg in [chart.inline(), chart.figure()] {
        let polygons = svg
            .lines()
            .filter_map(|l| l.split("<polygon points=\"").nth(1));
        let places = polygons.map(|p| {
            let points = p.split('"').next().unwrap().split(' ');
            let points: Vec<(f64, f64)> = points
                .map(|p| {
                    p.split_once(',')
                        .map(|(x, y)| (x.parse().unwrap(), y.parse().unwrap()))
                        .unwrap()
                })
                .collect();
            let n = points.len() as f64;
            let sum = points
                .iter()
                .fold((0.0, 0.0), |s, p| (s.0 + p.0, s.1 + p.1));
            (sum.0 / n, sum.1 / n)
        });
        // In the file the legend's follow.
        let places: Vec<(f64, f64)> = places.take(4).collect();
        for (i, a) in places.iter().enumerate() {
            for b in &places[i + 1..] {
                let apart = (a.0 - b.0).hypot(a.1 - b.1);
                assert!(apart > 9.0, "{a:?} {b:?}");
            }
        }
        for i in 0..4 {
            assert!(svg.contains(&format!(">m{i} eval</text>")), "{i}");
        }
        for tick in ["0 %", "20 %", "100 %"] {
            assert!(svg.contains(&format!(">{tick}</text>")), "{tick}");
        }
    }
}
