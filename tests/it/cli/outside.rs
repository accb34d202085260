//! Outside of the project's own folder: recipes that come with the program, studies that `new` begins, stores that are found upwards.

use super::{GREETING, Said, Space};
use crate::golden;
use pipe::kinds::REGISTRY;
use pipe::recipe::{Loaded, Overrides, load, place, shipped};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes")
}

/// Every file below a folder but what Python leaves, by its path in there.
fn all(folder: &Path, below: &str, found: &mut BTreeMap<String, String>) {
    for entry in std::fs::read_dir(folder.join(below)).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let path = match below {
            "" => name.clone(),
            below => format!("{below}/{name}"),
        };
        match folder.join(&path).is_dir() {
            true if name == "__pycache__" => {}
            true => all(folder, &path, found),
            false => {
                let text = std::fs::read_to_string(folder.join(&path)).unwrap();
                found.insert(path, text);
            }
        }
    }
}

#[test]
fn the_program_holds_all_recipes_and_their_scripts_as_they_are() {
    let mut there = BTreeMap::new();
    all(&folder(), "", &mut there);
    let held = shipped::FILES.iter();
    let held: BTreeMap<String, String> = held.map(|f| (f.path.into(), f.text.into())).collect();
    let names = |of: &BTreeMap<String, String>| of.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&held), names(&there), "src/recipe/shipped.rs");
    assert_eq!(held, there);
    assert!(held.len() > 30);
    assert_eq!(
        shipped::names().count(),
        golden::recipes(&folder()).len(),
        "a recipe ends in .toml"
    );
}

fn loaded(path: &Path, cwd: &Path) -> Vec<Loaded> {
    let overrides = Overrides {
        cwd: cwd.into(),
        ..Overrides::default()
    };
    match load(path, &overrides, &REGISTRY) {
        Ok(loaded) => loaded,
        Err(diags) => panic!("{}: {}", path.display(), diags.render(false)),
    }
}

#[test]
fn a_recipe_of_the_program_is_the_one_of_the_folder_node_by_node() {
    for name in shipped::names() {
        let file = folder().join(format!("{name}.toml"));
        // Paths in it begin in the current folder, where the file's begin beside it.
        let cwd = file.parent().unwrap();
        let here = loaded(Path::new(file.file_name().unwrap()), cwd);
        let there = loaded(Path::new(&format!("pipe:{name}")), cwd);
        assert_eq!(here.len(), there.len(), "{name}");
        for (here, there) in here.iter().zip(&there) {
            // All that a key is made of. What lies above the folder of a recipe lies beside who extends one of the program.
            let beside =
                |loaded: &Loaded| loaded.resolved_text().replace("../scripts/", "scripts/");
            assert_eq!(beside(here), beside(there), "{name}");
            assert_eq!((&here.name, &here.axes), (&there.name, &there.axes));
            assert_eq!(here.claims.len(), there.claims.len());
            for (here, there) in here.claims.iter().zip(&there.claims) {
                let (Some(here), Some(there)) = (&here.against, &there.against) else {
                    assert_eq!((&here.against, &there.against), (&None, &None), "{name}");
                    continue;
                };
                let of = place::shipped_name(there).expect("it comes with the program");
                let path = folder().join(format!("{of}.toml"));
                assert_eq!(here.canonicalize().unwrap(), path, "{name}");
            }
        }
    }
}

#[test]
fn a_name_is_spelled_in_one_way() {
    let spelled = |path: &str| place::spelled(Path::new(path)).display().to_string();
    for path in [
        "pipe:tars",
        "pipe:tars.toml",
        "pipe:./tars",
        "pipe:ablations/../tars.toml",
    ] {
        assert_eq!(spelled(path), "pipe:tars", "{path}");
    }
    assert_eq!(spelled("pipe:paper/tars-1.5b"), "pipe:paper/tars-1.5b");
    assert_eq!(
        spelled("./pipe:tars"),
        "./pipe:tars",
        "a file may be called so"
    );
}

#[test]
fn a_recipe_of_the_program_stands_wherever_a_recipe_may() {
    let space = Space::shipped();
    let said = space.pipe(&["check", "pipe:tars", "pipe:ablations/no-reasoning"]);
    let said = said.ok();
    assert!(said.out.contains("ok: `tars` has "), "{}", said.out);
    assert!(said.out.contains("ok: `no-reasoning` has "), "{}", said.out);
    // What a claim is against is read too.
    space.pipe(&["check", "pipe:ablations/no-reasoning"]).ok();
    space.file(
        "mine.toml",
        "extends = \"pipe:ablations/no-reasoning\"\n[[claim]]\nabout = \"a\"\nagainst = \"pipe:tars\"\nnode = \"rl-eval\"\n\
         expect = [{ metric = \"defense\", is = \"lower\" }]\n",
    );
    let json = space.pipe(&["check", "mine.toml", "--json"]).ok().json();
    assert_eq!(json["recipes"][0]["claims"], 1);
    // Nodes and keys are those of the files.
    let file = folder().join("tars.toml");
    let plan = |recipe: &str| {
        let plan = space.pipe(&["plan", recipe, "--json"]).ok().json();
        plan["nodes"].clone()
    };
    let planned = plan("pipe:tars");
    assert_eq!(planned, plan(file.to_str().unwrap()));
    let keys = planned.as_array().unwrap().iter();
    assert!(
        keys.filter(|n| n["key"].is_string()).count() > 2,
        "{planned}"
    );
    assert!(!space.path("cache").exists());
}

#[test]
fn an_error_in_a_recipe_of_the_program_has_its_place_there() {
    let space = Space::shipped();
    space.file(
        "r.toml",
        "extends = \"pipe:tars\"\n[node.base]\nkind = \"mix\"\n",
    );
    let said = space.pipe(&["check", "r.toml"]).ends(2);
    assert!(said.err.contains("--> pipe:tars:"), "{}", said.err);
    assert!(said.err.contains("::: r.toml:3:8\n"), "{}", said.err);
}

/// What `check` says of a recipe, or of this text as `r.toml`.
#[track_caller]
fn says(text: Option<&str>, recipe: &str, expected: &str) {
    let space = Space::shipped();
    space.file("study.toml", "extends = \"pipe:tars\"\n");
    if let Some(text) = text {
        space.file("r.toml", text);
    }
    let said = space.pipe(&["check", recipe]).ends(2);
    let root = format!("{}/", space.dir.path().display());
    let shown = said.err.replace(&root, "");
    assert_eq!(shown.trim_end(), expected.trim(), "\n{shown}");
}

#[test]
fn a_recipe_that_is_not_there_is_told_with_what_is_near() {
    const GONE: &str = "there is no such file";
    let near = "  = help: did you mean `study.toml`?";
    says(
        None,
        "stduy.toml",
        &format!("error: failed to read `stduy.toml`: {GONE}\n{near}"),
    );
    says(
        None,
        "study",
        &format!("error: failed to read `study`: {GONE}\n{near}"),
    );
    let comes = "  = help: `pipe:ablations/dpo` comes with the program: did you mean that?";
    says(
        None,
        "recipes/ablations/dpo.toml",
        &format!("error: failed to read `recipes/ablations/dpo.toml`: {GONE}\n{comes}"),
    );
    says(
        None,
        "nothing-like-it.toml",
        &format!("error: failed to read `nothing-like-it.toml`: {GONE}"),
    );
    says(
        None,
        ".",
        "error: failed to read `.`: it is a folder; a recipe is a file, as `study.toml`",
    );
    let none =
        "error: no recipe `pipe:trs` comes with the program\n  = help: did you mean `pipe:tars`?";
    says(None, "pipe:trs", none);
    let none = "error: no recipe `pipe:dpo` comes with the program\n  = help: did you mean `pipe:ablations/dpo`?";
    says(None, "pipe:dpo", none);
    let none = "error: no recipe `pipe:nothing-like-it` comes with the program\n  = help: `pipe new --list` names all";
    says(None, "pipe:nothing-like-it", none);
    says(
        Some("extends = \"stdy.toml\"\n"),
        "r.toml",
        &format!(
            r#"
error: failed to read `stdy.toml`: {GONE}
 --> r.toml:1:11
  |
1 | extends = "stdy.toml"
  |           ^^^^^^^^^^^ extended here
  = help: did you mean `study.toml`?
"#
        ),
    );
    says(
        Some(
            "extends = \"pipe:tars\"\n[[claim]]\nabout = \"a\"\nagainst = \"pipe:tras\"\nnode = \"rl-eval\"\n\
             expect = [{ metric = \"defense\", is = \"lower\" }]\n",
        ),
        "r.toml",
        r#"
error: no recipe `pipe:tras`
 --> r.toml:4:11
  |
4 | against = "pipe:tras"
  |           ^^^^^^^^^^^ 
  = help: did you mean `pipe:tars`?
"#
        .replace("^ \n", "^\n")
        .as_str(),
    );
}

#[test]
fn all_that_is_wrong_with_a_node_is_told_at_once() {
    says(
        Some(
            r#"[vars]
seed = 0
[node.m]
kind = "world-model"
[node.p]
kind = "world-prompts"
[node.rl]
kind = "grpo"
in = { model = "m", prompts = "p" }
lr = nan
steps = 0
batch = "$seed"
kl = { coefficient = -1.0 }
reward = { harmful = "saftey" }
aggregation = "mean"
"#,
        ),
        "r.toml",
        ALL_AT_ONCE,
    );
}

const ALL_AT_ONCE: &str = r#"
error: `nan` is not a finite number
  --> r.toml:10:6
   |
10 | lr = nan
   |      ^^^

error: `steps` is 0, outside of 1 to 100000000
  --> r.toml:11:9
   |
11 | steps = 0
   |         ^
   = help: no run takes as many steps

error: `batch` expects an integer, got a string
  --> r.toml:12:9
   |
12 | batch = "$seed"
   |         ^^^^^^^
   = help: did you mean `"${seed}"`?

error: `kl.coefficient` is -1, outside of 0 to 100
  --> r.toml:13:22
   |
13 | kl = { coefficient = -1.0 }
   |                      ^^^^
   = help: a term beside one of weight 1

error: unknown scorer `saftey`
  --> r.toml:14:22
   |
14 | reward = { harmful = "saftey" }
   |                      ^^^^^^^^
   = help: did you mean `safety`?

error: `aggregation` expects one of `token-mean`, `sequence-mean`, `sequence-sum`, `dr-grpo`, `bnpo`, `token-mean-micro-sum`, got `mean`
  --> r.toml:15:15
   |
15 | aggregation = "mean"
   |               ^^^^^^
"#;

#[test]
fn a_kind_that_is_not_there_is_told_with_those_most_like_it() {
    let space = Space::shipped();
    space.file("r.toml", "[node.a]\nkind = \"prompts\"\n[node.gcg]\n");
    let said = space.pipe(&["check", "r.toml"]).ends(2);
    let helps: Vec<&str> = said
        .err
        .lines()
        .filter(|l| l.contains("= help: "))
        .collect();
    let [first, second] = helps[..] else {
        panic!("{}", said.err);
    };
    let (first, second) = (first.trim(), second.trim());
    assert!(
        first.starts_with(
            "= help: the kinds that are most like it: `prompts-file`, `world-prompts`, "
        ),
        "{first}"
    );
    assert!(
        second.starts_with("= help: the kinds that are most like it: `gcg`, "),
        "{second}"
    );
    for help in [first, second] {
        assert_eq!(
            help.matches('`').count(),
            2 * 6 + 2,
            "six kinds and a verb: {help}"
        );
    }
}

/// The next commands are pasted.
#[test]
fn a_folder_with_a_space_is_quoted_in_what_comes_next() {
    let space = Space::shipped();
    let said = space.pipe(&["new", "my study"]).ok().out;
    assert!(said.contains("\n  cd 'my study'\n"), "{said}");
}

#[test]
fn a_study_is_begun_in_a_folder_of_its_own() {
    let space = Space::shipped();
    let said = space.pipe(&["new", "mine"]).ok();
    assert!(
        said.out
            .contains("\n  pipe run study.toml harmful-only.toml "),
        "{}",
        said.out
    );
    let wide = said.out.lines().map(|l| l.chars().count()).max();
    assert!(wide <= Some(80), "{}", said.out);
    let mut there = BTreeMap::new();
    all(&space.path("mine"), "", &mut there);
    let names: Vec<&str> = there.keys().map(String::as_str).collect();
    let wanted = [
        ".gitignore",
        "harmful-only.toml",
        "recipe.schema.json",
        "study.toml",
    ];
    assert_eq!(names, wanted);
    let schema = "#:schema ./recipe.schema.json\n";
    for recipe in ["study.toml", "harmful-only.toml"] {
        assert!(there[recipe].starts_with(schema), "{}", there[recipe]);
    }
    assert_eq!(
        there["recipe.schema.json"],
        space.pipe(&["schema"]).ok().out
    );
    assert!(there["study.toml"].contains("# lambda = 0.5      # share of harmful prompts in RL\n"));

    let inside = |args: &[&str]| {
        let output = space.command(args).current_dir(space.path("mine")).output();
        Said::new(output.unwrap())
    };
    let said = inside(&["check", "study.toml", "harmful-only.toml"]).ok();
    assert_eq!(said.err, "", "nothing to warn of");
    let plan = |recipe: &str| inside(&["plan", recipe, "--json"]).ok().json()["nodes"].clone();
    assert_eq!(plan("study.toml"), plan("pipe:tars"));
    let ablation = plan("pipe:ablations/harmful-only");
    assert_eq!(plan("harmful-only.toml"), ablation);
    let said = inside(&[
        "plan",
        "study.toml",
        "harmful-only.toml",
        "--matrix",
        "seed=0,1",
    ]);
    said.ok();

    for (dir, what) in [
        ("mine", "`.gitignore` is in it"),
        ("mine/study.toml", "not a folder"),
    ] {
        let said = space.pipe(&["new", dir]).ends(2);
        assert!(said.err.contains(what), "{}", said.err);
    }
    let mut after = BTreeMap::new();
    all(&space.path("mine"), "", &mut after);
    assert_eq!(after, there);
}

/// With the tables that make a study small, where its file names any.
fn is_right_made_small(space: &Space, recipe: &str) -> bool {
    let text = std::fs::read_to_string(space.path(recipe)).unwrap();
    let Some((_, tables)) = text.split_once("make the study small") else {
        return false;
    };
    let tables = tables.lines().filter_map(|line| line.strip_prefix("#   "));
    let tables: Vec<&str> = tables.collect();
    assert!(tables.len() >= 5, "{text}");
    space.file(recipe, &format!("{text}{}\n", tables.join("\n")));
    space.pipe(&["check", recipe]).ok();
    true
}

#[test]
fn a_study_may_begin_with_any_recipe_of_the_program() {
    let space = Space::shipped();
    let list = space.pipe(&["new", "--list"]).ok().out;
    let mut smaller = 0;
    for (i, name) in shipped::names().enumerate() {
        assert!(
            list.lines().any(|l| l.split(' ').next() == Some(name)),
            "{name} in {list}"
        );
        let dir = format!("study-{i}");
        space.pipe(&["new", &dir, "--from", name]).ok();
        let recipe = format!("{dir}/study.toml");
        let said = space.pipe(&["check", &recipe]).ok();
        assert!(
            said.out.starts_with("ok: `study` has "),
            "{name}: {}",
            said.out
        );
        let script = space.path(&dir).join("scripts").is_dir();
        assert_eq!(
            script,
            ["exec", "trl", "trl-grpo", "paper/tars-1.5b-lab"].contains(&name),
            "{name}"
        );
        assert!(!said.err.contains("scripts/"), "{name}: {}", said.err);
        smaller += usize::from(is_right_made_small(&space, &recipe));
    }
    assert!(
        smaller >= 5,
        "{smaller} studies say how they are made small"
    );
    let said = space
        .pipe(&["new", "other", "--from", "no-resoning"])
        .ends(2);
    assert!(said.err.contains("did you mean `pipe:"), "{}", said.err);
    assert!(!space.path("other").exists());
    space.pipe(&["new"]).ends(2);
}

/// Every verb that only reads, with arguments that are right.
const READING: [&[&str]; 27] = [
    &["status"],
    &["status", "last"],
    &["logs", "rl"],
    &["stop", "last"],
    &["why", "pipe:tars", "rl"],
    &["show", "pipe:tars"],
    &["show", "pipe:tars", "rl"],
    &["show", "pipe:tars", "rl", "--tokens"],
    &["report", "pipe:tars"],
    &["report", "pipe:tars", "-o", "page.html"],
    &["diff", "pipe:tars", "pipe:ablations/dpo"],
    &["table", "pipe:tars"],
    &["claims", "pipe:ablations/dpo"],
    &["ls"],
    &["ls", "--runs"],
    &["ls", "--json"],
    &["calls"],
    &["calls", "--list"],
    &["calls", "show", "0123"],
    &["export", "pipe:tars", "rl", "out"],
    &["accept", "pipe:tars", "rl", "--reason", "a"],
    &["pin", "pipe:tars"],
    &["unpin", "paper"],
    &["gc"],
    &["gc", "--apply"],
    &["gc", "--cap", "1GB", "--keep"],
    &["verify"],
];

#[test]
fn who_only_reads_makes_nothing_and_says_what_makes_a_store() {
    let space = Space::shipped();
    let here = space.dir.path().canonicalize().unwrap();
    let ends = "; the first `pipe run RECIPE` makes one, and `--store DIR` or PIPE_STORE names one elsewhere\n";
    let called = format!(
        "error: there is no store called `cache` in {} or a folder above it{ends}",
        here.display()
    );
    let named = |how: &str| format!("error: there is no store at no/such, which {how} names{ends}");
    for args in READING {
        let said = space.pipe(args).ends(3);
        assert_eq!((said.out.as_str(), &said.err), ("", &called), "{args:?}");
        let with = [args, &["--store", "no/such"]].concat();
        let said = space.pipe(&with).ends(3);
        assert_eq!(said.err, named("`--store`"), "{args:?}");
        let output = space.command(args).env("PIPE_STORE", "no/such").output();
        let said = Said::new(output.unwrap()).ends(3);
        assert_eq!(said.err, named("PIPE_STORE"), "{args:?}");
        let there = std::fs::read_dir(&here).unwrap().count();
        assert_eq!(there, 0, "{args:?}");
    }
    // What would run can be said without a store.
    for args in [&["plan", "pipe:tars"][..], &["plan", "pipe:tars", "--json"]] {
        space.pipe(args).ok();
        assert_eq!(std::fs::read_dir(&here).unwrap().count(), 0, "{args:?}");
    }
}

#[test]
fn a_store_is_found_in_the_folders_above() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "-q", "r.toml"]).ok();
    // What is called so and is no store does not count, wherever it lies.
    space.file("deep/cache/photo.jpg", "x");
    space.file("deep/er/cache/format", "JPEG\n");
    std::fs::create_dir_all(space.path("deep/er/est")).unwrap();
    let at = |folder: &str, args: &[&str]| {
        let output = space.command(args).current_dir(space.path(folder)).output();
        Said::new(output.unwrap())
    };
    let root = space.dir.path().canonicalize().unwrap().join("cache");
    let root = root.display();
    let said = at("deep/er/est", &["run", "../../../r.toml", "--json"]).ok();
    assert!(
        said.states().iter().all(|(_, s)| s == "hit"),
        "{}",
        said.out
    );
    assert_eq!(said.json()["store"], root.to_string());
    let said = at("deep/er/est", &["run", "../../../r.toml"]).ok();
    let told = format!("store: {root} (found above the current folder)\n");
    assert!(said.err.contains(&told), "{}", said.err);
    assert!(!space.path("deep/er/est/cache").exists());
    let said = space.pipe(&["run", "r.toml"]).ok();
    assert!(!said.err.contains("store: "), "it is here: {}", said.err);
    for args in [&["ls"][..], &["status"], &["show", "../../../r.toml"]] {
        at("deep/er/est", args).ok();
    }

    // The nearest one, then what is named.
    let args = ["run", "-q", "../../r.toml", "--store", "est/cache"];
    at("deep/er", &args).ok();
    let store = |said: Said| said.ok().json()["store"].as_str().unwrap().to_string();
    let own = store(at("deep/er/est", &["status", "--json"]));
    assert!(own.ends_with("deep/er/est/cache"), "{own}");
    let named = ["status", "--json", "--store", "../../../cache"];
    let named = store(at("deep/er/est", &named));
    assert!(!named.contains("est/cache"), "{named}");
    let mut command = space.command(&["status", "--json"]);
    command.current_dir(space.path("deep/er/est"));
    let by_variable = command.env("PIPE_STORE", space.path("cache")).output();
    let by_variable = store(Said::new(by_variable.unwrap()));
    assert!(!by_variable.contains("est/cache"), "{by_variable}");

    // Somebody else's is not found, only named.
    let foreign = space.path("deep/er/cache");
    std::fs::rename(space.path("deep/er/est/cache"), space.path("other")).unwrap();
    std::fs::remove_dir_all(&foreign).unwrap();
    std::fs::rename(space.path("other"), &foreign).unwrap();
    let nearest = store(at("deep/er/est", &["status", "--json"]));
    assert!(nearest.ends_with("deep/er/cache"), "{nearest}");
    if std::os::unix::fs::chown(&foreign, Some(1), None).is_err() {
        return crate::skipped::skip("right to give a folder to somebody else");
    }
    let passed = store(at("deep/er/est", &["status", "--json"]));
    assert_eq!(passed, root.to_string());
    let named = ["status", "--json", "--store", "../cache"];
    assert!(store(at("deep/er/est", &named)).ends_with("cache"));
}

#[test]
fn a_wrong_value_of_the_command_line_is_shown_there() {
    let space = Space::shipped();
    let check = |flag: &str, value: &str| space.pipe(&["check", "pipe:tars", flag, value]).ends(2);
    let said = check("--matrix", "seed=0..3").err;
    let lines: Vec<&str> = said.lines().collect();
    assert!(lines[1].ends_with("--> --matrix:1:6"), "{said}");
    assert!(said.contains("the value is used here"), "{said}");
    let said = check("--matrix", "rl.lr=1e-4,x").err;
    assert!(said.contains("`lr` expects a number"), "{said}");
    assert!(!said.contains("without quotes"), "{said}");
    let said = check("--set", "rl.steps=-4").err;
    assert!(said.contains("-4 is out of range, 0 or more"), "{said}");
    assert!(!space.path("cache").exists());
}
