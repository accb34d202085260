//! The bounds that are stated: what is beyond one is refused by a plain sentence, before it costs memory or time.

use crate::toys::REGISTRY;
use pipe::base::bounded;
use pipe::base::memory::{self, Bounds, Exceeded};
use pipe::base::text::did_you_mean;
use pipe::data::read::{How, Rows};
use pipe::learn::config::Config;
use pipe::learn::tensors::{MAX_HEADER, TensorFile};
use pipe::recipe::place::MOST_TEXT;
use pipe::recipe::{Overrides, from_text};
use serde_json::json;
use std::fmt::Write;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::Duration;

const NODE: &str = "[node.w]\nkind = \"toy-write\"\ntext = \"x\"\n";

/// What is said of a recipe, and how much memory that took.
fn refused(text: &str, sets: &[String], matrix: &[String]) -> String {
    let overrides = Overrides {
        sets: sets.to_vec(),
        matrix: matrix.to_vec(),
        cwd: PathBuf::from("/nowhere"),
    };
    let (loaded, peak) = memory::peak(|| from_text("r.toml", text, &overrides, &REGISTRY));
    assert!(peak < 512 << 20, "{peak} bytes");
    match loaded {
        Ok(_) => panic!("the recipe was taken"),
        Err(diags) => diags.render(false),
    }
}

#[test]
fn variables_made_of_variables() {
    let mut text = String::from("[vars]\nv0 = \"xxxxxxxxxxxxxxxx\"\n");
    for i in 1..60 {
        let _ = writeln!(text, "v{i} = \"${{v{0}}}${{v{0}}}\"", i - 1);
    }
    let shown = refused(&format!("{text}{NODE}keep = \"${{v59}}\"\n"), &[], &[]);
    assert!(
        shown.contains("variables stand for more than 64 MiB"),
        "{shown}"
    );

    let mut text = String::from("[vars]\nv0 = [1, 2, 3]\n");
    for i in 1..60 {
        let _ = writeln!(text, "v{i} = [\"${{v{0}}}\", \"${{v{0}}}\"]", i - 1);
    }
    let shown = refused(&format!("{text}{NODE}"), &[], &[]);
    assert!(
        shown.contains("variables stand for more than 64 MiB"),
        "{shown}"
    );

    let mut text = String::from("[vars]\n");
    for i in 0..100_000 {
        let _ = writeln!(text, "v{i} = \"${{v{}}}\"", i + 1);
    }
    let shown = refused(&format!("{text}v100000 = 1\n{NODE}"), &[], &[]);
    assert!(shown.contains("over more than 100 steps"), "{shown}");
}

#[test]
fn paths_and_axes() {
    let deep = vec!["a"; 100_000].join(".");
    let shown = refused(NODE, &[format!("w.{deep}=1")], &[]);
    assert!(shown.contains("has no more than 80 steps"), "{shown}");
    let shown = refused(NODE, &[], &[format!("w.{deep}=1,2")]);
    assert!(shown.contains("has no more than 80 steps"), "{shown}");
    let axes: Vec<String> = (0..101).map(|i| format!("a{i}=1")).collect();
    let shown = refused(NODE, &[], &axes);
    assert!(
        shown.contains("`[matrix]` has more than 100 axes"),
        "{shown}"
    );
    let shown = refused(
        &format!("x = {}{}\n{NODE}", "[".repeat(100_000), "]".repeat(100_000)),
        &[],
        &[],
    );
    assert!(shown.contains("broken TOML"), "{shown}");
    let shown = refused(&format!("[{deep}]\n{NODE}"), &[], &[]);
    assert!(shown.contains("broken TOML"), "{shown}");
}

#[test]
fn a_recipe_of_more_text_than_any() {
    let text = format!("{NODE}# {}", "x".repeat(MOST_TEXT as usize));
    let shown = refused(&text, &[], &[]);
    assert!(shown.contains("`r.toml` is larger than 16.8 MB"), "{shown}");
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("r.toml");
    std::fs::write(&path, &text).expect("a file can be written");
    let overrides = Overrides {
        cwd: folder.path().into(),
        ..Overrides::default()
    };
    let Err(diags) = pipe::recipe::load(&path, &overrides, &REGISTRY) else {
        panic!("the recipe was taken");
    };
    assert!(
        diags
            .to_string()
            .contains("the file is larger than 16.8 MB"),
        "{diags}"
    );
    let error = bounded::read(&path, 1000).expect_err("it is too large");
    assert_eq!(error.to_string(), "the file is larger than 1.0 kB");
    let error = bounded::read(Path::new("/dev/zero"), 1000).expect_err("it has no end");
    assert!(error.to_string().contains("it is a device"), "{error}");
}

#[test]
fn names_that_are_long() {
    let (a, b) = ("a".repeat(1 << 20), "a".repeat((1 << 20) + 1));
    assert_eq!(did_you_mean(&a, [b.as_str()]), None);
    let shown = refused(&format!("{a} = 1\n{b} = 2\n{NODE}"), &[], &[]);
    assert!(shown.len() < 20_000, "{}", shown.len());
}

#[test]
fn a_circle_of_many_nodes() {
    const NODES: usize = 50_000;
    let mut text = String::new();
    for i in 0..NODES {
        let _ = writeln!(
            text,
            "[node.n{i}]\nkind = \"toy-join\"\nin = {{ a = \"n{}\" }}",
            (i + 1) % NODES
        );
    }
    let shown = refused(&text, &[], &[]);
    assert!(
        shown.contains("nodes need each other: n0 -> n49999 (a) -> n49998 (a)")
            && shown.contains(" -> n49900 (a) -> … -> n0 (a)\n"),
        "{}",
        &shown[..200]
    );
    assert!(shown.len() < 20_000, "{}", shown.len());
}

#[test]
fn a_header_of_tensors() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("x.safetensors");
    std::fs::write(&path, (MAX_HEADER + 1).to_le_bytes()).expect("a file can be written");
    let file = std::fs::File::options()
        .write(true)
        .open(&path)
        .expect("it is there");
    file.set_len(2 * MAX_HEADER).expect("a file may have holes");
    let (opened, peak) = memory::peak(|| TensorFile::open(&path).err());
    let error = format!("{:#}", opened.expect("it is refused"));
    assert!(
        error.contains("a header of 33554433 bytes, more than 33554432"),
        "{error}"
    );
    assert!(peak < 1 << 16, "{peak} bytes");
}

#[test]
fn sizes_of_a_model() {
    let config = json!({
        "architectures": ["Qwen2ForCausalLM"], "hidden_act": "silu", "hidden_size": 4, "intermediate_size": 4,
        "num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 5,
        "rms_norm_eps": 1e-6, "rope_theta": 1e4, "max_position_embeddings": 16, "tie_word_embeddings": true,
    });
    assert!(Config::from_json(&config).is_ok());
    for key in [
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_key_value_heads",
        "head_dim",
        "vocab_size",
    ] {
        let mut huge = config.clone();
        huge["num_attention_heads"] = json!(1u64 << 40);
        huge[key] = json!(1u64 << 40);
        let error = Config::from_json(&huge).expect_err(key);
        assert!(format!("{error:#}").contains("is above"), "{error:#}");
    }
}

#[test]
fn columns_of_a_table() {
    let rows: String = (0..2000).map(|i| format!("{{\"k{i}\": 1}}\n")).collect();
    let header: String = (0..2000).map(|i| format!("k{i},")).collect();
    for (name, text) in [("x.jsonl", rows), ("x.csv", format!("{header}\n"))] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let path = folder.path().join(name);
        std::fs::write(&path, &text).expect("a file can be written");
        let error = Rows::new(vec![path], How::default()).columns().err();
        let error = format!("{:#}", error.expect("it is refused"));
        assert!(error.contains("more than 1000"), "{error}");
    }
}

#[test]
fn memory_and_time_of_a_computation() {
    let bounds = |memory, millis| Bounds {
        memory,
        stack: 1 << 20,
        time: Duration::from_millis(millis),
    };
    let grow = || black_box((0..1_000_000u64).collect::<Vec<_>>()).len();
    let ran = |bounds| memory::bounded(bounds, grow).expect("there are threads");
    assert_eq!(ran(bounds(16 << 20, 60_000)), Ok(1_000_000));
    assert_eq!(ran(bounds(1 << 20, 60_000)), Err(Exceeded::Memory));
    let ever = || std::thread::sleep(Duration::from_secs(3600));
    let ran = memory::bounded(bounds(1 << 20, 10), ever);
    assert_eq!(ran.expect("there are threads"), Err(Exceeded::Time));
    let panics = || {
        memory::bounded(bounds(1 << 20, 60_000), || -> usize {
            panic!("on purpose")
        })
    };
    assert!(std::panic::catch_unwind(panics).is_err(), "a panic goes on");
    let ((), peak) = memory::peak(|| drop(black_box(vec![1u8; 1 << 20])));
    assert!((1 << 20..2 << 20).contains(&peak), "{peak}");
}
