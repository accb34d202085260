//! Recipes of thousands of nodes: what is found by an index, and what is shown of thousands of errors. How long it takes is
//! not tested; a search of all nodes for every node would show in the time of these tests.

use super::{KINDS, accepted, read};
use pipe::base::diag::SHOWN;
use pipe::engine::graph::union::{Part, union};
use pipe::recipe::{Overrides, from_text};
use std::fmt::Write;
use std::path::PathBuf;

const NODES: usize = 5_000;

/// A model, and nodes that tune the one before them; node `i` has these lines more.
fn chain(nodes: usize, more: impl Fn(usize) -> String) -> String {
    let mut text =
        String::from("[node.d]\nkind = \"data\"\nrows = 1\n[node.t0]\nkind = \"base\"\n");
    for i in 1..=nodes {
        let before = i - 1;
        let _ = write!(
            text,
            "[node.t{i}]\nkind = \"tune\"\nsteps = {i}\nin = {{ model = \"t{before}\", data = \"d\" }}\n{}",
            more(i)
        );
    }
    text
}

#[test]
fn every_edge_of_a_large_recipe_goes_where_it_was_written() {
    let loaded = accepted(read(&chain(NODES, |_| String::new()), &["t9.steps=77"]));
    let graph = &loaded.graph;
    assert_eq!(graph.nodes().len(), NODES + 2);
    for i in 1..=NODES {
        let node = graph.node(graph.find(&format!("t{i}")).expect("the node is there"));
        let above = graph.node(node.inputs["model"].node);
        assert_eq!(above.name, format!("t{}", i - 1));
        let steps = if i == 9 { 77 } else { i as i64 };
        assert_eq!(node.params["steps"], pipe::base::value::Value::Int(steps));
    }
    assert_eq!(graph.find("t"), None);
    assert_eq!(graph.find("zzz"), None);
    let text = loaded.resolved_text();
    let again = accepted(read(&text, &[]));
    assert_eq!(again.resolved_text(), text);
    let none = pipe::base::claim::Axes::new();
    let part = |graph| Part {
        recipe: "r",
        axes: &none,
        graph,
    };
    let (one, two) = (&loaded.graph, &again.graph);
    let united = union(&[part(one), part(two)]);
    assert_eq!(united.graph.nodes().len(), NODES + 2, "equal nodes are one");
    for (a, b) in united.places[0].iter().zip(&united.places[1]) {
        assert_eq!(a, b);
    }
}

#[test]
fn a_child_of_a_large_recipe_drops_and_changes_what_it_names() {
    let mut child = String::from("extends = \"p.toml\"\ndrop = [");
    for i in NODES / 2 + 1..=NODES {
        let _ = write!(child, "\"t{i}\",");
    }
    child.push_str("]\n");
    for i in 1..=NODES / 2 {
        let _ = write!(child, "[node.t{i}]\nsteps = {}\n", i + 1);
    }
    let parent = chain(NODES, |_| String::new());
    let files = super::Files::new(&[("p.toml", &parent), ("c.toml", &child)]);
    let loaded = accepted(files.load("c.toml", &[]));
    assert_eq!(loaded.graph.nodes().len(), NODES / 2 + 2);
    let last = loaded
        .graph
        .find(&format!("t{}", NODES / 2))
        .expect("it was kept");
    let steps = &loaded.graph.node(last).params["steps"];
    assert_eq!(*steps, pipe::base::value::Value::Int(NODES as i64 / 2 + 1));
}

#[test]
fn of_many_errors_the_first_are_shown_and_the_rest_counted() {
    let text = chain(NODES, |i| format!("stepps = {i}\nlr = \"x\"\n"));
    let shown = read(&text, &[]).err().expect("the recipe is wrong");
    let errors = shown.lines().filter(|line| line.starts_with("error: "));
    assert_eq!(errors.count(), SHOWN);
    let more = 2 * NODES - SHOWN;
    assert!(shown.ends_with(&format!(
        "\n\nand {},{:03} more errors\n",
        more / 1000,
        more % 1000
    )));
    assert!(
        shown.lines().count() < 10 * SHOWN,
        "{}",
        shown.lines().count()
    );
    assert!(shown.contains("did you mean `steps`?"));

    let overrides = Overrides {
        cwd: PathBuf::from("/nowhere"),
        ..Overrides::default()
    };
    let Err(diags) = from_text("r.toml", &text, &overrides, &KINDS) else {
        panic!("the recipe is wrong");
    };
    let json = diags.json();
    let all = json.as_array().expect("a list");
    assert_eq!(all.len(), 2 * NODES, "as JSON they are complete");
    // Five lines before the first node that tunes, and six lines each.
    for (i, pair) in all.chunks(2).enumerate() {
        assert_eq!(pair[0]["line"], 5 + 6 * i + 5);
        assert_eq!(pair[1]["line"], 5 + 6 * i + 6);
    }
}

#[test]
fn an_unknown_name_among_thousands_is_one_line_of_help() {
    let text =
        chain(NODES, |_| String::new()) + "[node.e]\nkind = \"sink\"\nin = { model = \"d\" }\n";
    let shown = read(&text, &[]).err().expect("the recipe is wrong");
    assert!(
        shown.contains("nodes that give a model: `t0`, `t1`"),
        "{shown}"
    );
    assert!(shown.len() < 1000, "{}", shown.len());
}

#[test]
fn a_long_line_is_shown_around_its_error() {
    let filler =
        "\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\", ".repeat(20_000);
    let text = format!("[node.d]\nkind = \"data\"\nrows = 1\nfile = [{filler}]\n");
    let shown = read(&text, &[]).err().expect("the recipe is wrong");
    assert!(shown.contains("`file` expects a path"), "{}", &shown[..500]);
    assert!(shown.len() < 10_000, "{}", shown.len());
}

#[test]
fn combinations_beyond_all_sense_are_not_made() {
    let values: Vec<String> = (0..200).map(|i| i.to_string()).collect();
    let axes = ["a", "b", "c", "e", "f", "g"];
    let mut text = String::from("[vars]\n");
    for axis in axes {
        let _ = writeln!(text, "{axis} = 1");
    }
    text.push_str("[matrix]\nmax = 1_000_000_000_000_000\n");
    for axis in axes {
        let _ = writeln!(text, "{axis} = [{}]", values.join(", "));
    }
    text.push_str("[node.d]\nkind = \"data\"\nrows = \"${a}${b}${c}${e}${f}${g}\"\n");
    let shown = read(&text, &[]).err().expect("the recipe is wrong");
    assert!(
        shown.contains("`[matrix]` makes more than 10000 combinations"),
        "{shown}"
    );
}
