//! `run --until-settled`, and what `plan` and `check` say of claims: on the smallest study that measures something.

use super::comparing::SMALL;
use super::json::{documented, hold};
use super::{Said, Space};
use serde_json::Value;

/// 12 prompts differ by 100 points at most: three seeds settle that; that they differ at all, no three do.
const WIDE: &str = r#"
extends = "small.toml"
name = "wide"
[[claim]]
about = "width changes nothing beyond all bounds"
against = "small.toml"
node = "eval"
expect = [{ metric = "defense", is = "within", by = 1.0 }]
[node.model]
hidden_size = 32
"#;

const OPEN: &str = r#"
[[claim]]
about = "width changes the answers"
against = "small.toml"
node = "eval"
expect = [{ metric = "finished", is = "higher", by = 0.001 }]
"#;

fn small(wide: &str) -> Space {
    let space = Space::new();
    space.file("small.toml", SMALL);
    space.file("wide.toml", wide);
    space
}

fn settle(space: &Space, more: &[&str]) -> Said {
    space.pipe(&[&["run", "wide.toml", "--until-settled"][..], more].concat())
}

#[test]
fn seeds_are_run_until_the_claims_are_settled() {
    let space = small(WIDE);
    let said = settle(&space, &["--json"]).ok().json();
    hold(
        &documented()["run --until-settled"],
        &said,
        "run --until-settled",
    );
    assert_eq!((&said["settled"], &said["open"]), (&1.into(), &0.into()));
    let of = |key: &str| -> Vec<u64> {
        let rounds = said["rounds"].as_array().unwrap().iter();
        rounds.map(|r| r[key].as_u64().unwrap()).collect()
    };
    assert_eq!(of("seeds"), [2, 3]);
    // Prompts, and for two recipes and two seeds a model, answers, an evaluation; then one seed more.
    assert_eq!(of("made"), [13, 6]);
    assert_eq!(of("open"), [0, 1]);
    assert_eq!(said["claims"][0]["seeds"], 3);
    // It goes on where it stood.
    let again = settle(&space, &["--json"]).ok().json();
    let made: Vec<&Value> = again["rounds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|r| &r["made"])
        .collect();
    assert_eq!(made, [0, 0]);
}

#[test]
fn what_stays_open_ends_at_the_most_seeds_and_says_what_would_settle_it() {
    let space = small(&WIDE.replace("[node.model]", &format!("{OPEN}[node.model]")));
    let said = settle(&space, &["--max-seeds", "3"]).ok();
    assert!(
        said.out.contains("3 seeds: 1 of 2 claims settled"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("looked at after every seed"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("wide: width changes the answers: open; "),
        "{}",
        said.out
    );
    // The same records in a plan.
    let plan = space
        .pipe(&["plan", "wide.toml", "--matrix", "seed=0,1,2"])
        .ok();
    assert!(
        plan.out.contains("wide: width changes the answers: open; "),
        "{}",
        plan.out
    );
    let none = space
        .pipe(&["run", "small.toml", "--until-settled"])
        .ends(2);
    assert!(none.err.contains("claims anything"), "{}", none.err);
}

#[test]
fn check_refuses_a_claim_that_no_run_could_answer() {
    let space = small(WIDE);
    space.pipe(&["check", "wide.toml"]).ok();
    // What the command line alone varies a claim cannot say.
    let varied = "answers.max_new_tokens=2,4";
    let args = ["check", "wide.toml", "--matrix", varied];
    space.pipe(&args).ok();
    // An axis of the child alone, and a claim that does not say which variant is meant.
    space.file(
        "wide.toml",
        &WIDE.replace(
            "[[claim]]",
            "[matrix]\n\"answers.max_new_tokens\" = [2, 4]\n[[claim]]",
        ),
    );
    let said = space.pipe(&["check", "wide.toml"]).ends(2);
    assert!(
        said.err
            .contains("the claim cannot be answered: there are several variants"),
        "{}",
        said.err
    );
    assert!(said.err.contains("--> wide.toml:"), "{}", said.err);
    // A seed of the child reaches the other.
    space.file(
        "wide.toml",
        &WIDE.replace("[[claim]]", "[matrix]\nseed = [0, 1]\n[[claim]]"),
    );
    space.pipe(&["check", "wide.toml"]).ok();
    space.pipe(&["run", "wide.toml", "small.toml", "-q"]).ok();
    let claims = space.pipe(&["claims", "wide.toml", "--json"]).ok().json();
    assert_eq!(claims["claims"][0]["seeds"], 2);
    space.file("wide.toml", &WIDE.replace("\"defense\"", "\"defence\""));
    let said = space.pipe(&["check", "wide.toml"]).ends(2);
    assert!(said.err.contains("did you mean `defense`?"), "{}", said.err);
}

#[test]
fn what_would_end_a_study_is_said_before_it_begins() {
    let refused = |small: &str, wide: &str, said: &str| {
        let space = Space::new();
        space.file("small.toml", small);
        space.file("wide.toml", wide);
        let ended = settle(&space, &[]).ends(2);
        assert!(ended.err.contains(said), "{}", ended.err);
        assert_eq!(ended.out, "");
    };
    let with = |matrix: &str| WIDE.replace("[[claim]]", &format!("[matrix]\n{matrix}\n[[claim]]"));
    let axis = "\"answers.max_new_tokens\" = [1, 2, 3, 4, 5, 6, 7]";
    let at = with(axis).replace(
        "expect =",
        "at = { \"answers.max_new_tokens\" = 4 }\nexpect =",
    );
    refused(SMALL, &at, "70 choices, more than 64");
    refused(SMALL, &at, "fewer with `--max-seeds`");
    refused(
        SMALL,
        &with(axis),
        "the claim cannot be answered: there are several variants",
    );
    let other = format!("{SMALL}[matrix]\nseed = [3, 4]\n");
    let own = with("seed = [0, 1]");
    refused(&other, &own, "all recipes are run under the same seeds");
    let none = SMALL
        .replace("seed = 0\n", "s = 0\n")
        .replace("${seed}", "${s}");
    let own = WIDE.replace("[[claim]]", "[vars]\ns = 0\n[[claim]]");
    refused(&none, &own, "has no number `seed` in `[vars]`");
    refused(
        SMALL,
        &WIDE.replace("by = 1.0", "by = 5"),
        "5 points are `by = 0.05`",
    );
}

#[test]
fn what_does_not_depend_on_the_seed_is_not_repeated_in_vain() {
    let space = small(WIDE);
    space.file(
        "small.toml",
        &SMALL.replace("seed = \"${seed}\"", "seed = 3"),
    );
    let said = settle(&space, &[]).ok();
    assert!(
        said.out.contains("it does not depend on the seed"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("2 seeds: 0 of 1 claim settled"),
        "{}",
        said.out
    );
}

#[test]
fn a_recipe_without_a_seed_is_named() {
    let space = small(&WIDE.replace("[[claim]]", "[vars]\ns = 0\n[[claim]]"));
    let none = SMALL.replace("seed = 0\n", "s = 0\n");
    space.file("small.toml", &none.replace("${seed}", "${s}"));
    let named = settle(&space, &["--matrix", "seed=1,2"]).ends(2);
    assert!(named.err.contains("has no number `seed`"), "{}", named.err);
}

#[test]
fn a_side_that_was_trained_once_is_said() {
    let space = small(&format!("{WIDE}seed = \"${{seed}}\"\n"));
    space.file("small.toml", &SMALL.replace("\"${seed}\"", "3"));
    let said = settle(&space, &["--max-seeds", "2"]).ok();
    let once = "every seed is compared with one artifact of `eval` of `small`: ";
    assert!(said.out.contains(once), "{}", said.out);
}

#[test]
fn what_is_left_out_is_said_once() {
    let second = "by = 1.0 }, { metric = \"finished\", is = \"within\", by = 1.0 }]";
    let space = small(&WIDE.replace("by = 1.0 }]", second));
    space.pipe(&["run", "wide.toml", "small.toml", "-q"]).ok();
    let said = space.pipe(&["claims", "wide.toml", "--matrix", "seed=0,1,2", "--json"]);
    let said = said.ok().json();
    let claim = &said["claims"][0];
    assert_eq!(claim["conditions"].as_array().unwrap().len(), 2);
    let notes = claim["notes"].as_array().unwrap();
    let expected = ["small", "wide"].map(|name| {
        format!(
            "`{name}` has no artifacts of `eval` under seed=1,2: pipe run {name}.toml --matrix seed=1,2"
        )
    });
    assert_eq!(*notes, expected);
}
