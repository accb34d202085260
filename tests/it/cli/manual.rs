//! The manual: help of every verb, kinds, completions.

use super::{GREETING, Said, Space};
use crate::skipped::skip;

const VERBS: [&str; 35] = [
    "new",
    "check",
    "claims",
    "plan",
    "run",
    "status",
    "logs",
    "stop",
    "doctor",
    "profiles",
    "why",
    "show",
    "report",
    "serve",
    "diff",
    "table",
    "ls",
    "calls",
    "export",
    "import",
    "fetch",
    "push",
    "pull",
    "keys",
    "accept",
    "adopt",
    "pin",
    "unpin",
    "gc",
    "verify",
    "kinds",
    "schema",
    "man",
    "completions",
    "help",
];

#[test]
fn every_verb_has_help_with_an_example() {
    let space = Space::shipped();
    let overview = space.pipe(&["--help"]).ok().out;
    for verb in VERBS {
        assert!(overview.contains(&format!("  {verb} ")), "{overview}");
        let help = space.pipe(&[verb, "--help"]).ok().out;
        assert!(help.contains(&format!("Example: pipe {verb}")), "{help}");
        let widest = help.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(110), "{help}");
    }
    assert!(!overview.contains("worker"), "{overview}");
    assert!(overview.contains("130 interrupted"), "{overview}");
    assert!(space.pipe(&["--version"]).ok().out.starts_with("pipe "));
}

#[test]
fn a_wrong_word_on_the_command_line_is_exit_2_with_a_tip() {
    let space = Space::shipped();
    let said = space.pipe(&["rum", "r.toml"]).ends(2);
    assert!(said.err.contains("'run'"), "{}", said.err);
    let said = space.pipe(&["run"]).ends(2);
    assert!(said.err.contains("<RECIPE>"), "{}", said.err);
    space.pipe(&[]).ends(2);
}

#[test]
fn kinds_are_listed_and_each_has_a_page_with_an_example_that_checks() {
    let space = Space::shipped();
    let list = space.pipe(&["kinds"]).ok().out;
    assert!(!list.contains("toy-"), "{list}");
    let json = space.pipe(&["kinds", "--json"]).ok().json();
    let names: Vec<&str> = json["kinds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|k| k["name"].as_str().unwrap())
        .collect();
    assert!(names.contains(&"grpo") && names.len() >= 10, "{names:?}");
    for name in names {
        assert!(list.contains(name), "{list}");
        let page = space.pipe(&["kinds", name, "--all"]).ok().out;
        let short = space.pipe(&["kinds", name]).ok().out;
        for page in [&page, &short] {
            assert!(page.starts_with(&format!("{name}: ")), "{page}");
            assert!(page.contains("\nExample\n"), "{page}");
            assert!(page.contains(&format!("kind = \"{name}\"")), "{page}");
        }
        let all = format!("`pipe kinds {name} --all` has all of it\n");
        assert!(short.ends_with(&all), "{short}");
        let json = space.pipe(&["kinds", name, "--json"]).ok().json();
        assert_eq!(json["name"], name);
        let (params, exec) = (json["params"].as_array().unwrap(), json["exec"].as_array());
        for param in params.iter().chain(exec.unwrap()) {
            let path = param["name"].as_str().unwrap();
            assert!(!param["doc"].as_str().unwrap().is_empty(), "{param}");
            assert!(page.contains(path), "{page}");
            // A line of its own, or of its table.
            let line = format!("\n  {} ", path.split('.').next().unwrap());
            assert!(short.contains(&line), "{path}: {short}");
        }
    }
    let said = space.pipe(&["kinds", "grop"]).ends(2);
    assert_eq!(said.err, "error: no kind `grop`; did you mean `grpo`?\n");
    let said = space.pipe(&["kinds", "nothing-like-it"]).ends(2);
    assert!(said.err.contains("`pipe kinds`"), "{}", said.err);
}

/// As `kubectl explain` does: a line a parameter, and of one all that is said.
#[test]
fn a_kind_is_told_in_short_and_a_parameter_in_full() {
    let space = Space::shipped();
    let page = |words: &[&str]| space.pipe(&[&["kinds"][..], words].concat()).ok().out;
    let (short, all) = (page(&["grpo"]), page(&["grpo", "--all"]));
    assert!(short.lines().count() < 100, "{short}");
    assert!(all.lines().count() > 300, "{all}");
    // The words of a default's column end where the explanation begins.
    let line = |name: &str| {
        let begin = format!("  {name} ");
        let found = short.lines().find(|l| l.starts_with(&begin));
        let words = found
            .unwrap_or_else(|| panic!("{name}: {short}"))
            .split_whitespace();
        words.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(
        line("reward"),
        "reward required Reward expression of each prompt class, over scorers: `{ harmful = \"format * safety\", … }`"
    );
    assert_eq!(line("steps"), "steps required Optimizer steps");
    assert!(
        line("lora").starts_with("lora table, absent "),
        "{}",
        line("lora")
    );
    assert!(line("kl").starts_with("kl table "), "{}", line("kl"));
    assert!(!short.contains("kl.coefficient"), "{short}");
    let kl = page(&["grpo.kl"]);
    for field in ["kl.coefficient", "kl.estimator", "kl.applied_to"] {
        assert!(kl.contains(&format!("  {field}: ")), "{kl}");
    }
    assert!(!kl.contains("steps:"), "{kl}");
    let one = page(&["grpo.truncated"]);
    assert_eq!(one.matches("default").count(), 1, "{one}");
    assert!(all.contains(one.split_once('\n').unwrap().1), "{one}");
    // What is in the key and what is not, of one table.
    let judge = page(&["grpo.judge"]);
    let (inside, outside) = judge.split_once("\nExecution parameters").unwrap();
    assert!(
        inside.contains("judge.model: ") && outside.contains("judge.url: "),
        "{judge}"
    );
    let json = space
        .pipe(&["kinds", "grpo.kl.coefficient", "--json"])
        .ok()
        .json();
    assert_eq!(json["params"][0]["name"], "kl.coefficient");
    assert_eq!(json["params"].as_array().unwrap().len(), 1);
    // A set and a parameter of `dataset`.
    assert!(page(&["dataset.xstest"]).contains("Licence"));
    assert!(page(&["dataset.schema"]).contains("  schema: "));
    let said = space.pipe(&["kinds", "grpo.kll"]).ends(2);
    assert_eq!(
        said.err,
        "error: `grpo` has no parameter `kll`; did you mean `grpo.kl`?\n"
    );
    let said = space.pipe(&["kinds", "--all"]).ends(2);
    assert!(said.err.contains("NAME"), "{}", said.err);
    let narrow = space
        .command(&["kinds", "grpo"])
        .env("COLUMNS", "80")
        .output();
    let narrow = Said::new(narrow.unwrap()).ok().out;
    let cut = narrow.lines().filter(|l| l.ends_with('…')).count();
    assert!(cut > 10, "{narrow}");
}

#[test]
fn data_sets_are_listed_and_each_has_a_page() {
    let space = Space::shipped();
    let list = space.pipe(&["kinds", "--datasets"]).ok().out;
    for set in pipe::data::schema::ALL {
        assert!(list.contains(set.name) && list.contains(set.summary));
        let page = space.pipe(&["kinds", &format!("dataset.{}", set.name)]);
        let page = page.ok().out;
        for column in set.columns {
            assert!(page.contains(&column.told()), "{}: {page}", set.name);
        }
        assert!(page.contains("Licence") && page.contains("Traps"), "{page}");
    }
    let json = space.pipe(&["kinds", "dataset.xstest", "--json"]);
    let json = json.ok().json();
    assert_eq!(json["columns"][0]["names"][0], "prompt");
    assert_eq!(json["published"][0]["rows"], 450);
    let wrong = space.pipe(&["kinds", "dataset.xtest"]);
    assert!(
        wrong.err.contains("did you mean `dataset.xstest`?"),
        "{}",
        wrong.err
    );
}

#[test]
fn scorers_are_listed() {
    let space = Space::shipped();
    let list = space.pipe(&["kinds", "--scorers"]).ok().out;
    for name in ["format", "safety", "task", "refusal"] {
        assert!(list.contains(name), "{list}");
    }
    let json = space.pipe(&["kinds", "--scorers", "--json"]).ok().json();
    assert!(json["scorers"][0]["summary"].is_string());
}

#[test]
fn completions_are_made_for_the_usual_shells() {
    let space = Space::shipped();
    for shell in ["bash", "zsh", "fish"] {
        let script = space.pipe(&["completions", shell]).ok().out;
        assert!(
            script.contains("PIPE_COMPLETE=") || script.contains("PIPE_COMPLETE "),
            "{script}"
        );
    }
    space.pipe(&["completions", "cmd.exe"]).ends(2);
}

#[test]
fn verbs_kinds_nodes_runs_and_metrics_are_completed() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml", "-q", "--store", "s"]).ok();
    // As the script for bash asks: the line so far, and which word of it is begun.
    let complete = |line: &[&str]| -> Vec<String> {
        let output = space
            .command(&[&["--", "pipe"][..], line].concat())
            .env("PIPE_COMPLETE", "bash")
            .env("_CLAP_COMPLETE_INDEX", line.len().to_string())
            .env("_CLAP_IFS", "\n")
            .output();
        let said = Said::new(output.unwrap()).ok();
        said.out.lines().map(String::from).collect()
    };
    assert_eq!(complete(&["sta"]), ["status"]);
    assert!(complete(&["kinds", "world-"]).contains(&"world-prompts".to_string()));
    assert_eq!(complete(&["kinds", "grpo.kl.co"]), ["grpo.kl.coefficient"]);
    assert_eq!(complete(&["kinds", "dataset.xs"]), ["dataset.xstest"]);
    assert_eq!(complete(&["help", "att"]), ["attacks"]);
    assert_eq!(complete(&["help", "cl"]), ["claims", "cluster"]);
    assert_eq!(complete(&["plan", "pipe:ta"]), ["pipe:tars"]);
    assert_eq!(
        complete(&["plan", "pi"]).len(),
        pipe::recipe::shipped::names().count()
    );
    assert_eq!(complete(&["plan", "r"]), ["r.toml"]);
    assert_eq!(
        complete(&["new", "d", "--from", "ablations/d"]),
        ["ablations/dpo"]
    );
    assert_eq!(
        complete(&["plan", "pipe:tars", "--only", "rl-ev"]),
        ["rl-eval"]
    );
    assert_eq!(complete(&["run", "r.toml", "--only", "w"]), ["who"]);
    assert_eq!(complete(&["show", "r.toml", "bo"]), ["both"]);
    assert_eq!(complete(&["help", "judg"]), ["judges"]);
    assert_eq!(complete(&["help", "sta"]), ["states", "status"]);
    assert_eq!(complete(&["plan", "r.t"]), ["r.toml"]);
    let shipped = complete(&["plan", "pipe:ablations/no-"]);
    assert!(
        shipped.contains(&"pipe:ablations/no-reasoning".to_string()),
        "{shipped:?}"
    );
    let with_sign = ["plan", "r.toml", "--matrix=vars.who=a,b", "--only", "who"];
    assert_eq!(complete(&with_sign), ["who@who=a", "who@who=b"]);
    // A sweep on the line has nodes of its own.
    let swept = [
        "plan",
        "r.toml",
        "--matrix",
        "vars.who=a,b",
        "--only",
        "who",
    ];
    assert_eq!(complete(&swept), ["who@who=a", "who@who=b"]);
    let metrics = complete(&["table", "r.toml", "--metric", "refusal/harml"]);
    assert_eq!(metrics, ["refusal/harmless"]);
    let run = space
        .pipe(&["ls", "--runs", "--json", "--store", "s"])
        .ok()
        .json();
    let run = run["runs"][0]["run"].as_str().unwrap();
    assert_eq!(complete(&["stop", "--store", "s", "2"]), [run]);
    assert_eq!(complete(&["logs", "--store", "s", "hel"]), ["hello"]);
    assert!(complete(&["stop", "2"]).is_empty(), "there is no store");
    assert!(complete(&["run", "none.toml", "--only", ""]).is_empty());
}

/// Bash breaks words at colons, and wants what follows the last one. Skipped where there is no bash.
#[test]
fn bash_completes_a_recipe_that_comes_with_the_program() {
    let space = Space::with(GREETING);
    let script = space.pipe(&["completions", "bash"]).ok().out;
    space.file("pipe.bash", &script);
    // The words as bash has them, which of them is begun, and what is before the cursor of it.
    let complete = |breaks: &str, words: &str, at: usize, begun: &str| {
        let line = format!(
            "source ./pipe.bash; pipe() {{ \"$PIPE\" \"$@\"; }}; COMP_WORDBREAKS={breaks}; COMP_WORDS=({words}); COMP_CWORD={at}; \
             COMP_TYPE=9; _clap_complete_pipe pipe \"{begun}\" x; printf '%s\\n' \"${{COMPREPLY[@]}}\""
        );
        let mut bash = std::process::Command::new("bash");
        bash.args(["-c", &line]).env("PIPE", &space.program);
        let output = bash.current_dir(space.dir.path()).output().unwrap();
        assert!(output.status.success(), "{line}: {output:?}");
        let out = String::from_utf8(output.stdout).unwrap();
        out.lines().map(String::from).collect::<Vec<String>>()
    };
    if std::process::Command::new("bash")
        .arg("--version")
        .output()
        .is_err()
    {
        return skip("bash");
    }
    let colons = "$' \\t\\n:'";
    assert_eq!(complete(colons, "pipe plan pipe : ta", 4, "ta"), ["tars"]);
    assert_eq!(
        complete(colons, "pipe plan pipe :", 3, "").len(),
        pipe::recipe::shipped::names().count()
    );
    assert_eq!(
        complete(colons, "pipe plan pipe : tars --only rl-ev", 6, "rl-ev"),
        ["rl-eval"]
    );
    assert_eq!(complete(colons, "pipe plan r", 2, "r"), ["r.toml"]);
    assert_eq!(
        complete(colons, "pipe plan --only bo r.toml", 3, "bo"),
        ["both"]
    );
    // Where a colon is a letter.
    assert_eq!(
        complete("$' \\t\\n'", "pipe plan pipe:ta", 2, "pipe:ta"),
        ["pipe:tars"]
    );
}

/// Every verb stands in one group; a line is never broken inside a word, whatever the width.
#[test]
fn the_overview_has_five_groups_and_fits() {
    let space = Space::shipped();
    let mut words: Vec<Vec<String>> = vec![];
    for columns in ["60", "80", "140"] {
        let output = space.command(&["--help"]).env("COLUMNS", columns).output();
        let overview = Said::new(output.unwrap()).ok().out;
        let widest = overview.lines().map(|line| line.chars().count()).max();
        assert!(widest <= Some(columns.parse().unwrap()), "{overview}");
        for verb in VERBS {
            let named = |line: &&str| line.starts_with(&format!("  {verb} "));
            assert_eq!(
                overview.lines().filter(named).count(),
                1,
                "{verb}\n{overview}"
            );
        }
        let groups = overview
            .lines()
            .filter(|line| line.ends_with(':') && !line.starts_with(' '));
        let groups: Vec<&str> = groups.collect();
        assert_eq!(groups.len(), 6, "five, and the options: {groups:?}");
        let all = overview.split_whitespace().map(String::from);
        words.push(all.collect());
    }
    assert_eq!(words[0], words[1]);
    assert_eq!(words[1], words[2]);
}

/// At a terminal nobody follows a link: its text is shown, in paragraphs, lists and tables. Blocks stay as they are.
#[test]
fn a_page_shows_the_text_of_its_links() {
    let space = Space::shipped();
    let mut links = 0;
    for topic in pipe::cli::help::TOPICS {
        let mut help = space.command(&["help", topic.name]);
        let page = Said::new(help.env("COLUMNS", "80").output().unwrap()).ok();
        links += topic.page.matches("](").count();
        let raw = |line: &&str| line.contains("](") && !line.starts_with("    ");
        let raw: Vec<&str> = page.out.lines().filter(raw).collect();
        assert!(raw.is_empty(), "{}: {raw:?}", topic.name);
    }
    assert!(links >= 20, "{links} links are few");
    let mut help = space.command(&["help", "claims"]);
    let page = Said::new(help.env("COLUMNS", "80").output().unwrap()).ok();
    assert!(
        page.out.contains("\nmetrics lists the names."),
        "{}",
        page.out
    );
    assert!(page.out.contains("none with `than`"), "{}", page.out);
}

#[test]
fn man_pages_are_made_for_every_verb() {
    let space = Space::shipped();
    let page = space.pipe(&["man"]).ok().out;
    assert!(page.contains(".TH pipe 1"), "{page}");
    assert!(page.contains("130 interrupted"), "{page}");
    let said = space.pipe(&["man", "pages/man1"]).ok();
    assert_eq!(said.out, "");
    let names: Vec<String> = std::fs::read_dir(space.path("pages/man1"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    // The overview, and the own verbs of `calls`, `keys` and `serve`.
    assert_eq!(names.len(), VERBS.len() + 8, "{names:?}");
    for verb in VERBS {
        let page = std::fs::read_to_string(space.path(&format!("pages/man1/pipe-{verb}.1")));
        let page = page.unwrap();
        assert!(page.contains(&format!("Example: pipe {verb}")), "{page}");
    }
    space.file("file", "");
    let said = space.pipe(&["man", "file"]).ends(2);
    assert_eq!(said.err, "error: file is not a folder\n");
}

#[test]
fn the_schema_is_printed_as_json() {
    let schema = Space::shipped().pipe(&["schema"]).ok().json();
    assert_eq!(schema["$schema"], "http://json-schema.org/draft-07/schema#");
    assert!(schema["definitions"]["grpo"]["properties"]["lr"].is_object());
}
