//! The golden files of transformers, TRL, PEFT and torch: what they hold, how numbers are compared with them, and who
//! checks which file.
//!
//! `cargo test --release reference -- --nocapture` prints a line per item: cases, worst difference, what is accepted.

mod autodan;
pub mod dpo;
mod forward;
mod gcg;
mod gcg_steps;
pub mod grpo;
pub mod lora;
mod random_search;
pub mod rerouting;
mod separation;
pub mod sft;
mod states;
mod text_attacks;
mod umap;

use crate::study::reference;
use pipe::learn::weights::Param;
use safetensors::SafeTensors;
use safetensors::tensor::Dtype;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Tensors and scalars of one golden record.
pub struct Golden {
    pub json: Value,
    tensors: BTreeMap<String, (Vec<usize>, Vec<f64>)>,
}

impl Golden {
    pub fn open(stem: &Path) -> Golden {
        let text = std::fs::read_to_string(stem.with_extension("json")).expect("golden JSON");
        let bytes = std::fs::read(stem.with_extension("safetensors")).expect("golden tensors");
        let file = SafeTensors::deserialize(&bytes).expect("golden tensors are whole");
        let tensors = file
            .tensors()
            .into_iter()
            .map(|(name, t)| (name, (t.shape().to_vec(), numbers(t.dtype(), t.data()))))
            .collect();
        Golden {
            json: serde_json::from_str(&text).expect("golden JSON is valid"),
            tensors,
        }
    }

    pub fn get(&self, name: &str) -> &[f64] {
        &self.entry(name).1
    }

    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    pub fn shape(&self, name: &str) -> &[usize] {
        &self.entry(name).0
    }

    fn entry(&self, name: &str) -> &(Vec<usize>, Vec<f64>) {
        self.tensors
            .get(name)
            .unwrap_or_else(|| panic!("golden tensor {name}"))
    }

    pub fn floats(&self, name: &str) -> Vec<f32> {
        self.get(name).iter().map(|&x| x as f32).collect()
    }
}

fn numbers(dtype: Dtype, data: &[u8]) -> Vec<f64> {
    match dtype {
        Dtype::F32 => data
            .chunks_exact(4)
            .map(|b| f64::from(f32::from_le_bytes(b.try_into().expect("4 bytes"))))
            .collect(),
        Dtype::F64 => data
            .chunks_exact(8)
            .map(|b| f64::from_le_bytes(b.try_into().expect("8 bytes")))
            .collect(),
        Dtype::U8 => data.iter().map(|b| f64::from(*b)).collect(),
        Dtype::I64 => data
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().expect("8 bytes")) as f64)
            .collect(),
        other => panic!("golden type {other:?}"),
    }
}

/// Largest difference, relative to the largest golden number.
pub fn worst(ours: &[f32], golden: &[f64]) -> f64 {
    assert_eq!(ours.len(), golden.len(), "as many numbers as the golden");
    let scale = golden.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    let difference = ours
        .iter()
        .zip(golden)
        .map(|(&a, b)| (f64::from(a) - b).abs())
        .fold(0.0f64, f64::max);
    assert!(ours.iter().all(|x| x.is_finite()), "finite numbers");
    difference / scale.max(1e-30)
}

/// One line of the parity table: many comparisons of one quantity, and the worst of them.
pub struct Parity {
    item: String,
    accepted: f64,
    cases: usize,
    worst: f64,
}

impl Parity {
    pub fn new(item: &str, accepted: f64) -> Parity {
        Parity {
            item: item.into(),
            accepted,
            cases: 0,
            worst: 0.0,
        }
    }

    /// Fails where the difference is more than what is accepted.
    pub fn check(&mut self, off: f64, case: &str) {
        assert!(
            off < self.accepted,
            "{} of {case}: off by {off:e}, accepted is {:e}",
            self.item,
            self.accepted
        );
        self.cases += 1;
        self.worst = self.worst.max(off);
    }

    /// Equality of what has no tolerance.
    pub fn same<T: PartialEq + std::fmt::Debug>(&mut self, ours: T, golden: T, case: &str) {
        assert_eq!(ours, golden, "{} of {case}", self.item);
        self.cases += 1;
    }

    pub fn report(self) {
        assert!(self.cases > 0, "{}: nothing was compared", self.item);
        println!(
            "parity | {} | {} cases | worst {:.1e} | accepted {:.0e}",
            self.item, self.cases, self.worst, self.accepted
        );
    }
}

/// Gradients against recorded norms and probes, parameter by parameter.
pub struct Gradients {
    norm: Parity,
    probe: Parity,
}

impl Gradients {
    pub fn new(item: &str) -> Gradients {
        Gradients {
            norm: Parity::new(&format!("{item}: gradient norms"), 1e-4),
            probe: Parity::new(&format!("{item}: gradient probes"), 2e-4),
        }
    }

    pub fn check(&mut self, params: &[Param], grads: &[f32], golden: &Golden, case: &str) {
        let names = golden.json["params"].as_array().expect("params");
        let norms = golden.get(&format!("{case}.grad_norm"));
        let probes = golden.get(&format!("{case}.grad_probe"));
        let total = norms.iter().map(|n| n * n).sum::<f64>().sqrt();
        assert_eq!(names.len(), params.len());
        for (i, name) in names.iter().enumerate() {
            // PEFT names the adapter in memory, not in its files.
            let name = name.as_str().expect("a name").replace(".default.", ".");
            let param = params.iter().find(|p| p.name == name).expect(&name);
            let part = grads[param.range.clone()].iter().map(|&g| f64::from(g));
            let norm = part.clone().map(|g| g * g).sum::<f64>().sqrt();
            let probe: f64 = part.enumerate().map(|(i, g)| g * (i as f64).cos()).sum();
            let scale = norms[i].max(1e-4 * total);
            let what = format!("{case} {name}");
            self.norm.check((norm - norms[i]).abs() / scale, &what);
            self.probe.check((probe - probes[i]).abs() / scale, &what);
        }
    }

    pub fn report(self) {
        self.norm.report();
        self.probe.report();
    }
}

fn models(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder.join("forward"))
        .expect("forward goldens")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            path.file_stem()
                .expect("a stem")
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    assert!(!names.is_empty(), "some model has goldens");
    names
}

pub fn ids(value: &Value) -> Vec<u32> {
    value
        .as_array()
        .expect("a list of ids")
        .iter()
        .map(|id| id.as_u64().expect("an id") as u32)
        .collect()
}

/// The real tokens of a padded batch, packed.
pub fn pack(ids: &[f64], mask: &[f64], width: usize) -> (Vec<u32>, Vec<usize>) {
    let (mut packed, mut starts) = (Vec::new(), vec![0]);
    for (ids, mask) in ids.chunks_exact(width).zip(mask.chunks_exact(width)) {
        packed.extend(
            ids.iter()
                .zip(mask)
                .filter(|(_, m)| **m == 1.0)
                .map(|(id, _)| *id as u32),
        );
        starts.push(packed.len());
    }
    (packed, starts)
}

/// Who checks a file of the set. A name that ends in `/` is a folder.
const CLAIMS: &[(&str, &str)] = &[
    ("tokenizer/", "text"),
    ("models/lora/", "reference/lora, reference/rerouting"),
    ("models/rr_lora/", "reference/lora, reference/rerouting"),
    ("models/", "reference/forward"),
    ("forward/", "reference/forward, sampler"),
    ("losses/sft.", "reference/sft"),
    ("losses/adamw.", "reference/sft"),
    ("losses/dpo.", "reference/dpo"),
    ("losses/grpo.", "reference/grpo"),
    ("losses/rr.", "reference/rerouting"),
    ("lora.", "reference/lora"),
    ("reward.", "reference/forward"),
    ("gcg.", "reference/gcg"),
    ("analysis.", "reference/separation, reference/umap"),
    ("statistics.", "statistics"),
];

#[test]
fn every_file_of_the_set_is_claimed_by_a_test() {
    let Some(folder) = reference(&["INDEX.json"]) else {
        return;
    };
    let text = std::fs::read_to_string(folder.join("INDEX.json")).expect("an index");
    let index: Value = serde_json::from_str(&text).expect("the index is JSON");
    let listed = index["files"].as_object().expect("a list of files");
    let mut files: BTreeSet<String> = listed.keys().cloned().collect();
    walk(&folder, "", &mut files);
    files.remove("INDEX.json");
    let unclaimed: Vec<&String> = files
        .iter()
        .filter(|file| CLAIMS.iter().all(|(start, _)| !file.starts_with(start)))
        .collect();
    assert!(unclaimed.is_empty(), "nobody checks {unclaimed:?}");
    for (start, _) in CLAIMS {
        assert!(
            files.iter().any(|file| file.starts_with(start)),
            "the set has no {start}"
        );
    }
    for file in listed.keys() {
        assert!(folder.join(file).is_file(), "{file} is in the index only");
    }
}

/// Adds the files below a folder, by their paths from the root of the set.
fn walk(folder: &Path, prefix: &str, files: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).expect("a folder of the set") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy();
        let name = format!("{prefix}{name}");
        match path.is_dir() {
            true => walk(&path, &format!("{name}/"), files),
            false => drop(files.insert(name)),
        }
    }
}
