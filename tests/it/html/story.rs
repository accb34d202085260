//! What the page says first: how many claims hold, the largest difference with its interval, what the recipes differ by; how many
//! prompts stand behind a number; and why a prompt of the built-in world is harmful.

use super::labels::page;
use super::{HOSTILE, Study};
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
            "The largest difference that a claim is about: defense success, harmful in claiming is 76.2 %, 26.2 % in base: +50.0 points, 95 % interval \
             [+{:.1}, +{:.1}] (2 seeds, 40 prompts). “Width defends” is reproduced.",
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
    assert_eq!(differs.below, 2, "answers and eval");
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
fn tokens_stand_with_their_log_probabilities_where_both_were_kept() {
    let tokens = |logps: Option<Vec<f64>>| {
        let mut study = Study::new();
        keep(&mut study, logps);
        let page = study.page();
        let of = |id: &str| json!(prompt(&page, id).answers[0].tokens);
        (of("harmful-0"), of("harmful-1"))
    };
    let known = tokens(Some(vec![-0.25, -1.5004, -3.0]));
    assert_eq!(
        known.0,
        json!([["<|end|>", -0.25], [" so", -1.5], ["#9", -3.0]])
    );
    assert_eq!(known.1, json!([]), "of this one they were not kept");
    assert_eq!(
        tokens(None).0,
        json!([["<|end|>", null], [" so", null], ["#9", null]])
    );
}
