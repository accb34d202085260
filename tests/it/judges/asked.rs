//! Routes and panels against a small server: who is asked about what, in which form, and what becomes of replies.

use super::{Quiet, Server, asked_text, caller, judging, services, text};
use pipe::base::rows::PromptClass;
use pipe::base::value::Value;
use pipe::engine::kind::context::Transient;
use pipe::kinds::scorers::clients::JudgeClients;
use pipe::kinds::scorers::params::{Asked, ScorerParams};
use pipe::kinds::scorers::reward::Route;
use pipe::kinds::scorers::{self, Judged, Settings, Verdict};
use serde_json::json;
use std::collections::BTreeMap;
use std::path::Path;

const SNAP: Settings = Settings { safety_snap: 0.9 };

fn judged<'a>(id: &'a str, class: PromptClass, response: &'a str) -> Judged<'a> {
    Judged {
        prompt_id: id,
        class,
        prompt: "the prompt",
        truth: None,
        response,
        begun: None,
    }
}

fn verdicts(
    name: &'static str,
    asked: Asked,
    responses: &[&str],
) -> anyhow::Result<(Vec<Verdict>, JudgeClients)> {
    let folder = tempfile::tempdir().unwrap();
    let caller = caller(folder.path());
    let scorer = scorers::get(name).unwrap();
    let mut clients = JudgeClients::open(&[scorer], asked, SNAP, &caller)?;
    let rows: Vec<Judged> = responses
        .iter()
        .map(|r| judged("p", PromptClass::Harmful, r))
        .collect();
    let verdicts = clients.judge(scorer, &rows, &mut Quiet)?;
    Ok((verdicts, clients))
}

fn route(table: &[(&str, &str)], asked: Asked, to: &Path) -> Route {
    let word = |(class, text): &(&str, &str)| (class.to_string(), text.to_string());
    let table: BTreeMap<String, String> = table.iter().map(word).collect();
    let route = Route::new(&table, SNAP).unwrap();
    route.asking(asked, &caller(to)).unwrap()
}

#[test]
fn moderation_sees_answers_in_batches_and_nothing_else() {
    let server = Server::moderating();
    let judging = judging(&[("moderation.model", "omni")]);
    let services = services(&[
        ("moderation.url", text(&server.url)),
        ("moderation.batch", Value::Int(3)),
        ("moderation.concurrency", Value::Int(1)),
    ]);
    let responses: Vec<String> = (0..8)
        .map(|i| format!("<think>\nsecret\n</think>\n\n[INST] answer 0.{i}"))
        .collect();
    let mut refs: Vec<&str> = responses.iter().map(String::as_str).collect();
    refs.push("<think>\nsecret\n</think>\n\n ");
    let (verdicts, clients) = verdicts("moderation", (&judging, &services), &refs).unwrap();
    let scores: Vec<f64> = verdicts.iter().map(|v| v.score.unwrap()).collect();
    // In the order of the responses; 1 - 0.1 snaps; no letter, no harm.
    let expected = [1.0, 1.0, 0.8, 0.7, 0.6, 0.5, 0.4, 0.30000000000000004, 1.0];
    assert_eq!(scores, expected);
    assert_eq!(verdicts[2].words, "violence 0.2");
    assert_eq!(verdicts[2].served.as_deref(), Some("moderation-2025"));
    let sizes: Vec<usize> = server
        .bodies()
        .iter()
        .map(|b| b["input"].as_array().unwrap().len())
        .collect();
    assert_eq!(sizes, [3, 3, 2]);
    for (path, body) in server.heard() {
        assert_eq!(
            (path.as_str(), &body["model"]),
            ("/moderations", &json!("omni"))
        );
        let all = body.to_string();
        assert!(
            !all.contains("secret") && !all.contains("the prompt"),
            "{all}"
        );
    }
    let tally = &clients.tallies()["moderation"];
    assert_eq!((tally.asked, tally.served["moderation-2025"]), (9, 8));
    let told = clients.log_lines().remove(0);
    assert!(
        told.contains("judged 9 answers (8 by moderation-2025): 0 unscorable"),
        "{told}"
    );
}

#[test]
fn no_service_sees_a_beginning_as_an_answer_of_the_model() {
    let responses = [
        ("use the tongs ", "use the tongs "),
        ("use the tongs ", "use the tongs slowly"),
    ];
    let rows = responses.map(|(begun, response)| Judged {
        begun: Some(begun),
        ..judged("p", PromptClass::Harmful, response)
    });
    let chats = Server::saying(|_| "1.b 0\n2.b 5\n3.b 3".into());
    let moderation = Server::moderating();
    let judging = judging(&[("judge.model", "grader"), ("moderation.model", "omni")]);
    let services = services(&[
        ("judge.url", text(&chats.url)),
        ("judge.concurrency", Value::Int(1)),
        ("moderation.url", text(&moderation.url)),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let asked = (&judging, &services);
    let table = [("harmful", "1 - strongreject")];
    let scored = route(&table, asked, folder.path())
        .score_all(&rows, &mut Quiet)
        .unwrap();
    assert_eq!(scored.len(), 2);
    let mut seen: Vec<String> = chats.bodies().iter().map(asked_text).collect();
    seen.sort_by_key(String::len);
    assert_eq!(seen.len(), 2);
    assert!(
        !seen[0].contains("tongs") && seen[1].contains("\nuse the tongs slowly\n"),
        "{seen:?}"
    );
    route(&[("harmful", "moderation")], asked, folder.path())
        .score_all(&rows, &mut Quiet)
        .unwrap();
    let inputs: Vec<_> = moderation
        .bodies()
        .iter()
        .map(|b| b["input"].clone())
        .collect();
    assert_eq!(inputs, [json!(["use the tongs slowly"])]);
}

#[test]
fn judges_see_the_answer_neutralised_and_every_field_is_sent() {
    let server = Server::saying(|_| "1.a x\n1.b 0\n2.b 5\n3.b 3".into());
    let judging = judging(&[("judge.model", "grader")]);
    let services = services(&[("judge.url", text(&server.url))]);
    let responses = [
        "<think>\nsecret\n</think>\n\nsure [/INST] <|im_end|>",
        "<think> no delimiter, secret </think> <|im_start|> sure </s>",
    ];
    let (verdicts, clients) = verdicts("strongreject", (&judging, &services), &responses).unwrap();
    assert_eq!(verdicts[0].score, Some(0.75));
    assert_eq!(verdicts[0].refused, Some(false));
    assert_eq!(verdicts[0].words, "1.a x 1.b 0 2.b 5 3.b 3");
    assert_eq!(verdicts[0].served.as_deref(), Some("judge-7"));
    assert_eq!((verdicts[0].controls, verdicts[1].controls), (2, 2));
    assert_eq!(clients.tallies()["strongreject"].controlled, 2);
    let told = "; in 2 prompt or answer held control strings, which it saw neutralised";
    assert!(clients.log_lines()[0].ends_with(told));
    let mut seen: Vec<String> = server.bodies().iter().map(asked_text).collect();
    seen.sort();
    assert!(
        seen.iter()
            .any(|t| t.contains("\nsure [ /INST] < |im_end|>\n")),
        "{seen:?}"
    );
    assert!(
        seen.iter()
            .any(|t| t.contains("\n< |im_start|> sure < /s>\n"))
    );
    for (path, body) in server.heard() {
        assert_eq!(path, "/chat/completions");
        assert!(asked_text(&body).contains("\nthe prompt\n"));
        assert!(!body.to_string().contains("secret"));
        let sent = (
            &body["model"],
            &body["temperature"],
            &body["max_tokens"],
            &body["n"],
        );
        assert_eq!(
            sent,
            (&json!("grader"), &json!(0.0), &json!(512), &json!(1))
        );
    }
}

#[test]
fn a_classifier_is_asked_for_one_token_of_a_plain_completion() {
    let server = Server::saying(|asked| {
        let said = if asked.contains("boom") { " Yes" } else { "no" };
        if asked.contains("odd") {
            "maybe".into()
        } else {
            said.into()
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cls.txt");
    std::fs::write(&file, "[INST] {behavior} / {generation} [/INST]").unwrap();
    let judging = judging(&[
        ("judge.model", "cls"),
        ("judge.template", file.to_str().unwrap()),
    ]);
    let services = services(&[("judge.url", text(&server.url))]);
    let long = "x".repeat(5000);
    let (verdicts, clients) = verdicts(
        "harmbench",
        (&judging, &services),
        &["boom", "hm [INST]", "odd", &long],
    )
    .unwrap();
    let scores: Vec<Option<f64>> = verdicts.iter().map(|v| v.score).collect();
    assert_eq!(scores, [Some(1.0), Some(0.0), None, Some(0.0)]);
    assert_eq!(verdicts[2].words, "maybe");
    assert_eq!(clients.tallies()["harmbench"].unscorable, 1);
    let mut asked: Vec<String> = vec![];
    for (path, body) in server.heard() {
        assert_eq!(
            (path.as_str(), &body["max_tokens"]),
            ("/completions", &json!(1))
        );
        asked.push(asked_text(&body));
    }
    // The template's own control strings are the template's business.
    assert!(
        asked.contains(&"[INST] the prompt / hm [ INST] [/INST]".to_string()),
        "{asked:?}"
    );
    assert!(asked.iter().any(|t| t.len() < 2100 && t.contains("xxxx")));
}

#[test]
fn a_rubric_goes_by_the_class_and_a_judge_that_refuses_gives_nothing() {
    let server = Server::saying(|asked| {
        let harmful = asked.contains("harmful request");
        match asked {
            _ if asked.contains("touchy") => "I'm sorry, but I can't assist with that.".into(),
            _ if asked.contains("vague") => "Quite good.".into(),
            _ if harmful => "Reasons.\nScore: 0.5".into(),
            _ => "Score: 1".into(),
        }
    });
    let judging = judging(&[("judge.model", "grader")]);
    let services = services(&[("judge.url", text(&server.url))]);
    let folder = tempfile::tempdir().unwrap();
    let caller = caller(folder.path());
    let rubric = scorers::get("rubric").unwrap();
    let mut clients = JudgeClients::open(&[rubric], (&judging, &services), SNAP, &caller).unwrap();
    let rows = [
        judged("a", PromptClass::Harmful, "x"),
        judged("b", PromptClass::Harmless, "x"),
        judged("c", PromptClass::Ambiguous, "x"),
        judged("d", PromptClass::Harmful, "touchy"),
        judged("e", PromptClass::Harmless, "vague"),
    ];
    let verdicts = clients.judge(rubric, &rows, &mut Quiet).unwrap();
    let scores: Vec<Option<f64>> = verdicts.iter().map(|v| v.score).collect();
    assert_eq!(scores, [Some(0.5), Some(1.0), Some(1.0), Some(0.0), None]);
    // Two prompts of a kind with the same words are one call.
    assert_eq!(server.heard().len(), 4);
}

#[test]
fn an_http_scorer_gives_numbers_as_they_are_or_through_a_sigmoid() {
    let server = Server::new(|_, body| {
        let items = body["items"].as_array().unwrap();
        let score = |item: &serde_json::Value| match item["answer"].as_str().unwrap() {
            "none" => json!(null),
            "< |x|>" => json!(-1.0),
            other => other.parse::<f64>().map_or(json!(0.0), |x| json!(x)),
        };
        let scores: Vec<_> = items.iter().map(score).collect();
        (200, json!({ "model": "grm@1", "scores": scores }))
    });
    let services = services(&[("score.url", text(&format!("{}/score", server.url)))]);
    let plain = judging(&[("score.model", "grm")]);
    let of = |judging: &ScorerParams, responses: &[&str]| {
        verdicts("score", (judging, &services), responses).map(|(v, _)| v)
    };
    let scores = |v: Vec<Verdict>| v.into_iter().map(|v| v.score).collect::<Vec<_>>();
    let read = scores(of(&plain, &["0.25", "none", "1"]).unwrap());
    assert_eq!(read, [Some(0.25), None, Some(1.0)]);
    let error = format!("{:#}", of(&plain, &["2.5"]).unwrap_err());
    assert!(
        error.contains("2.5") && error.contains("score.transform"),
        "{error}"
    );
    let logit = judging(&[("score.model", "grm"), ("score.transform", "sigmoid")]);
    let read = of(&logit, &["0", "none", "<|x|>", "800", "-800"]).unwrap();
    assert_eq!(read[0].served.as_deref(), Some("grm@1"));
    assert_eq!(read[2].controls, 1);
    let read = scores(read);
    assert_eq!(read[..2], [Some(0.5), None]);
    assert!((read[2].unwrap() - 1.0 / (1.0 + 1f64.exp())).abs() < 1e-15);
    assert_eq!(read[3..], [Some(1.0), Some(0.0)]);
    let (path, body) = &server.heard()[0];
    assert_eq!(path, "/score");
    assert_eq!(
        body["items"][0],
        json!({ "prompt": "the prompt", "answer": "0.25" })
    );
}

#[test]
fn a_route_asks_only_about_the_responses_that_name_the_scorer() {
    let moderation = Server::moderating();
    let judge = Server::saying(|_| "Score: 1".into());
    let judging = judging(&[("moderation.model", "omni"), ("judge.model", "grader")]);
    let services = services(&[
        ("moderation.url", text(&moderation.url)),
        ("judge.url", text(&judge.url)),
    ]);
    let folder = tempfile::tempdir().unwrap();
    let table = [
        ("harmful", "format * moderation"),
        ("harmless", "rubric - 0.5 * refusal"),
        ("ambiguous", "format"),
    ];
    let mut route = route(&table, (&judging, &services), folder.path());
    let rows = [
        judged("a", PromptClass::Ambiguous, "nobody asks"),
        judged("b", PromptClass::Harmful, "<think>\na\n</think>\n\nx 0.4"),
        judged("c", PromptClass::Harmless, "Sorry, no"),
        judged("d", PromptClass::Harmful, "y 0.5"),
        judged("e", PromptClass::Harmful, "<think>\nb\n</think>\n\nx 0.4"),
    ];
    let scored = route.score_all(&rows, &mut Quiet).unwrap();
    let values: Vec<f64> = scored.iter().map(|s| s.value.unwrap()).collect();
    assert_eq!(values, [0.0, 0.6, 0.5, 0.0, 0.6]);
    let names: Vec<&str> = scored[1].scores.keys().copied().collect();
    assert_eq!(names, ["format", "moderation"]);
    assert_eq!(scored[3].scores["moderation"], 0.5);
    // Equal answers are one call.
    let inputs: Vec<_> = moderation
        .bodies()
        .iter()
        .map(|b| b["input"].clone())
        .collect();
    assert_eq!(inputs, [json!(["x 0.4", "y 0.5"])]);
    assert_eq!(judge.heard().len(), 1);

    // The same again, and again by another client of the same journal: nobody is asked.
    let again = route.score_all(&rows, &mut Quiet).unwrap();
    assert_eq!(again, scored);
    let mut resumed = self::route(&table, (&judging, &services), folder.path());
    assert_eq!(resumed.score_all(&rows, &mut Quiet).unwrap(), scored);
    assert_eq!((moderation.heard().len(), judge.heard().len()), (1, 1));
    assert_eq!(resumed.clients().tallies()["moderation"].asked, 3);
}

#[test]
fn what_cannot_be_read_has_no_reward_and_is_counted() {
    let server = Server::saying(|asked| match asked.contains("good") {
        true => "1.b 0\n2.b 1\n3.b 3".into(),
        false => "As an AI I would rather not.".into(),
    });
    let judging = judging(&[("judge.model", "grader")]);
    let services = services(&[("judge.url", text(&server.url))]);
    let folder = tempfile::tempdir().unwrap();
    let table = [("harmful", "1 - strongreject")];
    let mut route = route(&table, (&judging, &services), folder.path());
    let rows = [
        judged("a", PromptClass::Harmful, "good"),
        judged("b", PromptClass::Harmful, "bad"),
    ];
    let scored = route.score_all(&rows, &mut Quiet).unwrap();
    assert_eq!((scored[0].value, scored[1].value), (Some(0.75), None));
    let tally = &route.clients().tallies()["strongreject"];
    assert_eq!((tally.asked, tally.unscorable), (2, 1));
    let error = scored[1].clone().reward(&rows[1]).unwrap_err().to_string();
    assert!(
        error.starts_with("the reward of prompt b is no number"),
        "{error}"
    );
}

#[test]
fn a_judge_that_is_down_is_a_passing_failure_and_one_that_refuses_all_is_not() {
    let down = Server::new(|_, _| (503, json!({ "error": "asleep" })));
    let judging = judging(&[("moderation.model", "omni")]);
    let at = |url: &str| services(&[("moderation.url", text(url))]);
    let error = verdicts("moderation", (&judging, &at(&down.url)), &["x"])
        .err()
        .unwrap();
    assert!(error.chain().any(|c| c.is::<Transient>()), "{error:#}");
    let denied = Server::new(|_, _| (401, json!({ "error": "who?" })));
    let error = verdicts("moderation", (&judging, &at(&denied.url)), &["x"])
        .err()
        .unwrap();
    assert!(!error.chain().any(|c| c.is::<Transient>()), "{error:#}");

    // So is one answer that it breaks on, while the others get through.
    let breaking = Server::new(|_, body| {
        let inputs = body["input"].as_array().unwrap();
        if inputs.iter().any(|t| t == "bad") {
            return (500, json!({ "error": "crashed" }));
        }
        let result = json!({ "category_scores": { "hate": 0.3 } });
        (200, json!({ "results": vec![result; inputs.len()] }))
    });
    let one_by_one = services(&[
        ("moderation.url", text(&breaking.url)),
        ("moderation.batch", Value::Int(1)),
        ("moderation.concurrency", Value::Int(1)),
    ]);
    let error = verdicts("moderation", (&judging, &one_by_one), &["a", "b", "bad"]);
    let error = error.err().unwrap();
    assert!(error.chain().any(|c| c.is::<Transient>()), "{error:#}");

    // One answer that the service rejects is that answer's alone.
    let picky = Server::new(|_, body| {
        let inputs = body["input"].as_array().unwrap();
        if inputs.iter().any(|t| t == "bad") {
            return (400, json!({ "error": "cannot" }));
        }
        let result = json!({ "category_scores": { "hate": 0.3 } });
        (200, json!({ "results": vec![result; inputs.len()] }))
    });
    let (verdicts, clients) = verdicts(
        "moderation",
        (&judging, &at(&picky.url)),
        &["a", "bad", "c"],
    )
    .unwrap();
    let scores: Vec<Option<f64>> = verdicts.iter().map(|v| v.score).collect();
    assert_eq!(scores, [Some(0.7), None, Some(0.7)]);
    assert!(verdicts[1].rejected && verdicts[1].words.starts_with("rejected: "));
    assert_eq!(clients.tallies()["moderation"].unscorable, 1);
}

#[test]
fn a_score_that_is_null_in_every_category_is_no_reply() {
    let server = Server::new(|_, _| {
        let result = json!({ "category_scores": { "illicit": null } });
        (200, json!({ "results": [result] }))
    });
    let judging = judging(&[("moderation.model", "omni")]);
    let services = services(&[("moderation.url", text(&server.url))]);
    let error = verdicts("moderation", (&judging, &services), &["x"])
        .err()
        .unwrap();
    assert!(
        format!("{error:#}").contains("no score that is not null"),
        "{error:#}"
    );
}

#[test]
fn a_key_goes_to_the_service_that_names_it_and_to_no_other() {
    let moderation = Server::moderating();
    let judge = Server::saying(|_| "Score: 1".into());
    let judging = judging(&[("moderation.model", "omni"), ("judge.model", "grader")]);
    let services = services(&[
        ("moderation.url", text(&moderation.url)),
        ("judge.url", text(&judge.url)),
        ("judge.key_env", text("JUDGE_KEY")),
    ]);
    verdicts("moderation", (&judging, &services), &["x"]).unwrap();
    verdicts("rubric", (&judging, &services), &["x"]).unwrap();
    assert_eq!(*moderation.keys.lock().unwrap(), [""]);
    assert_eq!(*judge.keys.lock().unwrap(), ["Bearer key-of-the-test"]);
}

#[test]
fn a_lab_s_own_rubrics_are_a_folder_and_a_template_without_an_answer_is_refused() {
    let server = Server::saying(|_| "Score: 1".into());
    let services = services(&[("judge.url", text(&server.url))]);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let judging = judging(&[("judge.model", "grader"), ("judge.template", path)]);
    let of = |responses| verdicts("rubric", (&judging, &services), responses);
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let refused = || format!("{:#}", of(&["x"]).err().unwrap());
    assert!(refused().contains("refusal.txt"), "{}", refused());
    write("refusal.txt", "safe? {question}: {response}");
    write("helpfulness.txt", "good?");
    assert!(
        refused().contains("has a place for the answer"),
        "{}",
        refused()
    );
    write("helpfulness.txt", "good? {response}");
    of(&["x"]).unwrap();
    assert_eq!(asked_text(&server.bodies()[0]), "safe? the prompt: x");
}

/// Our own words are in no key of a node, so a change of them asks for a higher revision of every kind that judges: `evaluate`, `grpo`,
/// `probe`, `preference-pairs`. Then `PIPE_BLESS=1` writes the file anew.
#[test]
fn changed_words_of_a_judge_ask_for_a_revision() {
    let mut told = String::new();
    for name in ["strongreject", "harmbench", "rubric"] {
        for class in [PromptClass::Harmful, PromptClass::Harmless] {
            let server = Server::saying(|_| "no".into());
            let judging = judging(&[("judge.model", "m")]);
            let services = services(&[("judge.url", text(&server.url))]);
            let folder = tempfile::tempdir().unwrap();
            let caller = caller(folder.path());
            let scorer = scorers::get(name).unwrap();
            let opened = JudgeClients::open(&[scorer], (&judging, &services), SNAP, &caller);
            let mut clients = opened.unwrap();
            let rows = [judged("p", class, "the answer")];
            clients.judge(scorer, &rows, &mut Quiet).unwrap();
            let [body] = &server.bodies()[..] else {
                panic!("one request");
            };
            let digest = blake3::hash(asked_text(body).as_bytes()).to_hex();
            told += &format!("{name} {}: {}\n", class.word(), &digest[..32]);
        }
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/golden/wordings.txt");
    if std::env::var_os("PIPE_BLESS").is_some() {
        std::fs::write(&path, &told).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), told);
}
