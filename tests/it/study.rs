//! A study in a folder of its own: recipe text run through the real engine with real worker processes, and its artifacts.

use crate::skipped::skip;
use crate::toys::REGISTRY;
use pipe::base::rows::{self, Metric};
use pipe::engine::events::event::{Event, State};
use pipe::engine::graph::Graph;
use pipe::engine::kind::{Role, Type};
use pipe::engine::plan::Wanted;
use pipe::engine::run::{self, Outcome, Settings};
use pipe::engine::store::Store;
use pipe::engine::store::record::Record;
use pipe::recipe::{self, Overrides};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use tempfile::TempDir;

/// `pipe` with the toy kinds and places where it can be told to fail: what `cargo test` builds of `tests/proof/`.
pub fn program() -> PathBuf {
    let own = std::env::current_exe().unwrap();
    let folder = own.parent().and_then(Path::parent).unwrap();
    let program = folder.join("examples/pipe-proof");
    assert!(
        program.is_file(),
        "{} is not there: cargo build --release --example pipe-proof",
        program.display()
    );
    program
}

pub struct Study {
    pub dir: Rc<TempDir>,
}

impl Study {
    pub fn new() -> Study {
        Study {
            dir: Rc::new(tempfile::tempdir().unwrap()),
        }
    }

    pub fn store(&self) -> PathBuf {
        self.dir.path().join("store")
    }

    /// Writes a file beside the recipe; a relative path of a recipe finds it.
    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn graph(&self, recipe: &str) -> Graph {
        let overrides = Overrides {
            sets: vec![],
            matrix: vec![],
            cwd: self.dir.path().to_path_buf(),
        };
        match recipe::from_text("study.toml", recipe, &overrides, &REGISTRY) {
            Ok(mut loaded) => loaded.remove(0).graph,
            Err(diags) => panic!("{}", diags.render(false)),
        }
    }

    /// Runs it on two threads; every node has to end well.
    pub fn run(&self, recipe: &str) -> Ran {
        let ran = self.try_run(recipe);
        for end in &ran.outcome.nodes {
            assert!(end.brief.is_some(), "{} ended as {:?}", end.name, end.state);
            ran.metrics_are_declared(&end.name);
        }
        ran
    }

    /// What `pipe plan --json` says that a node's calls come to.
    pub fn planned_calls(&self, recipe: &str, node: &str) -> Json {
        self.file("planned.toml", recipe);
        let mut command = std::process::Command::new(program());
        command.args(["plan", "planned.toml", "--store", "store", "--json"]);
        let out = command.current_dir(self.dir.path()).output().unwrap();
        let plan: Json = serde_json::from_slice(&out.stdout).unwrap();
        let nodes = plan["nodes"].as_array().unwrap().iter();
        let mut of_node = nodes.filter(|n| n["node"] == node);
        of_node.next().expect("the plan has the node")["expected_calls"].clone()
    }

    pub fn try_run(&self, recipe: &str) -> Ran {
        self.run_with(recipe, |_| {}, |_| {})
    }

    pub fn run_with(
        &self,
        recipe: &str,
        set: impl FnOnce(&mut Settings),
        hear: impl FnMut(&Event),
    ) -> Ran {
        let mut ran = run_in(&self.store(), &self.graph(recipe), set, hear);
        ran.dir = Some(self.dir.clone());
        ran
    }
}

pub fn run_in(
    root: &Path,
    graph: &Graph,
    set: impl FnOnce(&mut Settings),
    mut hear: impl FnMut(&Event),
) -> Ran {
    let mut settings = Settings::new().unwrap();
    settings.program = program();
    settings.capacity.threads = 2;
    // A test that kills a worker wants to see the run that lost it.
    settings.retries.most = 0;
    set(&mut settings);
    let store = Store::open(root).unwrap();
    let mut said = vec![];
    let outcome = run::run(&store, graph, &Wanted::default(), &settings, &mut |event| {
        hear(event);
        if let Event::Log { node, text } = event {
            said.push((node.clone(), text.clone()));
        }
    });
    Ran {
        outcome: outcome.unwrap(),
        said,
        root: root.to_path_buf(),
        dir: None,
    }
}

pub struct Ran {
    pub outcome: Outcome,
    /// (node, words) of the workers.
    pub said: Vec<(String, String)>,
    root: PathBuf,
    /// Keeps the folder as long as somebody may read from it.
    dir: Option<Rc<TempDir>>,
}

impl Ran {
    pub fn state(&self, node: &str) -> &State {
        &self.outcome.find(node).unwrap().state
    }

    /// The message of a failed node.
    pub fn failure(&self, node: &str) -> String {
        match self.state(node) {
            State::Failed { message, .. } => message.clone(),
            other => panic!("{node} is {other:?}"),
        }
    }

    pub fn record(&self, node: &str) -> Record {
        let end = self.outcome.find(node).unwrap();
        let brief = end.brief.as_ref();
        let key = &brief
            .unwrap_or_else(|| panic!("{node} is {:?}", end.state))
            .key;
        let store = Store::open(&self.root).unwrap();
        store.record(key).unwrap().unwrap()
    }

    /// Output to digest.
    pub fn digests(&self, node: &str) -> BTreeMap<String, String> {
        let outputs = &self.record(node).outputs;
        let digest = |(name, artifact): (&String, &pipe::engine::store::record::Artifact)| {
            (name.clone(), artifact.digest.to_string())
        };
        outputs.iter().map(digest).collect()
    }

    pub fn bytes(&self, node: &str, output: &str, file: &str) -> Vec<u8> {
        let files = &self.record(node).outputs[output].files;
        let blob = files.iter().find(|b| b.path == file).unwrap();
        let store = Store::open(&self.root).unwrap();
        std::fs::read(store.objects().path(&blob.digest)).unwrap()
    }

    pub fn text(&self, node: &str, output: &str, file: &str) -> String {
        String::from_utf8(self.bytes(node, output, file)).unwrap()
    }

    pub fn rows<T: serde::de::DeserializeOwned>(&self, node: &str, output: &str) -> Vec<T> {
        let text = self.text(node, output, rows::ROWS);
        text.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }

    pub fn metric(&self, node: &str, name: &str) -> Metric {
        let mut found = self.metrics(node).into_iter().filter(|m| m.name == name);
        found
            .next()
            .unwrap_or_else(|| panic!("no {name} of {node}: {:?}", self.metrics(node)))
    }

    fn metrics(&self, node: &str) -> Vec<Metric> {
        let text = self.text(node, "metrics", rows::METRICS);
        let all: rows::Metrics = serde_json::from_str(&text).unwrap();
        all.metrics
    }

    /// A kind says of every metric that it writes what it is called and in which unit it is; a program writes what it likes.
    fn metrics_are_declared(&self, node: &str) {
        let record = self.record(node);
        let kind = REGISTRY.get(&record.kind).unwrap();
        let measured = record.outputs.get("metrics");
        if measured.is_none_or(|a| a.ty != Type::Metrics) || kind.role == Role::Runs {
            return;
        }
        for metric in self.metrics(node) {
            let (name, unit) = (&metric.name, &metric.unit);
            let info = kind.metric(name);
            let info = info.unwrap_or_else(|| panic!("`{}` does not declare `{name}`", kind.name));
            let fits = info.unit.is_empty() || info.unit == unit;
            assert!(
                fits,
                "{}: `{name}` is in {unit:?}, not {:?}",
                kind.name, info.unit
            );
        }
    }

    /// The steps of a training node.
    pub fn curve(&self, node: &str) -> Vec<Json> {
        let text = self.text(node, "metrics", "curve.jsonl");
        text.lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect()
    }

    pub fn said(&self, node: &str, words: &str) -> bool {
        self.said
            .iter()
            .any(|(n, w)| n == node && w.contains(words))
    }

    /// Copies an artifact out of the store, so that it can be changed.
    pub fn export(&self, node: &str, output: &str, to: &Path) {
        std::fs::create_dir_all(to).unwrap();
        for blob in &self.record(node).outputs[output].files {
            std::fs::write(to.join(&blob.path), self.bytes(node, output, &blob.path)).unwrap();
        }
    }
}

/// Sets that others published, beside the repository or where `PIPE_DATA_DIR` says: `xstest/`, `xstest_completions/`, …
pub fn data_dir() -> Option<PathBuf> {
    folder_with("PIPE_DATA_DIR", &["../shared/data"], &["."])
}

/// A file or folder of `data_dir`.
pub fn data(name: &str) -> Option<PathBuf> {
    Some(folder_with("PIPE_DATA_DIR", &["../shared/data"], &[name])?.join(name))
}

/// A folder with all of these of what other programs computed: the one that `PIPE_REFERENCE_DIR` names, the whole set beside
/// the repository, or the small part of it that is in the repository.
pub fn reference(needed: &[&str]) -> Option<PathBuf> {
    let places = ["../shared/reference/public", "tests/it/golden/reference"];
    folder_with("PIPE_REFERENCE_DIR", &places, needed)
}

/// The same for what is known of attacks: the folder that `PIPE_ATTACK_DIR` names, or the set beside the repository.
pub fn attack(needed: &[&str]) -> Option<PathBuf> {
    folder_with("PIPE_ATTACK_DIR", &["../shared/reference/attack"], needed)
}

/// The first folder with all that is needed: the one that a variable names, which has to be there, or else one of these,
/// from the repository. Without any the test counts as skipped.
fn folder_with(variable: &str, places: &[&str], needed: &[&str]) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let named = std::env::var_os(variable).map(PathBuf::from);
    if let Some(path) = &named {
        assert!(path.is_dir(), "{variable} is {}, no folder", path.display());
    }
    let folders = match named {
        Some(path) => vec![root.join(path)],
        None => places.iter().map(|place| root.join(place)).collect(),
    };
    let fits = |folder: &&PathBuf| needed.iter().all(|name| folder.join(name).exists());
    let found = folders.iter().find(fits);
    if found.is_none() {
        match folders[0].is_dir() {
            true => skip(&format!(
                "{} in {}",
                needed.join(", "),
                folders[0].display()
            )),
            false => skip(&folders[0].display().to_string()),
        }
    }
    found.cloned()
}
