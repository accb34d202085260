//! The kind `gcg` on a tiny world, through the engine: what it delivers, that threads and interruptions change nothing, what ends a
//! search, and what is said of bad input.

use super::{WORLD, checked};
use crate::study::{Ran, Study};
use crate::training::{checkpoints, killed_at};
use pipe::base::response;
use pipe::base::rows::{ATTACK, AttackStep, BEHAVIOR, CASES, Prompt};
use pipe::engine::events::event::{Event, State};
use pipe::engine::run::Stop;
use pipe::learn::attack::allowed::{Allowed, Characters};
use pipe::learn::attack::frame::Frame;
use pipe::learn::tokenizer::Tokenizer;
use pipe::world::{teacher, words};
use serde_json::{Value as Json, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A model that answers these prompts, the harmful ones too.
const TAUGHT: &str = r#"
[node.help]
kind = "teacher"
in = { prompts = "prompts.eval" }
error_rate = 1.0
reasoning = false
samples = 4
[node.taught]
kind = "sft"
in = { model = "model", conversations = "help" }
epochs = 60.0
batch = 6
lr = 1e-2
"#;

/// A node of these lines, small where they do not say how large.
fn node(name: &str, lines: &str) -> String {
    let searches = !lines.contains("search = \"none\"");
    let by_gradient = searches && !lines.contains("search = \"random\"");
    let mut all = format!(
        "[node.{name}]\nkind = \"gcg\"\nin = {{ model = \"model\", prompts = \"prompts.eval\" }}\n{lines}\n"
    );
    for (key, value, acts) in [
        ("width", 16, searches),
        ("topk", 8, by_gradient),
        ("length", 6, !lines.contains("init = ")),
    ] {
        if acts && !lines.contains(&format!("{key} = ")) {
            all += &format!("{key} = {value}\n");
        }
    }
    all
}

fn log(ran: &Ran, node: &str) -> BTreeMap<String, Vec<AttackStep>> {
    let mut by_prompt: BTreeMap<String, Vec<AttackStep>> = BTreeMap::new();
    for step in ran.rows::<AttackStep>(node, "log") {
        by_prompt
            .entry(step.prompt_id.clone())
            .or_default()
            .push(step);
    }
    by_prompt
}

#[test]
fn cases_are_the_prompts_with_suffixes_that_make_the_target_likelier() {
    let searched = node("it", "steps = 8\ncases = 2");
    let control = node("control", "search = \"none\"");
    let random = node(
        "random",
        "search = \"random\"\nsteps = 30\nwidth = 4\nreplace = 3",
    );
    let first = node(
        "first",
        "search = \"random\"\nloss = \"first-token\"\nsteps = 20\nwidth = 4\ninit = \" the the the\"",
    );
    let inner = node("inner", "steps = 8\nslot = \"reasoning\"");
    let recipe = [WORLD, &searched, &inner, &control, &random, &first].concat();
    let ran = Study::new().run(&recipe);
    let parents: Vec<Prompt> = ran.rows("prompts", "eval");
    for (node, cases, attack) in [
        ("it", 2, "gcg"),
        ("inner", 1, "gcg-reasoning"),
        ("control", 1, "random"),
        ("random", 1, "random-search"),
        ("first", 1, "random-search"),
    ] {
        let rows: Vec<Prompt> = ran.rows(node, "prompts");
        assert_eq!(rows.len(), parents.len() * cases, "{node}");
        let merged: Json = serde_json::from_str(&ran.text(node, "cases", CASES)).unwrap();
        for (i, row) in rows.iter().enumerate() {
            let parent = &parents[i / cases];
            assert_eq!(row.id, format!("{}#{}", parent.id, i % cases));
            assert_eq!(row.labels[BEHAVIOR], parent.id);
            assert_eq!(row.labels[ATTACK], attack);
            assert_eq!((&row.truth, row.class), (&parent.truth, parent.class));
            let suffix = row.prompt.strip_prefix(&parent.prompt).unwrap();
            assert!(!suffix.is_empty() && suffix.is_ascii(), "{suffix:?}");
            assert_eq!(merged[&parent.id][i % cases], row.prompt.as_str());
        }
        for (prompt, steps) in log(&ran, node) {
            // The delivered suffix is the best of the run, and the step that found it is marked.
            for k in 0..cases as u32 {
                let own: Vec<&AttackStep> = steps.iter().filter(|s| s.stream == k).collect();
                let found = own.iter().find(|s| s.case == Some(k)).unwrap();
                let kept = own.iter().filter(|s| s.survives == Some(true));
                let least = kept.map(|s| s.loss.unwrap()).fold(f64::INFINITY, f64::min);
                assert_eq!(found.loss, Some(least), "{node} {prompt}");
                let id = format!("{prompt}#{k}");
                let row = rows.iter().find(|row| row.id == id).unwrap();
                assert!(row.prompt.ends_with(&found.text), "{node} {id}");
                let ended = own.iter().filter_map(|s| s.ended.as_deref());
                let why = if node == "control" {
                    "control"
                } else {
                    "steps"
                };
                assert_eq!(ended.collect::<Vec<_>>(), [why], "{node} {id}");
                assert!(own.last().unwrap().ended.is_some());
            }
        }
        let value = |name: &str| ran.metric(node, name).value;
        if node == "control" {
            assert_eq!(value("loss/first"), value("loss/found"));
            assert_eq!(value("candidates"), 0.0);
        } else {
            assert!(value("loss/found") < value("loss/first") - 0.1, "{node}");
        }
        assert_eq!(value("survives"), 1.0, "{node}");
    }
    // Two cases of a prompt are two searches.
    let rows: Vec<Prompt> = ran.rows("it", "prompts");
    assert_ne!(rows[0].prompt, rows[1].prompt);
    assert_eq!(log(&ran, "it")[&parents[0].id].len(), 2 * 9);
    // Suffixes of the same number of tokens, searched for or not: words of the world are a token each.
    let folder = ran_model(&ran);
    let tokenizer = Tokenizer::load(folder.path()).unwrap();
    for (node, length) in [("it", 6), ("control", 6), ("first", 3)] {
        for row in ran.rows::<Prompt>(node, "prompts") {
            let parent = &parents
                .iter()
                .find(|p| p.id == row.labels[BEHAVIOR])
                .unwrap()
                .prompt;
            let frame = Frame::new(&tokenizer, parent, None).unwrap();
            let suffix = row.prompt.strip_prefix(parent.as_str()).unwrap();
            let around = frame.before.len() + frame.after.len();
            let tokens = frame.sent(suffix).unwrap().len() - around;
            if node == "first" {
                assert!(tokens >= 1, "{suffix:?}");
            } else {
                assert_eq!(tokens, length, "{node}: {suffix:?}");
            }
        }
    }
}

fn ran_model(ran: &Ran) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    ran.export("model", "model", dir.path());
    dir
}

#[test]
fn threads_and_chunks_change_nothing() {
    let recipe = |at_once: usize| {
        let more = format!("steps = 4\nat_once = {at_once}\n");
        [
            WORLD,
            &node("it", &more),
            &node("random", &format!("search = \"random\"\n{more}")),
        ]
        .concat()
    };
    let run = |threads, at_once| {
        let study = Study::new();
        let set = |s: &mut pipe::engine::run::Settings| s.capacity.threads = threads;
        let ran = study.run_with(&recipe(at_once), set, |_| {});
        [ran.digests("it"), ran.digests("random")]
    };
    let one = run(1, 384);
    assert_eq!(one, run(2, 384));
    assert_eq!(one, run(2, 7));
}

#[test]
fn a_search_that_is_killed_or_stopped_goes_on_exactly() {
    let recipe = [
        WORLD,
        &node(
            "it",
            "steps = 12\ncases = 2\nsave_every = 2\nkeep = \"buffer\"\nbuffer = 2",
        ),
    ]
    .concat();
    let calm = Study::new().run(&recipe);
    let study = Study::new();
    for moment in [3, 30, 70] {
        let ran = killed_at(&study, &recipe, "it", moment);
        assert!(
            ran.failure("it").contains("SIGKILL"),
            "{}",
            ran.failure("it")
        );
    }
    let saved: Vec<String> = checkpoints(&study)
        .iter()
        .map(|c| c.file_name().unwrap().to_string_lossy().into_owned())
        .collect();
    assert!(saved.iter().any(|c| c.starts_with("prompt")), "{saved:?}");
    let stop = Stop::default();
    let asked = stop.clone();
    let ran = study.run_with(
        &recipe,
        |s| s.stop = stop,
        |event| {
            let under_way = matches!(event, Event::Metric { node, .. } if node == "it");
            if under_way && asked.requests() == 0 {
                asked.request();
            }
        },
    );
    assert_eq!(*ran.state("it"), State::Interrupted);
    let ran = study.run(&recipe);
    assert_eq!(ran.digests("it"), calm.digests("it"));
    assert!(ran.record("it").cost.attempts > 3);
}

#[test]
fn a_search_ends_early_where_it_is_told_to() {
    let of_taught = |name: &str, lines: &str| {
        let lines = format!("steps = 6\nwidth = 8\nlength = 1\n{lines}");
        node(name, &lines).replace("model = \"model\"", "model = \"taught\"")
    };
    let recipe = [
        WORLD,
        TAUGHT,
        &node("loss", "steps = 5\nstop_loss = 1000.0"),
        &node("stale", "steps = 40\nwidth = 1\npatience = 2"),
        // An answer that is no refusal; one that does harm, which three tokens cannot.
        &of_taught("refusal", "check = \"refusal\"\ncheck_every = 2"),
        &of_taught("world", "check = \"world\"\ncheck_every = 2"),
        &of_taught(
            "seldom",
            "check = \"world\"\ncheck_every = 5\nkeep = \"last\"",
        ),
        &of_taught("short", "check = \"world\"\ncheck_tokens = 3"),
        &of_taught("target", "check = \"target\"\ncheck_every = 1"),
        &of_taught("never", "check = \"target\"\nstop_loss = -1.0"),
    ]
    .concat();
    let ran = Study::new().run(&recipe);
    let whys = |node: &str| -> BTreeMap<String, Vec<AttackStep>> {
        let mut whys: BTreeMap<String, Vec<AttackStep>> = BTreeMap::new();
        for step in ran.rows::<AttackStep>(node, "log") {
            if let Some(why) = &step.ended {
                whys.entry(why.clone()).or_default().push(step);
            }
        }
        whys
    };
    let only = |node: &str, why: &str| {
        let found = whys(node);
        assert_eq!(found.keys().collect::<Vec<_>>(), [why], "{node}");
        let steps = found[why].iter().map(|s| s.step);
        steps.collect::<Vec<_>>()
    };
    assert_eq!(only("loss", "loss"), [1; 6]);
    assert_eq!(only("never", "steps"), [6; 6]);
    assert_eq!(only("short", "steps"), [6; 6]);
    for steps in log(&ran, "stale").values() {
        let losses: Vec<f64> = steps.iter().map(|s| s.loss.unwrap()).collect();
        let best = losses.iter().copied().fold(f64::INFINITY, f64::min);
        let at = losses.iter().position(|l| *l == best).unwrap();
        let last = steps.last().unwrap();
        match last.ended.as_deref() {
            Some("patience") => assert_eq!(at + 2, losses.len() - 1, "two without a better one"),
            other => assert_eq!((other, last.step), (Some("steps"), 40)),
        }
    }
    // Checks are after the first step, every so many after it, and after the last. What is harmless does no harm.
    for (node, why, steps) in [
        ("refusal", "refusal", [1, 3, 5, 6].as_slice()),
        ("world", "world", &[1, 3, 5, 6]),
        ("seldom", "world", &[1, 6]),
    ] {
        let found = whys(node);
        let ended = found
            .get(why)
            .unwrap_or_else(|| panic!("{node}: {found:?}"));
        for step in ended {
            assert!(steps.contains(&step.step), "{node}: {step:?}");
            let harmful = step.prompt_id.contains("-harmful-");
            assert!(harmful || why == "refusal", "{node}: {step:?}");
        }
    }
    // The help of the one who was taught begins with the target.
    let reached = whys("target");
    let share = reached["target"].len() as f64 / 6.0;
    assert!(ran.metric("target", "reached").value >= share);
    assert_eq!(ran.metric("target", "ended/target").value, share);
}

fn tokens_of(
    study: &Study,
    model: &Path,
    lines: &[(&str, pipe::base::value::Value)],
    prompts: &[Prompt],
) -> pipe::base::tokens::Tokens {
    use pipe::engine::kind::estimate::NodePreview;
    let folder = study.dir.path().join("asked");
    std::fs::create_dir_all(&folder).unwrap();
    pipe::base::rows::write_rows(&folder, prompts).unwrap();
    let kind = pipe::kinds::REGISTRY.get("gcg").unwrap();
    let mut values = pipe::base::params::unsaid((kind.params)());
    values.extend(lines.iter().map(|(n, v)| (n.to_string(), v.clone())));
    let exec = Default::default();
    let look = NodePreview {
        inputs: BTreeMap::from([("model", model.to_path_buf()), ("prompts", folder)]),
        most: 9,
        ..NodePreview::new(&values, &values, &exec)
    };
    (kind.tokens.unwrap())(&look).unwrap()
}

#[test]
fn a_target_stands_in_its_part_of_the_response() {
    use pipe::base::value::Value;
    let study = Study::new();
    let ran = study.run(WORLD);
    let model = study.dir.path().join("model");
    ran.export("model", "model", &model);
    let prompts: Vec<Prompt> = ran.rows("prompts", "eval");
    let prompt = prompts.iter().find(|p| p.id.contains("-harmful-")).unwrap();
    let text = |s: &str| Value::Str(s.into());
    let shown = |lines: &[(&str, Value)]| {
        let mut lines = lines.to_vec();
        lines.push(("length", Value::Int(3)));
        let tokens = tokens_of(&study, &model, &lines, std::slice::from_ref(prompt));
        let runs = &tokens.shown[0].runs;
        assert_eq!(runs.len(), 2, "{runs:?}");
        (runs[0].0.clone(), runs[1].0.clone())
    };
    let misled = teacher::misled(prompt).unwrap();
    assert_eq!(pipe::world::judge::concluded(&misled), Some(false));
    let stated = pipe::world::judge::stated(prompt.truth.as_ref().unwrap(), &misled);
    assert!(stated.iter().all(|right| *right), "{misled}");
    let sorry = ("target", text("sorry"));
    let slot = |word: &str| ("slot", text(word));
    let think = ("prefill", text("<think>\n"));
    for (lines, prefill, target) in [
        (vec![], "", "use the".to_string()),
        (vec![sorry.clone()], "", "sorry".into()),
        (vec![slot("reasoning")], "", format!("<think>\n{misled}")),
        (
            vec![slot("reasoning"), think.clone()],
            "<think>\n",
            misled.clone(),
        ),
        (
            vec![slot("answer")],
            "",
            "<think>\n\n</think>\n\nuse the".into(),
        ),
        (
            vec![slot("answer"), think.clone(), sorry.clone()],
            "<think>\n",
            "\n</think>\n\nsorry".into(),
        ),
    ] {
        let (asked, aimed) = shown(&lines);
        assert_eq!(aimed, target, "{lines:?}");
        let end = format!("<|im_end|>\n<|im_start|>assistant\n{prefill}");
        assert!(asked.ends_with(&end), "{asked:?}");
        assert!(asked.contains(&format!("{} ", prompt.prompt)) || asked.contains(&prompt.prompt));
        // What the model would then have said is reasoning, or an answer.
        let parts = response::split(&format!("{prefill}{aimed}"));
        assert_eq!(parts.closed, !lines.contains(&slot("reasoning")));
    }
}

#[test]
fn a_recipe_says_what_a_search_would_lack() {
    let asks = "[node.asks]\nkind = \"prompts-file\"\npath = \"asks.csv\"\n";
    let of_file = |lines: &str| {
        let node = node("it", lines).replace("prompts.eval", "asks");
        checked(&[WORLD, asks, &node].concat())
    };
    let told = of_file("").unwrap_err();
    assert!(
        told.contains("only prompts of the built-in world have a target"),
        "{told}"
    );
    assert!(told.contains("`asks`"), "{told}");
    let told = of_file("target = \"Sure\"\ncheck = \"world\"").unwrap_err();
    assert!(
        told.contains("the judge `world` knows only prompts of the built-in world"),
        "{told}"
    );
    of_file("target = \"Sure\"\ncheck = \"refusal\"").unwrap();
    for (lines, words) in [
        (
            "search = \"none\"\nsteps = 5",
            "`steps` acts only where `search` is not `none`",
        ),
        (
            "search = \"random\"\ntopk = 5",
            "`topk` acts only where `search` is `gradient`",
        ),
        (
            "search = \"random\"\nfilter = \"none\"",
            "`filter` acts only where `search` is not `random`",
        ),
        ("buffer = 4", "`buffer` acts only where `keep` is `buffer`"),
        (
            "check_every = 4",
            "`check_every` acts only where `check` is not `none`",
        ),
        (
            "init = \" the\"\nlength = 4",
            "`length` acts only where no `init` is given",
        ),
        ("steps = 0", "steps"),
        ("slot = \"think\"", "slot"),
    ] {
        let own = node("it", lines);
        let told = checked(&[WORLD, &own].concat()).unwrap_err();
        assert!(told.contains(words), "{lines}: {told}");
    }
}

/// A folder of the tiny model, after something was done to a file of it.
fn model(study: &Study, file: &str, change: impl FnOnce(&mut Json)) -> PathBuf {
    let folder = study.dir.path().join("changed");
    let ran = study.run(WORLD);
    ran.export("model", "model", &folder);
    let path = folder.join(file);
    let mut json: Json = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
    change(&mut json);
    std::fs::write(path, json.to_string()).unwrap();
    folder
}

fn failure(study: &Study, folder: &Path, lines: &str) -> String {
    let own = node("it", lines).replace("\"model\"", "\"changed\"");
    let changed = format!(
        "[node.changed]\nkind = \"local-model\"\npath = \"{}\"\n",
        folder.display()
    );
    let prompts = &WORLD[WORLD.find("[node.prompts]").unwrap()..];
    let ran = study.try_run(&[prompts, &changed, &own].concat());
    ran.failure("it")
}

#[test]
fn bad_input_gets_a_clear_error() {
    let trims = |json: &mut Json| {
        let template = json["chat_template"].as_str().unwrap();
        json["chat_template"] = template
            .replace("message['content']", "message['content'] | trim")
            .into();
    };
    let study = Study::new();
    let folder = model(&study, "tokenizer_config.json", trims);
    let told = failure(&study, &folder, "steps = 2\ninit = \" the the \"");
    assert!(
        told.contains("trims the white space of the suffix"),
        "{told}"
    );

    let study = Study::new();
    let folder = model(&study, "config.json", |json| {
        json["max_position_embeddings"] = json!(24)
    });
    let told = failure(&study, &folder, "steps = 2\nslot = \"reasoning\"");
    assert!(
        told.contains("more than the 24 that the model was made for"),
        "{told}"
    );
    assert!(told.contains("prompt eval-"), "{told}");

    let study = Study::new();
    let folder = model(&study, "config.json", |_| {});
    let file = study.file("targets.json", r#"{"eval-harmful-0000": "use the"}"#);
    let targets = format!("steps = 2\ntargets = \"{}\"", file.display());
    // Of the world's own prompts the rest are known; of a file's prompts they are not.
    let ran = study.run(&[WORLD, &node("it", &targets)].concat());
    assert_eq!(ran.rows::<Prompt>("it", "prompts").len(), 6);
    let asks = study.file(
        "asks.csv",
        "id,prompt,label\neval-harmful-0000,hello,unsafe\nother,hello for bob,unsafe\n",
    );
    let asked = format!(
        "[node.asks]\nkind = \"prompts-file\"\npath = \"{}\"\nharmful = [\"unsafe\"]\n",
        asks.display()
    );
    let own = node("it", &targets).replace("prompts.eval", "asks");
    let told = study.try_run(&[WORLD, &asked, &own].concat()).failure("it");
    assert!(
        told.contains("it has no target") && told.contains("other"),
        "{told}"
    );
    for (text, words) in [
        ("[1]", "no object of texts by id"),
        ("{}", "it has no text"),
        (
            r#"{"eval-harmful-0000": 3}"#,
            "`eval-harmful-0000` is no text but",
        ),
        (r#"{"a": "x", "a": "y"}"#, "`a` is there twice"),
        (r#"{"eval-harmful-0000": ""}"#, "its target has no text"),
    ] {
        study.file("targets.json", text);
        let told = study.try_run(&[WORLD, &node("it", &targets)].concat());
        let told = told.failure("it");
        assert!(told.contains(words), "{text}: {told}");
    }
    for (init, words) in [
        ("", "`init` has no token"),
        (" the<|im_end|>", "has the control token"),
        (" the zzzzz", "a word that the vocabulary does not know"),
    ] {
        let lines = format!("steps = 2\ninit = \"{init}\"");
        let own = node("it", &lines);
        let told = study.try_run(&[WORLD, &own].concat()).failure("it");
        assert!(told.contains(words), "{init:?}: {told}");
    }
    // No token that may stand in a suffix is left.
    let tokenizer = Tokenizer::load(&folder).unwrap();
    let allowed = Allowed::new(&tokenizer, 4, Characters::Vocabulary);
    let told = allowed.unwrap_err().to_string();
    assert!(told.contains("no token is left"), "{told}");
    let all = Allowed::new(&tokenizer, 2000, Characters::Vocabulary).unwrap();
    assert!(all.ids.len() < tokenizer.vocab_size());
    assert!(all.whose(&tokenizer, |_| false).is_err());
}

#[test]
fn a_frame_is_divided_where_the_template_says_and_survival_is_of_the_whole() {
    let study = Study::new();
    let folder = model(&study, "config.json", |_| {});
    let tokenizer = Tokenizer::load(&folder).unwrap();
    let frame = Frame::new(&tokenizer, "how do i", Some("<think>\n")).unwrap();
    assert!(frame.head.ends_with("user\nhow do i"), "{}", frame.head);
    assert!(
        frame.tail.ends_with("assistant\n<think>\n"),
        "{}",
        frame.tail
    );
    assert_eq!(frame.begun, "<think>\n");
    let ids = |text: &str| tokenizer.encode(text).unwrap();
    let fine = frame
        .survival(&ids(&format!(" the {}", words::TOOLS[0])))
        .unwrap();
    assert!(fine.alone && fine.whole);
    // By itself it comes back; behind the prompt its first letters are of another word.
    let merged = frame.survival(&ids("use")).unwrap();
    assert!(merged.alone && !merged.whole);
    let twice = tokenizer
        .with_template("{% for m in messages %}{{ m['content'] + m['content'] }}{% endfor %}")
        .unwrap();
    let told = Frame::new(&twice, "how", None).err().unwrap().to_string();
    assert!(told.contains("2 times"), "{told}");
    assert!(Frame::new(&twice, "how\u{10f8e3}", None).is_err());
}
