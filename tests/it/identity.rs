//! What is identity and what is not, for every kind in the table: how a recipe is written, what its nodes are called, where
//! it lies and how it is executed change no plan key; every identity parameter changes the keys of its node and of what
//! hangs below it, and no other. Then the same with real executions.

use crate::nested;
use crate::study::Study;
use crate::toys::REGISTRY;
use pipe::base::params::{Default, ParamSpec, Ty};
use pipe::base::value::{self, Value, Values};
use pipe::engine::kind::device::{DEVICE, NUMERICS};
use pipe::engine::kind::{Kind, Type};
use pipe::engine::plan::{Planner, Wanted};
use pipe::engine::store::Store;
use pipe::recipe::{self, Loaded, Overrides};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::Table;

#[test]
fn how_a_recipe_is_written_is_in_no_key() {
    let ground = Ground::new();
    let tars = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/tars.toml");
    let mut recipes = vec![("tars".to_string(), std::fs::read_to_string(tars).unwrap())];
    for kind in REGISTRY.iter() {
        recipes.push((kind.name.into(), text(&bed(kind))));
    }
    for (name, original) in recipes {
        let before = ground.keys(&original);
        let table: Table = toml::from_str(&original).unwrap();
        assert!(before.len() >= 7, "{name}: {} nodes", before.len());
        for (form, rewritten) in forms(&table) {
            assert_ne!(rewritten, original, "{name}, {form}: nothing was changed");
            assert_eq!(ground.keys(&rewritten), before, "{name}, {form}");
        }
        let (renamed, names) = renamed(&table);
        let expected: BTreeMap<String, String> = before
            .iter()
            .map(|(node, key)| (names[node].clone(), key.clone()))
            .collect();
        assert_eq!(ground.keys(&renamed), expected, "{name}, renamed");
        // Defaults written out and variables replaced: the recipe of a run folder is the same study.
        let loaded = ground.load(&original).unwrap();
        assert_eq!(ground.keys(&loaded.resolved_text()), before, "{name}");
    }
}

#[test]
fn where_a_recipe_and_its_files_lie_is_in_no_key() {
    let ground = Ground::new();
    let parent = "[node.file]\nkind = \"prompts-file\"\npath = \"data/asks.csv\"\n\
                  [node.pool]\nkind = \"mix\"\nin = { prompts = \"file\" }\ntotal = 1\n";
    let child = "extends = \"../base.toml\"\n[node.pool]\nlambda = 0.0\n\
                 [node.model]\nkind = \"local-model\"\npath = \"../models/tiny\"\n";
    let lay = |home: &str, asks: &str| {
        let files = [
            ("base.toml", parent),
            ("variants/child.toml", child),
            ("data/asks.csv", asks),
            ("models/tiny/config.json", "{}"),
        ];
        for (name, content) in files {
            ground.study.file(&format!("{home}/{name}"), content);
        }
        let overrides = Overrides {
            cwd: ground.study.dir.path().into(),
            ..Overrides::default()
        };
        let path = PathBuf::from(home).join("variants/child.toml");
        let loaded = recipe::load(&path, &overrides, &REGISTRY);
        ground.keys_of(&loaded.unwrap_or_else(|diags| panic!("{}", diags.render(false)))[0])
    };
    let here = lay("here", "prompt\nwhat ?\n");
    assert_eq!(here.len(), 3);
    assert_eq!(lay("far/away/from here", "prompt\nwhat ?\n"), here);
    // The same path with another content is another study, in the node that reads it and below.
    let changed = lay("here", "prompt\nwhy ?\n");
    assert_eq!(different(&here, &changed), names(["file", "pool"]));
}

/// Whether `device` takes no other value beside the example of a kind: what a model does there is done by the processor's kernels only, or
/// by none; devices.rs has the others.
fn has_one_device(kind: &Kind) -> bool {
    let computes = kind.computes.as_ref();
    computes.is_some_and(|c| c.acts.is_some() || (c.only_cpu)(&Values::new()).is_some())
}

#[test]
fn no_execution_field_is_in_a_key() {
    let ground = Ground::new();
    let mut seen = 0;
    for kind in REGISTRY.iter() {
        for spec in kind.own_execution() {
            let of_device = [DEVICE, NUMERICS].contains(&spec.name);
            if NEVER.contains(&spec.name) || (of_device && has_one_device(kind)) {
                continue;
            }
            let bed = beside(kind, &spec, &bed(kind));
            let before = ground.keys(&text(&bed));
            let variants = ground.variants(kind, &spec, &bed);
            for (value, changed) in &variants {
                let place = format!("{} {} = {}", kind.name, spec.name, value.canon());
                assert_eq!(ground.keys_of(changed), before, "{place}");
                let node = changed.graph.find("it").unwrap();
                let exec = &changed.graph.node(node).exec;
                assert_eq!(value::at(exec, spec.name), Some(value), "{place} got there");
            }
            seen += 1;
        }
    }
    assert!(seen > 20, "{seen} execution fields");
}

#[test]
fn every_identity_field_is_in_the_key_of_its_node_and_of_what_hangs_below() {
    let ground = Ground::new();
    let mut seen = 0;
    for kind in REGISTRY.iter() {
        for spec in (kind.params)() {
            let bed = beside(kind, &spec, &bed(kind));
            let original = ground.load(&text(&bed)).unwrap();
            let before = ground.keys_of(&original);
            let below = below(&original, "it");
            let ends = |ty: Type| {
                matches!(
                    ty,
                    Type::Scores | Type::Metrics | Type::Cases | Type::AttackLog | Type::Archives
                )
            };
            let last = kind.outputs.iter().all(|o| ends(o.ty));
            assert!(last || below.len() >= 2, "{} has descendants", kind.name);
            assert!(below.len() + 1 < before.len(), "and others beside it");
            let mut keys = BTreeSet::from([before["it"].clone()]);
            for (value, changed) in ground.variants(kind, &spec, &bed) {
                let place = format!("{} {} = {}", kind.name, spec.name, value.canon());
                let after = ground.keys_of(&changed);
                assert_eq!(different(&before, &after), below, "{place}");
                assert!(keys.insert(after["it"].clone()), "{place}: a key twice");
            }
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen} identity fields");
}

/// Nodes of every toy kind that counts its executions, and a source; each counts in a file of its name.
const TOYS: &str = r#"
[node.w]
kind = "toy-write"
text = "one two"
count = "DIR/w"
[node.v]
kind = "toy-write"
text = "beside"
count = "DIR/v"
[node.slow]
kind = "toy-slow"
ticks = 2
tick_ms = 1
count = "DIR/slow"
[node.s]
kind = "toy-source"
from = "data.txt"
[node.j]
kind = "toy-join"
in = { a = "w", b = "v" }
count = "DIR/j"
[node.k]
kind = "toy-join"
in = { a = "s", b = "slow" }
count = "DIR/k"
[node.end]
kind = "toy-join"
in = { a = "j", b = "k" }
count = "DIR/end"
"#;

#[test]
fn exactly_what_changed_is_executed_again() {
    let study = Study::new();
    study.file("data.txt", "from a file");
    study.file("moved/data.txt", "from a file");
    study.file("other.txt", "another text");
    let base = TOYS.replace("DIR", study.dir.path().to_str().unwrap());
    let set = |node: &str, line: &str| {
        let mut table: Table = toml::from_str(&base).unwrap();
        let node = table["node"][node].as_table_mut().unwrap();
        node.extend(toml::from_str::<Table>(line).unwrap());
        text(&table)
    };
    let executed = |recipe: &str| -> BTreeSet<String> {
        let count = |name: &str| {
            let text = std::fs::read_to_string(study.dir.path().join(name));
            text.unwrap_or_default().lines().count()
        };
        let nodes = ["w", "v", "slow", "j", "k", "end"];
        let before = nodes.map(count);
        study.run(recipe);
        let after = nodes.map(count);
        let ran = nodes.iter().zip(before.iter().zip(after));
        ran.filter(|(_, (before, after))| *before < after)
            .map(|(name, _)| name.to_string())
            .collect()
    };
    assert_eq!(executed(&base), names(["w", "v", "slow", "j", "k", "end"]));

    let table: Table = toml::from_str(&base).unwrap();
    for (form, rewritten) in forms(&table) {
        assert_eq!(executed(&rewritten), names([]), "{form}");
    }
    assert_eq!(executed(&renamed(&table).0), names([]), "renamed");
    for (node, line) in [
        ("w", "color = \"red\""),
        ("w", "wait_ms = 1"),
        ("slow", "tick_ms = 2"),
        ("slow", "die_at = 1"),
        ("s", "from = \"moved/data.txt\""),
    ] {
        assert_eq!(executed(&set(node, line)), names([]), "{node} {line}");
    }

    let cases: [(&str, &str, &[&str]); 8] = [
        ("w", "text = \"three\"", &["w", "j", "end"]),
        ("w", "repeat = 2", &["w", "j", "end"]),
        ("w", "keep = 3", &["w", "j", "end"]),
        // Another key and the same bytes: what hangs below has its inputs already.
        ("w", "weight = 2.0", &["w"]),
        ("j", "separator = \"-\"", &["j", "end"]),
        ("slow", "ticks = 3", &["slow", "k", "end"]),
        ("slow", "seed = 1", &["slow", "k", "end"]),
        ("s", "from = \"other.txt\"", &["k", "end"]),
    ];
    for (node, line, expected) in cases {
        let expected: BTreeSet<String> = expected.iter().map(|n| n.to_string()).collect();
        let changed = set(node, line);
        assert_eq!(executed(&changed), expected, "{node} {line}");
        assert_eq!(executed(&changed), names([]), "{node} {line}, again");
    }
    assert_eq!(executed(&base), names([]), "what was is still there");
}

/// A store that nothing runs in, and files for path parameters.
pub struct Ground {
    study: Study,
    pub store: Store,
}

/// Two files of different content, for path parameters: the one of a bed, and another.
const FILES: [&str; 2] = ["one.csv", "other.csv"];

impl Ground {
    pub fn new() -> Ground {
        let study = Study::new();
        for name in FILES {
            study.file(name, format!("prompt\n{name} ?\n"));
        }
        let store = Store::open(&study.store()).unwrap();
        store.prepare().unwrap();
        Ground { study, store }
    }

    /// Or what is wrong with it.
    pub fn load(&self, recipe: &str) -> Result<Loaded, String> {
        let overrides = Overrides {
            cwd: self.study.dir.path().into(),
            ..Overrides::default()
        };
        let mut loaded = recipe::from_text("r.toml", recipe, &overrides, &REGISTRY)
            .map_err(|d| d.render(false))?;
        Ok(loaded.remove(0))
    }

    /// Plan key by node.
    fn keys(&self, recipe: &str) -> BTreeMap<String, String> {
        let loaded = self.load(recipe);
        self.keys_of(&loaded.unwrap_or_else(|diags| panic!("{diags}\nin\n{recipe}")))
    }

    fn keys_of(&self, loaded: &Loaded) -> BTreeMap<String, String> {
        let graph = &loaded.graph;
        let planner = Planner::new(&self.store, graph, &Wanted::default()).unwrap();
        graph
            .ids()
            .map(|id| {
                (
                    graph.node(id).name.clone(),
                    planner.plan_key(id).to_string(),
                )
            })
            .collect()
    }

    /// The bed with other values of a field of its node, as far as the kind takes them: at least one, and every word of a
    /// choice.
    fn variants(&self, kind: &Kind, spec: &ParamSpec, bed: &Table) -> Vec<(Value, Loaded)> {
        let place = format!("{} {}", kind.name, spec.name);
        let original = self.load(&text(bed)).unwrap_or_else(|d| panic!("{d}"));
        let id = original.graph.find("it").unwrap();
        let it = original.graph.node(id);
        let now = value::at(&it.params, spec.name).or(value::at(&it.exec, spec.name));
        let by_hand = BY_HAND.iter().filter(|(name, _)| *name == spec.name);
        let mut tried: Vec<toml::Value> = by_hand
            .map(|(_, value)| {
                toml::from_str::<Table>(&format!("v = {value}")).unwrap()["v"].clone()
            })
            .collect();
        let generated = others(&spec.ty, now);
        tried.extend(generated.iter().map(|v| toml::Value::try_from(v).unwrap()));
        let mut usable: Vec<(Value, Loaded)> = vec![];
        let mut refused = String::new();
        let with = WITH
            .iter()
            .filter(|(k, n, _)| (*k, *n) == (kind.name, spec.name));
        let with: Vec<Table> = std::iter::once(Table::new())
            .chain(with.map(|(_, _, lines)| toml::from_str(lines).unwrap()))
            .collect();
        let tries = tried
            .iter()
            .flat_map(|value| with.iter().map(move |lines| (value.clone(), lines)));
        for (value, lines) in tries {
            let mut changed = bed.clone();
            nested::lay(node(&mut changed), lines.clone());
            nested::put(node(&mut changed), spec.name, value);
            for (_, _, other) in BUT
                .iter()
                .filter(|(k, n, _)| (*k, *n) == (kind.name, spec.name))
            {
                nested::remove(node(&mut changed), other);
            }
            match self.load(&text(&changed)) {
                Ok(loaded) => {
                    let it = loaded.graph.node(loaded.graph.find("it").unwrap());
                    let value = value::at(&it.params, spec.name).or(value::at(&it.exec, spec.name));
                    let value = value.unwrap().clone();
                    if Some(&value) != now && usable.iter().all(|(v, _)| *v != value) {
                        usable.push((value, loaded));
                    }
                }
                Err(diags) => refused += &diags,
            }
        }
        let least = match spec.ty {
            Ty::Choice(words) => words.len() - 1,
            _ => 1,
        };
        assert!(
            usable.len() >= least,
            "{place} has too few values:\n{refused}"
        );
        usable
    }
}

/// Values that only a person knows to be right, by field.
const BY_HAND: &[(&str, &str)] = &[
    (
        "reward",
        "{ harmful = \"format\", harmless = \"1\", ambiguous = \"1\" }",
    ),
    ("reward", "{ harmful = \"refusal\" }"),
    ("endpoint.extra_body", "'{ \"reasoning_effort\": \"low\" }'"),
    ("endpoint.url", "\"http://localhost:1/v1\""),
    ("judge.url", "\"http://localhost:1/v1\""),
    ("attacker.url", "\"http://localhost:1/v1\""),
    ("mutator.url", "\"http://localhost:1/v1\""),
    ("mutator.extra_body", "'{ \"reasoning_effort\": \"low\" }'"),
    ("risks", "[\"scorch\"]"),
    ("styles", "[\"role\"]"),
    ("target.url", "\"http://localhost:1/v1\""),
    ("target.extra_body", "'{ \"reasoning_effort\": \"low\" }'"),
    ("judge.extra_body", "'{ \"reasoning_effort\": \"low\" }'"),
    ("attacker.extra_body", "'{ \"reasoning_effort\": \"low\" }'"),
    ("techniques", "[\"Favor\"]"),
    ("techniques", "[\"role\"]"),
    ("moderation.url", "\"http://localhost:1/v1\""),
    ("score.url", "\"http://localhost:1/score\""),
    ("rollouts.url", "\"http://localhost:2\""),
    ("form", "\"behavior\""),
];

/// Execution fields of services that have no use for them: `judges/nodes.rs` sees them refused.
const NEVER: [&str; 8] = [
    "mutator.batch",
    "target.batch",
    "attacker.batch",
    "judge.batch",
    "moderation.server",
    "moderation.omit",
    "score.server",
    "score.omit",
];

/// What has to stand beside all of a block, so that it does anything: (kind, block, lines of the node).
const ACTING: &[(&str, &str, &str)] = &[
    (
        "generate",
        "endpoint",
        "endpoint.model = \"m\"\nendpoint.url = \"http://localhost/v1\"",
    ),
    (
        "grpo",
        "rollouts",
        "sampler = \"served\"\nrollouts.url = \"http://localhost:1\"",
    ),
    ("evaluate", "judge", STRONGREJECT),
    ("evaluate", "moderation", MODERATION),
    ("evaluate", "score", SCORE),
    ("evaluate", "reward_model", "scorer = \"reward_model\""),
    ("*", "attacker", ATTACKER),
    ("*", "mutator", MUTATOR),
    ("rainbow", "judge", JUDGE),
    ("*", "target", TARGET),
    ("pair", "judge", JUDGE),
    ("*", "judge", OF_STRONGREJECT),
    ("*", "moderation", OF_MODERATION),
    ("*", "score", OF_SCORE),
    (
        "*",
        "reward_model",
        "reward = { harmful = \"reward_model\" }",
    ),
];

/// What has to stand beside a field, so that the kind takes another value of it: (kind, field, lines of the node).
const BESIDE: &[(&str, &str, &str)] = &[
    ("autodan", "mutation", "synonyms = \"one.csv\""),
    ("autodan", "sentences_every", "synonyms = \"one.csv\""),
    ("generate", "prefill_slot", "prefill = \"so\""),
    ("generate", "attack", "prefill = \"so\""),
    (
        "generate",
        "targets",
        "prefill_from = \"targets\"\ntargets = \"one.csv\"",
    ),
    ("gcg", "buffer", "keep = \"buffer\""),
    ("gcg", "check_every", "check = \"refusal\""),
    ("gcg", "check_tokens", "check = \"refusal\""),
    ("*", "lora.alpha", "lora.rank = 2"),
    ("*", "lora.targets", "lora.rank = 2"),
    ("*", "lora.rank_stabilised", "lora.rank = 2"),
    ("*", "endpoint.key_header", "endpoint.key_env = \"K\""),
    ("*", "moderation.key_header", "moderation.key_env = \"K\""),
    ("*", "judge.key_header", "judge.key_env = \"K\""),
    ("*", "attacker.key_header", "attacker.key_env = \"K\""),
    ("*", "mutator.key_header", "mutator.key_env = \"K\""),
    ("*", "mutator.budget_dollars", "mutator.price_prompt = 1.0"),
    ("*", "target.key_header", "target.key_env = \"K\""),
    ("*", "target.budget_dollars", "target.price_prompt = 1.0"),
    ("*", "score.key_header", "score.key_env = \"K\""),
    // One that reasons is sent no temperature.
    ("generate", "endpoint.server", "temperature = 1.0"),
    ("teacher", "error_rate", "from = \"world\""),
    ("teacher", "empty_rate", "from = \"world\""),
    ("teacher", "style", "from = \"world\""),
    ("evaluate", "score_threshold", STRONGREJECT),
    ("*", "safety_snap", "reward = { harmful = \"safety\" }"),
    ("filter", "counted", "min_tokens = 1"),
    ("dedup", "by", "threshold = 0.8"),
    ("decontaminate", "by", "threshold = 0.8"),
    ("import", "threshold", "score = \"label\""),
    ("import", "high", "score = \"label\""),
    ("prompts-file", "label_column", "harmful = [\"unsafe\"]"),
    ("completions-file", "class_column", "harmful = [\"unsafe\"]"),
    ("completions-file", "refused", "label_column = \"label\""),
    ("completions-file", "answered", "label_column = \"label\""),
    (
        "grpo",
        "guard.sampler_gap",
        "sampler = \"served\"\nrollouts.url = \"http://localhost:1\"",
    ),
    ("grpo", "clip.low", "updates = 2"),
    ("grpo", "clip.high", "updates = 2"),
    ("grpo", "clip.dual", "updates = 2"),
    ("grpo", "clip.delta", "updates = 2"),
    ("grpo", "ratio", "updates = 2"),
    ("agreement", "refused_label", "on = \"label\""),
    ("agreement", "answered_label", "on = \"label\""),
    ("dpo", "label_smoothing", "loss = \"cdpo\""),
    (
        "*",
        "endpoint.budget_dollars",
        "endpoint.price_prompt = 1.0",
    ),
    ("*", "judge.budget_dollars", "judge.price_prompt = 1.0"),
    (
        "*",
        "attacker.budget_dollars",
        "attacker.price_prompt = 1.0",
    ),
    // What a program delivers may be of any world.
    ("pap", "world", "in = { prompts = \"g-program\" }"),
    ("rainbow", "world", "in = { prompts = \"g-program\" }"),
    (
        "rainbow",
        "start",
        "mutator.from = \"model\"\njudge.from = \"model\"",
    ),
    ("pair", "world", "in = { prompts = \"g-program\" }"),
    ("pair", "begin", "attacker.from = \"model\""),
    ("pap", "save_every", "attacker.from = \"model\""),
    (
        "*",
        "moderation.budget_dollars",
        "moderation.price_prompt = 1.0",
    ),
    ("*", "score.budget_dollars", "score.price_prompt = 1.0"),
    ("dataset", "schema", "split = \"80k\""),
    ("dataset", "behaviors", "schema = \"harmbench-cases\""),
];

const ATTACKER: &str = "attacker.from = \"endpoint\"\nattacker.model = \"m\"\nattacker.url = \"http://localhost/v1\"\n";
/// The world judges only what its own mutator writes.
const MUTATOR: &str = "mutator.from = \"endpoint\"\nmutator.model = \"m\"\nmutator.url = \"http://localhost/v1\"\n\
     judge.from = \"endpoint\"\njudge.model = \"m\"\njudge.url = \"http://localhost/v1\"\n";
const TARGET: &str =
    "target.from = \"endpoint\"\ntarget.model = \"m\"\ntarget.url = \"http://localhost/v1\"\n";
const JUDGE: &str =
    "judge.from = \"endpoint\"\njudge.model = \"m\"\njudge.url = \"http://localhost/v1\"\n";
const STRONGREJECT: &str =
    "scorer = \"strongreject\"\njudge.model = \"m\"\njudge.url = \"http://localhost/v1\"\n";
const MODERATION: &str =
    "scorer = \"moderation\"\nmoderation.model = \"m\"\nmoderation.url = \"http://localhost/v1\"\n";
const SCORE: &str = "scorer = \"score\"\nscore.model = \"m\"\nscore.url = \"http://localhost\"\n";
const OF_STRONGREJECT: &str = "reward = { harmful = \"strongreject\" }\njudge.model = \"m\"\n\
                               judge.url = \"http://localhost/v1\"\n";
const OF_MODERATION: &str = "reward = { harmful = \"moderation\" }\nmoderation.model = \"m\"\n\
                             moderation.url = \"http://localhost/v1\"\n";
const OF_SCORE: &str =
    "reward = { harmful = \"score\" }\nscore.model = \"m\"\nscore.url = \"http://localhost\"\n";

/// What stands beside another value of a field where that value alone would be refused, each tried.
const WITH: &[(&str, &str, &str)] = &[
    ("grpo", "sampler", "rollouts.url = \"http://localhost:1\""),
    ("generate", "prefill_from", "targets = \"one.csv\""),
    (
        "evaluate",
        "scorer",
        "judge.model = \"m\"\njudge.url = \"http://localhost/v1\"",
    ),
    (
        "evaluate",
        "scorer",
        "moderation.model = \"m\"\nmoderation.url = \"http://localhost/v1\"",
    ),
    (
        "evaluate",
        "scorer",
        "score.model = \"m\"\nscore.url = \"http://localhost\"",
    ),
];

/// The bed with what a field needs beside it.
fn beside(kind: &Kind, spec: &ParamSpec, bed: &Table) -> Table {
    let mut bed = bed.clone();
    let block = spec.block.map_or("", |block| block.name);
    for (table, wanted) in [(ACTING, block), (BESIDE, spec.name)] {
        let of = |wanted_kind: &str| {
            let rows = table
                .iter()
                .filter(move |(k, name, _)| (*k, *name) == (wanted_kind, wanted));
            rows.map(|(_, _, lines)| toml::from_str::<Table>(lines).unwrap())
                .collect::<Vec<_>>()
        };
        let own = of(kind.name);
        let rows = match own.is_empty() {
            true => of("*"),
            false => own,
        };
        for lines in rows {
            // Only an endpoint is one.
            if lines
                .get("from")
                .is_some_and(|from| from.as_str() == Some("world"))
            {
                node(&mut bed).remove("endpoint");
            }
            nested::lay(node(&mut bed), lines);
        }
    }
    bed
}

/// Another field that is given up where a field has another value than in the example.
const BUT: &[(&str, &str, &str)] = &[
    ("teacher", "from", "endpoint"),
    ("rainbow", "mutator.from", "mutator.model"),
    ("rainbow", "mutator.from", "mutator.url"),
    ("rainbow", "target.from", "target.model"),
    ("rainbow", "target.from", "target.url"),
    ("rainbow", "judge.from", "judge.model"),
    ("rainbow", "judge.from", "judge.url"),
    ("pair", "attacker.from", "attacker.model"),
    ("pair", "attacker.from", "attacker.url"),
    ("pair", "target.from", "target.model"),
    ("pair", "target.from", "target.url"),
    ("pair", "judge.from", "judge.model"),
    ("pair", "judge.from", "judge.url"),
    ("pap", "attacker.from", "attacker.model"),
    ("pap", "attacker.from", "attacker.url"),
    ("import", "layout", "results"),
    ("gcg", "search", "steps"),
    ("gcg", "search", "width"),
    ("gcg", "search", "topk"),
    ("gcg", "init", "length"),
];

/// Other values of the type.
fn others(ty: &Ty, now: Option<&Value>) -> Vec<Value> {
    let text = |ty: &Ty| match ty {
        Ty::Path => FILES[1].to_string(),
        _ => "x".to_string(),
    };
    match (ty, now) {
        (Ty::Bool, Some(Value::Bool(b))) => vec![Value::Bool(!b)],
        (Ty::Bool, _) => vec![Value::Bool(true)],
        (Ty::Int, Some(Value::Int(i))) => [i + 1, i - 1, i * 2].map(Value::Int).into(),
        (Ty::Int, _) => [1, 7].map(Value::Int).into(),
        (Ty::Float, Some(Value::Float(f))) => [f / 2.0, f + 0.125].map(Value::Float).into(),
        (Ty::Float, _) => [0.5, 2.0].map(Value::Float).into(),
        (Ty::Str, Some(Value::Str(s))) => vec![Value::Str(format!("{s}x"))],
        (Ty::Any, _) => vec![Value::Str("x".into()), Value::Bool(true)],
        (Ty::Choice(words), now) => words
            .iter()
            .map(|w| Value::Str(w.to_string()))
            .filter(|w| Some(w) != now)
            .collect(),
        (Ty::Pattern(pattern), _) => pattern.examples.map(|w| Value::Str(w.into())).into(),
        (Ty::Str | Ty::Path, _) => vec![Value::Str(text(ty))],
        (Ty::List(of), now) => {
            let items = match now {
                Some(Value::List(items)) => items.clone(),
                _ => vec![],
            };
            let longer = others(of, items.last()).into_iter().map(|more| {
                let mut longer = items.clone();
                longer.push(more);
                Value::List(longer)
            });
            let shorter = items
                .split_last()
                .map(|(_, rest)| Value::List(rest.to_vec()));
            longer.chain(shorter).collect()
        }
        (Ty::Map(of), now) => {
            let map = match now {
                Some(Value::Table(map)) => map.clone(),
                _ => BTreeMap::new(),
            };
            let (name, first) = map
                .first_key_value()
                .map_or(("x".into(), None), |(k, v)| (k.clone(), Some(v)));
            let changed = others(of, first).into_iter().map(|other| {
                let mut changed = map.clone();
                changed.insert(name.clone(), other);
                Value::Table(changed)
            });
            changed.collect()
        }
    }
}

/// A graph around a kind: `it`, with parents on every port, a sibling with the same ones, and descendants of every output
/// that some kind takes.
pub fn bed(kind: &Kind) -> Table {
    let mut recipe: Table = toml::from_str(GARDEN).unwrap();
    let mut it = example(kind);
    let ports = kind.inputs.iter();
    let edges: Table = ports
        .map(|port| (port.name.to_string(), giver(port.ty).into()))
        .collect();
    if !edges.is_empty() {
        it.insert("in".into(), edges.into());
    }
    let said: Values = it.clone().try_into().unwrap();
    for spec in (kind.params)() {
        let file = || toml::Value::from(FILES[0]);
        if spec
            .block
            .is_some_and(|b| b.optional && !said.contains_key(b.name))
        {
            continue;
        }
        let stands = value::at(&said, spec.name).is_some();
        match spec.ty {
            Ty::Path if stands || matches!(spec.default, Default::Required) => {
                nested::put(&mut it, spec.name, file());
            }
            Ty::List(of) if *of == Ty::Path => {
                nested::put(&mut it, spec.name, vec![file()].into());
            }
            _ => {}
        }
    }
    let nodes = recipe["node"].as_table_mut().unwrap();
    nodes.insert("sibling".into(), it.clone().into());
    nodes.insert("it".into(), it.clone().into());
    let values: Values = it
        .iter()
        .filter(|(name, _)| !["kind", "in"].contains(&name.as_str()))
        .map(|(name, value)| (name.clone(), value.clone().try_into().unwrap()))
        .collect();
    for output in kind.delivered(&values) {
        let (below, lower) = (
            format!("below-{}", output.name),
            format!("lower-{}", output.name),
        );
        let from = format!("it.{}", output.name);
        if let Some(taker) = taker(output.ty, &from) {
            let kind = REGISTRY.get(taker["kind"].as_str().unwrap()).unwrap();
            nodes.extend(self::taker(kind.outputs[0].ty, &below).map(|t| (lower, t.into())));
            nodes.insert(below, taker.into());
        }
    }
    recipe
}

/// A node that gives each type.
const GARDEN: &str = r#"
[node.g-model]
kind = "world-model"
[node.g-prompts]
kind = "world-prompts"
[node.g-conversations]
kind = "world-corpus"
n = 10
[node.g-completions]
kind = "generate"
in = { model = "g-model", prompts = "g-prompts.eval" }
[node.g-pairs]
kind = "preference-pairs"
in = { completions = "g-completions" }
reward = { harmful = "format" }
[node.g-eval]
kind = "evaluate"
in = { completions = "g-completions" }
[node.g-states]
kind = "states"
in = { model = "g-model", prompts = "g-prompts.eval" }
[node.g-copies]
kind = "augment"
in = { prompts = "g-prompts.eval" }
[node.g-rainbow]
kind = "rainbow"
in = { prompts = "g-prompts.sft", target = "g-model" }
[node.g-program]
kind = "exec"
command = ["true"]
outputs = ["prompts"]
[node.g-reward]
kind = "local-reward-model"
path = "one.csv"
[node.g-adapter]
kind = "sft"
in = { model = "g-model", conversations = "g-conversations" }
lora.rank = 2
"#;

fn giver(ty: Type) -> &'static str {
    match ty {
        Type::Model => "g-model",
        Type::Prompts => "g-prompts.eval",
        Type::Conversations => "g-conversations",
        Type::Completions => "g-completions",
        Type::Pairs => "g-pairs",
        Type::RewardModel => "g-reward",
        Type::Adapter => "g-adapter.adapter",
        Type::Scores => "g-eval.scores",
        Type::Metrics => "g-eval.metrics",
        Type::Archives => "g-rainbow.archives",
        Type::States => "g-states",
        Type::Cases => "g-copies.cases",
        Type::AttackLog => "g-copies.log",
    }
}

fn taker(ty: Type, from: &str) -> Option<Table> {
    let node = match ty {
        Type::Model => {
            "kind = \"generate\"\nin = { model = \"FROM\", prompts = \"g-prompts.eval\" }"
        }
        Type::Prompts => "kind = \"mix\"\nin = { prompts = \"FROM\" }\ntotal = 2",
        Type::Conversations => {
            "kind = \"sft\"\nin = { model = \"g-model\", conversations = \"FROM\" }"
        }
        Type::Completions => {
            "kind = \"evaluate\"\nin = { completions = \"FROM\" }\nscorer = \"refusal_anywhere\""
        }
        Type::RewardModel => {
            "kind = \"evaluate\"\nin = { completions = \"g-completions\", reward_model = \"FROM\" }\nscorer = \"reward_model\""
        }
        Type::Pairs => "kind = \"dpo\"\nin = { model = \"g-model\", pairs = \"FROM\" }",
        Type::Adapter => "kind = \"merge\"\nin = { model = \"g-model\", adapter = \"FROM\" }",
        Type::States => "kind = \"separation\"\nin = { states = \"FROM\" }",
        Type::Scores | Type::Metrics | Type::Cases | Type::AttackLog | Type::Archives => {
            return None;
        }
    };
    Some(toml::from_str(&node.replace("FROM", from)).unwrap())
}

/// The node of a kind's example; toy kinds have none and get what they require.
fn example(kind: &Kind) -> Table {
    if kind.example.is_empty() {
        let mut table = Table::from_iter([("kind".to_string(), kind.name.into())]);
        match kind.name {
            "toy-write" => drop(table.insert("text".into(), "hello".into())),
            "toy-ask" => nested::put(&mut table, "endpoint.url", "http://localhost/v1".into()),
            _ => {}
        }
        return table;
    }
    let table: Table = toml::from_str(kind.example).unwrap();
    let nodes = table["node"].as_table().unwrap();
    nodes.values().next().unwrap().as_table().unwrap().clone()
}

/// The node under test.
fn node(bed: &mut Table) -> &mut Table {
    bed["node"]["it"].as_table_mut().unwrap()
}

pub fn text(table: &Table) -> String {
    toml::to_string(table).unwrap()
}

/// The same recipe in other words: what was done to it, and its text.
fn forms(table: &Table) -> Vec<(&'static str, String)> {
    let plain = text(table);
    let mut described = table.clone();
    described.insert("name".into(), "another-name".into());
    described.insert("description".into(), "Another\ndescription.".into());
    for (_, node) in described["node"].as_table_mut().unwrap() {
        let words = toml::Value::from("What this node is for.");
        node.as_table_mut()
            .unwrap()
            .insert("description".into(), words);
    }
    let one_a_line = |(key, value): (&String, &toml::Value)| format!("{key} = {value}\n");
    let mut dotted = leaves("", table);
    let in_order = dotted.concat();
    dotted.reverse();
    vec![
        (
            "comments",
            plain.lines().map(|l| format!("# x\n{l} # y\n")).collect(),
        ),
        (
            "white space",
            plain
                .lines()
                .map(|l| format!("\t {l} \t\r\n\r\n"))
                .collect(),
        ),
        ("described", text(&described)),
        ("inline tables", table.iter().map(one_a_line).collect()),
        ("dotted keys", in_order),
        ("dotted keys from the last to the first", dotted.concat()),
    ]
}

/// Every value that is no table, as a line with its whole path.
fn leaves(path: &str, table: &Table) -> Vec<String> {
    let lines = table.iter().map(|(key, value)| {
        let bare = key
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
        let key = if bare {
            key.clone()
        } else {
            format!("{key:?}")
        };
        match value {
            toml::Value::Table(inner) => leaves(&format!("{path}{key}."), inner),
            value => vec![format!("{path}{key} = {value}\n")],
        }
    });
    lines.flatten().collect()
}

/// Every node under another name, in another order; and the new name of each.
fn renamed(table: &Table) -> (String, BTreeMap<String, String>) {
    let nodes = table["node"].as_table().unwrap();
    let names: BTreeMap<String, String> = nodes
        .keys()
        .rev()
        .enumerate()
        .map(|(i, name)| (name.clone(), format!("node-{i}")))
        .collect();
    let mut all = Table::new();
    for (name, node) in nodes {
        let mut node = node.as_table().unwrap().clone();
        if let Some(edges) = node.get_mut("in") {
            for (_, edge) in edges.as_table_mut().unwrap() {
                let place = edge.as_str().unwrap();
                let (from, output) = place
                    .split_once('.')
                    .map_or((place, None), |(f, o)| (f, Some(o)));
                let output = output.map_or(String::new(), |o| format!(".{o}"));
                *edge = format!("{}{output}", names[from]).into();
            }
        }
        all.insert(names[name].clone(), node.into());
    }
    let mut renamed = table.clone();
    renamed.insert("node".into(), all.into());
    // Claims name nodes, and are in no key.
    renamed.remove("claim");
    (text(&renamed), names)
}

/// A node and all that hangs on it.
fn below(loaded: &Loaded, name: &str) -> BTreeSet<String> {
    let graph = &loaded.graph;
    let top = graph.find(name).unwrap();
    graph
        .ids()
        .filter(|id| graph.closure(&[*id]).contains(&top))
        .map(|id| graph.node(id).name.clone())
        .collect()
}

/// Nodes whose keys differ; both have the same nodes.
fn different(a: &BTreeMap<String, String>, b: &BTreeMap<String, String>) -> BTreeSet<String> {
    assert_eq!(a.len(), b.len());
    let other = |(name, key): &(&String, &String)| b[*name] != **key;
    a.iter()
        .filter(other)
        .map(|(name, _)| name.clone())
        .collect()
}

fn names<const N: usize>(names: [&str; N]) -> BTreeSet<String> {
    names.map(String::from).into()
}
