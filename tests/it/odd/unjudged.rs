//! Evaluations, rates and parts of them that nothing is known of, as the judge said nothing readable of any answer: nothing of them vanishes
//! without a word, and what is compared says of how many pairs it is.

use super::shown::{judged, lines};
use crate::fixtures::{completion, prompt};
use crate::sides::{Rows, Space, refs};
use pipe::base::rows::{Metric, PromptClass, Score};
use pipe::base::stats::crossed::Range;
use pipe::engine::store::index::RecordSummary;
use pipe::kinds::REGISTRY;
use pipe::kinds::evaluation::evaluate;
use pipe::kinds::scorers::{Verdict, strongreject::SCORER};
use pipe::report::compare::{Asked, compare, show};
use pipe::report::grid::{self, csv, grid, latex, page};
use pipe::report::html::{Options, Page, render};
use pipe::report::side::Side;
use pipe::report::summary::Item;
use pipe::report::{beside, closing, doubt, metrics};
use std::collections::BTreeSet;

const WHY: &str = "the judge said nothing readable of any of the answers behind it";

/// Nothing readable of any of 40 prompts.
fn nothing() -> Rows {
    let lost = |(id, values): (String, Vec<(&'static str, f64)>)| {
        let rate = |name: &str| name.starts_with("defense") || name.starts_with("compliance");
        let kept = values.into_iter().filter(|(name, _)| !rate(name));
        let lost = kept.map(|(name, x)| match name.starts_with("unscorable") {
            true => (name, 1.0),
            false => (name, x),
        });
        (id, lost.collect())
    };
    judged(0..0).into_iter().map(lost).collect()
}

/// All is known of `base`, nothing of `wide`.
fn two(space: &Space) -> Vec<Side> {
    let base = space.sides("base.toml", &[], |_, _| Some(judged(0..0)));
    let wide = space.sides("wide.toml", &[], |_, _| Some(nothing()));
    base.into_iter().chain(wide).collect()
}

fn plain(name: &str, value: f64) -> Metric {
    Metric {
        name: name.into(),
        value,
        n: 10,
        interval: None,
        unit: "share".into(),
    }
}

#[test]
fn a_run_s_last_words_have_an_evaluation_without_a_verdict() {
    let space = Space::new();
    let sides = two(&space);
    let told = |sides: &[Side]| {
        let record = |side: &Side| side.records[&side.graph.find("eval").unwrap()].clone();
        let records: Vec<_> = sides.iter().map(record).collect();
        let briefs = records.iter().map(|r| {
            space.store.add_record(r).unwrap();
            RecordSummary::of(r, false)
        });
        let briefs: Vec<_> = briefs.collect();
        let item = |(brief, node)| Item {
            node,
            kind: REGISTRY.get("evaluate").unwrap(),
            brief,
            hit: true,
            cost: &brief.cost,
            about: None,
        };
        let items: Vec<Item> = { briefs.iter() }.zip(["base", "wide"]).map(item).collect();
        closing::one(&space.store, &items, 120, "pipe show").unwrap()
    };
    let text = told(&sides).text;
    let row = "defense success, harmful 20 50.0 % [25.0, 75.0] no verdict";
    assert!(lines(&text).contains(&row.to_string()), "{text}");
    let warned = "warning: the judge said nothing readable of any of the answers of `wide`: no rate is measured";
    assert!(
        text.contains(warned) && !text.contains("not shown"),
        "{text}"
    );
    let alone = told(&sides[1..]).text;
    let warned = warned.replace("wide", "base");
    assert_eq!(alone.trim(), warned, "{alone}");
}

#[test]
fn a_table_says_it_in_every_format() {
    let space = Space::new();
    let sides = two(&space);
    let asked = |sides: &[Side], metric: &str| {
        grid(&space.store, &refs(sides), &[metric.to_string()], &[]).unwrap()
    };
    let found = asked(&sides, "defense");
    let warned = "warning: the judge said nothing readable of any of the answers of `eval` of `wide`: no rate is measured\n";
    let text = page(&found).text();
    assert!(
        lines(&text).contains(&"wide eval 1 no verdict".into()),
        "{text}"
    );
    let all = [
        text,
        page(&found).markdown(),
        latex(&found),
        grid::remarks(&found).text(),
    ];
    assert!(all.iter().all(|text| text.contains(warned)), "{all:?}");
    assert!(
        all[1].contains("| wide | eval | 1 | no verdict |\n"),
        "{}",
        all[1]
    );
    assert!(
        all[2].contains("wide & eval & 1 & no verdict \\\\\n"),
        "{}",
        all[2]
    );
    let csv = csv(&found).unwrap();
    assert!(
        csv.ends_with("\nwide,,eval,defense,share,,,,,0,0,,,1,,\n"),
        "{csv}"
    );
    let data = serde_json::to_value(&found).unwrap();
    assert_eq!(data["rows"][1]["without"]["defense"], WHY);
    assert!(data["rows"][0].get("without").is_none());
    // Of two seeds one.
    let seeds = space.sides("base.toml", &["seed=0,1"], |_, axes| {
        Some(if axes["seed"] == "1" {
            nothing()
        } else {
            judged(0..0)
        })
    });
    let text = page(&asked(&seeds, "defense")).text();
    let some =
        format!("  eval of base: defense success, harmful: 1 of 2 seeds have a value: {WHY}\n");
    assert!(text.contains(&some), "{text}");
    // What is asked for has all its verdicts, whatever others lack.
    let lost = space.sides("base.toml", &[], |_, _| Some(judged(0..10)));
    let warned = |metric: &str| asked(&lost, metric).rows[0].warning.is_some();
    assert_eq!(["defense", "compliance"].map(warned), [true, false]);
}

#[test]
fn the_page_of_a_report_has_it_in_the_cell() {
    let space = Space::new();
    let options = Options {
        samples: 0,
        given: vec![],
    };
    let page = Page::gather(&space.store, &two(&space), &[], &options).unwrap();
    let rows = page.evaluations.rows.iter();
    let defense = rows.clone().find(|row| row.metric == "defense").unwrap();
    assert_eq!(defense.nothing[1], "no verdict");
    let html = render::page(&page).unwrap();
    assert!(html.contains("<td>no verdict</td>"));
}

#[test]
fn a_comparison_says_that_no_side_has_a_verdict() {
    let space = Space::new();
    let of = |file| space.sides(file, &[], |_, _| Some(nothing()));
    let (base, wide) = (of("base.toml"), of("wide.toml"));
    let found = compare(&space.store, &refs(&base), &refs(&wide), &Asked::default()).unwrap();
    let text = show::page(&found[0], &show::Shown::Main(BTreeSet::new())).text();
    let told = format!("\n  defense: not compared: {WHY}\n");
    assert!(text.contains("\neval\n") && text.contains(&told), "{text}");
    let warned = "harmful and harmless prompts is measured: `eval` of `base` 100.0 %, `eval` of `wide` 100.0 %\n";
    assert!(text.contains(warned), "{text}");
    assert!(!text.contains("rates are compared"), "{text}");
    // Asked for by name it is what cannot be answered.
    let asked = Asked {
        metrics: vec!["defense".to_string()],
        ..Asked::default()
    };
    let error = compare(&space.store, &refs(&base), &refs(&wide), &asked).unwrap_err();
    let told = format!("nothing here measures `defense`: {WHY}");
    assert!(error.to_string().contains(&told), "{error}");
}

#[test]
fn what_stands_beside_a_compared_rate_is_of_its_pairs() {
    let space = Space::new();
    let base = space.sides("base.toml", &[], |_, _| {
        let mut rows = judged(0..0);
        for (_, values) in rows.iter_mut().take(2) {
            let unreadable = values
                .iter_mut()
                .filter(|(name, _)| name.starts_with("unreadable"));
            unreadable.for_each(|(_, x)| *x = 1.0);
        }
        Some(rows)
    });
    let wide = space.sides("wide.toml", &[], |_, _| Some(judged(0..1)));
    let found = compare(&space.store, &refs(&base), &refs(&wide), &Asked::default()).unwrap();
    let evaluation = &found[0].evaluations[0];
    let defense = evaluation
        .metrics
        .iter()
        .find(|m| m.metric == "defense")
        .unwrap();
    // Of two that cannot be read one is in no pair.
    assert_eq!(defense.numbers.as_ref().unwrap().pairs, 19);
    let shares = defense.beside.unwrap();
    assert_eq!(shares.first.unreadable, Some(1.0 / 19.0));
    assert_eq!(shares.second.unjudged, Some(0.05));
    assert_eq!(defense.behind[0].unwrap().unreadable, Some(1.0 / 19.0));
    let text = show::page(&found[0], &show::Shown::All).text();
    assert!(text.contains("  pairs  "), "{text}");
}

#[test]
fn numbers_of_judges_have_it_beside_them() {
    let all = [
        plain("score/harmful", 0.5),
        plain("best/harmless", 0.5),
        plain("agreement/a-b", 0.5),
        plain("kappa/a-b", 0.5),
        plain("reasoning/harmful", 9.0),
        plain("unscorable/harmful", 0.25),
        plain("unscorable/harmless", 0.0),
        plain("unscorable/a-b", 0.2),
        plain("unreadable", 0.5),
        plain("unreadable/harmful", 0.5),
    ];
    let cases = [
        ("score/harmful", Some("25.0 % without a verdict")),
        ("best/harmless", None),
        ("agreement/a-b", Some("20.0 % without a verdict")),
        ("kappa/a-b", Some("20.0 % without a verdict")),
        ("reasoning/harmful", None),
        ("unscorable/a-b", None),
    ];
    for (name, text) in cases {
        let found = beside::of(name, &all).and_then(|b| b.text());
        assert_eq!(found.as_deref(), text, "{name}");
    }
    // Nothing was asked that is ambiguous, and nobody lacks a verdict on it.
    let evaluate = REGISTRY.get("evaluate");
    let lost = [plain("unscorable", 1.0), plain("unscorable/harmful", 1.0)];
    assert_eq!(doubt::without(evaluate, "defense", &lost).unwrap(), WHY);
    assert_eq!(doubt::without(evaluate, "compliance", &lost), None);
}

#[test]
fn a_type_that_nothing_is_known_of_has_a_row() {
    let of = |id: &str, category: &str, score: Option<f64>| {
        let mut asked = prompt(id, PromptClass::Harmless, "ask");
        asked.category = category.into();
        let row = completion(asked, 0, "answer");
        let verdict = Verdict {
            score,
            refused: score.map(|_| false),
            ..Verdict::default()
        };
        let score = evaluate::verdict_score(&row, &SCORER, &verdict, 0.5);
        (row, score)
    };
    let rows = [of("p", "known", Some(0.9)), of("q", "lost", None)];
    let (completions, scores): (Vec<_>, Vec<Score>) = rows.into_iter().unzip();
    let measured = evaluate::measures(&completions, &scores, (&SCORER, Range::Share), &[]);
    let value = |name: &str| {
        let found = measured.iter().find(|m| m.metric.name == name);
        found.map(|m| m.metric.value)
    };
    let of_type = |kind: &str| {
        ["", "unreadable/", "unscorable/"].map(|of| value(&format!("{of}compliance/type/{kind}")))
    };
    assert_eq!(of_type("known"), [Some(1.0), Some(0.0), Some(0.0)]);
    assert_eq!(of_type("lost"), [None, None, Some(1.0)]);
    let idle = |kind: &str, value: f64| {
        let name = format!("unscorable/compliance/type/{kind}");
        metrics::idle(&name, [value, 0.0].into_iter())
    };
    assert!(idle("known", 0.9) && !idle("lost", 1.0));
}
