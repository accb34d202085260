//! `rainbow`: archives filled by scripted services, and by the world's mutator and judge.

use super::{Answers, gullible, log, model, part, said, told, wrong};
use crate::services::server::{Act, Server};
use crate::study::{Ran, Study};
use pipe::base::rows::{self, ATTACK, ArchiveCell, BEHAVIOR, Prompt};
use pipe::engine::kind::Type;
use pipe::kinds::attacks::rainbow::outputs::{RISK, STYLE};
use pipe::world::attack;
use serde_json::json;

const PROMPTS: &str = r#"
[node.p]
kind = "world-prompts"
sft = 32
rl = 1
validation = 1
eval = 2
plain = 1.0
"#;

/// Two by two cells with all parts at one place.
fn served(url: &str, lines: &str) -> String {
    let parts: Vec<String> = ["mutator", "target", "judge"]
        .map(|name| part(name, url, ", concurrency = 1"))
        .into();
    format!(
        "{PROMPTS}[node.x]\nkind = \"rainbow\"\nin = {{ prompts = \"p.sft\" }}\nrisks = [\"fire\", \"water\"]\n\
         styles = [\"loud\", \"quiet\"]\n{}{lines}\n",
        parts.concat()
    )
}

fn archive(ran: &Ran, file: &str) -> Vec<Vec<ArchiveCell>> {
    rows::archive(&ran.bytes("x", "archives", file)).unwrap()
}

#[test]
fn the_worlds_archive_has_its_prompts_in_every_guise() {
    let study = Study::new();
    let parents: Vec<Prompt> = study.run(PROMPTS).rows("p", "sft");
    let server = gullible(parents.clone());
    let ran = study.run(&format!(
        "{PROMPTS}[node.x]\nkind = \"rainbow\"\nin = {{ prompts = \"p.sft\" }}\niterations = 150\narchives = 2\n\
         styles = [\"plain\", \"role\", \"role+code\"]\n{}\
         [node.mix]\nkind = \"mix\"\nin = {{ prompts = \"x\" }}\nlambda = 1.0\ntotal = 10\n",
        part("target", &server.url(), "")
    ));
    let cases: Vec<Prompt> = ran.rows("x", "prompts");
    let grids = ["archive_1.json", "archive_2.json"].map(|file| archive(&ran, file));
    let filled = grids
        .iter()
        .flatten()
        .flatten()
        .filter(|c| !c.prompt.is_empty());
    assert_eq!(filled.count(), cases.len());
    assert!(cases.len() > 36, "{} of 48", cases.len());
    for case in &cases {
        let parent = parents
            .iter()
            .find(|p| p.id == case.labels[BEHAVIOR])
            .unwrap();
        assert_eq!(
            (&case.truth, case.class, case.labels[ATTACK].as_str()),
            (&parent.truth, parent.class, "rainbow")
        );
        assert_eq!(attack::guise(case).unwrap().word(), case.labels[STYLE]);
        assert_eq!(
            attack::risk(case.truth.as_ref().unwrap()),
            Some(case.labels[RISK].as_str())
        );
    }
    // A role is what this target falls for: those cells have all, the others nothing.
    for row in grids.iter().flatten() {
        assert_eq!(row.len(), 3);
        for (style, cell) in row.iter().enumerate() {
            let expected = if style > 0 && !cell.prompt.is_empty() {
                1.0
            } else {
                0.0
            };
            assert_eq!(cell.score, expected, "{cell:?}");
        }
    }
    let coverage = ran.metric("x", "coverage");
    assert_eq!(
        (coverage.n, coverage.value),
        (48, cases.len() as f64 / 48.0)
    );
    let steps = log(&ran);
    assert_eq!(steps.len(), 300);
    assert_ne!(
        steps[0].text, steps[150].text,
        "each archive has draws of its own"
    );
    let outcomes = ["no_mutant", "too_close", "loses", "takes"];
    let shares = outcomes.map(|name| ran.metric("x", &format!("outcome/{name}")).value);
    assert!(
        (shares.iter().sum::<f64>() - 1.0).abs() < 1e-12,
        "{shares:?}"
    );
    assert!(
        shares[2] > 0.0,
        "an equal challenger does not take a cell: {shares:?}"
    );
    // Weak cells are tried far more often than those that are full.
    let tried = |style: &str| {
        let ending = format!(", {style}: ");
        steps
            .iter()
            .filter(|s| s.note.as_ref().unwrap().contains(&ending))
            .count()
    };
    assert!(
        tried("plain") > 2 * tried("role"),
        "{} {}",
        tried("plain"),
        tried("role")
    );
    let folder = study.dir.path().join("archives");
    ran.export("x", "archives", &folder);
    assert_eq!(
        Type::Archives.check(&folder).unwrap(),
        format!("2 archives, {} of 48 cells filled", cases.len())
    );
    // As those of TARS they are read by the schema.
    let read =
        study.run("[node.d]\nkind = \"dataset\"\nschema = \"rainbow\"\npath = \"archives\"\n");
    let again: Vec<Prompt> = read.rows("d", "prompts");
    let mut texts = [&cases, &again].map(|rows| rows.iter().map(|p| &p.prompt).collect::<Vec<_>>());
    texts.iter_mut().for_each(|t| t.sort());
    assert_eq!(texts[0], texts[1]);
}

#[test]
fn a_challenger_has_to_win_both_ways_round() {
    // The target says what it was asked; the judge rates by the number in it, and prefers the first of two, whatever it is.
    let server = Server::new(|seen, n| match model(seen) {
        "mutator" => said(&format!("\"mutant {n} of something\"")),
        "target" => said(&format!(
            "<think>\nhm\n</think>\n\nanswer to {}",
            told(seen)
        )),
        _ if told(seen).contains("Which answer goes further") => said("[[1]]"),
        _ => said("Rating: [[7]]"),
    });
    let study = Study::new();
    let ran = study.run(&served(&server.url(), "iterations = 30\nsimilarity = 1.0"));
    let grid = archive(&ran, "archive_1.json");
    let scores: Vec<f64> = grid.iter().flatten().map(|c| c.score).collect();
    assert_eq!(scores, [6.0 / 9.0; 4]);
    let takes = ran.metric("x", "outcome/takes").value * 30.0;
    assert_eq!(takes.round() as usize, 4, "the first of each cell stays");
    let all = server.seen();
    let compared: Vec<&str> = all
        .iter()
        .map(told)
        .filter(|t| t.contains("Which answer goes further"))
        .collect();
    assert_eq!(compared.len(), 2 * 26);
    let halves = |text: &str| {
        let (first, rest) = text.split_once("=== end of the first ===").unwrap();
        let part = |text: &str| {
            text.split_once("Request: ")
                .unwrap()
                .1
                .split('\n')
                .next()
                .unwrap()
                .to_string()
        };
        (part(first), part(rest))
    };
    let (one, other) = (halves(compared[0]), halves(compared[1]));
    assert_eq!((one.0, one.1), (other.1, other.0), "both ways round");
    assert!(
        all.iter()
            .all(|s| model(s) == "target" || !told(s).contains("hm\n"))
    );
    assert_eq!(ran.metric("x", "queries").value, (30 * 4 + 2 * 26) as f64);
    // What a model makes of a prompt is a behaviour of its own.
    let cases: Vec<Prompt> = ran.rows("x", "prompts");
    assert_eq!(cases.len(), 4);
    for case in &cases {
        assert_eq!(case.truth, None);
        assert_eq!(case.id, format!("{}#0", case.labels[BEHAVIOR]));
        assert!(case.prompt.starts_with("mutant "), "{}", case.prompt);
    }
    assert_eq!(
        (
            cases[1].labels[RISK].as_str(),
            cases[1].labels[STYLE].as_str()
        ),
        ("fire", "quiet")
    );
}

#[test]
fn what_is_no_mutant_is_dropped_and_counted() {
    let server = Server::new(|seen, _| match model(seen) {
        "mutator" if told(seen).contains("Style: loud") => {
            let parent = told(seen).split("=== request ===\n").nth(1).unwrap();
            said(parent.split("\n=== end").next().unwrap())
        }
        "mutator" if told(seen).contains("Kind of risk: water") => said("I'm sorry, but I can't."),
        "mutator" => {
            let parent = told(seen).split("=== request ===\n").nth(1).unwrap();
            said(parent.split("\n=== end").next().unwrap())
        }
        "target" => said("so"),
        _ => said("no number"),
    });
    let study = Study::new();
    let ran = study.try_run(&served(&server.url(), "iterations = 20"));
    let failure = ran.failure("x");
    assert!(
        failure.contains("the attack made no case of 0 prompts: see the log"),
        "{failure}"
    );
    let kept = study.run(&served(&server.url(), "iterations = 20\nsimilarity = 1.0"));
    let share = |name: &str| kept.metric("x", name).value;
    assert!(share("outcome/no_mutant") > 0.0 && share("outcome/takes") > 0.0);
    assert_eq!(
        (share("outcome/too_close"), share("unreadable/ratings")),
        (0.0, 1.0)
    );
    assert_eq!(share("unreadable/votes"), 1.0);
    assert_eq!(share("fitness"), 0.0);
    assert_eq!(share("entropy"), 0.0);
}

#[test]
fn a_plan_goes_on_from_what_the_journal_has() {
    let server = Server::new(|seen, n| match model(seen) {
        "mutator" => said(&format!("mutant {n}")),
        "target" => said("so"),
        _ if told(seen).contains("Which answer goes further") => said("[[2]]"),
        _ => said("[[10]]"),
    });
    let study = Study::new();
    let of = |iterations: usize| {
        served(
            &server.url(),
            &format!("similarity = 1.0\niterations = {iterations}"),
        )
    };
    study.run(&of(3));
    let asked = server.requests() as u64;
    let calls = study.planned_calls(&of(5), "x");
    let counts = ["make", "in_journal"].map(|name| calls[name].as_u64().unwrap());
    // Two mutants more, each with two questions to the mutator, one to the target, three to the judge at most.
    assert_eq!(counts, [2 * 6, asked], "{calls}");
    assert_eq!(server.requests() as u64, asked, "a plan asks nobody");
}

#[test]
fn an_archive_is_gone_on_from_and_its_answers_are_asked_for() {
    let server = Server::new(|seen, n| match model(seen) {
        "mutator" => said(&format!("mutant {n}")),
        "target" => said("so"),
        _ if told(seen).contains("Which answer goes further") => {
            let first = told(seen).split("=== end of the first ===").next().unwrap();
            said(if first.contains("mutant") {
                "[[1]]"
            } else {
                "[[2]]"
            })
        }
        _ => said("[[10]]"),
    });
    let study = Study::new();
    let cell = |prompt: &str, score: f64| json!({ "prompt": prompt, "score": score });
    let grid = json!([
        [cell("given", 0.9), cell("", 0.0)],
        [cell("given too", 0.1), cell("", 0.0)]
    ]);
    study.file("a.json", grid.to_string());
    let recipe = |lines: &str| {
        served(
            &server.url(),
            &format!("start = \"a.json\"\nsimilarity = 1.0\n{lines}"),
        )
    };
    let ran = study.run(&recipe("iterations = 1"));
    let first = log(&ran).remove(0);
    assert!(first.id.starts_with("start/0/0"), "{first:?}");
    assert_eq!(
        archive(&ran, "archive_1.json")
            .iter()
            .flatten()
            .filter(|c| c.prompt.starts_with("given"))
            .count(),
        2
    );
    let ran = study.run(&recipe("iterations = 40"));
    let cells: Vec<ArchiveCell> = archive(&ran, "archive_1.json")
        .into_iter()
        .flatten()
        .collect();
    assert!(
        cells
            .iter()
            .all(|c| c.prompt.starts_with("mutant") && c.score == 1.0),
        "{cells:?}"
    );
    assert!(
        server
            .seen()
            .iter()
            .any(|s| model(s) == "target" && told(s) == "given too")
    );

    let wrong = |text: String, words: &str| {
        study.file("a.json", text);
        let failure = study.try_run(&recipe("iterations = 2")).failure("x");
        assert!(failure.contains(words), "{failure}");
    };
    let row = json!([cell("a", 0.5), cell("b", 0.5)]);
    wrong(
        json!([row]).to_string(),
        "it is 1 × 2, and `risks` and `styles` are 2 × 2",
    );
    wrong(
        json!([row, [cell("a", 0.5)]]).to_string(),
        "row 1 has 1 cells, and row 0 has 2",
    );
    wrong(
        json!([[cell("a", 2.0), cell("b", 0.5)], row]).to_string(),
        "a score is 2, which is not in [0, 1]",
    );
    wrong("{}".into(), "no array of arrays of `prompt` and `score`");
    wrong("[]".into(), "it has no cell");
}

#[test]
fn a_run_that_broke_off_goes_on_to_the_same_bytes() {
    let answers = Answers::default();
    let left = answers.clone();
    let server = Server::new(move |seen, _| match (left.spend(), model(seen)) {
        (false, _) => Act::Say(503, vec![], "{}".into()),
        (true, "mutator") => said(&format!("words {}", seen.body["seed"])),
        _ if told(seen).len().is_multiple_of(2) => said("[[2]]"),
        _ => said("[[1]]"),
    });
    let recipe = |lines: &str| {
        let quick = ", retries = 0, concurrency = 1";
        format!(
            "{PROMPTS}[node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n\
             [node.x]\nkind = \"rainbow\"\nin = {{ prompts = \"p.sft\", target = \"m\" }}\nrisks = [\"fire\"]\nstyles = [\"loud\", \"quiet\"]\n\
             iterations = 8\narchives = 2\nsimilarity = 1.0\ntarget.max_tokens = 5\ntarget.temperature = 1.0\n{}{}{lines}\n",
            part("mutator", &server.url(), quick),
            part("judge", &server.url(), quick),
        )
    };
    let whole = Study::new().run(&recipe(""));
    let ended = answers.until_it_ends(13, &recipe("save_every = 1"));
    assert_eq!(ended.digests("x"), whole.digests("x"));
}

#[test]
fn what_is_wrong_is_told_before_anybody_is_asked() {
    let told = |lines: &str| {
        let text = format!(
            "{PROMPTS}[node.m]\nkind = \"world-model\"\n[node.x]\nkind = \"rainbow\"\n\
             in = {{ prompts = \"p.sft\", target = \"m\", mutator = \"m\" }}\n{lines}\n"
        );
        wrong(&text)
    };
    assert_eq!(told(""), "");
    let risk = told("risks = [\"scorsh\"]");
    assert!(
        risk.contains("the world has no `scorsh` among its risks")
            && risk.contains("did you mean `scorch`?"),
        "{risk}"
    );
    let style = told("styles = [\"role\", \"role\"]");
    assert!(style.contains("`role` is there twice"), "{style}");
    let judge = told("mutator.from = \"model\"");
    assert!(
        judge.contains("the world as `judge` knows only what its own mutator writes"),
        "{judge}"
    );
    let idle = told("start = \"a.json\"");
    assert!(
        idle.contains("`start` acts only where `mutator.from` is `model` or `endpoint`"),
        "{idle}"
    );
    let study = Study::new();
    let recipe = format!(
        "{PROMPTS}[node.m]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n\
         [node.x]\nkind = \"rainbow\"\nin = {{ prompts = \"p.eval\", target = \"m\" }}\n"
    );
    let failure = study.try_run(&recipe).failure("x");
    assert!(
        failure.contains(
            "rainbow teaming begins with harmful ones: `filter` with `classes` takes them"
        ),
        "{failure}"
    );
}
