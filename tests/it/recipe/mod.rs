//! Recipes: every error as its reader sees it, what may lie over what, and what a resolved recipe is. On kinds of its
//! own, which are here.

mod blocks;
mod claims;
mod edges;
mod large;
mod layers;
mod matrix;
mod params;
mod resolved;
mod text;
mod values;

use pipe::base::params::ParamSet;
use pipe::base::params::Problem;
use pipe::base::value::{Value, Values};
use pipe::engine::kind::context::NodeCtx;
use pipe::engine::kind::{Kind, Output, Port, Registry, Type};
use pipe::recipe::{Loaded, Overrides, from_text, load};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

pipe::choice! { pub enum Schedule { Constant = "constant", Cosine = "cosine" } }

pipe::params! {
    pub struct DataParams {
        /// Rows to make.
        rows: u32;
        /// Seed of the draw.
        seed: u64 = 0;
        /// A file to read instead.
        file: Option<PathBuf> = None;
    }
}
pipe::params! {
    pub struct TuneParams {
        /// Optimizer steps.
        steps: u32;
        /// Peak learning rate.
        lr: f64 = 1e-5;
        /// How the rate falls.
        schedule: Schedule = Schedule::Cosine;
        /// Whether rows are shuffled.
        shuffle: bool = true;
        /// Layers to train.
        layers: Vec<u32> = vec![];
        /// Expression by prompt class.
        reward: BTreeMap<String, String> = BTreeMap::new();
        /// A remark.
        remark: Option<String> = None;
    }
}
pipe::params! {
    pub struct TuneExec {
        /// Sequences at once.
        micro_batch: u32 = 4;
    }
}

fn never(_: &mut NodeCtx) -> anyhow::Result<()> {
    anyhow::bail!("these kinds are only for reading recipes")
}

fn check_tune(values: &Values) -> Vec<Problem> {
    let mut problems = vec![];
    if let Some(Value::Table(reward)) = values.get("reward") {
        for (class, text) in reward {
            if *text == Value::Str("nonsense".into()) {
                problems.push(Problem {
                    path: format!("reward.{class}"),
                    message: "unknown scorer `nonsense`".into(),
                    help: Some("scorers: `format`, `safety`".into()),
                });
            }
        }
    }
    if values["lr"] == Value::Float(0.0) {
        problems.push(Problem {
            path: "lr".into(),
            message: "`lr` must be above 0".into(),
            help: None,
        });
    }
    problems
}

const BLANK: Kind = Kind {
    name: "blank",
    run: never,
    ..Kind::DEFAULTS
};

const fn port(name: &'static str, ty: Type, required: bool) -> Port {
    match required {
        true => Port::required(name, ty, ""),
        false => Port::optional(name, ty, ""),
    }
}

static DATA: Kind = Kind {
    name: "data",
    outputs: &[
        Output::always("train", Type::Prompts, ""),
        Output::always("held", Type::Prompts, ""),
    ],
    params: DataParams::specs,
    ..BLANK
};
static BASE: Kind = Kind {
    name: "base",
    outputs: &[Output::always("model", Type::Model, "")],
    ..BLANK
};
static TUNE: Kind = Kind {
    name: "tune",
    inputs: &[
        port("model", Type::Model, true),
        port("data", Type::Prompts, true),
        port("reference", Type::Model, false),
    ],
    outputs: &[
        Output::always("model", Type::Model, ""),
        Output::always("log", Type::Metrics, ""),
    ],
    params: TuneParams::specs,
    exec: TuneExec::specs,
    check: Some(check_tune),
    ..BLANK
};
static SINK: Kind = Kind {
    name: "sink",
    inputs: &[port("model", Type::Model, true)],
    ..BLANK
};
const KINDS: Registry = Registry(&[&[&DATA, &BASE, &TUNE, &SINK]]);

/// A folder with these files, and the recipe among them that is meant.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new(files: &[(&str, &str)]) -> Files {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().expect("a file has a folder")).expect("mkdir");
            std::fs::write(path, text).expect("a file can be written");
        }
        Files { folder }
    }

    fn load(&self, name: &str, sets: &[&str]) -> Result<Loaded, String> {
        let overrides = Overrides {
            sets: sets.iter().map(|s| s.to_string()).collect(),
            matrix: vec![],
            cwd: self.folder.path().into(),
        };
        let root = format!("{}/", self.folder.path().display());
        load(Path::new(name), &overrides, &KINDS)
            .map(|mut loaded| loaded.remove(0))
            .map_err(|diags| diags.render(false).replace(&root, "/ROOT/"))
    }
}

fn read(text: &str, sets: &[&str]) -> Result<Loaded, String> {
    let overrides = Overrides {
        sets: sets.iter().map(|s| s.to_string()).collect(),
        matrix: vec![],
        cwd: PathBuf::from("/nowhere"),
    };
    from_text("r.toml", text, &overrides, &KINDS)
        .map(|mut loaded| loaded.remove(0))
        .map_err(|diags| diags.render(false))
}

/// Every variant of a text.
fn variants(text: &str, matrix: &[&str]) -> Result<Vec<Loaded>, String> {
    let overrides = Overrides {
        sets: vec![],
        matrix: matrix.iter().map(|s| s.to_string()).collect(),
        cwd: PathBuf::from("/nowhere"),
    };
    from_text("r.toml", text, &overrides, &KINDS).map_err(|diags| diags.render(false))
}

/// The recipe is refused with exactly this text.
#[track_caller]
fn refused(result: Result<Loaded, String>, expected: &str) {
    match result {
        Ok(_) => panic!("the recipe was accepted"),
        Err(shown) => assert_eq!(
            shown.trim_end(),
            expected.trim(),
            "\n--- shown ---\n{shown}"
        ),
    }
}

/// The recipe is refused with exactly this text, which stands after the line of equals signs.
#[track_caller]
fn check(case: &str) {
    let (text, expected) = case.split_once("\n=====\n").expect("a case has two parts");
    refused(read(text.trim_start_matches('\n'), &[]), expected);
}

fn param(loaded: &Loaded, node: &str, name: &str) -> String {
    let id = loaded.graph.find(node).expect("the node is there");
    let node = loaded.graph.node(id);
    let value = node.params.get(name).or(node.exec.get(name));
    value.map_or("absent".into(), Value::canon)
}

/// Two nodes that `tune` needs.
const NEEDS: &str = "[node.base]\nkind = \"base\"\n[node.mix]\nkind = \"data\"\nrows = 10\n";
/// A `tune` node with everything it must have.
const SFT: &str =
    "[node.sft]\nkind = \"tune\"\nin = { model = \"base\", data = \"mix\" }\nsteps = 5\n";

#[track_caller]
fn accepted(result: Result<Loaded, String>) -> Loaded {
    match result {
        Ok(loaded) => loaded,
        Err(shown) => panic!("the recipe was refused:\n{shown}"),
    }
}

const PARENT: &str = r#"
name = "parent"
[vars]
seed = 7
rows = 10
[node.base]
kind = "base"
[node.mix]
kind = "data"
rows = "${rows}"
seed = "${seed}"
[node.sft]
kind = "tune"
in = { model = "base", data = "mix" }
steps = 5
lr = 1e-4
layers = [1, 2]
reward = { harmful = "a", harmless = "b" }
"#;
