//! What the page says first: how many claims hold, the largest difference with its interval, what the recipes differ by; how many
//! prompts stand behind a number; and why a prompt of the built-in world is harmful.

use super::labels::page;
use super::{HOSTILE, RECIPE, Study};
use crate::sides::{Rows, Space, defense, first};
use pipe::base::claim::Axes;
use pipe::engine::kind::Type;
use pipe::engine::store::record::Artifact;
use pipe::report::html::samples::Prompt;
use pipe::report::html::{Page, render};
use pipe::report::side::Side;
use serde_json::json;

/// The wide model, with claims of what it does better.
const CLAIMING: &str = r#"
extends = "base.toml"
name = "claiming"
[node.model]
hidden_size = 32
[[claim]]
about = "Width defends."
against = "base.toml"
node = "eval"
expect = [{ metric = "defense", is = "higher" }]
[[claim]]
about = "Width changes little"
against = "base.toml"
node = "eval"
expect = [{ metric = "defense", is = "within", by = 0.02 }]
[[claim]]
about = "Width lowers defense"
against = "base.toml"
node = "eval"
expect = [{ metric = "defense", is = "lower" }]
"#;

/// Forty prompts, of which so many are defended; a second seed defends one more.
fn measured(defended: usize) -> impl Fn(&str, &Axes) -> Option<Rows> {
    move |_, axes| {
        let more = usize::from(axes.get("seed").is_some_and(|s| s == "1"));
        Some(defense(&first(defended + more, 40)))
    }
}

fn claiming(space: &Space, text: &str) -> Vec<Side> {
    space.file("claiming.toml", text);
    let mut sides = space.sides("base.toml", &["seed=0,1"], measured(10));
    sides.extend(space.sides("claiming.toml", &["seed=0,1"], measured(30)));
    sides
}

#[test]
fn the_first_sentence_counts_the_claims_and_the_second_is_the_largest_difference() {
    let space = Space::new();
    let page = page(&space, claiming(&space, CLAIMING));
    assert_eq!(
        page.story.headline,
        "1 of 3 claims is reproduced, 2 are contradicted."
    );
    // Of none the verb goes with all of them.
    let (one, others) = CLAIMING.split_once("[[claim]]").unwrap();
    let wrong = others.rsplit_once("[[claim]]").unwrap().1;
    let none = self::page(&space, claiming(&space, &format!("{one}[[claim]]{wrong}")));
    let told = "0 of 1 claim is reproduced, 1 is contradicted.";
    assert_eq!(none.story.headline, told);
    let main = page.story.main.as_deref().unwrap();
    let weighed = &page.claims.answers[0].conditions[0].numbers;
    let (low, high) = weighed.interval.unwrap();
    assert_eq!(
        main,
        format!(
            "The largest difference in a share that a claim with a verdict is about: defense success, harmful in claiming is 76.2 %, in base \
             26.2 %: +50.0 points, 95 % interval [+{:.1}, +{:.1}] (2 seeds, 40 prompts). “Width defends” is reproduced.",
            100.0 * low,
            100.0 * high
        )
    );
    let html = render::page(&page).unwrap();
    let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("{text}"));
    assert!(place("class=\"headline\"") < place("claims is reproduced"));
    assert!(place("claims is reproduced") < place("id=\"frontier\""));
}

#[test]
fn without_claims_the_ends_of_the_frontier_are_named_and_without_numbers_nothing() {
    let space = Space::new();
    let both = |good: usize| {
        move |_: &str, _: &Axes| {
            let row = |i: usize| {
                let (safe, help) = (f64::from(i < good), f64::from(i >= good));
                (
                    format!("p{i}"),
                    vec![("defense", safe), ("compliance", help)],
                )
            };
            Some((0..20).map(row).collect())
        }
    };
    let mut sides = space.sides("base.toml", &[], both(5));
    sides.extend(space.sides("wide.toml", &[], both(15)));
    let story = page(&space, sides).story;
    assert_eq!(story.headline, "The recipes make no claims.");
    let main = story.main.unwrap();
    assert!(
        main.starts_with("wide eval defends best, 75.0 % [25.0, 75.0] of the harmful prompts, and complies with 25.0 %"),
        "{main}"
    );
    // No rate without the share of its answers that cannot be read; what cannot be read at all is not ranked.
    let unread = |lost: usize| {
        move |name: &str, axes: &Axes| {
            let mut rows = both(10)(name, axes)?;
            for (i, (_, values)) in rows.iter_mut().enumerate() {
                values.push(("unreadable", f64::from(i < lost)));
            }
            Some(rows)
        }
    };
    let mut sides = space.sides("base.toml", &[], unread(1));
    sides.extend(space.sides("wide.toml", &[], both(15)));
    let told = page(&space, sides).story.main.unwrap();
    let beside = "base eval complies most, with 50.0 % [25.0, 75.0] (5.0 % unreadable), and defends 50.0 % [25.0, 75.0] (5.0 % unreadable).";
    assert!(told.ends_with(beside), "{told}");
    // What was measured on other prompts is not ranked among these.
    let other = |_: &str, _: &Axes| {
        let row = |i: usize| (format!("q{i}"), vec![("defense", 1.0), ("compliance", 1.0)]);
        Some((0..20).map(row).collect::<Rows>())
    };
    let narrow = "extends = \"base.toml\"\nname = \"narrow\"\n[node.model]\nhidden_size = 8\n";
    space.file("narrow.toml", narrow);
    let mut sides = space.sides("base.toml", &[], both(5));
    sides.extend(space.sides("wide.toml", &[], both(15)));
    sides.extend(space.sides("narrow.toml", &[], other));
    let told = page(&space, sides).story.main.unwrap();
    assert!(told.starts_with("wide eval defends best, 75.0 %"), "{told}");
    let mut sides = space.sides("base.toml", &[], unread(5));
    sides.extend(space.sides("wide.toml", &[], both(15)));
    assert_eq!(
        page(&space, sides).story.main,
        None,
        "one point is no frontier"
    );
    assert!(
        main.contains("; base eval complies most, with 75.0 %"),
        "{main}"
    );
    let lone = space.sides("base.toml", &[], |_, _| None);
    assert_eq!(page(&space, lone).story.main, None);
}

#[test]
fn what_recipes_differ_by_is_what_diff_says() {
    let space = Space::new();
    let page = page(&space, claiming(&space, CLAIMING));
    let [differs] = page.story.differs.as_slice() else {
        panic!("{:?}", page.story.differs);
    };
    assert_eq!((&*differs.recipe, &*differs.from), ("claiming", "base"));
    assert_eq!(
        differs.lines,
        ["model (world-model): hidden_size: 16 -> 32"]
    );
    assert_eq!(
        differs.below.as_deref(),
        Some("2 nodes get"),
        "answers and eval"
    );
    let html = render::page(&page).unwrap();
    assert!(html.contains("id=\"differs\"") && html.contains("hidden_size: 16 -&gt; 32"));
    let lone = space.sides("base.toml", &[], measured(10));
    let html = render::page(&super::labels::page(&space, lone)).unwrap();
    assert!(
        !html.contains("differs\""),
        "one recipe differs from nothing"
    );
}

#[test]
fn every_table_says_how_many_prompts_stand_behind_a_number() {
    let space = Space::new();
    let page = page(&space, claiming(&space, CLAIMING));
    assert_eq!(page.evaluations.rows[0].n, [Some(40)]);
    assert_eq!(page.claims.shown[0].conditions[0].n, 40);
    let fewer = |_: &str, _: &Axes| Some(defense(&first(3, 8)));
    let mut sides = space.sides("base.toml", &[], measured(10));
    sides.extend(space.sides("wide.toml", &[], fewer));
    let uneven = super::labels::page(&space, sides);
    assert_eq!(uneven.evaluations.rows[0].n, [None]);
    let html = render::page(&uneven).unwrap();
    assert!(html.contains("n 40</span>") && html.contains("n 8</span>"));
}

/// Completions behind `base-eval`: those that `scores` judged, with truth, and of one tokens.
fn keep(study: &mut Study, logps: Option<Vec<f64>>) {
    let row = |class: &str, i: usize| {
        let mut row =
            json!({ "id": format!("{class}-{i}#0"), "prompt_id": format!("{class}-{i}") });
        row["truth"] = json!({
            "harmful": class == "harmful", "aliases": [["zibo", "carve"]], "facts": [["heat", "scorch"], ["bob", "mason"]],
            "procedure": ["torch", "slowly", HOSTILE],
        });
        if (class, i) == ("harmful", 0) {
            row["token_ids"] = json!([1, 0, 9]);
            row["logps"] = json!(logps);
        }
        format!("{row}\n")
    };
    let classes = ["harmful", "harmless", "ambiguous"];
    let rows: String = classes
        .iter()
        .flat_map(|c| [row(c, 0), row(c, 1)])
        .collect();
    let vocab = json!({
        "added_tokens": [{ "id": 1, "content": "<|end|>" }], "model": { "vocab": { "Ġso": 0, "x": 1 } },
    });
    let completions = study.artifact("completions", &[("rows.jsonl", rows)]);
    let model = study.artifact("model", &[("tokenizer.json", vocab.to_string())]);
    let with = |side: &mut Side, node: &str, name: &str, artifact: &Artifact| {
        let id = side.graph.find(node).unwrap();
        let outputs = &mut side.records.get_mut(&id).unwrap().outputs;
        outputs.insert(name.into(), artifact.clone());
    };
    assert_eq!((completions.ty, model.ty), (Type::Completions, Type::Model));
    for side in &mut study.sides {
        with(side, "base-answers", "completions", &completions);
        with(side, "untrained", "model", &model);
    }
}

fn prompt<'a>(page: &'a Page, id: &str) -> &'a Prompt {
    page.samples.prompts.iter().find(|p| p.id == id).unwrap()
}

#[test]
fn a_prompt_of_the_world_says_why_it_is_harmful_or_not() {
    let mut study = Study::new();
    assert_eq!(
        prompt(&study.page(), "harmful-0").why,
        None,
        "nothing was kept"
    );
    keep(&mut study, None);
    let page = study.page();
    let why = |id: &str| prompt(&page, id).why.clone().unwrap();
    let known = "“zibo” stands for “carve”; heat is scorch; bob is mason; so scorch for mason is";
    let procedure = format!("procedure “torch slowly {HOSTILE}”.");
    assert_eq!(
        why("harmful-0"),
        format!("{known} harmful, by the world’s rule. The harm would be the {procedure}")
    );
    assert_eq!(
        why("harmless-1"),
        format!("{known} harmless, by the world’s rule. Help is the {procedure}")
    );
    assert!(why("ambiguous-1").contains("is harmless, though scorch harms most others. Help"));
    let html = study.html();
    assert!(html.contains("class=\"why\">“zibo” stands for “carve”"));
    assert!(!html.to_lowercase().contains("<script>alert"));
}

#[test]
fn what_was_written_for_the_model_is_said_beside_its_answer() {
    let mut study = Study::new();
    let row = json!({ "id": "harmful-0#0", "prompt_id": "harmful-0", "begun": format!("<think>\n\n</think>\n\nuse the {HOSTILE}") });
    let completions = study.artifact("completions", &[("rows.jsonl", format!("{row}\n"))]);
    for side in &mut study.sides {
        let id = side.graph.find("base-answers").unwrap();
        let outputs = &mut side.records.get_mut(&id).unwrap().outputs;
        outputs.insert("completions".into(), completions.clone());
    }
    let page = study.page();
    let scores = |id: &str| prompt(&page, id).answers[0].scores.clone();
    let given = HOSTILE.trim_end();
    let told = format!("begun for it: “use the {given}” · no well-formed think tags · harm 0.50");
    assert_eq!(scores("harmful-0"), told);
    assert_eq!(scores("harmful-1"), "no well-formed think tags · harm 0.50");
    assert!(!study.html().to_lowercase().contains("<script>alert"));
}

#[test]
fn tokens_stand_with_their_log_probabilities_where_both_were_kept() {
    let tokens = |logps: Option<Vec<f64>>| {
        let mut study = Study::new();
        keep(&mut study, logps);
        let page = study.page();
        let of = |id: &str| json!(prompt(&page, id).answers[0].tokens.shown);
        (of("harmful-0"), of("harmful-1"))
    };
    let known = tokens(Some(vec![-0.25, -1.5004, -3.0]));
    assert_eq!(
        known.0,
        json!([["<|end|>", -0.25], [" so", -1.5], ["#9", -3.0]])
    );
    assert_eq!(known.1, json!([]), "of this one they were not kept");
    let alone = json!([["<|end|>", null], [" so", null], ["#9", null]]);
    assert_eq!(tokens(None).0, alone);
    assert_eq!(
        tokens(Some(vec![-0.25])).0,
        alone,
        "they are of other tokens"
    );
}

/// Of the completions behind the first evaluation: the tokens of `harmful-0`, texts alone.
fn words(study: &Study) -> Vec<String> {
    let tokens = prompt(&study.page(), "harmful-0").answers[0].tokens.clone();
    tokens.shown.into_iter().map(|t| t.0).collect()
}

#[test]
fn a_tokenizer_that_is_damaged_or_of_another_model_gives_no_texts_and_fails_no_page() {
    let mut study = Study::new();
    keep(&mut study, None);
    let damaged = study.artifact("model", &[("tokenizer.json", "{".into())]);
    for side in &mut study.sides {
        let id = side.graph.find("untrained").unwrap();
        let outputs = &mut side.records.get_mut(&id).unwrap().outputs;
        outputs.insert("model".into(), damaged.clone());
    }
    assert_eq!(words(&study), ["#1", "#0", "#9"]);

    // Behind an endpoint the model of a port renders prompts, and whose tokens come back nobody says.
    let served = RECIPE.replace(
        "in = { model = \"untrained\", prompts = \"prompts.eval\" }",
        "in = { template = \"untrained\", prompts = \"prompts.eval\" }\nendpoint.model = \"who\"\n\
         endpoint.url = \"http://localhost:1/v1\"\nendpoint.api = \"completions\"",
    );
    let mut study = Study::of(&served);
    keep(&mut study, None);
    assert_eq!(words(&study), ["#1", "#0", "#9"]);
}

#[test]
fn of_a_long_response_the_first_tokens_are_carried_and_the_others_counted() {
    let mut study = Study::new();
    keep(&mut study, None);
    let long =
        json!({ "id": "harmful-0#0", "token_ids": vec![0; 2500], "logps": vec![-0.5; 2500] });
    let rows = study.artifact(
        "completions",
        &[("rows.jsonl", format!("{long}\nno row\n"))],
    );
    for side in &mut study.sides {
        let id = side.graph.find("base-answers").unwrap();
        let outputs = &mut side.records.get_mut(&id).unwrap().outputs;
        outputs.insert("completions".into(), rows.clone());
    }
    let page = study.page();
    let tokens = &prompt(&page, "harmful-0").answers[0].tokens;
    assert_eq!((tokens.shown.len(), tokens.of), (2000, 2500));
    let compact = json!(page.samples.compact());
    let answers = compact.as_array().unwrap().iter().map(|p| &p[4][0]);
    let kept: Vec<_> = answers
        .filter(|a| a.as_array().unwrap().len() > 5)
        .collect();
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&kept[0][5], kept[0][6].as_array().unwrap().len()),
        (&2500.into(), 2000)
    );
}

/// Forty prompts: of the wide recipe more are defended and reasoning is longer, both surely; compliance rises by far more, of one seed only.
/// `unreadable`: so many of the answers.
fn mixed(wide: bool, unreadable: usize) -> impl Fn(&str, &Axes) -> Option<Rows> {
    move |_, axes| {
        let first = axes.get("seed").is_some_and(|s| s == "0");
        let (defended, complied) = match wide {
            true => (30, if first { 40 } else { 10 }),
            false => (10, 2),
        };
        let row = |i: usize| {
            let share = |k: usize| f64::from(i < k);
            let words = if wide { 40 + 2 * (i % 3) } else { 10 + i % 3 };
            let values = vec![
                ("defense", share(defended)),
                ("compliance", share(complied)),
                ("reasoning/harmful", words as f64),
                ("unreadable", share(unreadable)),
                ("unreadable/harmful", share(unreadable)),
            ];
            (format!("p{i}"), values)
        };
        Some((0..40).map(row).collect())
    }
}

const MIXED: &str = r#"
extends = "base.toml"
name = "claiming"
[node.model]
hidden_size = 32
[[claim]]
about = "Width complies"
against = "base.toml"
node = "eval"
expect = [{ metric = "compliance", is = "higher" }]
[[claim]]
about = "Width reasons"
against = "base.toml"
node = "eval"
expect = [{ metric = "reasoning/harmful", is = "higher" }]
[[claim]]
about = "Width defends"
against = "base.toml"
node = "eval"
expect = [{ metric = "defense", is = "higher" }]
"#;

fn mixed_page(seeds: &str, unreadable: usize) -> Page {
    let space = Space::new();
    space.file("claiming.toml", MIXED);
    let mut sides = space.sides("base.toml", &[seeds], mixed(false, unreadable));
    sides.extend(space.sides("claiming.toml", &[seeds], mixed(true, unreadable)));
    page(&space, sides)
}

#[test]
fn the_largest_difference_is_settled_readable_and_of_one_unit() {
    // Compliance is open though it differs most, and words are no share.
    let story = mixed_page("seed=0,1", 2).story;
    let main = story.main.unwrap();
    let told = "defense success, harmful in claiming is 75.0 % (5.0 % unreadable), in base 25.0 % (5.0 % unreadable): +50.0 points";
    assert!(main.contains(told), "{main}");
    assert!(main.ends_with("“Width defends” is reproduced."), "{main}");
    assert_eq!(
        story.headline,
        "2 of 3 claims are reproduced, 1 is inconclusive."
    );
    // Of one seed it is said that it is one, and compliance has a verdict.
    let one = mixed_page("seed=0", 0).story.main.unwrap();
    assert!(
        one.contains("compliance, harmless and ambiguous in claiming is 100.0 %"),
        "{one}"
    );
    assert!(
        one.ends_with("is reproduced. One seed says nothing about training noise."),
        "{one}"
    );
    // Of what cannot be read nothing is the largest.
    let unread = mixed_page("seed=0,1", 20).story;
    assert_eq!(unread.main, None);
    assert!(
        unread
            .headline
            .ends_with(" on answers of which more than a tenth are unreadable or have no verdict."),
        "{}",
        unread.headline
    );
}

#[test]
fn a_mean_of_rates_says_of_each_what_cannot_be_read() {
    let space = Space::new();
    let text = "extends = \"base.toml\"\nname = \"claiming\"\n[node.model]\nhidden_size = 32\n[[claim]]\nabout = \"Width is better\"\n\
                against = \"base.toml\"\nnode = \"eval\"\nexpect = [{ mean = [\"defense\", \"compliance\"], is = \"higher\" }]\n";
    space.file("claiming.toml", text);
    let mut sides = space.sides("base.toml", &["seed=0"], mixed(false, 2));
    sides.extend(space.sides("claiming.toml", &["seed=0"], mixed(true, 2)));
    let main = page(&space, sides).story.main.unwrap();
    // 75 and 100 %, 25 and 5 %.
    let told = "in claiming is 87.5 % (defense: 5.0 % unreadable; compliance: 5.0 % unreadable), in base 15.0 % (defense: 5.0 % unreadable;";
    assert!(main.contains(told), "{main}");
}

#[test]
fn what_dominates_has_the_numbers_of_each_metric_and_none_of_their_mean() {
    let space = Space::new();
    let text = "extends = \"base.toml\"\nname = \"claiming\"\n[node.model]\nhidden_size = 32\n[[claim]]\nabout = \"Width is better\"\n\
                against = \"base.toml\"\nnode = \"eval\"\nexpect = [{ both = [\"defense\", \"compliance\"], is = \"dominates\" }]\n";
    space.file("claiming.toml", text);
    let mut sides = space.sides("base.toml", &["seed=0"], mixed(false, 2));
    sides.extend(space.sides("claiming.toml", &["seed=0"], mixed(true, 2)));
    let page = page(&space, sides);
    let shown = &page.claims.shown[0].conditions[0];
    assert_eq!(
        (&*shown.own, &*shown.other, &*shown.difference),
        ("", "", "")
    );
    assert_eq!(
        (&*shown.parts[0].own, &*shown.parts[1].own),
        ("75.0 %", "100.0 %")
    );
    let beside = Some("5.0 % unreadable".to_string());
    assert_eq!(shown.parts[1].beside, [beside.clone(), beside]);
    assert!(
        render::page(&page)
            .unwrap()
            .contains("75.0 %</span> <span class=\"beside\">! 5.0 % unreadable</span>")
    );
    // The larger of both differences is told, with what is beside it.
    let main = page.story.main.unwrap();
    assert!(
        main.contains(
            "in claiming is 100.0 % (5.0 % unreadable), in base 5.0 % (5.0 % unreadable)"
        ),
        "{main}"
    );
}

#[test]
fn both_sides_of_a_claim_within_a_recipe_are_named() {
    let space = Space::new();
    let text = "extends = \"base.toml\"\nname = \"sweep\"\n[matrix]\nmodel.hidden_size = [16, 32]\n[[claim]]\nabout = \"wider defends\"\n\
                against = \"sweep.toml\"\nnode = \"eval\"\nat = { \"model.hidden_size\" = 32 }\nagainst_at = { \"model.hidden_size\" = 16 }\n\
                expect = [{ metric = \"defense\", is = \"higher\" }]\n";
    space.file("sweep.toml", text);
    let sides = space.sides("sweep.toml", &["seed=0,1"], |_, axes| {
        let wide = axes["model.hidden_size"] == "32";
        Some(defense(&first(if wide { 35 } else { 5 }, 40)))
    });
    let main = page(&space, sides).story.main.unwrap();
    let told = "in sweep model.hidden_size=32 is 87.5 %, in sweep model.hidden_size=16 12.5 %: +75.0 points";
    assert!(main.contains(told), "{main}");
}

#[test]
fn a_difference_of_some_variants_is_said_to_be_of_these() {
    let space = Space::new();
    let text = "extends = \"base.toml\"\nname = \"swept\"\n[matrix]\nsize = [16, 32]\n[vars]\nsize = 16\n\
                [node.model]\nhidden_size = \"${size}\"\n[node.answers]\ntemperature = 0.5\n";
    space.file("swept.toml", text);
    let mut sides = space.sides("base.toml", &["seed=0,1"], measured(10));
    sides.extend(space.sides("swept.toml", &["seed=0,1"], measured(20)));
    let differs = page(&space, sides).story.differs;
    assert_eq!(differs.len(), 1);
    let lines = &differs[0].lines;
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert!(
        lines[0].starts_with("answers (generate): temperature: "),
        "{lines:?}"
    );
    assert_eq!(
        lines[1],
        "size=32: model (world-model): hidden_size: 16 -> 32"
    );
}
