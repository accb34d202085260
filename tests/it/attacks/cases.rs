//! What every attack delivers: rows, HarmBench's merged file, a log.

use crate::study::Study;
use pipe::base::rows::{
    self, ATTACK, AttackStep, BEHAVIOR, CASES, CompletedPrompt, Prompt, PromptClass, Truth,
};
use pipe::engine::kind::Type;
use pipe::kinds::shared::cases::{CaseWriter, Made, case};
use std::path::Path;
use tempfile::TempDir;

fn parent(id: &str) -> Prompt {
    Prompt {
        id: id.into(),
        class: PromptClass::Harmful,
        prompt: "Say which knife opens the door".into(),
        source: "harmbench".into(),
        category: "kitchen".into(),
        difficulty: 2,
        labels: [("functional".to_string(), "standard".to_string())].into(),
        attacked: None,
        truth: Some(Truth {
            harmful: true,
            aliases: vec![],
            facts: vec![],
            procedure: vec!["tongs".into()],
        }),
    }
}

/// Writes what `push` pushes; the folders of prompts, cases and log.
fn written(push: impl FnOnce(&mut CaseWriter)) -> (TempDir, [std::path::PathBuf; 3], Made) {
    let dir = tempfile::tempdir().unwrap();
    let folders = ["prompts", "cases", "log"].map(|name| dir.path().join(name));
    folders.iter().for_each(|f| std::fs::create_dir(f).unwrap());
    let [prompts, cases, log] = &folders;
    let mut writer = CaseWriter::at("pap", prompts, cases, log).unwrap();
    push(&mut writer);
    let made = writer.finish().unwrap();
    (dir, folders, made)
}

fn merged(folder: &Path) -> String {
    std::fs::read_to_string(folder.join(CASES)).unwrap()
}

#[test]
fn a_case_has_everything_of_its_prompt_but_the_text() {
    let parent = parent("harmbench-knife");
    let made = case(&parent, 3, "pap", "As a gardener, which knife?".into());
    assert_eq!(made.id, "harmbench-knife#3");
    assert_eq!(made.labels[BEHAVIOR], "harmbench-knife");
    assert_eq!(made.labels[ATTACK], "pap");
    assert_eq!(made.labels["functional"], "standard");
    assert_eq!(
        (made.class, made.difficulty, &made.truth),
        (parent.class, 2, &parent.truth)
    );
    // What is made of a case is a case of the same behaviour, by both attacks.
    let again = case(&made, 0, "augment", "as A GARDENER, which knife?".into());
    assert_eq!(again.id, "harmbench-knife#3#0");
    assert_eq!(again.labels[BEHAVIOR], "harmbench-knife");
    assert_eq!(again.labels[ATTACK], "pap+augment");
}

#[test]
fn the_merged_file_is_read_by_the_schema_of_harmbench() {
    let texts = ["\"which\nknife\"", "welches Messer öffnet 😀"].map(String::from);
    let step = AttackStep::new("harmbench-knife", 0, 1, 7);
    let (_dir, folders, made) = written(|writer| {
        let (knife, lamp) = (parent("harmbench-knife"), parent("harmbench-lamp"));
        writer
            .push(&knife, &texts, std::slice::from_ref(&step))
            .unwrap();
        writer.push(&lamp, &[], &[]).unwrap();
        let earlier = case(&knife, 5, "pair", "earlier".into());
        writer.push(&earlier, &["later".to_string()], &[]).unwrap();
    });
    let counted = Made {
        prompts: 3,
        without: 1,
        cases: 3,
        steps: 1,
    };
    assert_eq!(made, counted);
    let [prompts, cases, log] = &folders;
    assert_eq!(Type::Prompts.check(prompts).unwrap(), "3 rows");
    assert_eq!(Type::Cases.check(cases).unwrap(), "3 cases of 2 behaviours");
    assert_eq!(Type::AttackLog.check(log).unwrap(), "1 row");
    assert_eq!(rows::read_rows::<AttackStep>(log).unwrap(), [step]);

    let study = Study::new();
    study.file("cases.json", merged(cases));
    let ran = study
        .run("[node.d]\nkind = \"dataset\"\nschema = \"harmbench-cases\"\npath = \"cases.json\"\n");
    let read: Vec<Prompt> = ran.rows("d", "prompts");
    let of: Vec<(&str, &str)> = read
        .iter()
        .map(|p| (p.id.as_str(), p.prompt.as_str()))
        .collect();
    assert_eq!(
        of,
        [
            ("harmbench-knife#0", texts[0].as_str()),
            ("harmbench-knife#1", texts[1].as_str()),
            ("harmbench-knife#2", "later"),
        ]
    );
}

#[test]
fn behaviours_of_two_sets_are_not_taken_for_one() {
    let (_dir, [_, cases, _], _) = written(|writer| {
        let (one, two) = (parent("harmbench-knife"), parent("harmbench-lamp"));
        let other = Prompt {
            source: "lab".into(),
            ..parent("lab-knife")
        };
        for prompt in [one, two, other] {
            writer.push(&prompt, &["x".to_string()], &[]).unwrap();
        }
    });
    let merged: serde_json::Value = serde_json::from_str(&merged(&cases)).unwrap();
    let keys: Vec<&String> = merged.as_object().unwrap().keys().collect();
    assert_eq!(keys, ["harmbench-knife", "harmbench-lamp", "lab-knife"]);
}

#[test]
fn what_is_no_case_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let writer = || CaseWriter::at("pap", dir.path(), dir.path(), dir.path()).unwrap();
    let mut blank = writer();
    let error = blank
        .push(&parent("a"), &["  ".to_string()], &[])
        .unwrap_err();
    assert_eq!(error.to_string(), "case 0 of prompt `a` has no text");
    let mut twice = writer();
    twice.push(&parent("a"), &["x".to_string()], &[]).unwrap();
    let error = twice
        .push(&parent("a"), &["y".to_string()], &[])
        .unwrap_err();
    assert_eq!(error.to_string(), "the prompt `a` is attacked twice");
    let mut none = writer();
    none.push(&parent("a"), &[], &[]).unwrap();
    let error = none.finish().unwrap_err().to_string();
    assert_eq!(error, "the attack made no case of 1 prompt: see the log");
    for (text, told) in [
        ("[]", "by behaviour an array of prompts"),
        ("{}", "no behaviour"),
        ("{\"a\": [1]}", "expected a string"),
        ("{\"a\": [\"x\"], \"a\": []}", "is there twice"),
    ] {
        std::fs::write(dir.path().join(CASES), text).unwrap();
        let error = format!("{:#}", Type::Cases.check(dir.path()).unwrap_err());
        assert!(error.contains(told), "{text}: {error}");
    }
}

/// Each model is attacked by texts of its own: what pairs is the attacked prompt under the same attack.
#[test]
fn cases_pair_by_the_prompt_that_is_attacked() {
    let one = |text: &str, attack| {
        CompletedPrompt::from(case(&parent("a"), 0, attack, text.into())).fingerprint()
    };
    assert_eq!(one("x ! !", "gcg"), one("x ? ?", "gcg"));
    assert_ne!(
        one("x ! !", "gcg"),
        one("x ! !", "pair"),
        "other attacks are other measurements"
    );
    let harder = Prompt {
        prompt: "Say which fork opens the door".into(),
        ..parent("a")
    };
    let harder = CompletedPrompt::from(case(&harder, 0, "gcg", "x ! !".into()));
    assert_ne!(
        one("x ! !", "gcg"),
        harder.fingerprint(),
        "the prompt is another one"
    );
    let again = case(
        &case(&parent("a"), 0, "pap", "y".into()),
        0,
        "gcg",
        "z".into(),
    );
    assert_eq!(
        again.attacked,
        Some(parent("a").fingerprint()),
        "an attack on a case is one on its prompt"
    );
}
