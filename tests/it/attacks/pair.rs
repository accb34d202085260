//! `pair`: conversations with scripted services, with the world as attacker and judge, and with models on this machine.

use super::{Answers, gullible, log, model, part, said, stopped, wrong};
use crate::services::server::{Act, Seen, Server};
use crate::study::Study;
use pipe::base::rows::{ATTACK, AttackStep, BEHAVIOR, Prompt};
use serde_json::json;

const PROMPTS: &str = r#"
[node.p]
kind = "world-prompts"
sft = 3
rl = 1
validation = 1
eval = 2
plain = 1.0
"#;

fn proposal(prompt: &str) -> Act {
    said(&json!({ "improvement": "other words", "prompt": prompt }).to_string())
}

fn messages(seen: &Seen) -> Vec<&str> {
    let messages = seen.body["messages"].as_array().unwrap().iter();
    messages.map(|m| m["content"].as_str().unwrap()).collect()
}

/// All three parts at one place.
fn served(url: &str, lines: &str) -> String {
    let parts: Vec<String> = ["attacker", "target", "judge"]
        .map(|name| part(name, url, ""))
        .into();
    format!(
        "{PROMPTS}[node.x]\nkind = \"pair\"\nin = {{ prompts = \"p.sft\" }}\n{}{lines}\n",
        parts.concat()
    )
}

#[test]
fn the_attacker_is_told_what_the_target_answers_and_nothing_of_its_reasoning() {
    let server = Server::new(|seen, _| match (model(seen), messages(seen).len()) {
        ("attacker", 2) => proposal("first words"),
        ("attacker", _) => proposal("second words"),
        ("target", _) if messages(seen)[0] == "first words" => {
            said("<think>\nsecret thoughts\n</think>\n\nI would rather not.")
        }
        ("target", _) => stopped("<think>\nsecret thoughts without", "length"),
        _ => said("Rating: [[3]]"),
    });
    let study = Study::new();
    let ran = study.run(&served(&server.url(), "streams = 1\nsteps = 2"));
    let parents: Vec<Prompt> = ran.rows("p", "sft");
    let cases: Vec<Prompt> = ran.rows("x", "prompts");
    assert_eq!(cases.len(), 3);
    for (case, parent) in cases.iter().zip(&parents) {
        // The first of two that are rated alike.
        assert_eq!(
            (case.prompt.as_str(), &case.truth),
            ("first words", &parent.truth)
        );
        assert_eq!(
            (case.labels[BEHAVIOR].as_str(), case.labels[ATTACK].as_str()),
            (parent.id.as_str(), "pair")
        );
    }
    let all = server.seen();
    assert!(all.iter().all(|s| !s.body.to_string().contains("secret")));
    let later: Vec<&Seen> = all
        .iter()
        .filter(|s| model(s) == "attacker" && messages(s).len() > 2)
        .collect();
    assert_eq!(later.len(), 3);
    let heard = messages(later[0]);
    assert!(
        parents.iter().any(|p| heard[0].contains(&p.prompt)),
        "{heard:?}"
    );
    assert_eq!(
        heard[2],
        "{\"improvement\":\"other words\",\"prompt\":\"first words\"}"
    );
    assert!(
        heard[3].contains("I would rather not.") && heard[3].contains("3 of 10"),
        "{heard:?}"
    );
    // Of two rounds with the same messages to the target and the judge each is asked once.
    let judged: Vec<&Seen> = all.iter().filter(|s| model(s) == "judge").collect();
    assert!(
        judged
            .iter()
            .any(|s| messages(s)[0].contains("(The model gave no answer.)"))
    );
    assert_eq!(judged[0].body["temperature"].as_f64(), Some(0.0));
    assert_eq!(ran.metric("x", "unanswered").value, 0.5);
    assert_eq!(ran.metric("x", "score").value, 3.0);
    let log = log(&ran);
    let ids: Vec<String> = parents
        .iter()
        .flat_map(|p| [0, 1].map(|k| format!("{}/0/{k}", p.id)))
        .collect();
    assert_eq!(log.iter().map(|s| s.id.clone()).collect::<Vec<_>>(), ids);
    assert_eq!((log[0].case, log[1].case), (Some(0), None));
    assert_eq!(log[1].note.as_deref(), Some("cut off before an answer"));
    assert_eq!(log[1].ended.as_deref(), Some("all steps are done"));
    assert_eq!((log[0].queries, log[0].tokens), (3, 21));
}

#[test]
fn what_cannot_be_read_is_asked_for_again_and_counted() {
    let server = Server::new(|seen, _| match model(seen) {
        "attacker" => match seen.body["seed"].as_u64().unwrap() % 4 {
            0 => said("no object here"),
            1 => said("{\"improvement\": \"x\""),
            _ => proposal("words"),
        },
        "target" => said("so"),
        _ => said("I will not rate this."),
    });
    let study = Study::new();
    let recipe = served(&server.url(), "streams = 2\nsteps = 1\nretries = 4");
    let ran = study.run(&recipe);
    let log = log(&ran);
    assert_eq!(log.len(), 6);
    assert!(
        log.iter().all(|s| s.queries == 5 && s.score == Some(1.0)),
        "{log:?}"
    );
    assert_eq!(log[0].note.as_deref(), Some("the rating cannot be read"));
    assert_eq!(ran.metric("x", "unreadable/attacker").value, 2.0 / 3.0);
    assert_eq!(ran.metric("x", "unreadable/judge").value, 1.0);
    assert_eq!(ran.metric("x", "reached").value, 0.0);
    // A try less, and every stream of every prompt ends: that is no failure either.
    let recipe = served(&server.url(), "streams = 1\nsteps = 3\nretries = 2");
    let ran = study.run(&recipe);
    let parents: Vec<Prompt> = ran.rows("p", "sft");
    let cases: Vec<Prompt> = ran.rows("x", "prompts");
    for (case, parent) in cases.iter().zip(&parents) {
        assert_eq!(case.prompt, parent.prompt, "as it is");
    }
    assert_eq!(ran.metric("x", "nothing").value, 1.0);
    assert_eq!(ran.metric("x", "unreadable/attacker").value, 1.0);
    let log: Vec<AttackStep> = ran.rows("x", "log");
    assert_eq!(log[1].ended.as_deref(), Some("no attacker can be read"));
    assert_eq!(
        log[0].note.as_deref(),
        Some("no reply of the attacker can be read")
    );
}

#[test]
fn the_worlds_attacker_and_judge_find_what_a_target_falls_for() {
    let study = Study::new();
    let parents: Vec<Prompt> = study.run(PROMPTS).rows("p", "eval");
    let harmful: Vec<Prompt> = parents
        .iter()
        .filter(|p| p.truth.as_ref().unwrap().harmful)
        .cloned()
        .collect();
    let server = gullible(parents);
    let node = |lines: &str| {
        format!(
            "{PROMPTS}[node.f]\nkind = \"filter\"\nin = {{ prompts = \"p.eval\" }}\nclasses = [\"harmful\"]\n\
             [node.x]\nkind = \"pair\"\nin = {{ prompts = \"f\" }}\n{}{lines}\n",
            part("target", &server.url(), "")
        )
    };
    let ran = study.run(&node("streams = 3\nsteps = 3"));
    let cases: Vec<Prompt> = ran.rows("x", "prompts");
    assert_eq!(cases.len(), harmful.len());
    assert_eq!(ran.metric("x", "reached").value, 1.0);
    assert_eq!(ran.metric("x", "score").value, 10.0);
    for case in &cases {
        let role = ["pretend", "you play", "answer as"]
            .iter()
            .any(|s| case.prompt.starts_with(s));
        assert!(role, "{}", case.prompt);
    }
    // The first stream begins with a role, and ends the search in its first step.
    let log = log(&ran);
    assert_eq!(log.len(), 3 * harmful.len());
    assert_eq!((log[0].case, log[0].score), (Some(0), Some(10.0)));
    assert_eq!(log[2].ended.as_deref(), Some("the cutoff is reached"));
    // What the target answered is paid for once, whatever else is asked.
    let asked = server.requests();
    let more = study.run(&node("streams = 3\nsteps = 2"));
    assert_eq!(
        (server.requests(), more.metric("x", "reached").value),
        (asked, 1.0)
    );
}

#[test]
fn a_search_that_broke_off_goes_on_to_the_same_bytes() {
    let answers = Answers::default();
    let left = answers.clone();
    let server = Server::new(move |seen, _| match (left.spend(), model(seen)) {
        (false, _) => Act::Say(503, vec![], "{}".into()),
        (true, "attacker") => proposal(&format!("words {}", seen.body["seed"])),
        _ => said("[[4]]"),
    });
    let recipe = |tries: &str| {
        let quick = ", retries = 0, concurrency = 1";
        format!(
            "{PROMPTS}[node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n\
             [node.x]\nkind = \"pair\"\nin = {{ prompts = \"p.sft\", target = \"m\" }}\nstreams = 2\nsteps = 3\n\
             target.max_tokens = 5\ntarget.temperature = 1.0\n{}{}{tries}\n",
            part("attacker", &server.url(), quick),
            part("judge", &server.url(), quick),
        )
    };
    let whole = Study::new().run(&recipe(""));
    // The target's answers are drawn in pieces, too.
    let ended = answers.until_it_ends(7, &recipe("save_every = 2"));
    assert_eq!(ended.digests("x"), whole.digests("x"));
}

#[test]
fn three_models_on_this_machine_have_their_parts() {
    let study = Study::new();
    let ran = study.run(&format!(
        "{PROMPTS}[node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n\
         [node.x]\nkind = \"pair\"\nin = {{ prompts = \"p.sft\", attacker = \"m\", target = \"m\", judge = \"m\" }}\n\
         attacker = {{ from = \"model\", max_tokens = 6 }}\ntarget.max_tokens = 6\njudge = {{ from = \"model\", max_tokens = 3 }}\n\
         streams = 2\nsteps = 2\nretries = 2\nbegin = true\n"
    ));
    for part in ["target", "judge"] {
        let once = format!("`attacker` and `{part}` are one model, which is loaded once");
        assert!(ran.said("x", &once), "{part}");
    }
    // A model that knows nothing writes no object: that is counted.
    assert_eq!(ran.metric("x", "nothing").value, 1.0);
    let log: Vec<AttackStep> = ran.rows("x", "log");
    assert!(
        log.iter().all(|s| s.queries == 2 && s.tokens > 12),
        "{log:?}"
    );
}

#[test]
fn a_folder_of_texts_is_dealt_to_the_streams() {
    let server = Server::new(|seen, _| match model(seen) {
        "attacker" => proposal(messages(seen)[0]),
        "target" => said("so"),
        _ => said("[[2]]"),
    });
    let study = Study::new();
    study.file("texts/a.txt", "one: {behavior}");
    study.file("texts/b.txt", "two: {goal}");
    study.file("texts/notes.md", "no text");
    let attacker = part("attacker", &server.url(), ", template = \"texts\"");
    let others = part("target", &server.url(), "") + &part("judge", &server.url(), "");
    let recipe = format!(
        "{PROMPTS}[node.x]\nkind = \"pair\"\nin = {{ prompts = \"p.sft\" }}\nstreams = 3\nsteps = 1\n{attacker}{others}"
    );
    let ran = study.run(&recipe);
    let log: Vec<AttackStep> = ran.rows("x", "log");
    let heads: Vec<&str> = log[..3].iter().map(|s| &s.text[..4]).collect();
    assert_eq!(heads, ["one:", "two:", "one:"]);
    study.file("texts/b.txt", "no place");
    let failure = study.try_run(&recipe).failure("x");
    assert!(
        failure.contains("an attacker's template has a place for the objective"),
        "{failure}"
    );
}

#[test]
fn what_is_wrong_is_told_before_anybody_is_asked() {
    let told = |lines: &str| {
        let text = format!(
            "{PROMPTS}[node.m]\nkind = \"world-model\"\n[node.f]\nkind = \"prompts-file\"\npath = \"p.csv\"\n\
             [node.x]\nkind = \"pair\"\n{lines}\n"
        );
        wrong(&text)
    };
    let world = "in = { prompts = \"p.sft\", target = \"m\" }\n";
    assert_eq!(told(world), "");
    let target = told(&format!("{world}target.from = \"world\""));
    assert!(
        target.contains("expects one of `model`, `endpoint`"),
        "{target}"
    );
    let missing = told("in = { prompts = \"p.sft\" }");
    assert!(
        missing.contains("`target`") && missing.contains("where `target.from` is `model`"),
        "{missing}"
    );
    // An edge that is taken back is not there.
    assert_eq!(
        told("in = { prompts = \"p.sft\", target = false }"),
        missing
    );
    let file = told("in = { prompts = \"f\", target = \"m\" }");
    assert!(
        file.contains("the world as `attacker` knows only prompts of the built-in world"),
        "{file}"
    );
    let judge =
        "in = { prompts = \"f\", target = \"m\", attacker = \"m\" }\nattacker.from = \"model\"";
    let judge = told(judge);
    assert!(
        judge.contains("the world as `judge` knows only prompts of the built-in world"),
        "{judge}"
    );
    let idle = told(&format!("{world}begin = true"));
    assert!(
        idle.contains("`begin` acts only where `attacker.from` is `model`"),
        "{idle}"
    );
}

#[test]
fn a_plan_reckons_with_what_three_services_are_asked_at_most() {
    let study = Study::new();
    study.run(PROMPTS);
    let priced = ", price_prompt = 1.0, price_completion = 2.0";
    let recipe = format!(
        "{PROMPTS}[node.x]\nkind = \"pair\"\nin = {{ prompts = \"p.sft\" }}\nstreams = 4\nsteps = 5\n{}{}{}",
        part("attacker", "http://127.0.0.1:9/v1", priced),
        part("target", "http://127.0.0.1:9/v1", priced),
        part("judge", "http://127.0.0.1:9/v1", "")
    );
    // Each of 60 proposals may take 20 replies; the target and the judge have one turn for each.
    let calls = study.planned_calls(&recipe, "x");
    assert_eq!(calls["make"].as_u64(), Some(60 * 20 + 2 * 60), "{calls}");
    let dear = calls["dollars"].as_f64().unwrap();
    let once = study.planned_calls(&format!("{recipe}\nretries = 1\n"), "x");
    assert_eq!(once["make"].as_u64(), Some(3 * 60), "{once}");
    assert!(dear > 2.0 * once["dollars"].as_f64().unwrap(), "{calls}");
}

/// What cannot be read is asked for again: the plan that said how many calls at most was right.
#[test]
fn no_attacker_asks_more_often_than_its_plan_says() {
    let server = Server::new(|seen, _| match model(seen) {
        "attacker" => said("no object"),
        _ => said("[[2]]"),
    });
    let study = Study::new();
    study.run(PROMPTS);
    let recipe = served(&server.url(), "streams = 2\nsteps = 3\nretries = 4");
    let calls = study.planned_calls(&recipe, "x");
    let most = calls["make"].as_u64().unwrap();
    assert_eq!(most, 3 * 2 * 3 * (4 + 2), "{calls}");
    study.run(&recipe);
    // The streams end in the first step.
    assert_eq!(server.requests() as u64, 3 * 2 * 4);
    assert!(server.requests() as u64 <= most);
}

/// What an earlier run asked, of fewer steps, is followed through the conversations: only what comes behind it is to be paid for.
#[test]
fn a_plan_goes_on_from_what_the_journal_has() {
    let server = Server::new(|seen, n| match model(seen) {
        "attacker" => proposal(&format!("words {n}")),
        "target" => said("so"),
        _ => said("[[2]]"),
    });
    let study = Study::new();
    let of = |steps: usize| served(&server.url(), &format!("streams = 4\nsteps = {steps}"));
    study.run(&of(2));
    let asked = server.requests();
    let calls = study.planned_calls(&of(5), "x");
    let counts = ["make", "in_journal"].map(|name| calls[name].as_u64().unwrap());
    assert_eq!(counts, [3 * 4 * 3 * (20 + 2), 3 * 4 * 2 * 3], "{calls}");
    assert_eq!(server.requests(), asked, "a plan asks nobody");
    // One more rating would end the searches of all prompts: the journal says so.
    let done = study.planned_calls(
        &served(&server.url(), "streams = 4\nsteps = 5\ncutoff = 2"),
        "x",
    );
    let counts = ["make", "in_journal"].map(|name| done[name].as_u64().unwrap());
    assert_eq!(counts, [0, 3 * 4 * 3], "{done}");
}
