//! Looking where there is nothing, or less than there was: failed nodes, lost records.

use super::{GREETING, Space};

#[test]
fn a_hidden_file_does_not_stop_a_folder_from_becoming_a_store() {
    let space = Space::with(GREETING);
    space.file("cache/.gitignore", "*\n");
    space.pipe(&["run", "r.toml"]).ok();
    assert!(space.path("cache/.gitignore").exists());
    assert!(space.path("cache/format").exists());
}

#[test]
fn a_text_is_shown_and_a_long_one_is_only_listed() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml"]).ok();
    let shown = space.pipe(&["show", "r.toml", "both"]).ok().out;
    assert!(shown.contains("\nhello world\n"), "{shown}");
    let long = format!("node.hello.text={}", "a".repeat(5000));
    space.pipe(&["run", "r.toml", "--set", &long]).ok();
    let shown = space
        .pipe(&["show", "r.toml", "hello", "--set", &long])
        .ok()
        .out;
    assert!(shown.contains("5.0 kB  text.txt"), "{shown}");
    let printed = shown.lines().filter(|l| l.starts_with("aaaa")).count();
    assert_eq!(printed, 0, "{shown}");
}

#[test]
fn a_node_is_shown_though_a_record_above_it_is_lost() {
    let space = Space::with(GREETING);
    space.pipe(&["run", "r.toml"]).ok();
    let records = space.pipe(&["ls", "--json"]).ok().json();
    let hello = records["records"].as_array().unwrap().iter();
    let hello = hello.filter(|r| r["made_by"]["node"] == "hello");
    let keys: Vec<&str> = hello.map(|r| r["key"].as_str().unwrap()).collect();
    let [key] = keys[..] else {
        panic!("one record of `hello`: {keys:?}");
    };
    let record = format!("cache/actions/{}/{key}.json", &key[..2]);
    std::fs::remove_file(space.path(&record)).unwrap();
    space.pipe(&["show", "r.toml", "hello"]).ends(2);
    let shown = space.pipe(&["show", "r.toml", "both"]).ok().out;
    assert!(shown.contains("\nhello world\n"), "{shown}");
    let other = ["show", "r.toml", "both", "--set", "node.hello.text=other"];
    space.pipe(&other).ends(2);
}

#[test]
fn a_failed_node_says_where_its_last_words_are() {
    let space = Space::with("[node.bad]\nkind = \"toy-fail\"\nhow = \"exit\"\n");
    space.pipe(&["run", "r.toml"]).ends(1);
    let said = space.pipe(&["show", "r.toml", "bad"]).ends(2);
    let (_, logs) = said.err.trim_end().split_once("left ").expect(&said.err);
    let words = std::fs::read_to_string(std::path::Path::new(logs).join("stderr.txt")).unwrap();
    assert_eq!(words, "last words\n");
}

#[test]
fn a_model_tells_its_shape_and_its_parameters() {
    let space = Space::with(
        "[node.model]\nkind = \"world-model\"\nhidden_size = 16\nlayers = 1\nheads = 2\nintermediate_size = 16\n",
    );
    space.pipe(&["run", "r.toml"]).ok();
    let shown = space.pipe(&["show", "r.toml", "model"]).ok().out;
    assert!(shown.contains("  hidden_size: 16\n"), "{shown}");
    let vocab = shown.lines().find_map(|l| l.strip_prefix("  vocab_size: "));
    let vocab: u64 = vocab.expect(&shown).parse().unwrap();
    let told = shown.lines().find_map(|l| l.strip_prefix("  parameters: "));
    let (count, kind) = told.expect(&shown).split_once(' ').unwrap();
    assert_eq!(kind, "(F32)");
    let count: u64 = count.replace(',', "").parse().unwrap();
    // Embedding; q, k, v and o; gate, up and down; three norms. The head is the embedding.
    let expected = 16 * vocab + 4 * 16 * 16 + 3 * 16 * 16 + 3 * 16;
    assert_eq!(count, expected, "{shown}");
}
