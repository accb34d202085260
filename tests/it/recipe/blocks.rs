//! Blocks: tables inside of a node, on a kind of its own. Every way to write one, every error in one, and what becomes of it.

use crate::recipe::{BLANK, Files};
use pipe::base::params::{ParamSet, defaults};
use pipe::base::setup::Acts;
use pipe::base::value::{self, Value};
use pipe::engine::graph::changes::changes;
use pipe::engine::graph::manifest::Manifest;
use pipe::engine::kind::{Kind, Output, Registry, Type};
use pipe::recipe::{Loaded, Overrides, from_text, load, schema};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const RANK: pipe::base::params::Bounds =
    pipe::base::params::Bounds::within(1.0, 64.0, "a rank above this is no low rank");
const STABILISED: Acts = Acts::only("where `lora.rank` is above 8", |s| {
    s.exceeds("lora.rank", 8.0)
});

pipe::params! {
    /// A low-rank adapter.
    pub struct Lora {
        /// Its rank.
        rank: usize, in RANK;
        /// Its scale times its rank.
        alpha: f64 = 32.0;
        /// Divides by the root of the rank.
        stabilised: bool = false, if STABILISED;
        /// Where it begins.
        start: Option<PathBuf> = None, was "adapter_file";
    }
}
pipe::params! {
    /// What is asked of a judge.
    pub struct Judge {
        /// What the service calls it.
        model: Option<String> = None;
    }
}
pipe::params! {
    /// How it is asked.
    pub struct JudgeService {
        /// Where it is.
        url: Option<String> = None;
        /// Requests at once.
        concurrency: usize = 4, in RANK;
    }
}
pipe::params! {
    pub struct Params {
        /// Learning rate.
        lr: f64 = 1e-3;
    }
    blocks { lora: Option<Lora>, judge: Judge }
}
pipe::params! {
    pub struct Exec {
        /// Rows at once.
        rows: usize = 8, in RANK;
    }
    blocks { judge: JudgeService }
}

static FIT: Kind = Kind {
    name: "fit",
    outputs: &[Output::always("model", Type::Model, "")],
    params: Params::specs,
    exec: Exec::specs,
    ..BLANK
};
const KINDS: Registry = Registry(&[&[&FIT]]);

fn variants(text: &str, sets: &[&str]) -> Result<Vec<Loaded>, String> {
    let overrides = Overrides {
        sets: sets.iter().map(|s| s.to_string()).collect(),
        matrix: vec![],
        cwd: PathBuf::from("/nowhere"),
    };
    from_text("r.toml", text, &overrides, &KINDS).map_err(|diags| diags.render(false))
}

#[track_caller]
fn read(text: &str, sets: &[&str]) -> Loaded {
    let mut loaded = variants(text, sets).unwrap_or_else(|told| panic!("{told}"));
    loaded.remove(0)
}

/// Identity and execution parameters of the node `x`.
fn said(loaded: &Loaded) -> (String, String) {
    let node = loaded.graph.node(loaded.graph.find("x").unwrap());
    let text = |values: &value::Values| Value::Table(values.clone()).canon();
    (text(&node.params), text(&node.exec))
}

#[track_caller]
fn refused(text: &str, expected: &str) {
    let told = variants(text.trim_start_matches('\n'), &[])
        .err()
        .expect("taken");
    assert_eq!(told.trim_end(), expected.trim(), "\n--- shown ---\n{told}");
}

const NODE: &str = "[node.x]\nkind = \"fit\"\n";
const FULL: &str = r#"{"alpha": 32.0, "rank": 4, "stabilised": false}"#;

#[test]
fn every_way_to_write_a_block_is_the_same_block() {
    let table = read(&format!("{NODE}[node.x.lora]\nrank = 4\n"), &[]);
    let expected = (
        format!(r#"{{"lora": {FULL}, "lr": 0.001}}"#),
        r#"{"judge": {"concurrency": 4}, "rows": 8}"#.to_string(),
    );
    assert_eq!(said(&table), expected);
    let ways: [(&str, &[&str]); 7] = [
        ("lora = { rank = 4 }\n", &[]),
        ("lora.rank = 4\n", &[]),
        ("", &["x.lora.rank=4"]),
        ("", &["node.x.lora.rank=4"]),
        ("", &["x.lora={ rank = 4 }"]),
        ("lora = false\n", &["x.lora.rank=4"]),
        (
            "lora = \"${lora}\"\n[vars]\nlora = { rank = \"${rank}\" }\nrank = 4\n",
            &[],
        ),
    ];
    for (lines, sets) in ways {
        assert_eq!(
            said(&read(&format!("{NODE}{lines}"), sets)),
            expected,
            "{lines} {sets:?}"
        );
    }
}

#[test]
fn an_optional_block_is_there_where_it_is_written_and_others_always() {
    let (identity, exec) = said(&read(NODE, &[]));
    assert_eq!(identity, r#"{"lr": 0.001}"#);
    assert_eq!(exec, r#"{"judge": {"concurrency": 4}, "rows": 8}"#);
    // Saying what is so anyway changes nothing.
    let same = read(
        &format!("{NODE}lora = false\njudge = {{ concurrency = 4 }}\n"),
        &[],
    );
    assert_eq!(said(&same), (identity, exec));
}

#[test]
fn one_block_holds_what_is_identity_and_what_is_not() {
    let text = format!("{NODE}[node.x.judge]\nmodel = \"m\"\nurl = \"u\"\nconcurrency = 2\n");
    let loaded = read(&text, &[]);
    let (identity, exec) = said(&loaded);
    assert_eq!(identity, r#"{"judge": {"model": "m"}, "lr": 0.001}"#);
    assert_eq!(
        exec,
        r#"{"judge": {"concurrency": 2, "url": "u"}, "rows": 8}"#
    );
    // And is one again where the graph is written as a recipe.
    let resolved = loaded.resolved_text();
    let line = r#"judge = { concurrency = 2, model = "m", url = "u" }"#;
    assert!(resolved.contains(line), "{resolved}");
    assert_eq!(said(&read(&resolved, &[])), (identity, exec));
}

#[test]
fn blocks_merge_key_by_key_and_keep_their_places() {
    let files = Files::new(&[
        (
            "p.toml",
            &format!("{NODE}[node.x.lora]\nrank = 4\nalpha = 8\n"),
        ),
        (
            "c.toml",
            "extends = \"p.toml\"\n[node.x.lora]\nalpha = 16\n",
        ),
        (
            "none.toml",
            "extends = \"p.toml\"\n[node.x]\nlora = false\n",
        ),
    ]);
    let load = |name: &str| {
        let overrides = Overrides {
            cwd: files.folder.path().into(),
            ..Overrides::default()
        };
        let mut loaded = load(Path::new(name), &overrides, &KINDS)
            .unwrap_or_else(|d| panic!("{}", d.render(false)));
        loaded.remove(0)
    };
    let child = load("c.toml");
    assert!(said(&child).0.contains(r#"{"alpha": 16.0, "rank": 4,"#));
    assert!(!said(&load("none.toml")).0.contains("lora"));
}

#[test]
fn axes_reach_into_blocks() {
    let ranks = |text: &str| -> Vec<(String, bool)> {
        let loaded = variants(text, &[]).unwrap_or_else(|told| panic!("{told}"));
        let with = |one: &Loaded| said(one).0.contains("lora");
        loaded
            .iter()
            .map(|one| (one.axes.values().next().unwrap().clone(), with(one)))
            .collect()
    };
    let two = ["4", "8"].map(|rank| (rank.to_string(), true));
    assert_eq!(
        ranks(&format!("{NODE}[matrix]\n\"x.lora.rank\" = [4, 8]\n")),
        two
    );
    assert_eq!(
        ranks(&format!("{NODE}[matrix]\nx.lora.rank = [4, 8]\n")),
        two
    );
    let without = ranks(&format!(
        "{NODE}[matrix]\n\"x.lora\" = [false, {{ rank = 8 }}]\n"
    ));
    assert_eq!(
        without,
        [
            ("false".to_string(), false),
            ("{rank: 8}".to_string(), true)
        ]
    );
    let told = variants(
        &format!("{NODE}[matrix]\n\"x.lora.rank\" = [4, 8]\n"),
        &["x.lora={ rank = 2 }"],
    );
    assert!(
        told.err()
            .unwrap()
            .contains("`x.lora.rank` is an axis of `[matrix]`")
    );
}

#[test]
fn all_errors_in_blocks_come_at_once_each_at_its_place() {
    refused(
        r#"
[node.x]
kind = "fit"
rows = 0
lora_rank = 4
judge_url = "u"
adapter_file = "a"
concurrency = 3
jugde = { model = "m" }
[node.x.lora]
alpha = "8"
rnak = 4
lr = 3
[node.y]
kind = "fit"
lora = 8
judge = { concurrency = 65 }
[node.z]
kind = "fit"
lora.alpha = 8
"#,
        r#"
error: `rows` is 0, outside of 1 to 64
 --> r.toml:3:8
  |
3 | rows = 0
  |        ^
  = help: a rank above this is no low rank

error: `lora_rank` is now `lora.rank`
 --> r.toml:4:1
  |
4 | lora_rank = 4
  | ^^^^^^^^^
  = help: `lora.rank`: Its rank. (`lora = false`: none)

error: `judge_url` is now `judge.url`
 --> r.toml:5:1
  |
5 | judge_url = "u"
  | ^^^^^^^^^
  = help: `judge.url`: Where it is.

error: `adapter_file` is now `lora.start`
 --> r.toml:6:1
  |
6 | adapter_file = "a"
  | ^^^^^^^^^^^^
  = help: `lora.start`: Where it begins. (`lora = false`: none)

error: unknown parameter `concurrency`
 --> r.toml:7:1
  |
7 | concurrency = 3
  | ^^^^^^^^^^^ not a parameter of `fit`
  = help: write `judge.concurrency`

error: unknown parameter `jugde`
 --> r.toml:8:1
  |
8 | jugde = { model = "m" }
  | ^^^^^ not a parameter of `fit`
  = help: did you mean `judge`?

error: `lora.alpha` expects a number, got a string
  --> r.toml:10:9
   |
10 | alpha = "8"
   |         ^^^
   = help: write it without quotes

error: unknown parameter `lora.rnak`
  --> r.toml:11:1
   |
11 | rnak = 4
   | ^^^^ not a parameter of `[node.x.lora]`
   = help: did you mean `rank`?

error: unknown parameter `lora.lr`
  --> r.toml:12:1
   |
12 | lr = 3
   | ^^ not a parameter of `[node.x.lora]`
   = help: `lr` stands in `[node.x]`

error: `lora` expects a table, got an integer
  --> r.toml:15:8
   |
15 | lora = 8
   |        ^
   = help: write what is meant, as `lora.rank = 8` or `lora.alpha = 8`; `pipe kinds fit.lora` explains the table

error: `judge.concurrency` is 65, outside of 1 to 64
  --> r.toml:16:25
   |
16 | judge = { concurrency = 65 }
   |                         ^^
   = help: a rank above this is no low rank

error: node `z` lacks `lora.rank`
  --> r.toml:19:1
   |
19 | lora.alpha = 8
   | ^^^^ `fit` needs it, an integer
   = help: `lora.rank`: Its rank.
"#,
    );
}

/// The messages of the errors.
#[track_caller]
fn errors(text: &str, sets: &[&str]) -> Vec<String> {
    let told = variants(text, sets).err().expect("it is refused");
    let lines = told.lines().filter_map(|l| l.strip_prefix("error: "));
    lines.map(String::from).collect()
}

#[test]
fn a_misspelt_name_is_one_mistake() {
    for (lines, expected) in [
        ("lora.ranks = 4\n", vec!["unknown parameter `lora.ranks`"]),
        (
            "lora.ranks = \"4\"\n",
            vec![
                "unknown parameter `lora.ranks`",
                "`lora.rank` expects an integer, got a string",
            ],
        ),
        (
            "lora.rank = 4\nlora.ranks = 4\n",
            vec!["unknown parameter `lora.ranks`"],
        ),
        (
            "lora.alpha = 8\nlora.unlike = 4\n",
            vec![
                "node `x` lacks `lora.rank`",
                "unknown parameter `lora.unlike`",
            ],
        ),
    ] {
        assert_eq!(errors(&format!("{NODE}{lines}"), &[]), expected, "{lines}");
    }
    let set = errors(NODE, &["x.lora.ranks=4"]);
    assert_eq!(set, ["unknown parameter `lora.ranks`"]);
}

#[test]
fn an_old_name_is_read_as_the_new_one_so_that_nothing_else_seems_to_be_missing() {
    for (lines, expected) in [
        ("lora_rank = 4\n", vec!["`lora_rank` is now `lora.rank`"]),
        (
            "lora_rank = 65\n",
            vec![
                "`lora_rank` is now `lora.rank`",
                "`lora.rank` is 65, outside of 1 to 64",
            ],
        ),
        (
            "[node.x.lora]\nlora_rank = 4\nadapter_file = \"a\"\n",
            vec![
                "`lora.lora_rank` is now `lora.rank`",
                "`lora.adapter_file` is now `lora.start`",
            ],
        ),
        // It stands in one table only.
        ("rank = 4\n", vec!["unknown parameter `rank`"]),
    ] {
        assert_eq!(errors(&format!("{NODE}{lines}"), &[]), expected, "{lines}");
    }
}

#[test]
fn the_command_line_is_told_whole_paths() {
    for (set, expected) in [
        ("x.lora_rank=4", "`lora_rank` is now `x.lora.rank`"),
        ("x.rank=4", "help: write `x.lora.rank`"),
        ("x.lora.lr=4", "help: write `x.lr`"),
        ("x.lora=8", "help: as `x.lora.rank=VALUE`"),
    ] {
        let told = variants(NODE, &[set]).err().unwrap();
        assert!(told.contains(expected), "{set}: {told}");
    }
}

#[test]
fn an_axis_is_told_whole_paths() {
    for (axis, expected) in [
        ("lora_rank", "`lora_rank` is now `x.lora.rank`"),
        ("rank", "help: write `x.lora.rank`"),
        ("lora.lr", "help: write `x.lr`"),
        ("lora", "help: an axis is `x.lora.rank`"),
    ] {
        let file = format!("{NODE}[matrix]\nx.{axis} = [4, 8]\n");
        let told = variants(&file, &[]).err().unwrap();
        assert!(told.contains(expected), "{axis}: {told}");
        let overrides = Overrides {
            matrix: vec![format!("x.{axis}=4,8")],
            ..Overrides::default()
        };
        let told = from_text("r.toml", NODE, &overrides, &KINDS);
        let told = told.err().unwrap().render(false);
        assert!(told.contains(expected), "{axis}: {told}");
    }
}

#[test]
fn false_takes_back_whatever_need_not_be_there() {
    let full = format!(
        "{NODE}[node.x.lora]\nrank = 4\nstart = \"a\"\n[node.x.judge]\nmodel = \"m\"\nurl = \"u\"\nconcurrency = 2\n"
    );
    let child = |lines: &str| {
        let files = Files::new(&[
            ("p.toml", &full),
            (
                "c.toml",
                &format!("extends = \"p.toml\"\n[node.x]\n{lines}"),
            ),
        ]);
        let overrides = Overrides {
            cwd: files.folder.path().into(),
            ..Overrides::default()
        };
        let loaded = load(Path::new("c.toml"), &overrides, &KINDS);
        loaded.map(|all| said(&all[0])).map_err(|d| d.render(false))
    };
    let (identity, exec) = child("judge = false\nlora = false\n").unwrap();
    assert_eq!(identity, r#"{"lr": 0.001}"#);
    assert_eq!(exec, r#"{"judge": {"concurrency": 4}, "rows": 8}"#);
    let (identity, exec) =
        child("judge = { model = false, url = false }\nlora.start = false\n").unwrap();
    assert_eq!(identity, format!(r#"{{"lora": {FULL}, "lr": 0.001}}"#));
    assert_eq!(exec, r#"{"judge": {"concurrency": 2}, "rows": 8}"#);
    // What is never absent is not taken back, and `true` takes nothing back.
    for (line, expected) in [
        ("lr = false\n", "`lr` expects a number, got a boolean"),
        (
            "judge.model = true\n",
            "`judge.model` expects a string, got a boolean",
        ),
        ("judge = true\n", "`judge` expects a table, got a boolean"),
        (
            "judge.concurrency = false\n",
            "`judge.concurrency` expects an integer, got a boolean",
        ),
    ] {
        let told = child(line).err().unwrap();
        assert!(told.contains(expected), "{line}: {told}");
    }
}

/// It would read as if it switched something off, whose defaults act.
#[test]
fn false_where_no_layer_says_anything_is_refused_of_a_table_that_is_always_there() {
    refused(
        &format!("{NODE}judge = false\n"),
        r#"
error: `judge = false` takes nothing back
 --> r.toml:3:9
  |
3 | judge = false
  |         ^^^^^ nothing below says anything of it, and its defaults act
  = help: write what is meant of `judge.model`, `judge.url` or `judge.concurrency`
"#,
    );
    let told = |text: &str, sets: &[&str]| variants(text, sets).map(drop).err();
    let nothing = |told: Option<String>| told.unwrap().contains("takes nothing back");
    let of = |judge: &str| format!("{NODE}judge = {judge}\n");
    let held = of("{ model = \"m\" }");
    assert!(nothing(told(NODE, &["x.judge=false"])));
    assert_eq!(told(&held, &["x.judge=false"]), None);
    // Twice is not once more.
    assert!(nothing(told(&of("false"), &["x.judge=false"])));
    assert_eq!(told(&held, &["x.judge=false", "x.judge=false"]), None);
    let variable = format!(
        "[vars]\njudge = {{ model = \"m\" }}\n{}",
        of("\"${judge}\"")
    );
    assert_eq!(told(&variable, &["vars.judge=false"]), None);
    let variable = format!("[vars]\njudge = false\n{}", of("\"${judge}\""));
    assert!(nothing(told(&variable, &[])));
    let axis = "[matrix]\n\"x.judge\" = [false, { model = \"n\" }]\n";
    assert!(nothing(told(&format!("{NODE}{axis}"), &[])));
    assert_eq!(told(&format!("{held}{axis}"), &[]), None);
}

#[test]
fn a_table_over_a_variable_is_refused() {
    let text =
        |lora: &str| format!("[vars]\nlora = {{ rank = 4, alpha = 8 }}\n{NODE}lora = {lora}\n");
    let files = Files::new(&[
        ("p.toml", &text("\"${lora}\"")),
        (
            "c.toml",
            "extends = \"p.toml\"\n[node.x.lora]\nalpha = 16\n",
        ),
        ("v.toml", "extends = \"p.toml\"\n[vars]\nlora.alpha = 16\n"),
    ]);
    let load = |name: &str, sets: &[&str]| {
        let overrides = Overrides {
            sets: sets.iter().map(|s| s.to_string()).collect(),
            cwd: files.folder.path().into(),
            ..Overrides::default()
        };
        let loaded = load(Path::new(name), &overrides, &KINDS);
        loaded
            .map(|all| said(&all[0]).0)
            .map_err(|d| d.render(false))
    };
    let told = load("c.toml", &[]).err().unwrap();
    assert!(
        told.contains("error: `x.lora` is the variable `${lora}`, which no table changes"),
        "{told}"
    );
    assert!(
        told.contains("c.toml:2:9") && told.contains("p.toml:5"),
        "{told}"
    );
    assert_eq!(told.matches("error: ").count(), 1, "{told}");
    let told = load("p.toml", &["x.lora.alpha=16"]).err().unwrap();
    assert!(told.contains("`x.lora` is the variable"), "{told}");
    // The variable itself is changed key by key.
    let changed = load("v.toml", &[]).unwrap();
    assert!(
        changed.contains(r#"{"alpha": 16.0, "rank": 4,"#),
        "{changed}"
    );
}

#[test]
fn a_parameter_of_a_block_that_can_do_nothing_is_refused() {
    let text = format!("{NODE}[node.x.lora]\nrank = 4\nstabilised = true\n");
    let told = variants(&text, &[]).err().unwrap();
    assert!(
        told.contains("`lora.stabilised` acts only where `lora.rank` is above 8"),
        "{told}"
    );
    assert!(told.contains("5 | stabilised = true"), "{told}");
    // Who changes what it hangs on for one command cannot take it back.
    let sound = text.replace("rank = 4", "rank = 16");
    let small = read(&sound, &["x.lora.rank=4"]);
    let warned = small.warnings.render(false);
    assert!(
        warned.contains("warning: `lora.stabilised` acts only where"),
        "{warned}"
    );
    let told = variants(&sound, &["x.lora.rank=4", "x.lora.stabilised=true"]);
    assert!(told.err().unwrap().contains("error: `lora.stabilised`"));
    let unrelated = variants(&format!("{text}[node.y]\nkind = \"fit\"\n"), &["y.lr=1.0"]);
    assert!(unrelated.is_err(), "it is idle whatever `y` is");
    let acting = read(&sound, &[]);
    assert!(said(&acting).0.contains("\"stabilised\": true"));
}

pipe::params! {
    /// A block and the switch that it hangs on.
    pub struct Switched {
        /// Whether it is asked.
        on: bool = false;
    }
    blocks { judge: Judge where ASKED, service: JudgeService where ASKED }
}
const ASKED: Acts = Acts::only("where `on` is set", |s| s.is_on("on"));

static SWITCHED: Kind = Kind {
    name: "switched",
    outputs: &[Output::always("model", Type::Model, "")],
    params: || vec![],
    exec: Switched::specs,
    ..BLANK
};

const WITH_SWITCH: Registry = Registry(&[&[&SWITCHED]]);

#[test]
fn all_of_a_block_hangs_on_its_condition_also_where_it_is_no_identity() {
    let check = |lines: &str| {
        let text = format!("[node.x]\nkind = \"switched\"\n{lines}");
        let overrides = Overrides::default();
        let loaded = from_text("r.toml", &text, &overrides, &WITH_SWITCH);
        loaded.map(drop).map_err(|d| d.render(false))
    };
    for field in [
        "judge.model = \"m\"",
        "service.url = \"u\"",
        "service.concurrency = 5",
    ] {
        let told = check(field).err().unwrap();
        let name = field.split(" =").next().unwrap();
        let expected = format!("`{name}` acts only where `on` is set: here it does nothing");
        assert!(told.contains(&expected), "{told}");
        assert_eq!(check(&format!("{field}\non = true\n")), Ok(()));
    }
    assert_eq!(check("service.concurrency = 4\n"), Ok(()));
}

#[test]
fn a_manifest_has_a_table_and_the_content_of_a_path_in_it() {
    let manifest = |lines: &str, content: &str| {
        let loaded = read(&format!("{NODE}{lines}"), &[]);
        let node = loaded.graph.node(loaded.graph.find("x").unwrap());
        let sources = BTreeMap::from([("lora.start".to_string(), content.to_string())]);
        Manifest::new(node.kind, &node.params, &sources, &BTreeMap::new())
    };
    let one = manifest("lora = { rank = 4, start = \"a\" }\n", "digest");
    let lines = format!("param lora = {FULL}\nparam lr = 0.001\nsource lora.start = digest\n");
    assert!(one.text().contains(&lines), "{}", one.text());
    // Where it lies is not in it; another rank is, and is named.
    let moved = manifest("lora = { rank = 4, start = \"b\" }\n", "digest");
    assert_eq!(one, moved);
    let other = manifest("lora = { rank = 8, start = \"a\" }\n", "digest");
    let reasons = changes(one.text(), other.text());
    assert_eq!(
        reasons
            .iter()
            .map(pipe::report::words::reason)
            .collect::<Vec<_>>(),
        ["parameter `lora.rank`: 4 -> 8"]
    );
}

#[test]
fn a_block_reads_back_what_it_writes() {
    let mut values = defaults::<Params>();
    assert!(Params::read(&values).unwrap().lora.is_none());
    value::put(&mut values, "lora.rank", Value::Int(4));
    value::put(&mut values, "lora.alpha", Value::Float(2.0));
    value::put(&mut values, "lora.stabilised", Value::Bool(true));
    let params = Params::read(&values).unwrap();
    assert_eq!(params.lora.as_ref().unwrap().rank, 4);
    assert_eq!(params.write(), values);
    value::put(&mut values, "lora", Value::Int(3));
    let told = Params::read(&values).unwrap_err();
    assert_eq!(told, "`lora`: expected a table");
}

#[test]
fn a_schema_offers_and_judges_what_is_in_a_block() {
    let schema = schema::schema(&KINDS);
    let own = &schema["definitions"]["fit"]["properties"]["lora"];
    assert_eq!(own["properties"]["alpha"]["default"], 32.0);
    assert!(
        own["description"]
            .as_str()
            .unwrap()
            .contains("low-rank adapter")
    );
    // `false` takes back a block, and a field that may be absent.
    let judge = &schema["definitions"]["fit"]["properties"]["judge"];
    let types = |schema: &serde_json::Value| schema["type"].to_string();
    assert_eq!(types(own), r#"["object","string","boolean"]"#);
    assert_eq!(types(judge), types(own));
    let judge = &judge["properties"];
    assert_eq!(types(&judge["url"]), r#"["string","boolean"]"#);
    assert_eq!(judge["url"]["not"], serde_json::json!({ "const": true }));
    assert_eq!(types(&judge["concurrency"]), r#"["integer","string"]"#);
    let fields: Vec<&String> = judge.as_object().unwrap().keys().collect();
    assert_eq!(fields, ["model", "url", "concurrency"]);
    let offered = &schema["definitions"]["node"]["properties"]["judge"];
    let told = offered["description"].as_str().unwrap();
    assert!(
        told.contains("asked of a judge") && told.contains("How it is asked"),
        "{told}"
    );
    let whole = &schema["definitions"]["whole-node"]["then"];
    assert_eq!(
        whole["properties"]["lora"]["required"],
        serde_json::json!(["rank"])
    );
    assert_eq!(whole["required"], serde_json::json!([]));
}
