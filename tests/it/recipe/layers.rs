//! What lies over what: parents, dropped nodes, `--set`.

use crate::recipe::{Files, PARENT, accepted, param, read, refused};

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
    let names: Vec<_> = loaded.files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["parent.toml", "child/c.toml"]);
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
fn a_child_takes_back_an_edge_of_its_parent() {
    let parent = PARENT.replace("data = \"mix\" }", "data = \"mix\", reference = \"base\" }");
    let child = "extends = \"parent.toml\"\n[node.sft]\nin = { reference = false }\n";
    let files = Files::new(&[("parent.toml", &parent), ("c.toml", child)]);
    let edges = |file: &str| {
        let loaded = accepted(files.load(file, &[]));
        let sft = loaded.graph.find("sft").expect("the node is there");
        let ports = loaded.graph.node(sft).inputs.keys();
        ports.map(|p| p.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(edges("parent.toml"), ["data", "model", "reference"]);
    assert_eq!(edges("c.toml"), ["data", "model"]);
    let files = Files::new(&[
        ("parent.toml", &parent),
        ("c.toml", &child.replace("reference", "data")),
    ]);
    let told = files.load("c.toml", &[]).err().expect("it needs its data");
    assert!(told.contains("node `sft` lacks the input `data`"), "{told}");
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
    assert!(sft.inputs.get("reference").is_some());
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
  = help: write `vars.NAME`, `node.NAME.PARAM`, `NAME.PARAM` or, for every node that has it, `*.PARAM`
"#,
    );
}

#[test]
fn a_variable_is_meant_where_its_table_is_misspelt() {
    refused(
        read(PARENT, &["var.sed=3"]),
        r#"
error: unknown node `var`
 --> --set:1:1
  |
1 | var.sed=3
  | ^^^ a new node names its `kind`
  = help: did you mean `vars.seed`?
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
