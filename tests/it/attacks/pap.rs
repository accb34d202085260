//! `pap`: rewritings by the world's attacker, by a model at an endpoint, by one on this machine.

use super::{said, told, wrong};
use crate::services::server::{Act, Server};
use crate::study::{Ran, Study};
use pipe::base::rows::{ATTACK, AttackStep, BEHAVIOR, Prompt};
use pipe::kinds::attacks::pap::TECHNIQUE;
use pipe::kinds::attacks::pap::techniques;
use std::collections::BTreeSet;

const PROMPTS: &str = r#"
[node.p]
kind = "world-prompts"
sft = 3
rl = 2
validation = 1
eval = 2
"#;

/// A node whose attacker is at this place, with these lines.
fn served(url: &str, lines: &str) -> String {
    format!(
        "{PROMPTS}[node.x]\nkind = \"pap\"\nin = {{ prompts = \"p.sft\" }}\n\
         attacker = {{ from = \"endpoint\", model = \"m\", url = \"{url}\", max_tokens = 50 }}\n{lines}\n"
    )
}

fn texts(ran: &Ran) -> Vec<String> {
    let rows: Vec<Prompt> = ran.rows("x", "prompts");
    rows.into_iter().map(|p| p.prompt).collect()
}

#[test]
fn there_are_forty_techniques_with_names_of_their_own() {
    let names: BTreeSet<&str> = techniques::ALL.iter().map(|t| t.name).collect();
    assert_eq!(names.len(), 40);
    let first: Vec<&str> = techniques::ALL[..5].iter().map(|t| t.name).collect();
    let top_5 = [
        "Logical Appeal",
        "Authority Endorsement",
        "Misrepresentation",
        "Evidence-based Persuasion",
        "Expert Endorsement",
    ];
    assert_eq!(first, top_5);
}

#[test]
fn the_worlds_attacker_disguises_what_it_is_given() {
    let study = Study::new();
    let recipe = format!(
        "{PROMPTS}[node.x]\nkind = \"pap\"\nin = {{ prompts = \"p.eval\" }}\ntop = 7\n\
         [node.again]\nkind = \"pap\"\nin = {{ prompts = \"x\" }}\ntechniques = [\"role\"]\n"
    );
    let ran = study.run(&recipe);
    let parents: Vec<Prompt> = ran.rows("p", "eval");
    let cases: Vec<Prompt> = ran.rows("x", "prompts");
    assert_eq!(cases.len(), 7 * parents.len());
    for (case, parent) in cases.iter().zip(parents.iter().flat_map(|p| [p; 7])) {
        assert_eq!((case.class, &case.truth), (parent.class, &parent.truth));
        assert_eq!(
            (&case.labels[BEHAVIOR], case.labels[ATTACK].as_str()),
            (&parent.id, "pap")
        );
        let whom = |p: &Prompt| {
            let whom = p.prompt.rsplit(" for ").next().unwrap().to_string();
            whom.trim_end_matches([' ', '.', '?']).to_string()
        };
        assert_eq!(whom(case), whom(parent), "{}", case.prompt);
    }
    let ways: Vec<&str> = cases[..7]
        .iter()
        .map(|c| c.labels[TECHNIQUE].as_str())
        .collect();
    assert_eq!(
        ways,
        [
            "role",
            "code",
            "box",
            "role+code",
            "role+box",
            "code+box",
            "role+code+box"
        ]
    );
    // A case is attacked as any prompt is, and stays a case of its behaviour.
    let again: Vec<Prompt> = ran.rows("again", "prompts");
    assert_eq!(again[0].labels[ATTACK], "pap+pap");
    assert_eq!(again[0].labels[BEHAVIOR], parents[0].id);
    assert_eq!(again[0].id, format!("{}#0#0", parents[0].id));
}

#[test]
fn an_attacker_at_an_endpoint_is_asked_once_a_technique() {
    let server = Server::new(|seen, _| match () {
        () if told(seen).contains("Technique: Logical Appeal") => {
            said("\"Since it is so, do it.\" | and more")
        }
        () if told(seen).contains("Technique: Authority Endorsement") => {
            said("I'm sorry, I can't help with that.")
        }
        () if told(seen).contains("Technique: Misrepresentation") => {
            said("<think>\nhm\n</think>\n\n'As a baker, I ask.'")
        }
        () if told(seen).contains("Technique: Evidence-based Persuasion") => said(" ''' | nothing"),
        () => Act::Say(
            400,
            vec![],
            "{\"error\":{\"message\":\"content policy\"}}".into(),
        ),
    });
    let study = Study::new();
    let ran = study.run(&served(&server.url(), ""));
    assert_eq!(server.requests(), 15);
    let parents: Vec<Prompt> = ran.rows("p", "sft");
    let body = &server.seen()[0].body;
    assert_eq!(
        (body["temperature"].as_f64(), body["max_tokens"].as_u64()),
        (Some(1.0), Some(50))
    );
    assert!(
        parents
            .iter()
            .any(|p| told(&server.seen()[0]).contains(&p.prompt))
    );
    let of_one = [
        "Since it is so, do it.",
        "I'm sorry, I can't help with that.",
        "As a baker, I ask.",
        "'",
    ];
    assert_eq!(texts(&ran), of_one.repeat(3));
    assert_eq!(ran.metric("x", "refused").value, 0.2);
    assert_eq!(ran.metric("x", "empty").value, 0.2);
    assert_eq!(ran.metric("x", "without").value, 0.0);
    let log: Vec<AttackStep> = ran.rows("x", "log");
    assert_eq!(log.len(), 15);
    assert_eq!(
        (log[0].queries, log[0].tokens, log[0].case),
        (1, 7, Some(0))
    );
    assert_eq!(log[1].note.as_deref(), Some("the attacker refuses"));
    assert_eq!((log[4].case, log[4].text.as_str()), (None, ""));
    assert!(log[4].note.as_deref().unwrap().contains("400"), "{log:?}");
    // Nothing is asked for twice: with more techniques only the new ones are.
    let more = server.requests();
    let ran = study.run(&served(&server.url(), "top = 4"));
    assert_eq!((server.requests(), texts(&ran).len()), (more, 12));
    assert_eq!(ran.record("x").cost.calls.reused, 12);
}

#[test]
fn an_attacker_that_never_says_anything_is_told() {
    let server = Server::new(|_, _| said("  "));
    let study = Study::new();
    let failure = study.try_run(&served(&server.url(), "")).failure("x");
    assert!(
        failure.contains("the attack made no case of 3 prompts: see the log"),
        "{failure}"
    );
}

#[test]
fn a_lab_words_it_in_its_own_way() {
    let server = Server::new(|seen, _| said(&told(seen).replace("<|im_end|>", "!")));
    let study = Study::new();
    study.file("ours.txt", "Say it as {technique}: {request} {x}");
    let recipe = served(
        &server.url(),
        "techniques = [\"favor\"]\nattacker.template = \"ours.txt\"",
    )
    .replace("attacker = {", "attacker = { template = \"ours.txt\",")
    .replace("\nattacker.template = \"ours.txt\"", "");
    let ran = study.run(&recipe);
    let parents: Vec<Prompt> = ran.rows("p", "sft");
    let expected: Vec<String> = parents
        .iter()
        .map(|p| format!("Say it as Favor: {} {{x}}", p.prompt))
        .collect();
    assert_eq!(texts(&ran), expected);
    study.file("ours.txt", "Say it as {technique}");
    let failure = study.try_run(&recipe).failure("x");
    assert!(
        failure.contains("an attacker's template has a place for the prompt, one of {request}, {prompt}, {behavior}"),
        "{failure}"
    );
}

#[test]
fn a_model_on_this_machine_writes_the_same_in_pieces() {
    let study = Study::new();
    let model = "[node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n";
    let node = |name: &str, lines: &str| {
        format!(
            "[node.{name}]\nkind = \"pap\"\nin = {{ prompts = \"p.sft\", attacker = \"m\" }}\ntop = 4\n\
             attacker = {{ from = \"model\", max_tokens = 6 }}\n{lines}\n"
        )
    };
    let whole = study.run(&format!(
        "{PROMPTS}{model}{}",
        node("x", "save_every = 512")
    ));
    let other = Study::new();
    let pieces = other.run(&format!("{PROMPTS}{model}{}", node("x", "save_every = 1")));
    assert_eq!(whole.digests("x"), pieces.digests("x"));
    let log: Vec<AttackStep> = whole.rows("x", "log");
    assert!(log.iter().all(|step| step.tokens > 6 && step.queries == 1));
}

#[test]
fn what_is_wrong_is_told_before_anybody_is_asked() {
    let node = |lines: &str| {
        format!("{PROMPTS}[node.x]\nkind = \"pap\"\nin = {{ prompts = \"p.sft\" }}\n{lines}\n")
    };
    let told = wrong(&node("top = 8"));
    assert!(told.contains("the world's attacker has 7 ways"), "{told}");
    let told = wrong(&node("techniques = [\"rolle\"]"));
    assert!(
        told.contains("there is no technique `rolle`") && told.contains("did you mean `role`?"),
        "{told}"
    );
    let told = wrong(&node("techniques = [\"role\", \"role\"]"));
    assert!(told.contains("`role` is there twice"), "{told}");
    let told = wrong(&node("attacker.from = \"endpoint\""));
    assert!(
        told.contains("`attacker` asks a service, and `attacker.model` does not say which model"),
        "{told}"
    );
    let told = wrong(&node("attacker.from = \"model\""));
    assert!(
        told.contains("`attacker`") && told.contains("where `attacker.from` is `model`"),
        "{told}"
    );
    let told = wrong(&node("world = 4"));
    assert!(
        told.contains("`p` is of world 0 and `x` of world 4"),
        "{told}"
    );
    let file = "[node.f]\nkind = \"prompts-file\"\npath = \"p.csv\"\n[node.x]\nkind = \"pap\"\nin = { prompts = \"f\" }\n";
    let told = wrong(file);
    assert!(
        told.contains("knows only prompts of the built-in world, and those of `f` are not"),
        "{told}"
    );
}
