//! Kinds and parameters that do not fit.

use crate::recipe::{accepted, check, param, read};

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
  = help: kinds: `base`, `data`, `tune`, `sink`

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
fn a_missing_file_is_a_warning_for_it_may_be_on_another_machine() {
    let text = "[node.d]\nkind = \"data\"\nrows = 1\nfile = \"no/such.jsonl\"\n[node.e]\nkind = \"data\"\nrows = 1\nfile = \"~/x\"\n";
    let shown = accepted(read(text, &[])).warnings.render(false);
    let expected = r#"warning: no file or folder `no/such.jsonl`
 --> r.toml:4:8
  |
4 | file = "no/such.jsonl"
  |        ^^^^^^^^^^^^^^^
  = help: looked for `/nowhere/no/such.jsonl`; a run needs it

warning: no file or folder `~/x`
 --> r.toml:8:8
  |
8 | file = "~/x"
  |        ^^^^^
  = help: `~` is not expanded
"#;
    assert_eq!(shown, expected);
}

#[test]
fn an_address_on_the_hub_is_kept_as_it_is_and_a_wrong_one_is_refused() {
    let data =
        |address: &str| format!("[node.d]\nkind = \"data\"\nrows = 1\nfile = \"{address}\"\n");
    for address in [
        "hf://a/b",
        "hf://a/b@v1.0",
        "hf://datasets/a/b@main/c/d.tsv",
    ] {
        let loaded = accepted(read(&data(address), &[]));
        assert_eq!(loaded.warnings.render(false), "");
        let kept = address.replace("@main", "");
        assert_eq!(param(&loaded, "d", "file"), format!("\"{kept}\""));
    }
    check(
        r#"
[node.d]
kind = "data"
rows = 1
file = "hf://datasets/a"
[node.e]
kind = "data"
rows = 1
file = "hf://a/b/../../c"
=====
error: `hf://datasets/a`: an address on the hub is `hf://datasets/ORG/NAME[@REVISION][/FILE]`
 --> r.toml:4:8
  |
4 | file = "hf://datasets/a"
  |        ^^^^^^^^^^^^^^^^^

error: `hf://a/b/../../c`: `../../c` is no file inside a repository
 --> r.toml:8:8
  |
8 | file = "hf://a/b/../../c"
  |        ^^^^^^^^^^^^^^^^^^
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
