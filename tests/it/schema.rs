//! The schema of recipes: what ships is right by it, and every kind of slip is wrong, by a small reader of JSON Schema
//! here; and the same by taplo, which editors use, where there is one.

use crate::skipped::skip;
use crate::study::Study;
use pipe::base::device::DeviceName;
use pipe::base::params::{Default, Ty};
use pipe::engine::kind::Kind;
use pipe::kinds::REGISTRY;
use pipe::recipe::schema::schema;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn shipped() -> Vec<PathBuf> {
    crate::golden::recipes(&Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes"))
}

#[test]
fn recipes_that_ship_and_examples_of_kinds_are_right() {
    let schema = schema(&REGISTRY);
    let mut right = vec![];
    for path in shipped() {
        right.push((
            path.display().to_string(),
            std::fs::read_to_string(&path).unwrap(),
        ));
    }
    for kind in visible() {
        right.push((kind.name.into(), kind.example.to_string()));
    }
    assert!(right.len() > 20);
    for (name, text) in right {
        assert_eq!(wrongs(&schema, &text), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn every_parameter_takes_its_default_and_a_variable_and_no_other_type() {
    let schema = schema(&REGISTRY);
    let mut seen = 0;
    for kind in visible() {
        for spec in (kind.params)().into_iter().chain(kind.own_execution()) {
            let place = format!("{} {}", kind.name, spec.name);
            let with = |value: &Value| {
                let mut node = json!({ "kind": kind.name });
                match spec.block {
                    Some(block) => node[block.name][spec.field()] = value.clone(),
                    None => node[spec.name] = value.clone(),
                }
                // In a child, so that nothing else is required.
                let recipe = json!({ "extends": "x.toml", "node": { "n": node } });
                let mut found = vec![];
                judge(&schema, &schema, &recipe, "", &mut found);
                found
            };
            if let Default::Value(value) = &spec.default {
                assert_eq!(with(&json!(value)), Vec::<String>::new(), "{place}");
            }
            assert_eq!(with(&json!("${seed}")), Vec::<String>::new(), "{place}");
            let taken_back = with(&json!(false)).is_empty();
            let takes_it = spec.can_be_absent() || matches!(spec.ty, Ty::Bool | Ty::Any);
            assert_eq!(taken_back, takes_it, "{place}");
            let wrong = match spec.ty {
                Ty::Str | Ty::Path => json!(true),
                Ty::Choice(_) | Ty::Pattern(_) => json!("no-such-word"),
                _ => json!("a string"),
            };
            let found = with(&wrong);
            assert_eq!(found.len(), 1, "{place}: {found:?}");
            assert!(
                found[0].starts_with(&format!("node.n.{}: ", spec.name)),
                "{found:?}"
            );
            let mut described = &schema["definitions"][kind.name]["properties"][spec.key()];
            if spec.block.is_some() {
                described = &described["properties"][spec.field()];
            }
            let doc: Vec<&str> = spec.doc.split_whitespace().collect();
            let text = described["description"].as_str().unwrap();
            assert!(text.starts_with(&doc.join(" ")), "{place}: {text}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

/// A recipe, and what is wrong with it: the place of every complaint.
const SLIPS: &[(&str, &[&str])] = &[
    ("", &[]),
    ("nmae = \"x\"", &["nmae: "]),
    ("name = 3", &["name: "]),
    ("drop = \"rl\"", &["drop: "]),
    ("[node.Model]\nkind = \"world-model\"", &["node.Model: "]),
    ("[node.m]\nkind = \"wrold-model\"", &["node.m.kind: "]),
    ("[node.m]\nkind = \"${kind}\"", &[]),
    (
        "[node.m]\nkind = \"world-model\"\nlayer = 3",
        &["node.m.layer: "],
    ),
    (
        "[node.m]\nkind = \"world-model\"\nlayers = -3",
        &["node.m.layers: "],
    ),
    (
        "extends = \"t.toml\"\n[node.m]\nkind = \"sft\"\nguard = false\nlora = false",
        &[],
    ),
    (
        "extends = \"t.toml\"\n[node.m]\nkind = \"sft\"\nguard = true",
        &["node.m.guard: "],
    ),
    (
        "extends = \"t.toml\"\n[node.m]\nkind = \"evaluate\"\nscorer = \"task\"",
        &["node.m.scorer: "],
    ),
    ("[node.m]\nlayers = 3", &["node.m: lacks kind"]),
    ("extends = \"t.toml\"\n[node.m]\nlayers = 3", &[]),
    (
        "extends = \"t.toml\"\n[node.m]\nlaers = 3",
        &["node.m.laers: "],
    ),
    (
        "[node.m]\nkind = \"mix\"\nin = { prompts = \"p\" }",
        &["node.m: lacks total"],
    ),
    ("[node.m]\nkind = \"mix\"\ntotal = 3", &["node.m: lacks in"]),
    ("extends = \"t.toml\"\n[node.m]\nkind = \"mix\"", &[]),
    (
        "[node.m]\nkind = \"mix\"\nin = { prompt = \"p\" }\ntotal = 3",
        &["node.m.in.prompt: ", "node.m.in: lacks prompts"],
    ),
    (
        "[node.m]\nkind = \"mix\"\nin = \"${edges}\"\ntotal = \"${n}\"",
        &[],
    ),
    (
        "[node.m]\nkind = \"mix\"\nin = { prompts = 3 }\ntotal = 3",
        &["node.m.in.prompts: "],
    ),
    (
        "[matrix]\nseed = [0, 1]\n\"rl.lr\" = [1e-4]\nrl.batch = [8]\nzip = [[\"seed\", \"rl.lr\"]]\nexclude = [{ seed = 0 }]\nmax = 9",
        &[],
    ),
    ("[matrix]\nseed = 3", &["matrix.seed: "]),
    ("[matrix]\nseed = []", &["matrix.seed: "]),
    ("[matrix]\nmax = 0", &["matrix.max: "]),
    (
        "[[claim]]\nabout = \"a\"\nagainst = \"b\"\nnode = \"n\"\nat = { seed = 1 }\nexpect = [{ metric = \"m\", is = \"lower\", by = 0.05 }]",
        &[],
    ),
    (
        "[[claim]]\nabout = \"a\"\nagainst = \"b\"\nexpect = [{ metric = \"m\", is = \"less\" }]",
        &["claim.0.expect.0.is: "],
    ),
    (
        "[[claim]]\nabout = \"a\"\nagainst = \"b\"\nexpect = []",
        &["claim.0.expect: "],
    ),
    (
        "[[claim]]\nabout = \"a\"\nnode = \"n\"\nexpect = [{ metric = \"m\", is = \"higher\", than = \"o\" }]",
        &[],
    ),
    (
        "[[claim]]\nabout = \"a\"\nnode = \"n\"\nexpect = [{ metric = \"m\", is = \"higher\" }]",
        &["claim.0: lacks against"],
    ),
    (
        "[[claim]]\nabout = \"a\"\nexpects = []",
        &[
            "claim.0.expects: ",
            "claim.0: lacks against",
            "claim.0: lacks expect",
        ],
    ),
];

#[test]
fn slips_are_found_where_they_are_and_named_once() {
    let schema = schema(&REGISTRY);
    for (text, expected) in SLIPS {
        let mut found = wrongs(&schema, text);
        found.sort();
        assert_eq!(found.len(), expected.len(), "{text}\n{found:#?}");
        for (found, expected) in found.iter().zip(*expected) {
            assert!(found.starts_with(expected), "{text}\n{found}");
        }
    }
}

#[test]
fn an_editor_is_offered_every_word_of_every_kind() {
    let schema = schema(&REGISTRY);
    let offered = &schema["definitions"]["node"]["properties"];
    let kinds: Vec<&str> = visible().map(|k| k.name).collect();
    assert_eq!(offered["kind"]["anyOf"][0]["enum"], json!(kinds));
    let ports = &offered["in"]["anyOf"][0]["properties"];
    for kind in visible() {
        for spec in (kind.params)().into_iter().chain(kind.own_execution()) {
            let mut offer = &offered[spec.key()];
            if spec.block.is_some() {
                let shapes = offer["anyOf"].as_array().unwrap();
                let table = shapes.iter().find(|s| s["type"] == "object").unwrap();
                offer = &table["properties"][spec.field()];
            }
            let text = offer["description"].as_str().unwrap();
            assert!(text.contains(kind.name), "{}: {text}", spec.name);
        }
        for port in kind.inputs {
            let text = ports[port.name]["description"].as_str().unwrap();
            assert!(text.contains(port.doc), "{}: {text}", port.name);
        }
    }
    let schedules = &offered["schedule"]["anyOf"][0]["enum"];
    assert_eq!(schedules, &json!(["constant", "linear", "cosine"]));
    assert!(
        !schema.to_string().contains("toy-"),
        "kinds of tests stay hidden"
    );
}

#[test]
fn taplo_agrees() {
    let program = std::env::var_os("PIPE_TAPLO").unwrap_or_else(|| "taplo".into());
    if Command::new(&program).arg("--version").output().is_err() {
        skip("`taplo` in PATH, and PIPE_TAPLO names none");
        return;
    }
    let study = Study::new();
    let file = study.file("recipe.schema.json", schema(&REGISTRY).to_string());
    let check = |recipe: &Path| {
        let url = format!("file://{}", file.display());
        let output = Command::new(&program)
            .args([
                "check",
                "--no-auto-config",
                "--colors",
                "never",
                "--schema",
                &url,
            ])
            .arg(recipe)
            .output()
            .unwrap();
        (
            output.status.success(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    for path in shipped() {
        let (right, said) = check(&path);
        assert!(right, "{}\n{said}", path.display());
    }
    for (text, expected) in SLIPS {
        let (right, said) = check(&study.file("slip.toml", text));
        assert_eq!(right, expected.is_empty(), "{text}\n{said}");
        // It repeats what it has to say of a table at every key of it.
        let errors: BTreeSet<&str> = said.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!(errors.len(), expected.len(), "{text}\n{said}");
    }
}

fn visible() -> impl Iterator<Item = &'static Kind> {
    REGISTRY.iter()
}

fn wrongs(schema: &Value, recipe: &str) -> Vec<String> {
    let table: toml::Table = toml::from_str(recipe).unwrap();
    let mut found = vec![];
    judge(
        schema,
        schema,
        &serde_json::to_value(table).unwrap(),
        "",
        &mut found,
    );
    found
}

/// What JSON Schema says of these keywords, and a panic at any other.
fn judge(root: &Value, schema: &Value, value: &Value, at: &str, found: &mut Vec<String>) {
    let Some(rules) = schema.as_object() else {
        assert_eq!(schema, true, "a schema is a table, or true");
        return;
    };
    let below = |key: &str| {
        [at, key]
            .iter()
            .filter(|s| !s.is_empty())
            .copied()
            .collect::<Vec<_>>()
            .join(".")
    };
    let mut wrong = |what: String| found.push(format!("{at}: {what}"));
    let holds = |schema: &Value| {
        let mut found = vec![];
        judge(root, schema, value, at, &mut found);
        found.is_empty()
    };
    for (rule, says) in rules {
        match rule.as_str() {
            "$schema" | "title" | "description" | "default" | "definitions" | "x-taplo"
            | "then" | "else" | "examples" => {}
            "properties"
            | "patternProperties"
            | "items"
            | "additionalProperties"
            | "$ref"
            | "if" => {}
            "type" => {
                let types = says
                    .as_array()
                    .cloned()
                    .unwrap_or_else(|| vec![says.clone()]);
                if !types.iter().any(|t| is(value, t.as_str().unwrap())) {
                    wrong(format!("{value} is not of type {says}"));
                }
            }
            "enum" if !says.as_array().unwrap().contains(value) => {
                wrong(format!("{value} is not one of {says}"))
            }
            "const" if says != value => wrong(format!("{value} is not {says}")),
            "pattern"
                if value
                    .as_str()
                    .is_some_and(|s| !matches(says.as_str().unwrap(), s)) =>
            {
                wrong(format!("{value} does not match {says}"));
            }
            "minimum" if value.as_f64().is_some_and(|v| v < says.as_f64().unwrap()) => {
                wrong(format!("{value} is below {says}"))
            }
            "minItems"
                if value
                    .as_array()
                    .is_some_and(|v| v.len() < says.as_u64().unwrap() as usize) =>
            {
                wrong(format!("fewer than {says} items"));
            }
            "required" => {
                for key in says.as_array().unwrap().iter().map(|k| k.as_str().unwrap()) {
                    if value.as_object().is_some_and(|o| !o.contains_key(key)) {
                        wrong(format!("lacks {key}"));
                    }
                }
            }
            "anyOf" if !says.as_array().unwrap().iter().any(&holds) => {
                wrong("none of `anyOf` holds".into())
            }
            "not" if holds(says) => wrong(format!("{says} holds")),
            "enum" | "const" | "pattern" | "minimum" | "minItems" | "anyOf" | "not" => {}
            other => panic!("the schema uses `{other}`, which this test cannot read"),
        }
    }
    if let Some(object) = value.as_object() {
        for (key, item) in object {
            let named = rules.get("properties").and_then(|p| p.get(key));
            let patterns = rules.get("patternProperties").and_then(Value::as_object);
            let fits = |(pattern, _): &(&String, &Value)| matches(pattern, key);
            let fitting = patterns.into_iter().flatten().find(fits).map(|(_, s)| s);
            let rest = rules.get("additionalProperties");
            if let Some(schema) = named.or(fitting).or(rest) {
                judge(root, schema, item, &below(key), found);
            }
        }
    }
    if let (Some(items), Some(schema)) = (value.as_array(), rules.get("items")) {
        for (i, item) in items.iter().enumerate() {
            judge(root, schema, item, &below(&i.to_string()), found);
        }
    }
    if let Some(pointer) = rules.get("$ref") {
        let pointer = pointer.as_str().unwrap().strip_prefix('#').unwrap();
        judge(root, root.pointer(pointer).unwrap(), value, at, found);
    }
    if let Some(condition) = rules.get("if") {
        let branch = if holds(condition) { "then" } else { "else" };
        if let Some(schema) = rules.get(branch) {
            judge(root, schema, value, at, found);
        }
    }
}

fn is(value: &Value, ty: &str) -> bool {
    match ty {
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("no such type: {other}"),
    }
}

/// The patterns that the schema has.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern {
        r"^\$\{[^}]*\}$" => {
            let inner = text.strip_prefix("${").and_then(|t| t.strip_suffix('}'));
            inner.is_some_and(|name| !name.contains('}'))
        }
        r"\$\{" => text.contains("${"),
        r"^(cpu|candle|cuda:(0|[1-9][0-9]{0,2}))$" => DeviceName::parse(text).is_some(),
        "^[a-z0-9_-]+$" => {
            let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
            !text.is_empty() && text.chars().all(fits)
        }
        other => panic!("the schema has a pattern that this test cannot read: {other}"),
    }
}
