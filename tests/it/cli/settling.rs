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
    space.pipe(&[&["run", "wide.toml", "--until-settled", "-q"][..], more].concat())
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
fn the_metrics_have_a_page() {
    let space = Space::new();
    let page = space.pipe(&["help", "metrics"]).ok().out;
    for line in [
        "evaluate",
        "refusal/harmless",
        "higher is better",
        "defense/LABEL/VALUE",
    ] {
        assert!(page.contains(line), "{line}\n{page}");
    }
    assert_eq!(
        space.pipe(&["metrics"]).ok().out.lines().next(),
        page.lines().next()
    );
}
