//! What a recipe that is right becomes: values, paths, order, and a text that reads back.

use crate::recipe::{Files, NEEDS, SFT, accepted, param, read};
use pipe::base::value::Value;

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
    let second = accepted(read(&first.resolved_text(), &[]));
    assert_eq!(second.resolved_text(), first.resolved_text());
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
