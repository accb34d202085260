//! The rules of the house, read from the source text: which layer may use which, and what no file may hold.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A layer and the layers it may use besides itself. `cli` and the binary use everything.
const LAYERS: &[(&str, &[&str])] = &[
    ("base", &[]),
    ("engine", &["base"]),
    ("world", &["base"]),
    ("learn", &["base"]),
    ("services", &["base"]),
    ("data", &["base"]),
    ("recipe", &["base", "engine"]),
    (
        "kinds",
        &["base", "engine", "learn", "services", "world", "data"],
    ),
    ("report", &["base", "engine"]),
];

/// What kinds may share; any other file of `kinds/` is a kind, and no kind uses another.
const SHARED: &[&str] = &[
    "ahead",
    "answers",
    "bounds",
    "labels",
    "likeness",
    "lora",
    "measure",
    "model_checks",
    "model_io",
    "training",
    "endpoint",
    "observer",
    "removed",
    "reward",
    "scorers",
    "table_file",
    "truth",
    "range",
];

/// Macros that `engine` exports at the crate's root.
const MACROS: &[&str] = &["params", "choice"];

/// Above this a file is two files.
const MOST_LINES: usize = 800;

#[test]
fn imports_point_down_only() {
    let mut wrong = vec![];
    let mut seen = BTreeSet::new();
    for file in sources() {
        let Some((layer, allowed)) = LAYERS.iter().find(|(name, _)| *name == file.layer()) else {
            continue;
        };
        seen.insert(*layer);
        for path in crate_paths(&file.text) {
            let used = path[0].as_str();
            let macro_of_engine =
                MACROS.contains(&used) && !["base", "learn", "services", "data"].contains(layer);
            if used != *layer && !allowed.contains(&used) && !macro_of_engine {
                wrong.push(format!("{} uses {}", file.name, path.join("::")));
            }
        }
    }
    assert_eq!(seen.len(), LAYERS.len(), "every layer has files: {seen:?}");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn kinds_do_not_know_each_other() {
    let mut wrong = vec![];
    let mut kinds = 0;
    for file in sources() {
        let Some(own) = file.name.strip_prefix("kinds/") else {
            continue;
        };
        let own = own.split(['/', '.']).next().expect("split gives a part");
        kinds += 1;
        for path in crate_paths(&file.text) {
            if path[0] == "kinds" && path.len() > 1 {
                let used = path[1].as_str();
                if used != own && !SHARED.contains(&used) && own != "mod" {
                    wrong.push(format!("{} uses {}", file.name, path.join("::")));
                }
            }
        }
    }
    assert!(kinds > 10, "the files of kinds were found");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_file_says_what_it_is() {
    for file in sources().iter().chain(&tests()) {
        let first = file.text.lines().next().unwrap_or("");
        let words = first.strip_prefix("//! ").unwrap_or("");
        assert!(
            words.split_whitespace().count() >= 2,
            "{} opens with {first:?}",
            file.name
        );
    }
}

#[test]
fn no_source_file_holds_what_the_house_forbids() {
    let forbidden = [
        "todo!(",
        "unimplemented!(",
        "dbg!(",
        ".unwrap()",
        "HashMap",
        "HashSet",
        "allow(dead_code)",
        "/home/",
    ];
    let mut wrong = vec![];
    for file in sources() {
        for (number, line) in file.text.lines().enumerate() {
            let code = without_comment(line);
            for word in forbidden.iter().filter(|word| code.contains(**word)) {
                wrong.push(format!("{}:{}: {word}", file.name, number + 1));
            }
            if let Some(path) = machine_path(code) {
                wrong.push(format!("{}:{}: {path}", file.name, number + 1));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A literal that begins with a folder of some machine; `/proc`, `/sys` and `/dev` belong to the system.
fn machine_path(code: &str) -> Option<&str> {
    code.split("\"/").skip(1).find(|rest| {
        let folder = rest.split(|c: char| !c.is_ascii_alphanumeric()).next();
        let next = rest[folder.unwrap_or("").len()..].chars().next();
        next == Some('/') && !matches!(folder, Some("proc" | "dev" | "sys"))
    })
}

#[test]
fn a_path_of_a_machine_is_seen_and_the_system_s_own_is_not() {
    assert!(machine_path(r#"open("/srv/models/x")"#).is_some());
    assert!(machine_path(r#"read("/proc/self/stat")"#).is_none());
    assert!(machine_path(r#"format!("{a}/{b}")"#).is_none());
}

#[test]
fn what_lies_below_the_engine_has_no_clock_and_no_environment() {
    let forbidden: &[(&str, &[&str])] = &[
        (
            "base",
            &["std::time", "std::env", "std::process", "std::net"],
        ),
        (
            "learn",
            &["std::time", "std::env", "std::process", "std::net"],
        ),
        (
            "world",
            &[
                "std::time",
                "std::env",
                "std::process",
                "std::net",
                "std::fs",
                "std::path",
            ],
        ),
        (
            "recipe",
            &["std::time", "std::env", "std::process", "std::net"],
        ),
        ("kinds", &["SystemTime", "std::env", "std::net"]),
        ("services", &["std::env", "std::process", "std::net"]),
        (
            "data",
            &["SystemTime", "std::env", "std::process", "std::net"],
        ),
    ];
    let mut wrong = vec![];
    for file in sources() {
        let words = forbidden.iter().find(|(layer, _)| *layer == file.layer());
        for (number, line) in file.text.lines().enumerate() {
            // A length of time is no clock.
            let code = without_comment(line).replace("std::time::Duration", "");
            for word in words.iter().flat_map(|(_, words)| *words) {
                if code.contains(word) {
                    wrong.push(format!("{}:{}: {word}", file.name, number + 1));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn an_expectation_has_words() {
    let mut wrong = vec![];
    for file in sources() {
        for (number, line) in file.text.lines().enumerate() {
            let Some((_, rest)) = line.split_once(".expect(\"") else {
                continue;
            };
            let words = rest.split('"').next().unwrap_or("").split_whitespace();
            if words.count() < 3 {
                wrong.push(format!("{}:{}: {}", file.name, number + 1, line.trim()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn no_source_file_is_too_long_to_read() {
    for file in sources() {
        let lines = file.text.lines().count();
        assert!(lines <= MOST_LINES, "{} has {lines} lines", file.name);
    }
}

#[test]
fn every_recipe_opens_with_what_it_shows() {
    let recipes = files(&root().join("recipes"), "toml");
    assert!(!recipes.is_empty(), "there are recipes");
    for path in recipes {
        let text = read(&path);
        let words = text.lines().next().unwrap_or("").strip_prefix("# ");
        assert!(
            words.is_some_and(|w| w.split_whitespace().count() >= 3),
            "{} opens without a comment",
            path.display()
        );
    }
}

#[test]
fn the_reader_of_imports_understands_how_imports_are_written() {
    let text = "
        use crate::base::rows::{self, Prompt};
        use crate::{choice, params, world::{Split, judge}};
        pub use crate::learn::sample;
        fn f() -> crate::engine::kind::Kind { $crate::recipe::load() }
        // use crate::report::nothing;
    ";
    let found: Vec<String> = crate_paths(text).iter().map(|p| p.join("::")).collect();
    let expected = [
        "base::rows::self",
        "base::rows::Prompt",
        "choice",
        "params",
        "world::Split",
        "world::judge",
        "learn::sample",
        "engine::kind::Kind",
        "recipe::load",
    ];
    assert_eq!(found, expected);
}

struct Source {
    /// Below `src/` or `tests/`, with forward slashes.
    name: String,
    text: String,
}

impl Source {
    fn layer(&self) -> &str {
        self.name.split(['/', '.']).next().unwrap_or("")
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources() -> Vec<Source> {
    load(&root().join("src"))
}

fn tests() -> Vec<Source> {
    load(&root().join("tests"))
}

fn load(folder: &Path) -> Vec<Source> {
    let found = files(folder, "rs");
    assert!(!found.is_empty(), "{} has files", folder.display());
    let name = |path: &Path| path.strip_prefix(folder).unwrap().display().to_string();
    found
        .iter()
        .map(|path| Source {
            name: name(path),
            text: read(path),
        })
        .collect()
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let mut found = vec![];
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, ending));
        } else if path.extension().is_some_and(|e| e == ending) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn without_comment(line: &str) -> &str {
    if line.trim_start().starts_with("//") {
        ""
    } else {
        line.split(" // ").next().unwrap_or(line)
    }
}

/// Every path that begins at the crate's root, braces spelled out: `a::{b, c::d}` is `a::b` and `a::c::d`.
fn crate_paths(text: &str) -> Vec<Vec<String>> {
    let code: Vec<&str> = text.lines().map(without_comment).collect();
    let code = code.join("\n");
    let mut found = vec![];
    for (at, _) in code.match_indices("crate::") {
        let before = code[..at].chars().next_back();
        if before.is_none_or(|c| !c.is_alphanumeric() && c != '_') {
            let mut rest = &code[at + "crate::".len()..];
            tree(&mut rest, &mut vec![], &mut found);
        }
    }
    found
}

/// Reads one use tree at the head of `rest`.
fn tree(rest: &mut &str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let depth = prefix.len();
    loop {
        *rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            *rest = inside;
            while !rest.trim_start().starts_with('}') {
                tree(rest, prefix, found);
                *rest = rest.trim_start().trim_start_matches(',').trim_start();
            }
            *rest = &rest.trim_start()[1..];
            break;
        }
        let length = rest
            .find(|c: char| !c.is_alphanumeric() && c != '_')
            .unwrap_or(rest.len());
        // `*` and whatever else is no word ends the path here.
        if length == 0 {
            let skip = rest.chars().next().map_or(0, char::len_utf8);
            *rest = &rest[skip..];
            found.push(prefix.clone());
            break;
        }
        prefix.push(rest[..length].to_string());
        *rest = &rest[length..];
        match rest.strip_prefix("::") {
            Some(deeper) if !deeper.starts_with('<') => *rest = deeper,
            _ => {
                found.push(prefix.clone());
                break;
            }
        }
    }
    prefix.truncate(depth);
    // `as name` belongs to the tree.
    if let Some(renamed) = rest.trim_start().strip_prefix("as ") {
        *rest = renamed.trim_start_matches(|c: char| c.is_alphanumeric() || c == '_');
    }
}
