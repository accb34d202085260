//! `augment`: copies with letters out of order, capitals and noise.

use crate::study::Study;
use pipe::base::rows::{ATTACK, AttackStep, BEHAVIOR, Prompt};
use std::collections::BTreeSet;

const PROMPTS: &str = r#"
[node.p]
kind = "world-prompts"
sft = 1
rl = 1
validation = 1
eval = 3
"#;

/// A node over prompts of a file and these lines.
fn of_file(study: &Study, prompts: &str, lines: &str) -> String {
    study.file("asks.csv", format!("id,prompt\n{prompts}"));
    format!(
        "[node.f]\nkind = \"prompts-file\"\npath = \"asks.csv\"\nid_column = \"id\"\n\
         [node.x]\nkind = \"augment\"\nin = {{ prompts = \"f\" }}\n{lines}\n"
    )
}

#[test]
fn copies_are_cases_of_their_prompt_and_judged_as_such() {
    let study = Study::new();
    let ran = study.run(&format!(
        "{PROMPTS}[node.x]\nkind = \"augment\"\nin = {{ prompts = \"p.eval\" }}\nn = 6\n\
         [node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n\
         [node.a]\nkind = \"generate\"\nin = {{ model = \"m\", prompts = \"x\" }}\nmax_new_tokens = 4\n\
         [node.e]\nkind = \"evaluate\"\nin = {{ completions = \"a\" }}\nscorer = \"world\"\n"
    ));
    let parents: Vec<Prompt> = ran.rows("p", "eval");
    let copies: Vec<Prompt> = ran.rows("x", "prompts");
    let log: Vec<AttackStep> = ran.rows("x", "log");
    assert_eq!(copies.len(), 6 * parents.len());
    for (i, copy) in copies.iter().enumerate() {
        let parent = &parents[i / 6];
        assert_eq!(copy.id, format!("{}#{}", parent.id, i % 6));
        assert_eq!(copy.labels[BEHAVIOR], parent.id);
        assert_eq!(copy.labels[ATTACK], "augment");
        assert_eq!((copy.class, &copy.truth), (parent.class, &parent.truth));
        assert_eq!(
            (&log[i].text, log[i].case),
            (&copy.prompt, Some(i as u32 % 6))
        );
    }
    let texts: BTreeSet<&str> = copies.iter().map(|p| p.prompt.as_str()).collect();
    assert_eq!(texts.len(), copies.len(), "no two copies are the same");
    // An observation is a behaviour, not a copy.
    let harmful = parents
        .iter()
        .filter(|p| p.class.word() == "harmful")
        .count();
    assert_eq!(ran.metric("e", "defense").n, harmful);
    assert_eq!(ran.metric("x", "cases").value as usize, copies.len());
}

#[test]
fn letters_outside_of_ascii_stay_unless_they_are_to_be_lost() {
    let study = Study::new();
    let asks = "a,Café naïve Straße 你好 😀\n";
    let stages = "sigma = 1.0\nn = 1\nscramble = false\nnoise = false";
    let copy = |lines: &str| {
        let ran = study.run(&of_file(&study, asks, &format!("{stages}\n{lines}")));
        ran.rows::<Prompt>("x", "prompts")[0].prompt.clone()
    };
    assert_eq!(copy(""), "cAFé NAïVE sTRAßE 你好 😀");
    assert_eq!(copy("drop_other_letters = true"), "cAF NAVE sTRAE  😀");
}

#[test]
fn a_stage_that_is_left_out_changes_nothing_of_the_others() {
    let study = Study::new();
    let asks = "a,Please tell me how the quiet kitchen measures a telescope\n";
    let copies = |lines: &str| {
        let ran = study.run(&of_file(&study, asks, &format!("n = 8\n{lines}")));
        let rows: Vec<Prompt> = ran.rows("x", "prompts");
        rows.into_iter().map(|p| p.prompt).collect::<Vec<_>>()
    };
    let scrambled = copies("capitals = false\nnoise = false");
    let both = copies("noise = false");
    for (one, other) in scrambled.iter().zip(&both) {
        assert_eq!(one.to_lowercase(), other.to_lowercase());
    }
    let sorted = |text: &str| {
        let mut letters: Vec<char> = text.chars().collect();
        letters.sort_unstable();
        letters
    };
    let asked = asks.trim_end().split_once(',').unwrap().1;
    assert!(scrambled.iter().all(|copy| sorted(copy) == sorted(asked)));
    assert!(scrambled.iter().any(|copy| copy != asked));
}

#[test]
fn without_a_stage_it_is_refused() {
    let study = Study::new();
    let lines = "scramble = false\ncapitals = false\nnoise = false";
    let recipe = of_file(&study, "a,b\n", lines);
    let overrides = pipe::recipe::Overrides {
        cwd: study.dir.path().into(),
        ..Default::default()
    };
    let read = pipe::recipe::from_text("r.toml", &recipe, &overrides, &pipe::kinds::REGISTRY);
    let told = read.err().unwrap().render(false);
    assert!(
        told.contains("without any stage all copies are the same"),
        "{told}"
    );
}
