//! The page of a report on a small study made by hand: what is on it, that it needs nothing else and runs nothing that a
//! model said, that it is the same bytes every time; and the page in a browser, where there is one.

mod attacks;
mod browser;
mod figures;
mod labels;
mod representations;
mod searches;
mod story;

use pipe::base::hash::Key;
use pipe::base::rows::{METRICS, Metric, Metrics, ROWS};
use pipe::engine::graph::NodeId;
use pipe::engine::store::Store;
use pipe::engine::store::record::{Artifact, Cost, Provenance, Record};
use pipe::kinds::REGISTRY;
use pipe::recipe::{self, Loaded, Overrides};
use pipe::report::html::{Options, Page, Source, render};
use pipe::report::side::Side;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tempfile::TempDir;

/// What a model may say, and a recipe's author may write.
const HOSTILE: &str = "</script><script>alert('1')</script><img src=x onerror=alert(2)> & \u{2028}";

const RECIPE: &str = r#"
name = "small"
description = "two <b>evaluations</b>"
[vars]
lambda = 0.5
seed = 0
[matrix]
lambda = [0.7, 0.3]
seed = [0, 1]
[node.untrained]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 16
[node.prompts]
kind = "world-prompts"
[node.mix]
kind = "mix"
in = { prompts = "prompts.rl" }
lambda = "${lambda}"
total = 8
[node.rl]
kind = "grpo"
in = { model = "untrained", prompts = "mix" }
reward = { harmful = "safety", harmless = "task", ambiguous = "task" }
steps = 4
seed = "${seed}"
[node.base-answers]
kind = "generate"
in = { model = "untrained", prompts = "prompts.eval" }
[node.rl-answers]
kind = "generate"
in = { model = "rl", prompts = "prompts.eval" }
[node.base-eval]
kind = "evaluate"
in = { completions = "base-answers" }
[node.rl-eval]
kind = "evaluate"
description = "HOSTILE"
in = { completions = "rl-answers" }
"#;

#[test]
fn every_section_stands_on_the_page_and_shared_nodes_are_one_box() {
    let study = Study::new();
    let html = study.html();
    for section in [
        "frontier",
        "evaluations",
        "claims",
        "reasoning",
        "curves",
        "graph",
        "samples",
        "provenance",
    ] {
        assert_eq!(
            html.matches(&format!("id=\"{section}\"")).count(),
            1,
            "{section}"
        );
        assert!(
            html.contains(&format!("href=\"#{section}\"")),
            "{section} is in the contents"
        );
    }
    assert!(
        html.contains("no benchmark result"),
        "the built-in world is named as one"
    );
    for width in ["broad", "narrow"] {
        let graph = html.split(&format!("<svg class=\"graph {width}\"")).nth(1);
        let graph = graph.unwrap().split("</svg>").next().unwrap();
        let boxes = graph.matches(" data-node=").count();
        assert_eq!(
            boxes, 8,
            "a box a node of the recipe, whatever its variants"
        );
    }
    assert!(html.contains("rl ×4") && html.contains("mix ×2"));
    assert_eq!(html.matches("<details class=\"entry\">").count(), 8);
    let key = study.record("rl", 1).key.to_string();
    assert!(html.contains(&key), "every variant's key is there");
}

#[test]
fn nothing_is_loaded_from_elsewhere() {
    let html = Study::new().html();
    let lower = html.to_lowercase();
    for word in [
        "http:", "https:", "src=", "<link", "@import", "url(", "//cdn", "<iframe",
    ] {
        // What a model said is text and loads nothing.
        let said = lower.replace("src=x", "").replace("src&#x3d;x", "");
        assert!(!said.contains(word), "{word}");
    }
    assert!(
        html.contains("default-src 'none'"),
        "the browser is told as well"
    );
}

#[test]
fn what_a_model_or_a_recipe_says_is_text() {
    let html = Study::new().html();
    let lower = html.to_lowercase();
    assert_eq!(
        lower.matches("<script").count(),
        2,
        "the data and the script of the page"
    );
    assert_eq!(lower.matches("</script").count(), 2);
    assert!(!lower.contains("<img"));
    assert!(!html.contains("<b>"));
    let data = html.split("id=\"data\">").nth(1).unwrap();
    let data: Value = serde_json::from_str(data.split("</script>").next().unwrap()).unwrap();
    let answers = data["prompts"].as_array().unwrap().iter();
    let said: Vec<&str> = answers
        .flat_map(|p| p[4].as_array().unwrap())
        .map(|a| a[3].as_str().unwrap())
        .collect();
    assert!(said.contains(&HOSTILE), "it arrives as it was said");
    assert!(
        html.contains("&lt;script&gt;alert"),
        "and it stands on the page itself"
    );
}

#[test]
fn the_same_store_gives_the_same_bytes() {
    let study = Study::new();
    assert_eq!(study.html(), study.html());
    let one = study.page().figures();
    assert_eq!(one, study.page().figures());
}

#[test]
fn a_method_is_a_line_over_lambda_and_a_point_is_a_mean_over_seeds() {
    let page = Study::new().page();
    let points: Vec<(&str, Option<f64>, f64, usize)> = page
        .frontier
        .points
        .iter()
        .map(|p| {
            (
                p.method.as_str(),
                p.lambda,
                p.defense.value,
                p.defense.seeds,
            )
        })
        .collect();
    assert_eq!(points.len(), 3, "{points:?}");
    assert_eq!(points[0], ("base", None, 0.25, 1));
    // 0.3 + 0.1 * seed at λ 0.3, 0.7 + 0.1 * seed at λ 0.7.
    assert_eq!(
        (points[1].0, points[1].1, points[1].3),
        ("rl", Some(0.3), 2)
    );
    assert!((points[1].2 - 0.35).abs() < 1e-12 && (points[2].2 - 0.75).abs() < 1e-12);
    let (low, high) = page.frontier.points[1].defense.interval.unwrap();
    assert_eq!(low, 0.0, "a share is not below 0");
    let t = 12.706_204_736;
    assert!(
        (high - (0.35 + t * 0.05)).abs() < 0.15,
        "about t over two seeds: {high}"
    );
    let chart = page.frontier.chart.as_ref().unwrap();
    let lines: Vec<bool> = chart.series.iter().map(|s| s.line).collect();
    assert_eq!(lines, [false, true]);
    assert_eq!(
        page.frontier.points[0].defense.interval,
        Some((0.2, 0.3)),
        "of one seed, its own"
    );
}

#[test]
fn curves_are_means_of_few_points_with_their_seeds_behind() {
    let page = Study::new().page();
    let group = &page.curves.groups[0];
    assert_eq!((group.steps.as_slice(), group.seeds), (&[10, 10][..], 2));
    assert_eq!(group.points, "A point is the mean of what 10 steps logged.");
    let names: Vec<&str> = group.charts.iter().map(|c| c.name.as_str()).collect();
    assert_eq!(
        names,
        ["curve-rl-reward", "curve-rl-kl"],
        "only what was measured"
    );
    let reward = &group.charts[0].series;
    assert_eq!(reward.len(), 2, "a line a λ");
    assert_eq!((reward[0].marks.len(), reward[0].threads.len()), (100, 2));
    // The reward is the step plus the seed: the first ten have the mean 5.5, the mean over both seeds is half more.
    let first = &reward[0].marks[0];
    assert_eq!((first.x, first.y), (5.5, 6.0));
    assert_eq!(reward[0].threads[1][0], (5.5, 6.5));
}

#[test]
fn rewards_of_seeds_are_measured_in_one_way_and_of_other_rules_not() {
    let of = |param: &str, axis: &str| {
        let mut study = Study::new();
        for side in &mut study.sides {
            let id = side.graph.find("rl").unwrap();
            let record = side.records.get_mut(&id).unwrap();
            record.manifest += &format!("param {param} = {}\n", side.axes[axis]);
        }
        study.page().curves.remarks
    };
    let both = "the rewards of rl, λ = 0.3 and the rewards of rl, λ = 0.7";
    for (param, axis, said) in [
        ("max_new_tokens", "seed", None),
        ("validation_samples", "lambda", None),
        ("truncated", "lambda", Some("0.3 -> 0.7")),
    ] {
        let said = said.map(|said| {
            format!("{both} are not measured in the same way: parameter `{param}`: {said}")
        });
        assert_eq!(of(param, axis), said.into_iter().collect::<Vec<_>>());
    }
}

impl Study {
    /// The curve of `rl` in one variant.
    fn with_curve(&mut self, side: usize, curve: String) {
        let none = (METRICS, r#"{"metrics":[]}"#.to_string());
        let metrics = self.artifact("metrics", &[none, ("curve.jsonl", curve)]);
        let id = self.sides[side].graph.find("rl").unwrap();
        let record = self.sides[side].records.get_mut(&id).unwrap();
        record.outputs.insert("metrics".into(), metrics);
    }
}

/// Half as many steps, every fifth of them.
fn sparse() -> String {
    let steps = (5..=500).step_by(5);
    let line = |step: u32| format!("{}\n", json!({ "step": step, "reward": step + 1 }));
    steps.map(line).collect()
}

#[test]
fn runs_that_are_shorter_or_log_less_have_their_points_at_the_same_steps() {
    let mut study = Study::new();
    // The second seed of the first λ.
    study.with_curve(1, sparse());
    let page = study.page();
    let rewards: Vec<_> = page
        .curves
        .runs
        .iter()
        .map(|r| &r.curves["reward"])
        .collect();
    assert!(rewards.iter().all(|(wide, _)| *wide == 10));
    let lengths: Vec<usize> = rewards.iter().map(|(_, points)| points.len()).collect();
    let short = lengths
        .iter()
        .position(|n| *n == 50)
        .expect("a run is shorter");
    // 5 and 10, and 1 more.
    assert_eq!(rewards[short].1[0], (5.5, 8.5));
    assert_eq!(lengths.iter().filter(|n| **n == 100).count(), 3);
    // The mean is of both as far as both go.
    let series = &page.curves.groups[0].charts[0].series;
    let broken: Vec<usize> = series.iter().map(|s| s.marks.len()).collect();
    assert!(broken == [50, 100] || broken == [100, 50], "{broken:?}");
    let own = &series[broken.iter().position(|n| *n == 50).unwrap()];
    assert_eq!((own.marks[0].x, own.marks[0].y), (5.5, 7.0));

    let wide = (1..=10).map(|i| format!("{}\n", json!({ "step": 100 * i, "reward": i })));
    study.with_curve(1, wide.collect());
    let page = study.page();
    assert!(page.curves.runs.iter().all(|r| r.curves["reward"].0 == 100));
    // Of what the others log every step there is no less to be seen.
    let group = &page.curves.groups[0];
    assert_eq!(group.steps, [100, 10]);
    let points: Vec<usize> = group
        .charts
        .iter()
        .map(|c| c.series[1].marks.len())
        .collect();
    assert_eq!(points, [10, 100]);
    let said = "A point is the mean of what so many steps logged: 100 of reward; 10 of KL to the reference, nats a token.";
    assert_eq!(group.points, said);
    assert!(render::page(&page).unwrap().contains(said));
}

#[test]
fn what_cannot_be_read_of_a_curve_is_named_and_the_rest_is_drawn() {
    let mut study = Study::new();
    let line = |step: u32| format!("{}\n", json!({ "step": step, "reward": step }));
    study.with_curve(
        0,
        format!("{}\n{{\"step\": 2, \"reward\": NaN}}\n{}", line(1), line(3)),
    );
    study.with_curve(1, format!("{}no\nno\n", line(1)));
    let page = study.page();
    let runs = page.curves.runs.iter().map(|r| r.curves["reward"].1.len());
    assert_eq!(
        runs.collect::<Vec<_>>().iter().filter(|n| **n < 10).count(),
        2,
        "two runs are short"
    );
    let remarks = page.curves.remarks.join("\n");
    assert_eq!(page.curves.remarks.len(), 2, "{remarks}");
    for said in [
        "`rl`: curve.jsonl, line 3, is left out: it is no JSON object: expected value",
        "`rl`: curve.jsonl: 2 lines are left out, the first of them line 2: it is no JSON object",
    ] {
        assert!(remarks.contains(said), "{remarks}");
    }
    let html = render::page(&page).unwrap();
    assert!(html.contains("! `rl`: curve.jsonl, line 3, is left out"));
    assert!(html.contains("id=\"provenance\""), "the page is whole");
}

#[test]
fn a_training_that_logs_other_quantities_can_be_compared_and_fails_no_page() {
    let mut study = Study::new();
    for side in 0..4 {
        study.with_curve(side, "{\"step\":1,\"train_loss\":2.5}\n".into());
    }
    let page = study.page();
    assert!(page.curves.groups.is_empty() && page.curves.some);
    assert_eq!(
        page.curves.runs[0].curves["train_loss"],
        (1, vec![(1.0, 2.5)])
    );
    let html = render::page(&page).unwrap();
    assert!(
        html.contains("id=\"compare\"") && !html.contains("No training node has an artifact yet.")
    );
}

#[test]
fn reasoning_is_drawn_by_class_and_every_label_of_models_that_reason() {
    let page = Study::new().page();
    assert_eq!(page.reasoning.silent, ["base"]);
    let [lookups, class, form] = page.reasoning.charts.as_slice() else {
        panic!("a chart a label");
    };
    let line: Vec<(f64, f64)> = lookups.series[0].marks.iter().map(|m| (m.x, m.y)).collect();
    assert_eq!(line, [(0.0, 2.0), (1.0, 3.0)]);
    assert_eq!(form.rows, ["code", "plain"]);
    assert_eq!(class.rows, ["ambiguous", "harmful"]);
    let of_class: Vec<f64> = class.series[0].marks.iter().map(|m| m.x).collect();
    assert_eq!(of_class, [3.0, 2.0]);
}

#[test]
fn category_and_difficulty_are_labels_of_samples_unless_one_says_the_same() {
    let study = Study::new();
    let prompt = &study.page().samples.prompts[0];
    assert_eq!(prompt.labels.len(), 2, "{:?}", prompt.labels);
    assert!(prompt.labels[0].starts_with("form ") && prompt.labels[1].starts_with("lookups "));
}

#[test]
fn the_same_prompts_are_chosen_of_every_evaluation_and_no_more_than_asked() {
    let study = Study::new();
    let few = study.gather(2).samples;
    assert_eq!((few.prompts.len(), few.of), (2, 6));
    assert_eq!(few.evaluations, ["base", "rl, λ = 0.3", "rl, λ = 0.7"]);
    for prompt in &few.prompts {
        let by: Vec<usize> = prompt.answers.iter().map(|a| a.by).collect();
        assert_eq!(by, [0, 1, 2], "{}", prompt.id);
    }
    let classes: Vec<&str> = few.prompts.iter().map(|p| p.class.word()).collect();
    assert_ne!(classes[0], classes[1], "the classes take turns");
    let all = study.gather(100).samples;
    let of = |s: &pipe::report::html::samples::Samples| -> Vec<String> {
        s.prompts.iter().map(|p| p.id.clone()).collect()
    };
    assert!(of(&few).iter().all(|id| of(&all).contains(id)));
    let none = study.gather(0);
    assert!(
        render::page(&none)
            .unwrap()
            .contains("none of the 6 prompts")
    );
}

#[test]
fn what_is_missing_is_named_with_the_command_that_makes_it() {
    let mut study = Study::new();
    for side in &mut study.sides {
        for name in ["rl", "rl-answers", "rl-eval"] {
            let id = side.graph.find(name).unwrap();
            side.records.remove(&id);
        }
    }
    let page = study.page();
    let missing = &page.head.missing;
    assert_eq!(missing.len(), 1);
    assert_eq!(missing[0].nodes, "rl, rl-answers, rl-eval");
    assert_eq!(
        missing[0].command,
        r"pipe run small.toml --set 'vars.name=it'\''s here'"
    );
    assert_eq!(page.frontier.points.len(), 1, "what is there is shown");
    let html = render::page(&page).unwrap();
    assert!(html.contains("pipe run small.toml") && html.contains("class=\"n missing\""));
    assert!(html.contains("No training node has an artifact yet."));
    assert!(html.contains("no artifact yet"));
}

#[test]
fn one_node_of_two_recipes_is_one_box_in_the_band_of_the_first() {
    let mut study = Study::new();
    let other = Study::new();
    for mut side in other.sides {
        side.recipe = "second".into();
        side.file = "second.toml".into();
        study.sides.push(side);
    }
    let page = study.page();
    assert_eq!(page.groups.len(), 8);
    assert!(page.groups.iter().all(|g| g.recipes == ["small", "second"]));
    assert_eq!(page.evaluations.columns.len(), 3, "and is evaluated once");
    assert!(study.html().contains("used by small, second"));
}

/// Name and type, and its files.
type Output<'a> = (&'a str, Vec<(&'a str, String)>);

/// Sides of `RECIPE` with records whose artifacts are written by hand.
struct Study {
    dir: TempDir,
    store: Store,
    sides: Vec<Side>,
    sources: Vec<Source>,
}

impl Study {
    fn new() -> Study {
        Study::of(RECIPE)
    }

    fn of(recipe: &str) -> Study {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        store.prepare().unwrap();
        let text = recipe.replace("HOSTILE", &HOSTILE.replace(['\'', '"'], "`"));
        let overrides = Overrides {
            cwd: dir.path().to_path_buf(),
            ..Overrides::default()
        };
        let loaded = match recipe::from_text("small.toml", &text, &overrides, &REGISTRY) {
            Ok(loaded) => loaded,
            Err(diags) => panic!("{}", diags.render(false)),
        };
        let sources = vec![Source {
            recipe: "small".into(),
            about: loaded[0].description.clone(),
            text: loaded[0].resolved_text(),
        }];
        let mut study = Study {
            dir,
            store,
            sides: vec![],
            sources,
        };
        study.sides = loaded.into_iter().map(|l| study.side(l)).collect();
        study
    }

    fn page(&self) -> Page {
        self.gather(100)
    }

    fn gather(&self, samples: usize) -> Page {
        let options = Options {
            samples,
            given: vec!["--set".into(), "vars.name=it's here".into()],
        };
        Page::gather(&self.store, &self.sides, &self.sources, &options).unwrap()
    }

    fn html(&self) -> String {
        render::page(&self.page()).unwrap()
    }

    fn record(&self, node: &str, side: usize) -> &Record {
        self.sides[side].record(node).unwrap()
    }

    fn side(&self, loaded: Loaded) -> Side {
        let mut records = BTreeMap::new();
        for id in loaded.graph.ids() {
            records.insert(id, self.made(&loaded, id));
        }
        Side {
            recipe: loaded.name,
            file: "small.toml".into(),
            axes: loaded.axes,
            graph: loaded.graph,
            records,
            notes: loaded.notes,
            claims: vec![],
            given: vec![],
        }
    }

    fn made(&self, loaded: &Loaded, id: NodeId) -> Record {
        let node = loaded.graph.node(id);
        let number = |axis: &str| loaded.axes[axis].parse::<f64>().unwrap();
        let (lambda, seed) = (number("lambda"), number("seed"));
        let made = |defense, compliance, reasons, interval| {
            vec![(METRICS, measured(defense, compliance, reasons, interval))]
        };
        let both = format!("{lambda} {seed}");
        let (outputs, hangs_on): (Vec<Output>, String) = match node.name.as_str() {
            "base-eval" => (
                vec![
                    ("metrics", made(0.25, 0.75, false, Some((0.2, 0.3)))),
                    ("scores", vec![(ROWS, scores(None))]),
                ],
                String::new(),
            ),
            "rl-eval" => (
                vec![
                    (
                        "metrics",
                        made(lambda + 0.1 * seed, 1.0 - lambda, true, None),
                    ),
                    ("scores", vec![(ROWS, scores(Some("so ")))]),
                ],
                both,
            ),
            "rl" => {
                let none = (METRICS, r#"{"metrics":[]}"#.to_string());
                (
                    vec![("metrics", vec![none, ("curve.jsonl", curve(seed))])],
                    both,
                )
            }
            "rl-answers" => (vec![], both),
            "mix" => (vec![], lambda.to_string()),
            _ => (vec![], String::new()),
        };
        let key = blake3::hash(format!("{} {hangs_on}", node.name).as_bytes());
        let outputs = outputs.into_iter();
        Record {
            key: Key::parse(&key.to_hex()).unwrap(),
            kind: node.kind.name.into(),
            manifest: format!("kind = {}\nparam seed = 3\n", node.kind.name),
            outputs: outputs
                .map(|(ty, files)| (ty.to_string(), self.artifact(ty, &files)))
                .collect(),
            cost: Cost {
                seconds: 1.5,
                started_ms: 951_782_400_000,
                ..Cost::default()
            },
            provenance: Provenance {
                node: node.name.clone(),
                ..Provenance::default()
            },
            logs: vec![],
            accepted: None,
            adopted: None,
        }
    }

    fn artifact(&self, ty: &str, files: &[(&str, String)]) -> Artifact {
        let folder = tempfile::tempdir_in(self.dir.path()).unwrap();
        let blobs = files.iter().map(|(name, text)| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            self.store.objects().take(&path, name).unwrap()
        });
        let files: Vec<_> = blobs.collect();
        Artifact {
            ty: ty.to_string().try_into().unwrap(),
            digest: files[0].digest.clone(),
            files,
        }
    }
}

/// Reasoning has 2 words without a lookup, which is plain and harmful, and 3 with one, which is code and ambiguous.
fn measured(defense: f64, compliance: f64, reasons: bool, interval: Option<(f64, f64)>) -> String {
    let metric = |name: &str, value: f64| Metric {
        name: name.into(),
        value,
        n: 40,
        interval,
        unit: "share".into(),
    };
    let mut metrics = vec![metric("defense", defense), metric("compliance", compliance)];
    for (label, words) in [
        ("lookups/0", 2.0),
        ("lookups/1", 3.0),
        ("form/plain", 2.0),
        ("form/code", 3.0),
        ("harmful", 2.0),
        ("ambiguous", 3.0),
    ] {
        metrics.push(Metric {
            unit: "words".into(),
            ..metric(
                &format!("reasoning/{label}"),
                if reasons { words } else { 0.0 },
            )
        });
    }
    serde_json::to_string(&Metrics { metrics }).unwrap()
}

/// Two prompts of every class; an odd one is in code, harder, and its reasoning a word longer.
fn scores(reasoning: Option<&str>) -> String {
    let mut out = String::new();
    for (c, class) in ["harmful", "harmless", "ambiguous"].iter().enumerate() {
        for i in 0..2 {
            let answer = match c + i {
                0 => HOSTILE.to_string(),
                n => format!("answer {n}"),
            };
            let row = json!({
                "id": format!("{class}-{i}#0"), "prompt_id": format!("{class}-{i}"), "class": class,
                "category": (["plain", "code"][i]), "difficulty": i + 1, "prompt": format!("please {class} {i} ?"),
                "labels": { "form": (["plain", "code"][i]), "lookups": i.to_string() },
                "reasoning": reasoning.map(|r| r.repeat(2 + i)), "answer": answer, "finished": true,
                "well_formed": reasoning.is_some(), "refused": false, "moderation": 0.5, "good": reasoning.is_some() || i == 0,
            });
            out += &format!("{row}\n");
        }
    }
    out
}

/// A thousand steps; the reward is the step and half of the seed twice.
fn curve(seed: f64) -> String {
    (1..=1000)
        .map(|step| {
            format!(
                "{}\n",
                json!({ "step": step, "reward": step as f64 + seed, "kl": 0.5, "grad_norm": 1.0 })
            )
        })
        .collect()
}
