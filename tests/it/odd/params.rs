//! Numbers out of bounds, all problems of a recipe at once, judges that no prompt fits, and system messages: what `check` says, before
//! anything is computed.

use crate::study::Study;
use pipe::base::params::{ParamSpec, Ty};
use pipe::base::value::Value;
use pipe::kinds::REGISTRY;
use pipe::recipe::{self, Overrides};

fn check(text: &str) -> Result<(), String> {
    let overrides = Overrides {
        cwd: std::env::temp_dir(),
        ..Overrides::default()
    };
    let read = recipe::from_text("r.toml", text, &overrides, &REGISTRY);
    read.map(drop).map_err(|diags| diags.render(false))
}

#[track_caller]
fn refused(text: &str, words: &[&str]) {
    let told = check(text)
        .err()
        .unwrap_or_else(|| panic!("taken:\n{text}"));
    for word in words {
        assert!(told.contains(word), "{word} is not in\n{told}");
    }
}

/// Whether it holds numbers, and wraps one as its values are.
fn wrapped(ty: &Ty, number: Value) -> Option<Value> {
    match ty {
        Ty::Int | Ty::Float => Some(number),
        Ty::List(of) => wrapped(of, number).map(|v| Value::List(vec![v])),
        Ty::Map(of) => wrapped(of, number).map(|v| Value::Table([("a".to_string(), v)].into())),
        _ => None,
    }
}

#[test]
fn every_number_of_every_kind_has_bounds_with_a_reason() {
    let mut seen = 0;
    for kind in REGISTRY.iter() {
        let specs: Vec<ParamSpec> = (kind.params)()
            .into_iter()
            .chain(kind.own_execution())
            .collect();
        for spec in specs {
            let is_number = |ty: &Ty| matches!(ty, Ty::Int | Ty::Float);
            if !is_number(&spec.ty) && wrapped(&spec.ty, Value::Int(1)).is_none() {
                continue;
            }
            seen += 1;
            let place = format!("{} {}", kind.name, spec.name);
            let bounds = spec
                .bounds
                .unwrap_or_else(|| panic!("{place} has no bounds"));
            assert!(
                bounds.low < bounds.high && bounds.high.is_finite(),
                "{place}"
            );
            assert!(
                bounds.why.split_whitespace().count() > 2,
                "{place}: {}",
                bounds.why
            );
            // Only a seed may be as large as a number can be written.
            let mut wrong = vec![f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300, -1e300];
            wrong.extend((bounds.high < 1e18).then_some(99_999_999_999_999_999.0));
            wrong.extend((bounds.low >= 0.0).then_some(-1.0));
            for number in wrong {
                let value = wrapped(&spec.ty, Value::Float(number)).unwrap();
                let problems = spec.problems(&value);
                assert_eq!(problems.len(), 1, "{place} takes {number}");
                assert_eq!(problems[0].help.as_deref(), Some(bounds.why), "{place}");
            }
            // And whatever it is where nothing is said is inside.
            if let pipe::base::params::Default::Value(value) = &spec.default {
                assert_eq!(spec.problems(value), [], "{place}");
            }
        }
    }
    assert!(seen > 150, "{seen}");
}

const MODEL: &str = "[node.m]\nkind = \"world-model\"\n";
const RL: &str = "[node.rl]\nkind = \"grpo\"\nin = { model = \"m\", prompts = \"p.rl\" }\n\
     reward = { harmful = \"format\", harmless = \"format\", ambiguous = \"format\" }\n";

#[test]
fn numbers_that_would_take_a_machine_down_are_refused() {
    refused(
        "[node.c]\nkind = \"world-corpus\"\nn = 99999999999999\n",
        &[
            "`n` is 99999999999999, outside of 1 to 1000000",
            "all of them are made in memory",
        ],
    );
    let prompts = "[node.p]\nkind = \"world-prompts\"\n";
    refused(
        &format!("{MODEL}{prompts}{RL}steps = 1\nbatch = 99999999999\n"),
        &[
            "`batch` is 99999999999, outside of 1 to 65536",
            "a step is in memory as a whole",
        ],
    );
    refused(
        &format!("{MODEL}{prompts}{RL}steps = 1\nbatch = 60000\ngroup = 60000\n"),
        &["60000 prompts with 60000 rollouts each are 3600000000"],
    );
    refused(
        "[node.m]\nkind = \"world-model\"\nhidden_size = 65536\nlayers = 1024\nheads = 64\n",
        &["1024 layers of this width have"],
    );
    refused(
        &format!("{MODEL}{prompts}{RL}steps = 1\nlr = 1e30\n"),
        &["`lr` is 1e30, outside of 0 to 1000000"],
    );
}

#[test]
fn all_problems_of_all_nodes_come_at_once() {
    let prompts = "[node.p]\nkind = \"world-prompts\"\nplain = 7.0\n";
    let text = format!(
        "{MODEL}{prompts}{}steps = 0\nlr = nan\nsave = 1\ngroup = 1\nsample_rows = -1\n",
        RL.replace("harmless = \"format\"", "harmless = \"nonsense\"")
    );
    refused(
        &text,
        &[
            "`plain` is 7, outside of 0 to 1",
            "`steps` is 0, outside of 1 to",
            "unknown parameter `save`",
            "`group` is 1, outside of 2 to",
            "`sample_rows`: -1 is out of range",
            "unknown scorer `nonsense`",
            "lr = nan",
        ],
    );
}

#[test]
fn what_hangs_on_a_wrong_number_is_not_told_of_it() {
    // 5 heads would not divide the default width; which width is meant nobody knows.
    let told = check("[node.m]\nkind = \"world-model\"\nhidden_size = -96\nheads = 5\n");
    let told = told.err().unwrap();
    assert!(!told.contains("do not divide"), "{told}");
}

const FILE: &str = "[node.p]\nkind = \"prompts-file\"\npath = \"p.csv\"\nharmful = [\"unsafe\"]\n";
const ANSWERS: &str = "[node.a]\nkind = \"generate\"\nin = { model = \"m\", prompts = \"q\" }\n";
const EVAL: &str = "[node.e]\nkind = \"evaluate\"\nin = { completions = \"a\" }\n";

/// Prompts of a file, through what hands them on.
const WAYS: [&str; 4] = [
    "[node.q]\nkind = \"dedup\"\nin = { prompts = \"p\" }\n",
    "[node.q]\nkind = \"filter\"\nin = { prompts = \"p\" }\nshuffle = 1\n",
    "[node.q]\nkind = \"pool\"\nin = { a = \"p\", b = \"w.eval\" }\n[node.w]\nkind = \"world-prompts\"\n",
    "[node.q]\nkind = \"mix\"\nin = { prompts = \"p\" }\ntotal = 4\n",
];

#[test]
fn the_worlds_judge_over_other_prompts_is_found_before_anything_is_generated() {
    for way in WAYS {
        let text = format!("{MODEL}{FILE}{way}{ANSWERS}{EVAL}");
        refused(
            &text,
            &[
                "the scorer `world` scores only prompts of the built-in world, and those of `p` are not",
                "`refusal`",
            ],
        );
        let fitting = format!("{text}scorer = \"refusal\"\n");
        assert_eq!(check(&fitting), Ok(()));
    }
    // What a program makes, nobody knows; what a selection leaves out of a pool neither.
    let program = "[node.q]\nkind = \"exec\"\ncommand = [\"true\"]\noutputs = [\"prompts\"]\n";
    assert_eq!(check(&format!("{MODEL}{program}{ANSWERS}{EVAL}")), Ok(()));
    let chosen = "[node.q]\nkind = \"filter\"\nin = { prompts = \"b\" }\nsources = [\"world\"]\n";
    let pool = WAYS[2].replace("node.q", "node.b");
    assert_eq!(
        check(&format!("{MODEL}{FILE}{pool}{chosen}{ANSWERS}{EVAL}")),
        Ok(())
    );
    let world = "[node.w]\nkind = \"world-prompts\"\n[node.q]\nkind = \"dedup\"\nin = { prompts = \"w.eval\" }\n";
    assert_eq!(check(&format!("{MODEL}{world}{ANSWERS}{EVAL}")), Ok(()));
}

#[test]
fn scorers_and_teachers_of_the_world_want_its_prompts_too() {
    let rl = RL
        .replace("p.rl", "p")
        .replace("harmful = \"format\"", "harmful = \"format * safety\"");
    refused(
        &format!("{MODEL}{FILE}{rl}steps = 1\n"),
        &[
            "the scorer `safety` scores only prompts of the built-in world, and those of `p` are not",
        ],
    );
    // Of a class that no row has, nothing is scored.
    let harmless = FILE.replace("harmful = [\"unsafe\"]\n", "");
    assert_eq!(check(&format!("{MODEL}{harmless}{rl}steps = 1\n")), Ok(()));
    refused(
        &format!("{FILE}[node.t]\nkind = \"teacher\"\nin = {{ prompts = \"p\" }}\n"),
        &["the teacher `world` knows only prompts of the built-in world"],
    );
}

/// A base of a corpus of one world, asked prompts of another.
const TWO_WORLDS: &str = "[node.u]\nkind = \"world-model\"\n[node.c]\nkind = \"world-corpus\"\nworld = 1\nn = 100\n\
     [node.m]\nkind = \"sft\"\nin = { model = \"u\", conversations = \"c\" }\n[node.w]\nkind = \"world-prompts\"\n\
     [node.q]\nkind = \"dedup\"\nin = { prompts = \"w.eval\" }\n";

#[test]
fn what_the_world_judges_is_of_one_world() {
    const MIXED: &str = "`c` is of world 1 and `w` of world 0, which has other facts";
    let eval = format!("{TWO_WORLDS}{ANSWERS}{EVAL}");
    refused(&eval, &[MIXED, "the same for each of its nodes"]);
    let rl = RL.replace("p.rl", "w.rl") + "steps = 1\n";
    let judged = rl.replace("harmful = \"format\"", "harmful = \"format * safety\"");
    refused(&format!("{TWO_WORLDS}{judged}"), &[MIXED]);
    let asked = "[node.k]\nkind = \"world-knowledge\"\nin = { model = \"m\" }\n";
    let other = "`c` is of world 1 and `k` of world 0, which has other facts";
    refused(&format!("{TWO_WORLDS}{asked}"), &[other]);
    // What reads the text alone does not mind, and what rows are only compared with is no matter.
    let reads = format!("{TWO_WORLDS}{ANSWERS}{EVAL}scorer = \"refusal\"\n{rl}");
    assert_eq!(check(&reads), Ok(()));
    let compared = eval
        .replace("world = 1\n", "")
        .replace(
            "in = { prompts = \"w.eval\" }",
            "in = { prompts = \"w.eval\", against = \"o.sft\" }",
        )
        .replace("kind = \"dedup\"", "kind = \"decontaminate\"")
        + "[node.o]\nkind = \"world-prompts\"\nworld = 1\n";
    assert_eq!(check(&compared), Ok(()));
    let one = format!("{eval}{asked}").replace("world = 1\n", "");
    assert_eq!(check(&one), Ok(()));
}

#[test]
fn a_local_model_is_told_its_system_message() {
    let study = Study::new();
    study.file("p.csv", "id,prompt\n1,use the\n");
    let text = format!(
        "{MODEL}hidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 32\n[node.q]\nkind = \"prompts-file\"\npath = \"p.csv\"\n\
         {ANSWERS}max_new_tokens = 4\ntemperature = 0.0\n[node.b]\nkind = \"generate\"\nin = {{ model = \"m\", prompts = \"q\" }}\n\
         max_new_tokens = 4\ntemperature = 0.0\nsystem = \"then then\"\nlogprobs = true\n[node.c]\nkind = \"generate\"\n\
         in = {{ model = \"m\", prompts = \"q\" }}\nmax_new_tokens = 4\ntemperature = 0.0\nlogprobs = true\n"
    );
    let ran = study.run(&text);
    // The log-probabilities are of another context.
    assert_ne!(ran.digests("b"), ran.digests("c"));
    // A template that leaves it out says so.
    let model = study.dir.path().join("model");
    ran.export("m", "model", &model);
    let config = model.join("tokenizer_config.json");
    let mut json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&config).unwrap()).unwrap();
    json["chat_template"] = "{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] }}{% endif %}{% endfor %}".into();
    std::fs::write(&config, json.to_string()).unwrap();
    let text = format!(
        "[node.m]\nkind = \"local-model\"\npath = \"model\"\n[node.q]\nkind = \"prompts-file\"\npath = \"p.csv\"\n{ANSWERS}system = \"then then\"\n"
    );
    let failure = study.try_run(&text).failure("a");
    assert!(
        failure.contains("(system): the chat template leaves out"),
        "{failure}"
    );
}

/// The messages of the errors.
#[track_caller]
fn errors(text: &str) -> Vec<String> {
    let told = check(text)
        .err()
        .unwrap_or_else(|| panic!("taken:\n{text}"));
    let lines = told.lines().filter_map(|l| l.strip_prefix("error: "));
    lines.map(String::from).collect()
}

const ANSWERED: &str = "[node.m]\nkind = \"world-model\"\n[node.p]\nkind = \"world-prompts\"\n\
     [node.a]\nkind = \"generate\"\nin = { model = \"m\", prompts = \"p.eval\" }\n";

#[test]
fn execution_parameters_that_can_do_nothing_are_refused_and_what_a_parent_says_is_a_warning() {
    let node = format!("{ANSWERED}[node.e]\nkind = \"evaluate\"\nin = {{ completions = \"a\" }}\n");
    assert_eq!(
        errors(&format!(
            "{node}judge.concurrency = 4\nmoderation.url = \"http://h/v1\"\n"
        )),
        [
            "`judge.concurrency` acts only where `strongreject`, `harmbench` or `rubric` judges: here it does nothing",
            "`moderation.url` acts only where `moderation` judges: here it does nothing",
        ]
    );
    let study = Study::new();
    let judge = "[node.e.judge]\nmodel = \"m\"\nurl = \"http://h/v1\"\nconcurrency = 4\n";
    study.file("p.toml", format!("{node}scorer = \"harmbench\"\n{judge}"));
    let child = "extends = \"p.toml\"\n[node.e]\nscorer = \"refusal\"\n";
    study.file("c.toml", child);
    study.file("none.toml", format!("{child}judge = false\n"));
    let warnings = |name: &str| {
        let overrides = Overrides {
            cwd: study.dir.path().into(),
            ..Overrides::default()
        };
        let loaded = recipe::load(std::path::Path::new(name), &overrides, &REGISTRY);
        let loaded = loaded.unwrap_or_else(|d| panic!("{}", d.render(false)));
        loaded[0].warnings.render(false)
    };
    let told = warnings("c.toml");
    for field in ["model", "url", "concurrency"] {
        assert!(
            told.contains(&format!("`judge.{field}` acts only where")),
            "{told}"
        );
    }
    assert_eq!(warnings("none.toml"), "");
}

#[test]
fn parts_of_rewards_judge_no_answer() {
    for part in ["task", "safety", "format"] {
        let text = format!(
            "{ANSWERED}[node.e]\nkind = \"evaluate\"\nin = {{ completions = \"a\" }}\nscorer = \"{part}\"\n"
        );
        assert_eq!(
            errors(&text),
            [format!(
                "`scorer`: `{part}` is a part of rewards and says nothing of an answer as a whole"
            )]
        );
    }
}

#[test]
fn an_old_spelling_is_the_only_error_of_a_node_that_is_right_otherwise() {
    let prompts = "[node.p]\nkind = \"world-prompts\"\n";
    let generate =
        format!("{prompts}[node.g]\nkind = \"generate\"\nin = {{ prompts = \"p.eval\" }}\n");
    let evaluate =
        format!("{ANSWERED}[node.e]\nkind = \"evaluate\"\nin = {{ completions = \"a\" }}\n");
    let grpo = format!(
        "{MODEL}{prompts}{}steps = 1\n",
        RL.replace(
            "harmful = \"format\"",
            "harmful = \"1 - refusal-matcher-unicode\""
        )
    );
    let cases: &[(String, &[&str])] = &[
        (
            format!("{generate}served = \"m\"\nurl = \"http://h/v1\"\nrequest_retries = 2\n"),
            &[
                "`served` is now `endpoint.model`",
                "unknown parameter `url`",
                "`request_retries` is now `endpoint.retries`",
            ],
        ),
        (
            format!(
                "{generate}[node.g.endpoint]\nserved = \"m\"\nurl = \"http://h/v1\"\nrequest_retries = 2\nsamples_per_request = 2\n"
            ),
            &[
                "`endpoint.served` is now `endpoint.model`",
                "`endpoint.request_retries` is now `endpoint.retries`",
                "`endpoint.samples_per_request` is now `endpoint.batch`",
            ],
        ),
        (
            format!("{evaluate}judge = \"refusal-matcher\"\n"),
            &[
                "`judge` is now `scorer`",
                "`scorer`: `refusal-matcher` is now `refusal`",
            ],
        ),
        (
            format!(
                "{evaluate}judge = \"strongreject\"\njudge_model = \"m\"\njudge_url = \"http://h/v1\"\njudge_request_retries = 2\n"
            ),
            &[
                "`judge` is now `scorer`",
                "`judge_model` is now `judge.model`",
                "`judge_url` is now `judge.url`",
                "`judge_request_retries` is now `judge.retries`",
            ],
        ),
        // Which of the three tables is meant nobody knows, so none of them lacks it.
        (
            format!(
                "{evaluate}scorer = \"strongreject\"\njudge.model = \"m\"\nurl = \"http://h/v1\"\n"
            ),
            &["unknown parameter `url`"],
        ),
        (
            grpo,
            &["`refusal-matcher-unicode` is now `refusal_unicode`"],
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(text), *expected, "{text}");
    }
    let told = check(&cases[4].0).err().unwrap();
    let help = "help: write `judge.url`, `moderation.url` or `score.url`";
    assert!(told.contains(help), "{told}");
    let told = check(&format!("{evaluate}lora_rank = 0\n")).err().unwrap();
    assert!(told.contains("unknown parameter `lora_rank`"), "{told}");
    let sft = format!(
        "{MODEL}[node.c]\nkind = \"world-corpus\"\n[node.s]\nkind = \"sft\"\nin = {{ model = \"m\", conversations = \"c\" }}\nlr = 1e-3\nlora_rank = 0\n"
    );
    let told = check(&sft).err().unwrap();
    assert!(told.contains("`lora_rank` is now `lora.rank`"), "{told}");
    assert!(told.contains("(`lora = false`: none)"), "{told}");
}

#[test]
fn what_is_wrong_with_an_endpoint_is_said_of_the_parameter_by_its_path() {
    let asked = |lines: &str| {
        let head = "[node.p]\nkind = \"world-prompts\"\n[node.g]\nkind = \"generate\"\nin = { prompts = \"p.eval\" }\n";
        check(&format!(
            "{head}{lines}endpoint.model = \"m\"\nendpoint.url = \"http://h/v1\"\n"
        ))
        .err()
        .unwrap()
    };
    for (lines, words) in [
        (
            "endpoint.extra_body = \"{\"\n",
            vec!["`endpoint.extra_body` is no JSON"],
        ),
        (
            "endpoint.extra_body = '{\"model\": 1}'\n",
            vec![
                "`model` in `endpoint.extra_body` takes",
                "`endpoint.model` says it",
            ],
        ),
        (
            "top_k = 4\n",
            vec![
                "`endpoint.server = \"vllm\"`",
                "`endpoint.extra_body` sends",
            ],
        ),
        (
            "prefill = \"x\"\n",
            vec!["`endpoint.api = \"completions\"` does"],
        ),
        (
            "endpoint.key_header = \"api-key\"\n",
            vec!["`endpoint.key_env` names"],
        ),
        (
            "endpoint.budget_dollars = 1.0\n",
            vec!["set `endpoint.price_prompt` and `endpoint.price_completion`"],
        ),
    ] {
        let told = asked(lines);
        for word in words {
            assert!(told.contains(word), "{word} is not in\n{told}");
        }
    }
}
