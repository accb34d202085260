//! Sides made by hand: recipe texts with records whose keys are as real ones, and measures that a test chooses.

use pipe::base::claim::Axes;
use pipe::base::hash::Digest;
use pipe::base::rows::{self, METRICS, Measured, Metric, VALUES};
use pipe::engine::graph::manifest::Manifest;
use pipe::engine::kind::Type;
use pipe::engine::store::Store;
use pipe::engine::store::record::{Artifact, Cost, Provenance, Record};
use pipe::engine::system::files::tree_digest;
use pipe::kinds::REGISTRY;
use pipe::recipe::{self, Overrides};
use pipe::report::side::Side;
use std::collections::BTreeMap;
use std::path::PathBuf;
use tempfile::TempDir;

/// A model of no use, its answers, an evaluation.
pub const BASE: &str = r#"
name = "base"
[vars]
seed = 0
[node.model]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 16
seed = "${seed}"
[node.prompts]
kind = "world-prompts"
[node.answers]
kind = "generate"
in = { model = "model", prompts = "prompts.eval" }
seed = "${seed}"
[node.eval]
kind = "evaluate"
in = { completions = "answers" }
"#;

/// The same with a wider model.
pub const WIDE: &str = "extends = \"base.toml\"\nname = \"wide\"\n[node.model]\nhidden_size = 32\n";

/// Seconds by kind, for costs that can be added up in the head.
fn seconds(kind: &str) -> f64 {
    match kind {
        "world-model" => 10.0,
        "world-prompts" => 1.0,
        "generate" => 5.0,
        _ => 0.5,
    }
}

/// What a node that measures measured: by prompt, by metric. Names that begin with `reasoning/tokens` are tokens, others that begin with
/// `reasoning` words, and the rest shares.
pub type Rows = Vec<(String, Vec<(&'static str, f64)>)>;

/// `defense` of prompts `p0`…: these values.
pub fn defense(values: &[f64]) -> Rows {
    let row = |(i, v): (usize, &f64)| (format!("p{i}"), vec![("defense", *v)]);
    values.iter().enumerate().map(row).collect()
}

/// Of `n` prompts, the first `k` with 1.
pub fn first(k: usize, n: usize) -> Vec<f64> {
    (0..n).map(|i| f64::from(i < k)).collect()
}

pub struct Space {
    pub dir: TempDir,
    pub store: Store,
}

impl Space {
    /// With `base.toml` and `wide.toml`.
    pub fn new() -> Space {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store")).unwrap();
        store.prepare().unwrap();
        let space = Space { dir, store };
        space.file("base.toml", BASE);
        space.file("wide.toml", WIDE);
        space
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    /// The variants of a recipe file. `measured`: what each evaluation of a variant measured; one without is not
    /// there.
    pub fn sides(
        &self,
        file: &str,
        matrix: &[&str],
        measured: impl Fn(&str, &Axes) -> Option<Rows>,
    ) -> Vec<Side> {
        let overrides = Overrides {
            sets: vec![],
            matrix: matrix.iter().map(|m| m.to_string()).collect(),
            cwd: self.dir.path().to_path_buf(),
        };
        let path = PathBuf::from(file);
        let loaded = recipe::load(&path, &overrides, &REGISTRY);
        let loaded = loaded.unwrap_or_else(|diags| panic!("{}", diags.render(false)));
        let side = |l: recipe::Loaded| {
            let mut side = Side {
                recipe: l.name,
                file: self.dir.path().join(file),
                axes: l.axes,
                graph: l.graph,
                records: BTreeMap::new(),
                notes: l.notes,
                claims: l.claims,
                given: vec![],
            };
            self.fill(&mut side, &measured);
            side
        };
        loaded.into_iter().map(side).collect()
    }

    fn fill(&self, side: &mut Side, measured: &impl Fn(&str, &Axes) -> Option<Rows>) {
        for id in side.graph.ids() {
            let node = side.graph.node(id);
            let content = |edge: &pipe::engine::graph::Edge| {
                let record = side.records.get(&edge.node)?;
                Some(record.outputs[edge.output].digest.to_string())
            };
            let inputs: Option<BTreeMap<&'static str, String>> = node
                .inputs
                .iter()
                .map(|(port, edge)| Some((*port, content(edge)?)))
                .collect();
            let Some(inputs) = inputs else { continue };
            let manifest = Manifest::new(node.kind, &node.params, &BTreeMap::new(), &inputs);
            let key = manifest.key();
            let mut outputs = BTreeMap::new();
            for output in node.kind.outputs {
                let digest = blake3::hash(format!("{key} {}", output.name).as_bytes());
                let mut artifact = Artifact {
                    ty: output.ty,
                    digest: Digest::new(digest),
                    files: vec![],
                };
                let measures = ["evaluate", "lengths", "grpo"].contains(&node.kind.name);
                if measures && output.name == "metrics" {
                    let Some(rows) = measured(&node.name, &side.axes) else {
                        break;
                    };
                    artifact = self.measures(&rows);
                }
                outputs.insert(output.name.to_string(), artifact);
            }
            if outputs.len() < node.kind.outputs.len() {
                continue;
            }
            let record = Record {
                key,
                kind: node.kind.name.into(),
                manifest: manifest.text().into(),
                outputs,
                cost: Cost {
                    seconds: seconds(node.kind.name),
                    cpu_seconds: 2.0 * seconds(node.kind.name),
                    dollars: if node.kind.name == "generate" {
                        0.25
                    } else {
                        0.0
                    },
                    peak_bytes: 1_000_000,
                    ..Cost::default()
                },
                provenance: Provenance::default(),
                logs: vec![],
                accepted: None,
                adopted: None,
            };
            side.records.insert(id, record);
        }
    }

    /// A metrics artifact. A fingerprint is the id's, unless the id says `id!other`.
    fn measures(&self, rows: &Rows) -> Artifact {
        let mut sums: Vec<(&str, Vec<f64>)> = vec![];
        let mut values = vec![];
        for (id, measured) in rows {
            let (name, print) = id.split_once('!').unwrap_or((id, id));
            values.push(Measured {
                id: name.into(),
                fingerprint: print.into(),
                values: measured.iter().map(|(m, v)| (m.to_string(), *v)).collect(),
            });
            for (metric, value) in measured {
                match sums.iter_mut().find(|(m, _)| m == metric) {
                    Some((_, all)) => all.push(*value),
                    None => sums.push((metric, vec![*value])),
                }
            }
        }
        let metrics = sums.into_iter().map(|(name, values)| Metric {
            name: name.into(),
            value: values.iter().sum::<f64>() / values.len() as f64,
            n: values.len(),
            interval: Some((0.25, 0.75)),
            unit: match name {
                _ if name.starts_with("reasoning/tokens") => "tokens".into(),
                _ if name.starts_with("reasoning") => "words".into(),
                _ => "share".into(),
            },
        });
        let folder = tempfile::tempdir_in(self.dir.path()).unwrap();
        rows::write_metrics(folder.path(), metrics.collect()).unwrap();
        rows::write_values(folder.path(), &values).unwrap();
        let take = |name: &str| {
            let path = folder.path().join(name);
            self.store.objects().take(&path, name).unwrap()
        };
        let files = vec![take(METRICS), take(VALUES)];
        Artifact {
            ty: Type::Metrics,
            digest: tree_digest(&files),
            files,
        }
    }
}

pub fn refs(sides: &[Side]) -> Vec<&Side> {
    sides.iter().collect()
}
