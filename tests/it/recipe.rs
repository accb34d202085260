//! Recipes: every error as its reader sees it, what may lie over what, and what a resolved recipe is. On kinds of its own.

use pipe::base::value::{Value, Values};
use pipe::engine::kind::{Cpu, Kind, Output, Port, Problem, Registry, Type, no_check};
use pipe::engine::params::{None_, ParamSet};
use pipe::engine::worker::NodeCtx;
use pipe::recipe::{Loaded, Overrides, from_text, load};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pipe::choice! { pub enum Schedule { Constant = "constant", Cosine = "cosine" } }

pipe::params! {
    pub struct DataParams {
        /// Rows to make.
        rows: u32;
        /// Seed of the draw.
        seed: u64 = 0;
        /// A file to read instead.
        file: Option<PathBuf> = None;
    }
}
pipe::params! {
    pub struct TuneParams {
        /// Optimizer steps.
        steps: u32;
        /// Peak learning rate.
        lr: f64 = 1e-5;
        /// How the rate falls.
        schedule: Schedule = Schedule::Cosine;
        /// Whether rows are shuffled.
        shuffle: bool = true;
        /// Layers to train.
        layers: Vec<u32> = vec![];
        /// Expression by prompt class.
        reward: BTreeMap<String, String> = BTreeMap::new();
        /// A remark.
        remark: Option<String> = None;
    }
}
pipe::params! {
    pub struct TuneExec {
        /// Sequences at once.
        micro_batch: u32 = 4;
    }
}

fn never(_: &mut NodeCtx) -> anyhow::Result<()> {
    anyhow::bail!("these kinds are only for reading recipes")
}

fn check_tune(values: &Values) -> Vec<Problem> {
    let mut problems = vec![];
    if let Some(Value::Table(reward)) = values.get("reward") {
        for (class, text) in reward {
            if *text == Value::Str("nonsense".into()) {
                problems.push(Problem {
                    path: format!("reward.{class}"),
                    message: "unknown scorer `nonsense`".into(),
                    help: Some("scorers: `format`, `safety`".into()),
                });
            }
        }
    }
    if values["lr"] == Value::Float(0.0) {
        problems.push(Problem {
            path: "lr".into(),
            message: "`lr` must be above 0".into(),
            help: None,
        });
    }
    problems
}

const BLANK: Kind = Kind {
    name: "blank",
    revision: 1,
    summary: "",
    about: "",
    example: "",
    inputs: &[],
    outputs: &[],
    params: None_::specs,
    exec: None_::specs,
    check: no_check,
    cpu: Cpu::One,
    hidden: false,
    run: never,
};

const fn port(name: &'static str, ty: Type, required: bool) -> Port {
    Port {
        name,
        ty,
        required,
        doc: "",
    }
}

const fn output(name: &'static str, ty: Type) -> Output {
    Output { name, ty, doc: "" }
}

static DATA: Kind = Kind {
    name: "data",
    outputs: &[
        output("train", Type::Prompts),
        output("held", Type::Prompts),
    ],
    params: DataParams::specs,
    ..BLANK
};
static BASE: Kind = Kind {
    name: "base",
    outputs: &[output("model", Type::Model)],
    ..BLANK
};
static TUNE: Kind = Kind {
    name: "tune",
    inputs: &[
        port("model", Type::Model, true),
        port("data", Type::Prompts, true),
        port("reference", Type::Model, false),
    ],
    outputs: &[output("model", Type::Model), output("log", Type::Metrics)],
    params: TuneParams::specs,
    exec: TuneExec::specs,
    check: check_tune,
    ..BLANK
};
static SINK: Kind = Kind {
    name: "sink",
    inputs: &[port("model", Type::Model, true)],
    ..BLANK
};
const KINDS: Registry = Registry(&[&DATA, &BASE, &TUNE, &SINK]);

/// A folder with these files, and the recipe among them that is meant.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("mkdir");
            std::fs::write(path, text).expect("a file can be written");
        }
        Files { folder }
    }

    fn load(&self, name: &str, sets: &[&str]) -> Result<Loaded, String> {
        let overrides = Overrides {
            sets: sets.iter().map(|s| s.to_string()).collect(),
            cwd: self.folder.path().into(),
        };
        let root = format!("{}/", self.folder.path().display());
        load(Path::new(name), &overrides, &KINDS)
            .map_err(|diags| diags.render(false).replace(&root, "/ROOT/"))
    }
}

fn read(text: &str, sets: &[&str]) -> Result<Loaded, String> {
    let overrides = Overrides {
        sets: sets.iter().map(|s| s.to_string()).collect(),
        cwd: PathBuf::from("/nowhere"),
    };
    from_text("r.toml", text, &overrides, &KINDS).map_err(|diags| diags.render(false))
}

/// The recipe is refused with exactly this text.
#[track_caller]
fn refused(result: Result<Loaded, String>, expected: &str) {
    match result {
        Ok(_) => panic!("the recipe was accepted"),
        Err(shown) => assert_eq!(
            shown.trim_end(),
            expected.trim(),
            "\n--- shown ---\n{shown}"
        ),
    }
}

/// The recipe is refused with exactly this text, which stands after the line of equals signs.
#[track_caller]
fn check(case: &str) {
    let (text, expected) = case.split_once("\n=====\n").expect("a case has two parts");
    refused(read(text.trim_start_matches('\n'), &[]), expected);
}

fn param(loaded: &Loaded, node: &str, name: &str) -> String {
    let id = loaded.graph.find(node).expect("the node is there");
    let node = loaded.graph.node(id);
    let value = node.params.get(name).or(node.exec.get(name));
    value.map_or("absent".into(), Value::canon)
}

/// Two nodes that `tune` needs.
const NEEDS: &str = "[node.base]\nkind = \"base\"\n[node.mix]\nkind = \"data\"\nrows = 10\n";
/// A `tune` node with everything it must have.
const SFT: &str =
    "[node.sft]\nkind = \"tune\"\nin = { model = \"base\", data = \"mix\" }\nsteps = 5\n";

#[track_caller]
fn accepted(result: Result<Loaded, String>) -> Loaded {
    match result {
        Ok(loaded) => loaded,
        Err(shown) => panic!("the recipe was refused:\n{shown}"),
    }
}

#[test]
fn broken_toml_is_shown_where_it_breaks() {
    check(
        r#"
[node.a]
kind = nope
x = "a
[node.b
=====
error: broken TOML: expected a value
 --> r.toml:2:8
  |
2 | kind = nope
  |        ^^^^
  = help: a string stands in quotes

error: broken TOML: invalid basic string, expected `"`
 --> r.toml:3:7
  |
3 | x = "a
  |       ^

error: broken TOML: unclosed table, expected `]`
 --> r.toml:4:8
  |
4 | [node.b
  |        ^
"#,
    );
}

#[test]
fn an_unknown_top_level_key_is_suggested() {
    check(
        r#"
nmae = "x"
[node.base]
kind = "base"
=====
error: unknown key `nmae`
 --> r.toml:1:1
  |
1 | nmae = "x"
  | ^^^^ not a key of a recipe
  = help: did you mean `name`?
"#,
    );
}

#[test]
fn matrix_and_claim_are_not_supported_yet() {
    check(
        r#"
[matrix]
seed = [0, 1]
[[claim]]
metric = "dsr"
=====
error: `matrix` is not supported yet
 --> r.toml:1:2
  |
1 | [matrix]
  |  ^^^^^^

error: `claim` is not supported yet
 --> r.toml:3:3
  |
3 | [[claim]]
  |   ^^^^^
"#,
    );
}

#[test]
fn top_level_keys_have_types() {
    check(
        r#"
name = 3
extends = ["a"]
drop = "x"
vars = 1
=====
error: `name` expects a string, got an integer
 --> r.toml:1:8
  |
1 | name = 3
  |        ^

error: `extends` expects a string, got an array
 --> r.toml:2:11
  |
2 | extends = ["a"]
  |           ^^^^^

error: `drop` expects an array of names, got a string
 --> r.toml:3:8
  |
3 | drop = "x"
  |        ^^^

error: `vars` expects a table, got an integer
 --> r.toml:4:8
  |
4 | vars = 1
  |        ^
"#,
    );
}

#[test]
fn a_node_is_a_table() {
    check(
        r#"
node.a = 3
=====
error: `node.a` is an integer, not a table
 --> r.toml:1:6
  |
1 | node.a = 3
  |      ^
  = help: a node is written `[node.NAME]`
"#,
    );
}

#[test]
fn a_node_has_a_plain_name() {
    check(
        r#"
[node."A b"]
kind = "base"
[node.vars]
kind = "base"
=====
error: `A b` cannot be a node's name
 --> r.toml:1:7
  |
1 | [node."A b"]
  |       ^^^^^
  = help: a name is made of `a`-`z`, `0`-`9`, `_` and `-`

error: `vars` cannot be a node's name
 --> r.toml:3:7
  |
3 | [node.vars]
  |       ^^^^
  = help: `--set` uses the word itself
"#,
    );
}

#[test]
fn a_node_needs_a_kind() {
    check(
        r#"
[node.a]
=====
error: node `a` has no `kind`
 --> r.toml:1:7
  |
1 | [node.a]
  |       ^
  = help: kinds: `data`, `base`, `tune`, `sink`
"#,
    );
}

#[test]
fn an_unknown_kind_is_suggested() {
    check(
        r#"
[node.a]
kind = "bsae"
[node.b]
kind = "frobnicate"
[node.c]
kind = 3
=====
error: unknown kind `bsae`
 --> r.toml:2:8
  |
2 | kind = "bsae"
  |        ^^^^^^
  = help: did you mean `base`?

error: unknown kind `frobnicate`
 --> r.toml:4:8
  |
4 | kind = "frobnicate"
  |        ^^^^^^^^^^^^
  = help: kinds: `data`, `base`, `tune`, `sink`

error: `kind` expects a string, got an integer
 --> r.toml:6:8
  |
6 | kind = 3
  |        ^
"#,
    );
}

#[test]
fn an_unknown_parameter_is_suggested_over_params_exec_and_ports() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
shedule = "cosine"
microbatch = 2
refrence = "base"
model = "base"
frobnicate = 1
=====
error: unknown parameter `shedule`
  --> r.toml:10:1
   |
10 | shedule = "cosine"
   | ^^^^^^^ not a parameter of `tune`
   = help: did you mean `schedule`?

error: unknown parameter `microbatch`
  --> r.toml:11:1
   |
11 | microbatch = 2
   | ^^^^^^^^^^ not a parameter of `tune`
   = help: did you mean `micro_batch`?

error: unknown parameter `refrence`
  --> r.toml:12:1
   |
12 | refrence = "base"
   | ^^^^^^^^ not a parameter of `tune`
   = help: did you mean `reference`?

error: unknown parameter `model`
  --> r.toml:13:1
   |
13 | model = "base"
   | ^^^^^ not a parameter of `tune`
   = help: `model` is an input: write `in = { model = "node" }`

error: unknown parameter `frobnicate`
  --> r.toml:14:1
   |
14 | frobnicate = 1
   | ^^^^^^^^^^ not a parameter of `tune`
"#,
    );
}

#[test]
fn a_wrong_type_says_what_was_expected_and_found() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
lr = "1e-5"
shuffle = "true"
layers = 3
reward = "x"
remark = 1
micro_batch = 2.0
=====
error: `lr` expects a number, got a string
  --> r.toml:10:6
   |
10 | lr = "1e-5"
   |      ^^^^^^
   = help: write it without quotes

error: `shuffle` expects true or false, got a string
  --> r.toml:11:11
   |
11 | shuffle = "true"
   |           ^^^^^^
   = help: write it without quotes

error: `layers` expects an array, each item an integer, got an integer
  --> r.toml:12:10
   |
12 | layers = 3
   |          ^
   = help: an array is written `[a, b]`

error: `reward` expects a table, each value a string, got a string
  --> r.toml:13:10
   |
13 | reward = "x"
   |          ^^^

error: `remark` expects a string, got an integer
  --> r.toml:14:10
   |
14 | remark = 1
   |          ^

error: `micro_batch` expects an integer, got a float
  --> r.toml:15:15
   |
15 | micro_batch = 2.0
   |               ^^^
   = help: write `2`
"#,
    );
}

#[test]
fn an_item_inside_an_array_or_table_has_its_own_place() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
layers = [1, "2", 3.5]
reward = { harmful = 1, harmless = "ok" }
=====
error: `layers[1]` expects an integer, got a string
  --> r.toml:10:14
   |
10 | layers = [1, "2", 3.5]
   |              ^^^
   = help: write it without quotes

error: `layers[2]` expects an integer, got a float
  --> r.toml:10:19
   |
10 | layers = [1, "2", 3.5]
   |                   ^^^

error: `reward.harmful` expects a string, got an integer
  --> r.toml:11:22
   |
11 | reward = { harmful = 1, harmless = "ok" }
   |                      ^
"#,
    );
}

#[test]
fn a_missing_parameter_is_explained() {
    check(
        r#"
[node.d]
kind = "data"
=====
error: node `d` lacks `rows`
 --> r.toml:1:7
  |
1 | [node.d]
  |       ^ `data` needs it, an integer
  = help: `rows`: Rows to make.
"#,
    );
}

#[test]
fn a_choice_is_suggested() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
schedule = "cosin"
=====
error: `schedule` expects one of `constant`, `cosine`, got `cosin`
  --> r.toml:10:12
   |
10 | schedule = "cosin"
   |            ^^^^^^^
   = help: did you mean `cosine`?
"#,
    );
}

#[test]
fn numbers_that_do_not_exist_are_refused() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
lr = nan
layers = [99999999999999999999]
[node.u]
kind = "tune"
in = { model = "base", data = "mix" }
steps = -1
lr = -inf
=====
error: `nan` is not a finite number
  --> r.toml:10:6
   |
10 | lr = nan
   |      ^^^

error: `99999999999999999999` does not fit in 64 bits
  --> r.toml:11:11
   |
11 | layers = [99999999999999999999]
   |           ^^^^^^^^^^^^^^^^^^^^

error: `steps`: -1 is out of range
  --> r.toml:15:9
   |
15 | steps = -1
   |         ^^

error: `-inf` is not a finite number
  --> r.toml:16:6
   |
16 | lr = -inf
   |      ^^^^
"#,
    );
}

#[test]
fn an_integer_that_no_float_equals_is_refused() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
lr = 9007199254740993
=====
error: `lr`: no float is exactly 9007199254740993
  --> r.toml:10:6
   |
10 | lr = 9007199254740993
   |      ^^^^^^^^^^^^^^^^
"#,
    );
}

#[test]
fn dates_are_refused() {
    check(
        r#"
[vars]
day = 2024-01-01
[node.base]
kind = "base"
=====
error: a recipe has no dates
 --> r.toml:2:7
  |
2 | day = 2024-01-01
  |       ^^^^^^^^^^
  = help: put it in quotes
"#,
    );
}

#[test]
fn the_checks_of_a_kind_are_shown_at_their_path() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
lr = 0
reward.harmful = "nonsense"
reward.harmless = "format"
=====
error: `lr` must be above 0
  --> r.toml:10:6
   |
10 | lr = 0
   |      ^

error: unknown scorer `nonsense`
  --> r.toml:11:18
   |
11 | reward.harmful = "nonsense"
   |                  ^^^^^^^^^^
   = help: scorers: `format`, `safety`
"#,
    );
}

#[test]
fn an_unknown_port_is_suggested() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { modell = "base", data = "mix", xyz = "mix" }
steps = 5
=====
error: node `t` lacks the input `model`
 --> r.toml:6:7
  |
6 | [node.t]
  |       ^ `tune` needs a model
  = help: write `in = { model = "node" }`

error: unknown input `modell`
 --> r.toml:8:8
  |
8 | in = { modell = "base", data = "mix", xyz = "mix" }
  |        ^^^^^^ not a port of `tune`
  = help: did you mean `model`?

error: unknown input `xyz`
 --> r.toml:8:39
  |
8 | in = { modell = "base", data = "mix", xyz = "mix" }
  |                                       ^^^ not a port of `tune`
  = help: ports: `model`, `data`, `reference`
"#,
    );
}

#[test]
fn in_is_a_table_of_names() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = "base"
steps = 5
[node.s]
kind = "sink"
in = { model = 3 }
=====
error: `in` expects a table of ports, got a string
 --> r.toml:8:6
  |
8 | in = "base"
  |      ^^^^^^
  = help: write `in = { port = "node" }`

error: `model` expects the name of a node, got an integer
  --> r.toml:12:16
   |
12 | in = { model = 3 }
   |                ^
"#,
    );
}

#[test]
fn an_unknown_node_is_suggested() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mixx" }
steps = 5
=====
error: unknown node `mixx`
 --> r.toml:8:31
  |
8 | in = { model = "base", data = "mixx" }
  |                               ^^^^^^
  = help: did you mean `mix`?
"#,
    );
}

#[test]
fn an_unknown_output_lists_the_outputs() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
[node.s]
kind = "sink"
in = { model = "t.weights" }
[node.s2]
kind = "sink"
in = { model = "s" }
=====
error: `t` has no output `weights`
  --> r.toml:12:16
   |
12 | in = { model = "t.weights" }
   |                ^^^^^^^^^^^
   = help: outputs: `model`, `log`

error: `s` has no output
  --> r.toml:15:16
   |
15 | in = { model = "s" }
   |                ^^^
"#,
    );
}

#[test]
fn a_port_takes_one_type() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "mix", data = "mix.held" }
steps = 5
=====
error: port `model` takes a model, `mix` gives prompts
 --> r.toml:8:16
  |
8 | in = { model = "mix", data = "mix.held" }
  |                ^^^^^
  = help: nodes that give a model: `base`
"#,
    );
}

#[test]
fn a_missing_input_is_explained() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
steps = 5
=====
error: node `t` lacks the input `data`
 --> r.toml:6:7
  |
6 | [node.t]
  |       ^ `tune` needs prompts
  = help: write `in = { data = "node" }`

error: node `t` lacks the input `model`
 --> r.toml:6:7
  |
6 | [node.t]
  |       ^ `tune` needs a model
  = help: write `in = { model = "node" }`
"#,
    );
}

#[test]
fn a_node_that_feeds_itself_is_a_circle() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "t", data = "mix" }
steps = 5
=====
error: nodes need each other: t -> t
 --> r.toml:8:16
  |
8 | in = { model = "t", data = "mix" }
  |                ^^^
"#,
    );
}

#[test]
fn a_circle_is_shown_as_a_path() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.a]
kind = "tune"
in = { model = "b.model", data = "mix" }
steps = 5
[node.b]
kind = "tune"
in = { model = "a", data = "mix" }
steps = 5
=====
error: nodes need each other: b -> a -> b
 --> r.toml:8:16
  |
8 | in = { model = "b.model", data = "mix" }
  |                ^^^^^^^^^
"#,
    );
}

#[test]
fn an_unknown_variable_is_suggested() {
    check(
        r#"
[vars]
seed = 1
[node.d]
kind = "data"
rows = "${sed}"
seed = "${seed}"
=====
error: unknown variable `sed`
 --> r.toml:5:9
  |
5 | rows = "${sed}"
  |         ^^^^^^ not in `[vars]`
  = help: did you mean `seed`?
"#,
    );
}

#[test]
fn variables_in_a_circle_are_shown_as_a_path() {
    check(
        r#"
[vars]
a = "${b}"
b = "x${a}"
[node.d]
kind = "data"
rows = "${a}"
=====
error: variables need each other: a -> b -> a
 --> r.toml:2:1
  |
2 | a = "${b}"
  | ^
"#,
    );
}

#[test]
fn a_variable_of_the_wrong_type_shows_both_places() {
    check(
        r#"
[vars]
rows = "many"
[node.d]
kind = "data"
rows = "${rows}"
=====
error: `rows` expects an integer, got a string
 --> r.toml:5:8
  |
5 | rows = "${rows}"
  |        ^^^^^^^^^
 ::: r.toml:2:8
  |
2 | rows = "many"
  |        ------ the value is written here
"#,
    );
}

#[test]
fn an_array_does_not_fit_into_a_string() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[vars]
list = [1]
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
remark = "is ${list}"
=====
error: `list` is an array inside a string
  --> r.toml:12:14
   |
12 | remark = "is ${list}"
   |              ^^^^^^^
  ::: r.toml:7:8
   |
 7 | list = [1]
   |        --- its value
"#,
    );
}

#[test]
fn an_open_variable_is_refused() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
remark = "é ${list"
=====
error: `${` without its `}`
  --> r.toml:10:13
   |
10 | remark = "é ${list"
   |             ^^
   = help: `$${` stands for the two characters themselves
"#,
    );
}

#[test]
fn a_missing_file_is_refused() {
    check(
        r#"
[node.d]
kind = "data"
rows = 1
file = "no/such.jsonl"
[node.e]
kind = "data"
rows = 1
file = "~/x"
=====
error: no file or folder `no/such.jsonl`
 --> r.toml:4:8
  |
4 | file = "no/such.jsonl"
  |        ^^^^^^^^^^^^^^^
  = help: looked for `/nowhere/no/such.jsonl`

error: no file or folder `~/x`
 --> r.toml:8:8
  |
8 | file = "~/x"
  |        ^^^^^
  = help: `~` is not expanded
"#,
    );
}

#[test]
fn a_secret_is_refused_and_not_shown() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[vars]
a = "hf_abcdefghijklmnopqrstuv"
api_key = "c2VjcmV0LXNlY3JldC0xMjM0"
api_key_env = "DEEPSEEK_API_KEY_NUMBER_2"
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
remark = "sk-0123456789abcdefghij"
=====
error: this looks like a secret
 --> r.toml:7:5
  |
7 | a = "*************************"
  |     ^^^^^^^^^^^^^^^^^^^^^^^^^^^ not shown here
  = help: a recipe names the environment variable that holds a secret, never the secret

error: this looks like a secret
 --> r.toml:8:11
  |
8 | api_key = "************************"
  |           ^^^^^^^^^^^^^^^^^^^^^^^^^^ not shown here
  = help: a recipe names the environment variable that holds a secret, never the secret

error: this looks like a secret
  --> r.toml:14:10
   |
14 | remark = "***********************"
   |          ^^^^^^^^^^^^^^^^^^^^^^^^^ not shown here
   = help: a recipe names the environment variable that holds a secret, never the secret
"#,
    );
}

#[test]
fn several_errors_come_at_once_in_order() {
    check(
        r#"
nmae = "x"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "bas", data = "mix" }
step = 5
[node.u]
kind = "tuna"
=====
error: unknown key `nmae`
 --> r.toml:1:1
  |
1 | nmae = "x"
  | ^^^^ not a key of a recipe
  = help: did you mean `name`?

error: node `t` lacks `steps`
 --> r.toml:7:7
  |
7 | [node.t]
  |       ^ `tune` needs it, an integer
  = help: `steps`: Optimizer steps.

error: unknown node `bas`
 --> r.toml:9:16
  |
9 | in = { model = "bas", data = "mix" }
  |                ^^^^^
  = help: did you mean `base`?

error: unknown parameter `step`
  --> r.toml:10:1
   |
10 | step = 5
   | ^^^^ not a parameter of `tune`
   = help: did you mean `steps`?

error: unknown kind `tuna`
  --> r.toml:12:8
   |
12 | kind = "tuna"
   |        ^^^^^^
   = help: did you mean `tune`?
"#,
    );
}

#[test]
fn places_count_characters_and_show_tabs() {
    check(
        r#"
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = 10
[node.t]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
	remark	=	3 # 日本 é
reward = { "日本é" = 1 }
=====
error: `remark` expects a string, got an integer
  --> r.toml:10:11
   |
10 |     remark    =    3 # 日本 é
   |                    ^

error: `reward.日本é` expects a string, got an integer
  --> r.toml:11:20
   |
11 | reward = { "日本é" = 1 }
   |                      ^
"#,
    );
}

#[test]
fn an_empty_recipe_is_refused() {
    check(
        r#"
name = "x"
=====
error: the recipe has no nodes
"#,
    );
}

const PARENT: &str = r#"
name = "parent"
[vars]
seed = 7
rows = 10
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = "${rows}"
seed = "${seed}"
[node.sft]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
lr = 1e-4
layers = [1, 2]
reward = { harmful = "a", harmless = "b" }
"#;

#[test]
fn a_child_lies_over_its_parent() {
    let files = Files::new(&[
        ("parent.toml", PARENT),
        (
            "child/c.toml",
            r#"
extends = "../parent.toml"
description = "longer"
[vars]
rows = 20
factor = 3
[node.sft]
lr = 2
layers = [9]
reward.harmful = "c"
in.reference = "base"
[node.more]
kind = "tune"
in = { model = "sft", data = "mix.held" }
steps = "${factor}"
"#,
        ),
    ]);
    let loaded = accepted(files.load("child/c.toml", &[]));
    assert_eq!(loaded.name, "c", "a parent's name is not inherited");
    assert_eq!(loaded.description.as_deref(), Some("longer"));
    assert_eq!(param(&loaded, "mix", "rows"), "20");
    assert_eq!(param(&loaded, "mix", "seed"), "7");
    assert_eq!(
        param(&loaded, "sft", "lr"),
        "2.0",
        "an integer is accepted for a float"
    );
    assert_eq!(
        param(&loaded, "sft", "layers"),
        "[9]",
        "an array is replaced whole"
    );
    let merged = r#"{"harmful": "c", "harmless": "b"}"#;
    assert_eq!(
        param(&loaded, "sft", "reward"),
        merged,
        "a table is merged deep"
    );
    assert_eq!(param(&loaded, "sft", "micro_batch"), "4");
    assert_eq!(param(&loaded, "sft", "remark"), "absent");
    assert_eq!(param(&loaded, "more", "steps"), "3");
    let graph = &loaded.graph;
    let sft = graph.node(graph.find("sft").expect("sft is there"));
    assert_eq!(
        sft.inputs.len(),
        3,
        "an input of the child joins the parent's"
    );
    let more = graph.node(graph.find("more").expect("more is there"));
    assert_eq!(graph.node(more.inputs["model"].node).name, "sft");
    assert_eq!(more.inputs["model"].output, "model");
    assert_eq!(more.inputs["data"].output, "held");
    let origin = |node: &str, name: &str| &loaded.origins[&(node.into(), name.into())];
    assert_eq!(origin("sft", "steps"), "parent.toml:15");
    assert_eq!(origin("sft", "lr"), "child/c.toml:8");
    assert_eq!(
        origin("mix", "rows"),
        "child/c.toml:5",
        "a variable's value has its line"
    );
    let names: Vec<_> = loaded.files.iter().map(|f| f.0.clone()).collect();
    assert_eq!(names, [PathBuf::from("parent.toml"), "child/c.toml".into()]);
    assert!(loaded.warnings.is_empty());
}

#[test]
fn a_dropped_node_is_gone_and_can_be_made_anew() {
    let child = "extends = \"p.toml\"\ndrop = [\"sft\"]\n";
    let anew = format!("{child}[node.sft]\nkind = \"sink\"\nin = {{ model = \"base\" }}\n");
    let files = Files::new(&[("p.toml", PARENT), ("c.toml", child), ("n.toml", &anew)]);
    let loaded = accepted(files.load("c.toml", &[]));
    assert_eq!(loaded.graph.find("sft"), None);
    let loaded = accepted(files.load("n.toml", &[]));
    let sft = loaded.graph.find("sft").expect("it is there again");
    assert_eq!(loaded.graph.node(sft).kind.name, "sink");
    assert!(loaded.graph.node(sft).params.is_empty());
}

#[test]
fn names_a_child_may_not_bring_are_suggested_in_its_own_file() {
    let files = Files::new(&[
        ("p.toml", PARENT),
        (
            "c.toml",
            r#"extends = "p.toml"
drop = ["mx", "mix"]
[vars]
sed = 3
[node.sftt]
lr = 3
[node.sft]
steps = "five"
lrr = 3
[node.mix]
rows = 3
"#,
        ),
    ]);
    refused(
        files.load("c.toml", &[]),
        r#"
error: unknown node `mx`
 --> c.toml:2:9
  |
2 | drop = ["mx", "mix"]
  |         ^^^^ nothing to drop
  = help: did you mean `mix`?

error: unknown variable `sed`
 --> c.toml:4:1
  |
4 | sed = 3
  | ^^^ neither in what this extends nor used here
  = help: did you mean `seed`?

error: unknown node `sftt`
 --> c.toml:5:7
  |
5 | [node.sftt]
  |       ^^^^ a new node names its `kind`
  = help: did you mean `sft`?

error: `steps` expects an integer, got a string
 --> c.toml:8:9
  |
8 | steps = "five"
  |         ^^^^^^

error: unknown parameter `lrr`
  --> c.toml:9:1
   |
 9 | lrr = 3
   | ^^^ not a parameter of `tune`
  ::: p.toml:13:8
   |
13 | kind = "tune"
   |        ------ the kind is named here
   = help: did you mean `lr`?

error: unknown node `mix`
  --> c.toml:10:7
   |
10 | [node.mix]
   |       ^^^ a new node names its `kind`
  ::: c.toml:2:15
   |
 2 | drop = ["mx", "mix"]
   |               ----- dropped here

error: unknown node `mix`
  --> p.toml:14:31
   |
14 | in = { model = "base", data = "mix" }
   |                               ^^^^^
  ::: c.toml:2:15
   |
 2 | drop = ["mx", "mix"]
   |               ----- dropped here
"#,
    );
}

#[test]
fn a_parent_s_parameter_that_the_child_s_kind_lacks_shows_both_files() {
    let files = Files::new(&[
        ("p.toml", "[node.d]\nkind = \"data\"\nrows = 1\n"),
        (
            "c.toml",
            "extends = \"p.toml\"\n[node.d]\nkind = \"base\"\n",
        ),
    ]);
    refused(
        files.load("c.toml", &[]),
        r#"
error: unknown parameter `rows`
 --> p.toml:3:1
  |
3 | rows = 1
  | ^^^^ not a parameter of `base`
 ::: c.toml:3:8
  |
3 | kind = "base"
  |        ------ the kind is named here
"#,
    );
}

#[test]
fn files_that_cannot_be_read_are_reported_where_they_are_named() {
    let files = Files::new(&[("c.toml", "extends = \"gone.toml\"\n")]);
    let Err(shown) = files.load("c.toml", &[]) else {
        panic!("there is no gone.toml")
    };
    assert!(
        shown.starts_with("error: failed to read `gone.toml`: "),
        "{shown}"
    );
    assert!(shown.contains(" --> c.toml:1:11\n"), "{shown}");
    let Err(shown) = files.load("none.toml", &[]) else {
        panic!("there is no none.toml")
    };
    assert!(
        shown.starts_with("error: failed to read `none.toml`: "),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), 1, "it has no place: {shown}");
}

#[test]
fn recipes_that_extend_each_other_are_shown_as_a_path() {
    let files = Files::new(&[
        ("a.toml", "extends = \"sub/b.toml\"\n"),
        ("sub/b.toml", "extends = \"../a.toml\"\n"),
    ]);
    refused(
        files.load("a.toml", &[]),
        r#"
error: recipes extend each other: a.toml -> sub/b.toml -> a.toml
 --> sub/b.toml:1:11
  |
1 | extends = "../a.toml"
  |           ^^^^^^^^^^^ closes the circle
"#,
    );
}

#[test]
fn a_broken_parent_is_the_only_thing_reported() {
    let files = Files::new(&[
        ("p.toml", "[node.a\n"),
        ("c.toml", "extends = \"p.toml\"\n[node.b]\nx = 1\n"),
    ]);
    refused(
        files.load("c.toml", &[]),
        r#"
error: broken TOML: unclosed table, expected `]`
 --> p.toml:1:8
  |
1 | [node.a
  |        ^
"#,
    );
}

#[test]
fn a_path_starts_in_the_folder_of_the_file_that_wrote_it() {
    let files = Files::new(&[
        (
            "p/p.toml",
            "[vars]\nroot = \"data\"\nwhole = \"data/x\"\n[node.a]\nkind = \"data\"\nrows = 1\nfile = \"data/x\"\n",
        ),
        ("p/data/x", ""),
        (
            "c/c.toml",
            "extends = \"../p/p.toml\"\n[node.b]\nkind = \"data\"\nrows = 1\nfile = \"own\"\n[node.c]\nkind = \"data\"\nrows = 1\nfile = \"${root}/x\"\n[node.d]\nkind = \"data\"\nrows = 1\nfile = \"${whole}\"\n",
        ),
        ("c/own", ""),
        ("here", ""),
    ]);
    let loaded = accepted(files.load("c/c.toml", &["a.file=here"]));
    let root = files.folder.path();
    let at = |path: &str| Value::Str(root.join(path).display().to_string()).canon();
    assert_eq!(
        param(&loaded, "a", "file"),
        at("here"),
        "of `--set`: the current directory"
    );
    assert_eq!(param(&loaded, "b", "file"), at("c/own"));
    let parent = at("c/../p/data/x");
    assert_eq!(
        param(&loaded, "c", "file"),
        parent,
        "a leading variable brings its folder"
    );
    assert_eq!(param(&loaded, "d", "file"), parent);
}

#[test]
fn set_changes_variables_and_parameters_and_the_last_wins() {
    let sets = [
        "vars.seed=11",
        "node.sft.steps = 6",
        "sft.steps=7",
        "sft.remark=a b # c",
        "sft.layers=[3, 4]",
        "sft.reward.harmful = \"z\"",
        "sft.micro_batch=1",
        "sft.in.reference=base",
    ];
    let loaded = accepted(read(PARENT, &sets));
    assert_eq!(param(&loaded, "mix", "seed"), "11");
    assert_eq!(param(&loaded, "sft", "steps"), "7");
    assert_eq!(
        param(&loaded, "sft", "remark"),
        "\"a b # c\"",
        "what is no TOML is a string"
    );
    assert_eq!(param(&loaded, "sft", "layers"), "[3, 4]");
    let reward = r#"{"harmful": "z", "harmless": "b"}"#;
    assert_eq!(param(&loaded, "sft", "reward"), reward);
    assert_eq!(param(&loaded, "sft", "micro_batch"), "1");
    let sft = loaded
        .graph
        .node(loaded.graph.find("sft").expect("sft is there"));
    assert!(sft.inputs.contains_key("reference"));
}

#[test]
fn a_wrong_set_is_shown_in_its_own_text() {
    let sets = [
        "sft.lr",
        "seed=3",
        "x=3",
        "stf.lr=3",
        "sft.lrr=3",
        "vars.sed=3",
        "sft.steps = many",
        "sft.in.model=mix",
    ];
    refused(
        read(PARENT, &sets),
        r#"
error: `seed` is no path into a recipe
 --> --set:1:1
  |
1 | seed=3
  | ^^^^
  = help: did you mean `vars.seed`?

error: port `model` takes a model, `mix` gives prompts
 --> --set:1:14
  |
1 | sft.in.model=mix
  |              ^^^
  = help: nodes that give a model: `base`

error: expected `path=value`
 --> --set:1:1
  |
1 | sft.lr
  | ^^^^^^
  = help: as in `--set sft.lr=1e-5`

error: unknown parameter `lrr`
  --> --set:1:5
   |
 1 | sft.lrr=3
   |     ^^^ not a parameter of `tune`
  ::: r.toml:13:8
   |
13 | kind = "tune"
   |        ------ the kind is named here
   = help: did you mean `lr`?

error: `steps` expects an integer, got a string
 --> --set:1:13
  |
1 | sft.steps = many
  |             ^^^^

error: unknown node `stf`
 --> --set:1:1
  |
1 | stf.lr=3
  | ^^^ a new node names its `kind`
  = help: did you mean `sft`?

error: unknown variable `sed`
 --> --set:1:6
  |
1 | vars.sed=3
  |      ^^^ neither in what this extends nor used here
  = help: did you mean `seed`?

error: `x` is no path into a recipe
 --> --set:1:1
  |
1 | x=3
  | ^
  = help: write `vars.NAME`, `node.NAME.PARAM` or `NAME.PARAM`
"#,
    );
}

#[test]
fn a_secret_on_the_command_line_is_not_shown() {
    let Err(shown) = read(PARENT, &["sft.remark=sk-0123456789abcdefghij"]) else {
        panic!("a secret was accepted")
    };
    assert!(shown.contains("this looks like a secret"), "{shown}");
    assert!(!shown.contains("0123456789"), "{shown}");
}

#[test]
fn words_that_only_resemble_secrets_are_accepted() {
    let vars = "[vars]\nstop_token = \"<|endoftext|>\"\ntokenizer = \"HuggingFaceTB/SmolLM2-135M-Instruct\"\nkey_env = \"OPENROUTER_API_KEY_NUMBER_2\"\nskill = \"sk-learn\"\n";
    let loaded = accepted(read(&format!("{vars}{NEEDS}"), &[]));
    assert_eq!(loaded.graph.nodes().len(), 2);
}

#[test]
fn variables_keep_their_type_alone_and_become_text_inside_a_string() {
    let vars = "[vars]\nn = 3\nx = 0.5\nyes = true\nword = \"w\"\nboth = \"${word}-${n}\"\nlist = [\"${n}\"]\ntable = { a = \"${word}\" }\nremark = \"${both}:${x}:${yes}:$${n}\"\n";
    let used = "layers = \"${list}\"\nreward = \"${table}\"\nremark = \"${ remark }\"\nshuffle = \"${yes}\"\nlr = \"${x}\"\n";
    let loaded = accepted(read(&format!("{vars}{NEEDS}{SFT}{used}"), &[]));
    assert_eq!(param(&loaded, "sft", "layers"), "[3]");
    assert_eq!(param(&loaded, "sft", "reward"), r#"{"a": "w"}"#);
    assert_eq!(param(&loaded, "sft", "remark"), "\"w-3:0.5:true:${n}\"");
    assert_eq!(param(&loaded, "sft", "shuffle"), "true");
    assert_eq!(param(&loaded, "sft", "lr"), "0.5");
}

#[test]
fn an_unused_variable_is_a_warning() {
    let loaded = accepted(read(&format!("[vars]\nlost = 1\n{NEEDS}"), &[]));
    let shown = loaded.warnings.render(false);
    let expected =
        "warning: variable `lost` is never used\n --> r.toml:2:1\n  |\n2 | lost = 1\n  | ^^^^\n";
    assert_eq!(shown, expected);
}

#[test]
fn a_resolved_recipe_reads_back_as_the_same_graph() {
    let used = "description = \"why \\\"this\\\"\"\nremark = \"$${x} \\\\ \\\"q\\\"\\n\\u0001é\"\nlr = 1e-300\nreward = { \"odd key.\" = \"v\" }\nlayers = [1, 2]\n";
    let files = Files::new(&[
        (
            "r.toml",
            &format!("name = \"n ${{x}}\"\n{NEEDS}file = \"x\"\n{SFT}{used}"),
        ),
        ("x", ""),
    ]);
    let first = accepted(files.load("r.toml", &[]));
    let second = accepted(read(&first.resolved_text, &[]));
    assert_eq!(second.resolved_text, first.resolved_text);
    assert_eq!(second.name, "n ${x}");
    assert_eq!(second.notes["sft"], "why \"this\"");
    assert_eq!(first.graph.nodes().len(), 3);
    for (a, b) in first.graph.nodes().iter().zip(second.graph.nodes()) {
        assert_eq!((&a.name, &a.params, &a.exec), (&b.name, &b.params, &b.exec));
        assert_eq!(a.inputs, b.inputs);
    }
    assert_eq!(
        param(&second, "sft", "remark"),
        "\"${x} \\\\ \\\"q\\\"\\n\\u0001é\""
    );
}

#[test]
fn nodes_stand_in_the_order_they_were_written_where_edges_allow() {
    let text = format!("[node.z]\nkind = \"base\"\n{SFT}{NEEDS}[node.a]\nkind = \"base\"\n");
    let loaded = accepted(read(&text, &[]));
    let names: Vec<&str> = loaded
        .graph
        .nodes()
        .iter()
        .map(|n| n.name.as_str())
        .collect();
    assert_eq!(names, ["z", "base", "mix", "sft", "a"]);
}
