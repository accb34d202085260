//! Pictures of states on the page: a model each, of the first seed, with its numbers; a point leads to its prompt, and what a prompt says
//! is text.

use super::browser::{chromium, dump, result};
use super::figures::well_formed;
use super::labels::page;
use crate::sides::{Space, defense};
use pipe::base::picture::{PICTURES, POINTS, Picture, Pictures, Point};
use pipe::base::rows::{METRICS, Metric, Metrics, ROWS};
use pipe::engine::kind::Type;
use pipe::engine::store::record::Artifact;
use pipe::report::html::plot::Form;
use pipe::report::html::{Page, render};
use pipe::report::side::Side;
use serde_json::json;

/// Two models' states at the same prompts, of two seeds.
const STATES: &str = r#"
extends = "base.toml"
name = "states"
[matrix]
size = [16, 32]
seed = [3, 4]
[vars]
size = 16
[node.model]
hidden_size = "${size}"
[node.inside]
kind = "states"
in = { model = "model", prompts = "prompts.eval" }
[node.apart]
kind = "separation"
in = { states = "inside" }
"#;

const HOSTILE: &str = "</title><script>alert('1')</script> & <b>so</b>";

/// Forty points on two sides of x = 5.
fn points() -> Vec<Point> {
    let point = |i: usize| {
        let positive = i.is_multiple_of(2);
        let x = if positive { 7.0 } else { 3.0 } + (i % 5) as f32 * 0.2;
        let y = (i % 7) as f32;
        Point {
            id: format!("p{i}"),
            value: if positive { "harmful" } else { "ambiguous" }.into(),
            positive,
            fold: i % 5,
            score: if positive { 1.5 } else { -0.25 },
            silhouette: 0.5,
            x,
            y,
            all: vec![[x, y]; 3],
        }
    };
    (0..40).map(point).collect()
}

/// Three pictures, of which the second is shown; the last is parted by no line.
fn pictures() -> Pictures {
    let picture = |seed: u64, margin: Option<f64>| Picture {
        seed,
        margin,
        w: [1.0, 0.0],
        b: -5.0,
        accuracy: 0.95,
        silhouette: 0.4,
        trustworthiness: None,
    };
    Pictures {
        layer: 7,
        shown: 1,
        pictures: vec![
            picture(0, Some(1.5)),
            picture(1, Some(2.0)),
            picture(2, None),
        ],
    }
}

fn metrics(probe: f64) -> Metrics {
    let metric = |name: &str, unit: &str, value: f64, interval| Metric {
        name: name.into(),
        value,
        n: 40,
        interval,
        unit: unit.into(),
    };
    Metrics {
        metrics: vec![
            metric("probe", "auroc", probe, Some((probe - 0.1, probe + 0.05))),
            metric("probe/shuffled", "auroc", 0.52, None),
            metric("umap/margin", "margin", 1.75, None),
            metric("umap/margin/lowest", "margin", 1.5, None),
            metric("umap/margin/highest", "margin", 2.0, None),
            metric("umap/accuracy", "share", 0.95, None),
            metric("umap/unparted", "share", 1.0 / 3.0, None),
        ],
    }
}

fn artifact(space: &Space, ty: Type, files: &[(&str, String)]) -> Artifact {
    let folder = tempfile::tempdir_in(space.dir.path()).unwrap();
    let blobs = files.iter().map(|(name, text)| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        space.store.objects().take(&path, name).unwrap()
    });
    let files: Vec<_> = blobs.collect();
    Artifact {
        ty,
        digest: files[0].digest.clone(),
        files,
    }
}

fn lines(rows: impl Iterator<Item = String>) -> String {
    rows.map(|row| row + "\n").collect()
}

/// The sides of `STATES`, whose separations have files. The probe is better in the wide model, and in the later seed.
fn sides(space: &Space) -> Vec<Side> {
    space.file("states.toml", STATES);
    let mut sides = space.sides("states.toml", &[], |_, _| Some(defense(&[1.0; 3])));
    let rows = (0..40).map(|i| json!({ "id": format!("p{i}"), "prompt": prompt(i) }).to_string());
    let prompts = artifact(space, Type::States, &[(ROWS, lines(rows))]);
    for side in &mut sides {
        let wide = if side.axes["size"] == "32" { 0.1 } else { 0.0 };
        let later = if side.axes["seed"] == "4" { 0.1 } else { 0.0 };
        let told = metrics(0.7 + wide + later);
        let points = points()
            .into_iter()
            .map(|p| serde_json::to_string(&p).unwrap());
        let files = [
            (METRICS, serde_json::to_string(&told).unwrap()),
            (POINTS, lines(points)),
            (PICTURES, serde_json::to_string(&pictures()).unwrap()),
        ];
        let apart = side.graph.find("apart").unwrap();
        let inside = side.graph.find("inside").unwrap();
        let record = side.records.get_mut(&apart).unwrap();
        record
            .outputs
            .insert("metrics".into(), artifact(space, Type::Metrics, &files));
        let record = side.records.get_mut(&inside).unwrap();
        record.outputs.insert("states".into(), prompts.clone());
    }
    sides
}

/// One is long, one is hostile.
fn prompt(i: usize) -> String {
    match i {
        0 => HOSTILE.into(),
        1 => "long ".repeat(200),
        _ => format!("what of {i} ?"),
    }
}

fn made() -> (Space, Page) {
    let space = Space::new();
    let page = page(&space, sides(&space));
    (space, page)
}

#[test]
fn a_picture_a_model_of_the_first_seed_with_its_numbers() {
    let (_space, page) = made();
    let shown = &page.representations.shown;
    let labels: Vec<&str> = shown.iter().map(|s| &*s.label).collect();
    assert_eq!(labels, ["apart, size = 16", "apart, size = 32"]);
    assert_eq!(
        shown[1].caption,
        "Seed 3; layer 7; UMAP margin 1.750, the median of 2 pictures (1.500 to 2.000); in 1 of 3 the line parts nothing; \
         probe AUROC 0.800 [0.700, 0.850], 0.520 with shuffled labels."
    );
    let chart = &shown[0].chart;
    assert_eq!(
        (&*chart.name, chart.form),
        ("states-apart--size---16", Form::Map)
    );
    let counts: Vec<(&str, usize)> = chart
        .series
        .iter()
        .map(|s| (s.label.as_str(), s.marks.len()))
        .collect();
    assert_eq!(
        counts,
        [
            ("harmful", 20),
            ("ambiguous", 20),
            ("line between them, with its margin", 2)
        ]
    );
    let styles: Vec<usize> = chart.series.iter().map(|s| s.style).collect();
    assert!(styles[0] != styles[1] && styles[1] != styles[2] && styles[0] != styles[2]);
    // Upright at x = 5 through all points, the margin at 4 and 6.
    let line: Vec<(f64, f64)> = chart.series[2].marks.iter().map(|m| (m.x, m.y)).collect();
    assert_eq!(line, [(5.0, 0.0), (5.0, 6.0)]);
    assert_eq!(
        chart.series[2].threads,
        [[(4.0, 0.0), (4.0, 6.0)], [(6.0, 0.0), (6.0, 6.0)]]
    );
    // The table is over both seeds.
    let columns = &page.representations.columns;
    let probe = columns.iter().position(|c| c == "probe AUROC").unwrap();
    let cell = shown[0].cells[probe].as_ref().unwrap();
    assert!((cell.value - 0.75).abs() < 1e-12);
    assert_eq!((cell.seeds, shown[0].seeds), (2, 2));
    let silhouette = columns.iter().position(|c| c == "silhouette").unwrap();
    assert!(shown[0].cells[silhouette].is_none(), "it was not measured");
    let html = render::page(&page).unwrap();
    assert!(html.contains("id=\"representations\"") && html.contains("href=\"#representations\""));
    assert!(html.contains("<figcaption>Seed 3; layer 7; UMAP margin"));
}

#[test]
fn every_point_says_its_prompt_as_text_and_a_file_has_no_links() {
    let (_space, page) = made();
    let html = render::page(&page).unwrap();
    assert_eq!(html.matches("class=\"point\"").count(), 80);
    assert!(html.contains("<title>harmful, p2, probe +1.50\nwhat of 2 ?</title>"));
    assert!(html.contains("<title>ambiguous, p3, probe -0.25\nwhat of 3 ?</title>"));
    assert!(!html.contains("<b>") && !html.to_lowercase().contains("<script>alert"));
    assert!(html.contains("&lt;/title&gt;&lt;script&gt;alert"));
    assert!(!html.contains(&"long ".repeat(81)) && html.contains(&"long ".repeat(80)));
    let svg = page.representations.shown[0].chart.inline();
    well_formed(&svg).unwrap();
    let figures = page.figures();
    let figure = figures
        .iter()
        .find(|(name, _)| name == "states-apart--size---16.svg");
    let (_, figure) = figure.unwrap();
    well_formed(figure).unwrap();
    assert!(!figure.contains("href") && !figure.contains("what of"));
}

#[test]
fn states_that_are_gone_leave_ids_and_no_separation_leaves_no_section() {
    let space = Space::new();
    let mut sides = sides(&space);
    for side in &mut sides {
        let inside = side.graph.find("inside").unwrap();
        side.records.remove(&inside);
    }
    let html = render::page(&page(&space, sides)).unwrap();
    assert!(html.contains("<title>harmful, p2, probe +1.50</title>"));
    let none = space.sides("base.toml", &[], |_, _| Some(defense(&[1.0; 3])));
    let html = render::page(&page(&space, none)).unwrap();
    assert!(!html.contains("representations\"") && !html.contains("class=\"point\""));
}

#[test]
fn a_click_on_a_point_shows_its_prompt() {
    let Some(chromium) = chromium() else {
        return;
    };
    const CLICK: &str = r##"<script>
      const first = document.querySelector("a.point");
      first.dispatchEvent(new MouseEvent("click", { bubbles: true, cancelable: true }));
      const panel = document.getElementById("point-panel");
      const seen = { hidden: panel.hidden, text: panel.textContent, inside: panel.querySelectorAll("*").length,
        on: first.classList.contains("on"), hash: location.hash };
      const result = document.createElement("pre");
      result.id = "result";
      result.textContent = JSON.stringify(seen);
      document.body.append(result);
    </script></body>"##;
    let (space, page) = made();
    let file = space.dir.path().join("page.html");
    std::fs::write(
        &file,
        render::page(&page).unwrap().replace("</body>", CLICK),
    )
    .unwrap();
    let seen = result(&dump(&chromium, &file, space.dir.path()));
    assert_eq!(seen["hidden"], false);
    assert_eq!(seen["text"], format!("harmful, p0, probe +1.50\n{HOSTILE}"));
    assert_eq!(
        seen["inside"], 1,
        "a paragraph, and nothing of what the prompt says"
    );
    assert_eq!((&seen["on"], &seen["hash"]), (&json!(true), &json!("")));
}
