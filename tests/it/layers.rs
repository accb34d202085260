//! The rules of the house, read from the source text: which file may use which inside a room, and what no file may hold. Which room
//! may use which is held by cargo.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The floors of `engine`, from the ground: a file uses its own floor and those below.
const FLOORS: &[&str] = &[
    "system", "kind", "graph", "store", "plan", "events", "run", "gc",
];

/// Above this a file is two files.
const MOST_LINES: usize = 800;

#[test]
fn no_files_import_each_other_in_a_circle() {
    let rooms = rooms();
    assert!(rooms.len() > 8, "the rooms were found");
    let circles: Vec<String> = rooms.iter().flat_map(Room::circles).collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

#[test]
fn the_engine_reads_downwards() {
    let engine = Room::load("engine");
    let floor = |module: &[String]| {
        FLOORS
            .iter()
            .position(|f| module.first().is_some_and(|m| m == f))
    };
    let mut wrong = vec![];
    for (module, used) in &engine.arrows {
        assert!(
            module.is_empty() || floor(module).is_some(),
            "{} is on no floor",
            module.join("/")
        );
        let above = used.iter().filter(|used| floor(used) > floor(module));
        wrong.extend(above.map(|used| format!("{} uses {}", module.join("/"), used.join("/"))));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Nobody but `kinds!` of its folder knows a kind: no other kind, and nothing that kinds share.
#[test]
fn kinds_do_not_know_each_other() {
    let room = Room::load("kinds");
    let is_kind = |text: &str| text.contains("\npub const KIND: Kind = ");
    let kinds = room.files.iter().filter(|(_, file)| is_kind(&file.text));
    let kinds: Vec<&Module> = kinds.map(|(module, _)| module).collect();
    assert!(kinds.len() > 20, "the files of kinds were found");
    let mut wrong = vec![];
    for (module, used) in &room.arrows {
        for used in used {
            let of_a_kind = kinds.iter().find(|kind| used.starts_with(kind));
            if of_a_kind.is_some_and(|kind| !module.is_empty() && !module.starts_with(kind)) {
                wrong.push(format!("{} uses {}", module.join("/"), used.join("/")));
            }
        }
        let shared = module.first().is_some_and(|m| m == "shared");
        let outside = used.iter().filter(|used| shared && used[0] != "shared");
        wrong.extend(outside.map(|used| format!("{} uses {}", module.join("/"), used.join("/"))));
    }
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
            "analysis",
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
        pub(crate) use child::{Split, deeper::{judge, *}};
        fn f(x: super::kind::Kind<a>) -> self::tail { $crate::load(child::of::<T>, y.child::z) }
        // use crate::report::nothing;
    ";
    let found: Vec<String> = paths(text).iter().map(|p| p.segments.join("::")).collect();
    let expected = [
        "crate::base::rows::self",
        "crate::base::rows::Prompt",
        "child::Split",
        "child::deeper::judge",
        "child::deeper",
        "super::kind::Kind",
        "self::tail",
        "crate::load",
        "child::of",
    ];
    assert_eq!(found, expected);
    assert_eq!(paths(text).iter().filter(|p| p.passed_on).count(), 3);
}

#[test]
fn a_circle_of_imports_is_seen_through_names_that_are_passed_on() {
    let file = |name: &str, text: &str| Source {
        name: name.into(),
        text: text.into(),
    };
    let room = Room::of(
        "room",
        vec![
            file("lib.rs", "pub mod a; pub mod b;"),
            file(
                "a/mod.rs",
                "mod deep;\npub use deep::Deep;\nuse super::b::B;",
            ),
            file("a/deep.rs", "struct Deep;"),
            file("b.rs", "use crate::a::Deep;"),
            file("c.rs", "fn c() { crate::d::d() }"),
            file("d.rs", "use crate::c;"),
        ],
    );
    assert_eq!(room.circles(), ["room: c, d"]);
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

#[test]
fn only_the_local_executor_knows_processes() {
    let words = [
        "ExitStatus",
        "Child",
        "/proc/",
        "rustix::process",
        "wait4",
        "strays",
        "writers::",
        "memory::",
        "Kills",
    ];
    let (mut wrong, mut local) = (vec![], 0);
    for file in sources() {
        let Some(inside) = file.name.strip_prefix("engine/") else {
            continue;
        };
        // What the machine says is asked there; who asks is what counts.
        if inside.starts_with("system/") {
            continue;
        }
        let lines = file.text.lines().enumerate();
        let lines = lines.filter(|(_, line)| {
            let code = without_comment(line);
            words.iter().any(|word| code.contains(word))
        });
        if inside.starts_with("run/executor/local/") {
            local += lines.count();
            continue;
        }
        wrong.extend(lines.map(|(n, line)| format!("{}:{}: {}", file.name, n + 1, line.trim())));
    }
    assert!(local > 10, "the local executor was found");
    assert!(wrong.is_empty(), "{wrong:#?}");
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

/// Where a file is in its crate: `["store", "index"]` is `store/index/mod.rs` or `store/index.rs`.
type Module = Vec<String>;

/// The files of a crate, or of the command line, and which uses which.
struct Room {
    name: String,
    files: BTreeMap<Module, Source>,
    /// What a module passes on under a name of its own.
    passed_on: BTreeMap<Module, Module>,
    arrows: BTreeMap<Module, BTreeSet<Module>>,
}

fn rooms() -> Vec<Room> {
    let entries = std::fs::read_dir(root().join("src")).unwrap();
    let names = entries.map(|e| e.unwrap().file_name().into_string().unwrap());
    let folders = names.filter(|name| root().join("src").join(name).is_dir());
    folders.map(|name| Room::load(&name)).collect()
}

impl Room {
    fn load(name: &str) -> Room {
        Room::of(name, load(&root().join("src").join(name)))
    }

    fn of(name: &str, sources: Vec<Source>) -> Room {
        let files: BTreeMap<Module, Source> =
            sources.into_iter().map(|s| (module(&s), s)).collect();
        let mut room = Room {
            name: name.into(),
            files,
            passed_on: BTreeMap::new(),
            arrows: BTreeMap::new(),
        };
        let read: Vec<(Module, Vec<Written>)> = room
            .files
            .iter()
            .map(|(module, file)| (module.clone(), paths(&file.text)))
            .collect();
        for (module, paths) in &read {
            for path in paths.iter().filter(|p| p.passed_on) {
                if let (Some(target), Some(name)) =
                    (room.absolute(module, path), path.segments.last())
                {
                    let mut own = module.clone();
                    own.push(name.clone());
                    room.passed_on.insert(own, target);
                }
            }
        }
        for (module, paths) in &read {
            let used = paths.iter().filter_map(|path| {
                let target = room.module_of(room.absolute(module, path)?);
                // Who passes a child's name on does not use it.
                let own_child = path.passed_on && target.starts_with(module);
                (target != *module && !own_child).then_some(target)
            });
            room.arrows.insert(module.clone(), used.collect());
        }
        room
    }

    /// A path from the root of the crate; nothing for one that leads out of it.
    fn absolute(&self, module: &Module, path: &Written) -> Option<Module> {
        let (first, rest) = path.segments.split_first()?;
        let mut from = match first.as_str() {
            "crate" => vec![],
            "self" => module.clone(),
            "super" => module[..module.len().checked_sub(1)?].to_vec(),
            child => {
                let mut own = module.clone();
                own.push(child.into());
                if !self.files.contains_key(&own) {
                    return None;
                }
                own
            }
        };
        for step in rest {
            match step.as_str() {
                "super" => drop(from.pop()),
                "self" => {}
                _ => from.push(step.clone()),
            }
        }
        // The command line is a module of its crate.
        if self.name == "cli" && first == "crate" && from.first().is_some_and(|f| f == "cli") {
            from.remove(0);
        }
        Some(from)
    }

    /// The file that a path from the root ends in.
    fn module_of(&self, mut path: Module) -> Module {
        for _ in 0..8 {
            let deepest = (0..=path.len())
                .rev()
                .find(|n| self.files.contains_key(&path[..*n]));
            let deepest = deepest.unwrap_or(0);
            let Some(target) = path.get(..=deepest).and_then(|p| self.passed_on.get(p)) else {
                path.truncate(deepest);
                break;
            };
            path = target.iter().chain(&path[deepest + 1..]).cloned().collect();
        }
        path
    }

    /// Files that use each other, one way or another: `room: a, b`.
    fn circles(&self) -> Vec<String> {
        let reached: BTreeMap<&Module, BTreeSet<&Module>> = self
            .arrows
            .keys()
            .map(|module| (module, self.reached(module)))
            .collect();
        let mut found = BTreeSet::new();
        for (module, below) in &reached {
            let together: Vec<String> = below
                .iter()
                .filter(|other| {
                    reached
                        .get(**other)
                        .is_some_and(|back| back.contains(module))
                })
                .map(|other| other.join("/"))
                .collect();
            if !together.is_empty() {
                found.insert(format!("{}: {}", self.name, together.join(", ")));
            }
        }
        found.into_iter().collect()
    }

    fn reached<'a>(&'a self, from: &'a Module) -> BTreeSet<&'a Module> {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(module) = open.pop() {
            let next = self.arrows.get(module).into_iter().flatten();
            open.extend(next.filter(|next| reached.insert(*next)));
        }
        reached
    }
}

fn module(source: &Source) -> Module {
    let name = source.name.trim_end_matches(".rs");
    let parts = name
        .split('/')
        .filter(|part| !matches!(*part, "mod" | "lib"));
    parts.map(String::from).collect()
}

/// A path as it is written.
struct Written {
    segments: Vec<String>,
    /// `pub use`: under this name it is the module's own.
    passed_on: bool,
}

/// Every path of a text, braces spelled out (`a::{b, c::d}` is `a::b` and `a::c::d`): of imports, and of code whatever has `::`.
fn paths(text: &str) -> Vec<Written> {
    let mut found = vec![];
    let code: Vec<&str> = text.lines().map(without_comment).collect();
    let code = code.join("\n");
    let mut rest = code.as_str();
    let (mut before, mut passed_on) = (' ', false);
    while let Some(c) = rest.chars().next() {
        let length = word(rest);
        if length == 0 {
            (before, passed_on) = (c, passed_on && c != ';');
            rest = &rest[c.len_utf8()..];
            continue;
        }
        let (name, after) = rest.split_at(length);
        let starts = !matches!(before, ':' | '.');
        before = 'a';
        match name {
            "use" if starts && after.starts_with(' ') => {
                rest = after;
                let mut all = vec![];
                tree(&mut rest, &mut vec![], &mut all);
                found.extend(all.into_iter().map(|segments| Written {
                    segments,
                    passed_on,
                }));
                passed_on = false;
            }
            // `pub(crate) use` too.
            "pub" => (rest, passed_on) = (after, true),
            "fn" | "struct" | "enum" | "mod" | "const" | "static" | "type" | "trait" => {
                (rest, passed_on) = (after, false);
            }
            _ if starts && after.starts_with("::") => {
                let mut all = vec![];
                tree(&mut rest, &mut vec![], &mut all);
                let passed_on = false;
                found.extend(all.into_iter().map(|segments| Written {
                    segments,
                    passed_on,
                }));
            }
            _ => rest = after,
        }
    }
    found
}

/// Bytes of the word at the head.
fn word(text: &str) -> usize {
    text.find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(text.len())
}

/// Reads one use tree at the head of `rest`.
fn tree(rest: &mut &str, prefix: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    let depth = prefix.len();
    loop {
        *rest = rest.trim_start();
        if let Some(inside) = rest.strip_prefix('{') {
            *rest = inside;
            while !rest.trim_start().starts_with(['}', ')']) && !rest.trim_start().is_empty() {
                tree(rest, prefix, found);
                *rest = rest.trim_start().trim_start_matches(',').trim_start();
            }
            *rest = rest.trim_start().get(1..).unwrap_or("");
            break;
        }
        let length = word(rest);
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
