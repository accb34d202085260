//! What a folder holds instead of the files that are looked for, and what makes the right ones of it: weights as pickles, names
//! in upper case, tokenizers of the slow kind, shards that were not downloaded, pointers of Git LFS. Reads names and no contents.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Names of a folder, sorted; none where it cannot be read.
fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

fn ending(name: &str, ends: &[&str]) -> bool {
    let name = name.to_lowercase();
    ends.iter().any(|end| name.ends_with(end))
}

/// A name that differs from the one that is wanted by its case only.
pub(crate) fn other_case(folder: &Path, wanted: &str) -> Option<String> {
    let alike = |name: &String| name.to_lowercase() == wanted && name != wanted;
    let name = names(folder).into_iter().find(alike)?;
    Some(format!(
        "{} holds {name}, and Hugging Face's name of it is {wanted}: rename it",
        folder.display()
    ))
}

/// Why there are no weights in a folder that has neither `model.safetensors` nor its index.
pub(crate) fn no_weights(folder: &Path) -> String {
    let wanted = ["model.safetensors", "model.safetensors.index.json"];
    if let Some(problem) = wanted.iter().find_map(|name| other_case(folder, name)) {
        return problem;
    }
    let shown = folder.display();
    let lacks = format!("{shown} holds neither model.safetensors nor model.safetensors.index.json");
    let of = |ends: &[&str]| names(folder).into_iter().find(|name| ending(name, ends));
    if let Some(name) = of(&[".bin", ".pt", ".pth", ".ckpt"]) {
        return format!(
            "{lacks}: its weights are in {name}, a pickle, which may be a program and is not read; in transformers, \
             AutoModelForCausalLM.from_pretrained(folder).save_pretrained(folder) writes them as safetensors \
             (AutoModelForSequenceClassification for a reward model)"
        );
    }
    if let Some(name) = of(&[".gguf", ".ggml"]) {
        return format!(
            "{lacks}: {name} is a file of llama.cpp; use the folder in bf16, f16 or f32 that it was made of"
        );
    }
    match of(&[".safetensors"]) {
        Some(name) if name.starts_with("adapter_model") => {
            format!("{lacks}: {name} is an adapter, which `local-adapter` imports")
        }
        Some(name) if ending(&name, &["-of-00001.safetensors"]) => {
            format!("{lacks}: rename {name}, which is all of it, to model.safetensors")
        }
        Some(name) if name.contains("-of-") => format!(
            "{lacks}: there are shards ({name} is one), and the index that says what is where is missing: download \
             model.safetensors.index.json as well"
        ),
        Some(name) => format!(
            "{lacks}: {name} has another name; if it holds the model's tensors under Hugging Face's names, call it \
             model.safetensors"
        ),
        None => lacks,
    }
}

/// Why a PEFT folder has no tensors, where it has none.
pub(crate) fn no_adapter(folder: &Path) -> Option<String> {
    let wanted = "adapter_model.safetensors";
    if folder.join(wanted).exists() {
        return None;
    }
    if let Some(problem) = other_case(folder, wanted) {
        return Some(problem);
    }
    let pickle = names(folder)
        .into_iter()
        .find(|name| ending(name, &[".bin", ".pt"]));
    Some(match pickle {
        Some(name) => format!(
            "{} has no {wanted}: its tensors are in {name}, a pickle, which may be a program and is not read; load it in PEFT \
             and call save_pretrained(folder), which writes safetensors",
            folder.display()
        ),
        None => format!(
            "{} has no {wanted}: is it a PEFT folder, and whole?",
            folder.display()
        ),
    })
}

/// Why there is no `tokenizer.json`.
pub(crate) fn no_tokenizer(folder: &Path) -> String {
    if let Some(problem) = other_case(folder, "tokenizer.json") {
        return problem;
    }
    let slow = [
        "tokenizer.model",
        "vocab.json",
        "merges.txt",
        "spiece.model",
    ];
    let slow = slow.into_iter().find(|name| folder.join(name).is_file());
    match slow {
        Some(name) => format!(
            "{} has no tokenizer.json, only {name}, of a tokenizer of the slow kind; in transformers (with sentencepiece and \
             protobuf installed), AutoTokenizer.from_pretrained(folder, use_fast=True).save_pretrained(folder) writes \
             tokenizer.json",
            folder.display()
        ),
        None => format!(
            "{} has no tokenizer.json: is it a model folder?",
            folder.display()
        ),
    }
}

/// The shards that an index names and the folder lacks.
pub(crate) fn missing_shards(index: &Path, shards: &BTreeSet<PathBuf>) -> Option<String> {
    let missing: Vec<&PathBuf> = shards.iter().filter(|shard| !shard.exists()).collect();
    let first = missing.first()?;
    let named: Vec<String> = missing
        .iter()
        .take(5)
        .filter_map(|shard| Some(shard.file_name()?.to_string_lossy().into_owned()))
        .collect();
    let cased = first
        .parent()
        .zip(first.file_name())
        .and_then(|(folder, name)| other_case(folder, &name.to_string_lossy()));
    Some(cased.unwrap_or_else(|| {
        format!(
            "{} names {} shards, and {} of them are missing: {}{}; download the folder to its end",
            index.display(),
            shards.len(),
            missing.len(),
            named.join(", "),
            if missing.len() > named.len() {
                ", …"
            } else {
                ""
            }
        )
    }))
}

/// Git keeps large files elsewhere, and leaves a few lines in their place.
pub fn pointer(path: &Path) -> Option<String> {
    const SIGN: &[u8] = b"version https://git-lfs";
    let mut begin = [0; SIGN.len()];
    fs::File::open(path).ok()?.read_exact(&mut begin).ok()?;
    (begin == *SIGN).then(|| {
        format!(
            "{} is a pointer of Git LFS and not the file itself: run `git lfs pull` in its folder",
            path.display()
        )
    })
}
