//! Ports, outputs and circles.

use crate::recipe::check;

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
error: nodes need each other: t -> t (model)
 --> r.toml:8:16
  |
8 | in = { model = "t", data = "mix" }
  |                ^^^ `t` needs `t`
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
error: nodes need each other: a -> b (model) -> a (model)
  --> r.toml:12:16
   |
12 | in = { model = "a", data = "mix" }
   |                ^^^ `b` needs `a`
  ::: r.toml:8:16
   |
 8 | in = { model = "b.model", data = "mix" }
   |                --------- `a` needs `b`
"#,
    );
}

#[test]
fn every_circle_is_shown_and_what_hangs_below_one_is_none() {
    check(
        r#"
[node.mix]
kind = "data"
rows = 10
[node.a]
kind = "tune"
in = { model = "b", data = "mix" }
steps = 5
[node.b]
kind = "tune"
in = { model = "a", data = "mix" }
steps = 5
[node.below]
kind = "tune"
in = { model = "a", data = "mix" }
steps = 5
[node.itself]
kind = "tune"
in = { model = "itself", data = "mix" }
steps = 5
=====
error: nodes need each other: a -> b (model) -> a (model)
  --> r.toml:10:16
   |
10 | in = { model = "a", data = "mix" }
   |                ^^^ `b` needs `a`
  ::: r.toml:6:16
   |
 6 | in = { model = "b", data = "mix" }
   |                --- `a` needs `b`

error: nodes need each other: itself -> itself (model)
  --> r.toml:18:16
   |
18 | in = { model = "itself", data = "mix" }
   |                ^^^^^^^^ `itself` needs `itself`
"#,
    );
}

#[test]
fn a_long_circle_is_told_whole_and_shown_in_part() {
    let node = |i: usize| {
        let above = (i + 1) % 10;
        format!(
            "[node.n{i}]\nkind = \"tune\"\nin = {{ model = \"n{above}\", data = \"mix\" }}\nsteps = 5\n"
        )
    };
    let nodes: String = (0..10).map(node).collect();
    let text = format!("[node.mix]\nkind = \"data\"\nrows = 10\n{nodes}");
    let shown = crate::recipe::read(&text, &[]).err().expect("a circle");
    let first = shown.lines().next().unwrap();
    assert_eq!(
        first,
        "error: nodes need each other: n0 -> n9 (model) -> n8 (model) -> n7 (model) -> n6 (model) -> n5 (model) -> n4 (model) -> n3 (model) \
         -> n2 (model) -> n1 (model) -> n0 (model)"
    );
    assert_eq!(
        shown.matches(":::").count() + shown.matches("-->").count(),
        8
    );
    assert!(
        shown.ends_with("= help: 2 more edges are in the circle\n"),
        "{shown}"
    );
}
