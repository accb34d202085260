//! `diff` and `table`: on the smallest study that measures something, and on texts.

use super::{GREETING, Space};
use pipe::report;
use serde_json::Value;

/// An untrained model answers and is judged: cheap, and every prompt has its value.
pub(super) const SMALL: &str = r#"
name = "small"
[vars]
seed = 0
[node.prompts]
kind = "world-prompts"
sft = 12
rl = 12
validation = 6
eval = 4
[node.model]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 16
seed = "${seed}"
[node.answers]
kind = "generate"
in = { model = "model", prompts = "prompts.eval" }
max_new_tokens = 4
[node.eval]
kind = "evaluate"
in = { completions = "answers" }
"#;

/// With a claim that holds whatever the models say: 12 prompts differ by 100 points at most.
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

fn small() -> Space {
    let space = Space::new();
    space.file("small.toml", SMALL);
    space.file("wide.toml", WIDE);
    space
}

#[test]
fn a_diff_says_what_was_changed_and_what_came_of_it() {
    let space = small();
    let both = ["small.toml", "wide.toml", "--matrix", "seed=0,1"];
    space.pipe(&[&["run", "-q"][..], &both].concat()).ok();
    let said = space.pipe(&[&["diff"][..], &both].concat()).ends(1);
    let starts = "small -> wide, 2 seeds\n\nchanged\n  model (world-model): hidden_size: 16 -> 32\n\
                  they part at model; below, with other inputs only: answers, eval\n\neval\n\
                  intervals and p are over 2 seeds and their prompts, in pairs\n";
    assert!(said.out.starts_with(starts), "{}", said.out);
    let line = |word: &str| said.out.lines().find(|l| l.starts_with(word)).unwrap();
    assert!(
        line("defense success, harmful").contains(" 4 "),
        "{}",
        said.out
    );
    assert!(
        line("compliance, harmless and ambiguous").contains(" 8 "),
        "{}",
        said.out
    );
    assert!(
        line("1 node shared in the first seed, which saves").contains(" s"),
        "{}",
        said.out
    );
    assert!(line("wide").contains("reproduced"), "{}", said.out);
    let json = space
        .pipe(&[&["diff", "--json"][..], &both].concat())
        .ends(1)
        .json();
    assert_eq!(json["same"], false);
    assert_eq!(json["comparisons"][0]["evaluations"][0]["seeds"], 2);
    assert_eq!(json["claims"][0]["seeds"], 2);
    assert_eq!(json["claims"][0]["verdict"], "reproduced");
    // The main metrics, and how many there are beside them.
    let text = &said.out;
    assert!(
        !text.contains("not compared") && !text.contains("defense success, plain"),
        "{text}"
    );
    assert!(text.contains("\nrefusals, "), "{text}");
    let more = text
        .lines()
        .find_map(|l| l.strip_suffix(" more metrics: `--all`"));
    let more: usize = more.unwrap().parse().unwrap();
    let measured = json["comparisons"][0]["evaluations"].as_array().unwrap();
    let measured = measured
        .iter()
        .flat_map(|e| e["metrics"].as_array().unwrap());
    let main = |name: &str| {
        let refusals = name.strip_prefix("refusal/");
        ["defense", "compliance"].contains(&name) || refusals.is_some_and(|c| !c.contains('/'))
    };
    let idle = |m: &&Value| {
        let values = ["first", "second"].map(|side| m[side].as_f64().unwrap_or(f64::NAN));
        report::metrics::idle(m["metric"].as_str().unwrap(), values.into_iter())
    };
    let others = measured.filter(|m| !main(m["metric"].as_str().unwrap()) && !idle(m));
    assert_eq!(more, others.count());
    let all = space
        .pipe(&[&["diff", "--all"][..], &both].concat())
        .ends(1);
    assert!(!all.out.contains("more metrics"), "{}", all.out);
    assert!(all.out.contains("defense success, plain"), "{}", all.out);
    let md = space.pipe(&[&["diff", "--md", "--metric", "defense"][..], &both].concat());
    assert!(
        md.out.contains("| defense success, harmful | 4 |"),
        "{}",
        md.out
    );
    assert!(!md.out.contains("| finished"), "{}", md.out);
    // The same recipe against itself; and its variants against each other.
    let alike = space.pipe(&["diff", "small.toml", "small.toml"]).ok();
    assert_eq!(alike.out, "small -> small\nnothing differs\n");
    let args = "diff small.toml small.toml --matrix seed=0,1 --at seed=0 --against-at seed=1";
    let seeds = space.pipe(&args.split(' ').collect::<Vec<_>>()).ends(1);
    assert!(
        seeds.out.starts_with("small seed=0 -> small seed=1\n"),
        "{}",
        seeds.out
    );
}

#[test]
fn runs_are_compared_by_what_they_left() {
    let space = small();
    let run = |args: &[&str]| {
        let json = space
            .pipe(&[&["run", "--json"][..], args].concat())
            .ok()
            .json();
        json["run"].as_str().unwrap().to_string()
    };
    let before = run(&["small.toml"]);
    let after = run(&["small.toml", "--set", "model.hidden_size=32"]);
    let again = run(&["small.toml"]);
    let said = space.pipe(&["diff", &before, &after]).ends(1);
    assert!(
        said.out.starts_with(&format!("{before} -> {after}\n")),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("model (world-model): hidden_size: 16 -> 32\n"),
        "{}",
        said.out
    );
    assert!(
        said.out.contains("\ndefense success, harmful"),
        "{}",
        said.out
    );
    space.pipe(&["diff", &before, &again]).ok();
    // A run against the recipe as it stands, and by the beginning of its id.
    space.pipe(&["diff", "small.toml", &again]).ok();
    space.pipe(&["diff", &after, "small.toml"]).ends(1);
    let common: String = before
        .chars()
        .zip(after.chars())
        .take_while(|(a, b)| a == b)
        .map(|(a, _)| a)
        .collect();
    let said = space.pipe(&["diff", &common, "small.toml"]).ends(2);
    assert!(
        said.err.contains(&format!("runs begin with `{common}`")),
        "{}",
        said.err
    );
    let said = space.pipe(&["diff", "nothing.toml", "small.toml"]).ends(2);
    assert!(
        said.err.contains("`nothing.toml` is no file, and no run"),
        "{}",
        said.err
    );
}

/// A recipe that only one of two runs holds is a difference.
#[test]
fn a_run_that_holds_another_recipe_besides_is_not_the_same() {
    let space = small();
    let run = |recipes: &[&str]| {
        let json = space.pipe(&[&["run", "--json"][..], recipes].concat()).ok();
        json.json()["run"].as_str().unwrap().to_string()
    };
    let (one, both) = (run(&["small.toml"]), run(&["small.toml", "wide.toml"]));
    for sides in [[&one, &both], [&both, &one]] {
        let said = space.pipe(&["diff", sides[0], sides[1]]).ends(1);
        let told = "without a partner on the other side: wide\nnothing else differs\n";
        assert!(said.out.contains(told), "{}", said.out);
        let json = space
            .pipe(&["diff", sides[0], sides[1], "--json"])
            .ends(1)
            .json();
        assert_eq!(json["same"], false);
        assert_eq!(json["comparisons"][0]["alone"][0], "wide");
    }
}

/// What a run kept is read with the names that parameters had then; nobody can mend it.
#[test]
fn a_run_of_an_older_version_is_compared_as_ever() {
    let space = small();
    let json = space.pipe(&["run", "--json", "small.toml"]).ok().json();
    let run = json["run"].as_str().unwrap();
    let kept = space.path("cache/runs").join(run).join("recipes/000.toml");
    let old = include_str!("../golden/kept/small.toml");
    std::fs::write(&kept, old).unwrap();
    // Nodes are told apart by their records, which are the same.
    let said = space.pipe(&["diff", run, "small.toml"]).ok();
    assert!(said.out.contains("nothing differs"), "{}", said.out);
    // An author is told.
    space.file("old.toml", old);
    let said = space.pipe(&["check", "old.toml"]).ends(2);
    assert!(said.err.contains("`judge` is now `scorer`"), "{}", said.err);
    // What means nothing any more is said once, with what to do.
    std::fs::write(&kept, old.replacen("\njudge = ", "\nverdict = ", 1)).unwrap();
    let said = space.pipe(&["diff", run, "small.toml"]).ends(2);
    let told = format!(
        "error: run `{run}` was made by version {}, and this one cannot read the recipe `small` that it kept: unknown parameter `verdict`. ",
        env!("CARGO_PKG_VERSION")
    );
    assert!(said.err.starts_with(&told), "{}", said.err);
    assert!(
        said.err.contains("name the recipe's own file"),
        "{}",
        said.err
    );
}

#[test]
fn a_diff_needs_no_artifacts_and_no_measures() {
    let space = small();
    space.file("r.toml", GREETING);
    space.file(
        "moon.toml",
        "extends = \"r.toml\"\n[vars]\nwho = \"moon\"\n",
    );
    let said = space.pipe(&["diff", "r.toml", "moon.toml"]).ends(3);
    assert!(said.err.contains("there is no store"), "{}", said.err);
    space.pipe(&["run", "-q", "r.toml"]).ok();
    let said = space.pipe(&["diff", "r.toml", "moon.toml"]).ends(1);
    assert!(
        said.out
            .contains("who (toy-write): text: \"world\" -> \"moon\""),
        "{}",
        said.out
    );
    assert!(
        said.out
            .contains("only moon: nothing; 2 without an artifact\n"),
        "{}",
        said.out
    );
    let said = space.pipe(&["diff", "small.toml", "wide.toml"]).ends(1);
    let missing =
        "not compared: `small` has no artifact of `eval`: pipe run small.toml --only eval";
    assert!(said.out.contains(missing), "{}", said.out);
    let other = "`wide` has no artifact of `eval`: pipe run wide.toml --only eval";
    assert!(said.out.contains(other), "{}", said.out);
    assert!(said.out.contains("not answered"), "{}", said.out);
    for (args, word) in [
        (
            &["--pair", "eval"][..],
            "`eval` is not of the form --pair NODE=NODE",
        ),
        (&["--pair", "evil=eval"][..], "did you mean `eval`?"),
        (
            &["--at", "size=3"][..],
            "`small` has no variant with `size=3`",
        ),
    ] {
        let said = space
            .pipe(&[&["diff", "small.toml", "wide.toml"][..], args].concat())
            .ends(2);
        assert!(said.err.contains(word), "{}", said.err);
    }
}

#[test]
fn a_command_that_is_advised_repeats_what_was_given() {
    let space = small();
    space.file("r.toml", GREETING);
    space
        .pipe(&["run", "-q", "r.toml", "--store", "its store"])
        .ok();
    let below = WIDE.replace("small.toml", "../small.toml");
    space.file("below/wide.toml", &below);
    let given = ["--set", "answers.max_new_tokens=5", "--store", "its store"];
    let said = space
        .pipe(
            &[
                &["claims", "below/wide.toml", "--matrix", "seed=1"][..],
                &given,
            ]
            .concat(),
        )
        .ok();
    for (name, file) in [("small", "small.toml"), ("wide", "below/wide.toml")] {
        let advice = format!(
            "`{name} seed=1` has no artifact of `eval`: pipe run {file} --matrix seed=1 --set answers.max_new_tokens=5 --store 'its store' --only eval"
        );
        assert!(said.out.contains(&advice), "{advice}\n{}", said.out);
    }
    let said = space
        .pipe(&["claims", "small.toml", "--store", "its store"])
        .ok();
    let nothing = "no recipe of `small` claims anything; what one expects of another is written in its `[[claim]]`\n";
    assert_eq!(said.out, nothing);
}

/// What a claim is against takes part in what is set; a node of one's own is none of its.
#[test]
fn a_change_of_what_the_other_recipe_has_not_is_no_error_of_a_plan_or_a_check() {
    let space = small();
    let more = "[node.more]\nkind = \"generate\"\nin = { model = \"model\", prompts = \"prompts.eval\" }\n";
    space.file("wide.toml", &format!("{WIDE}{more}"));
    let own = ["wide.toml", "--set", "more.max_new_tokens=4"];
    for verb in ["plan", "check"] {
        let said = space.pipe(&[&[verb], &own[..]].concat()).ok();
        assert!(!said.err.contains("error"), "{}", said.err);
    }
    let wrong = ["wide.toml", "--set", "mroe.max_new_tokens=4"];
    for verb in ["plan", "check"] {
        let said = space.pipe(&[&[verb], &wrong[..]].concat()).ends(2);
        assert!(said.err.contains("did you mean `more`?"), "{}", said.err);
    }
    space
        .pipe(&["run", "-q", "small.toml", "--only", "model"])
        .ok();
    let said = space.pipe(&[&["claims"], &own[..]].concat()).ends(2);
    assert!(
        said.err.contains("unknown node `more` in `"),
        "{}",
        said.err
    );
}

#[test]
fn a_table_has_the_formats_of_papers() {
    let space = small();
    let both = ["small.toml", "wide.toml", "--matrix", "seed=0,1"];
    space.pipe(&[&["run", "-q"][..], &both].concat()).ok();
    let table = |args: &[&str]| space.pipe(&[&["table"][..], &both, args].concat());
    let text = table(&[]).ok().out;
    let rows: Vec<&str> = text.lines().take(3).collect();
    assert!(
        rows[0].starts_with("recipe  evaluation  seeds  ")
            && rows[0].contains("  defense success, harmful, %  "),
        "{text}"
    );
    assert!(
        rows[0].ends_with("compliance, harmless and ambiguous, %"),
        "{text}"
    );
    assert!(rows[1].starts_with("small   eval            2 "), "{text}");
    assert!(rows[2].starts_with("wide    eval            2 "), "{text}");
    let csv = table(&["--csv", "--metric", "finished"]).ok().out;
    assert!(csv.starts_with("recipe,axes,evaluation,metric,unit,mean,low,high,over,seeds,n,unreadable,unfinished,unjudged,dropped,short\nsmall,,eval,finished,share,"), "{csv}");
    assert!(
        csv.lines().count() == 3 && csv.ends_with(",both,2,12,,,,,\n"),
        "{csv}"
    );
    assert!(table(&["--latex"]).ok().out.contains("\\toprule"));
    assert!(table(&["--md"]).ok().out.starts_with("| recipe |"));
    let json = table(&["--json", "--node", "eval"]).ok().json();
    assert_eq!(json["rows"][1]["recipe"], "wide");
    let said = table(&["--metric", "defence"]).ends(2);
    assert!(said.err.contains("did you mean `defense`?"), "{}", said.err);
    table(&["--csv", "--md"]).ends(2);
    // What the seeds of each do, side by side.
    let text = table(&["--spread"]).ok().out;
    assert!(
        text.starts_with("eval: defense success, harmful, %"),
        "{text}"
    );
    assert!(text.lines().next().unwrap().contains("small"), "{text}");
    assert!(text.contains("\nbetween runs, sd"), "{text}");
    assert!(
        table(&["--spread=seed", "--csv"])
            .ok()
            .out
            .contains(",total,,")
    );
    let json = table(&["--spread", "--json"]).ok().json();
    assert_eq!(json["rows"][1]["seeds"][0]["axis"], "seed");
    let said = table(&["--spread=sed"]).ends(2);
    assert!(said.err.contains("did you mean `seed`?"), "{}", said.err);
    table(&["--spread", "--latex"]).ends(2);
}

#[test]
fn a_table_of_what_was_not_run_says_in_one_line_what_makes_it() {
    let space = small();
    space.file("r.toml", GREETING);
    space.pipe(&["run", "-q", "r.toml"]).ok();
    let both = ["small.toml", "wide.toml", "--matrix", "seed=0,1,2"];
    let said = space.pipe(&[&["table"][..], &both].concat()).ok();
    let line = |name: &str| {
        format!(
            "  `{name}` has no artifacts of `eval` under seed=0,1,2: pipe run {name}.toml --matrix seed=0,1,2\n"
        )
    };
    assert!(
        said.out.ends_with(&(line("small") + &line("wide"))),
        "{}",
        said.out
    );
    // One is there, of one seed.
    space.pipe(&["run", "-q", "small.toml"]).ok();
    let said = space
        .pipe(&["table", "small.toml", "--matrix", "seed=0,1"])
        .ok();
    let line = "  `small seed=1` has no artifact of `eval`: pipe run small.toml --matrix seed=1 --only eval\n";
    assert!(said.out.ends_with(line), "{}", said.out);
}
