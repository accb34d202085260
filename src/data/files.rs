//! Which files a path stands for: itself, or the data files of a folder as the Hugging Face hub lays them out
//! (`data/train-00000-of-00003.parquet`, `train/train.tsv`, `or-bench-80k.csv`). Opens none of them.

use crate::format::format;
use anyhow::{Context, Result, bail, ensure};
use base::bounded;
use base::text::listed;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A folder with more files, or deeper ones, is no data set.
const MOST_FILES: usize = 10_000;
const DEEPEST: usize = 8;

/// What `datasets` writes beside the rows.
const ABOUT: [&str; 4] = [
    "dataset_info.json",
    "dataset_infos.json",
    "dataset_dict.json",
    "state.json",
];

/// The files, in name order. Of a folder those of a split: the files of that name (shards of one table), else of the folder of that
/// name, else those whose name has it among its words; with `*` in it, the paths that match. `usual` is the split of a folder
/// where none is named; without either, a folder has to hold one table. Errors list what there is.
pub fn find(path: &Path, split: Option<&str>, usual: Option<&str>) -> Result<Vec<PathBuf>> {
    let shown = || format!("failed to read {}", path.display());
    bounded::special(path).with_context(shown)?;
    let meta = fs::metadata(path).with_context(shown)?;
    if !meta.is_dir() {
        return Ok(vec![path.to_path_buf()]);
    }
    let (mut names, mut saved) = (vec![], None);
    walk(path, "", 0, &mut names, &mut saved).with_context(shown)?;
    names.sort();
    let here = || {
        format!(
            "{} holds {}",
            path.display(),
            listed(names.iter().map(String::as_str))
        )
    };
    if let Some(arrow) = saved.filter(|_| names.is_empty()) {
        bail!(
            "{} is a folder of Arrow files (`{arrow}`), as `save_to_disk` of `datasets` writes them; they are not read: in Python, \
             `load_from_disk` and then `to_parquet` or `to_json` of the split write a file that is",
            path.display()
        );
    }
    ensure!(!names.is_empty(), "{} holds no data file", path.display());
    let chosen: Vec<&String> = match split {
        Some(split) => {
            let chosen = choose(&names, split);
            ensure!(
                !chosen.is_empty(),
                "no file is of the split `{split}`: {}",
                here()
            );
            chosen
        }
        None => match usual.map(|usual| choose(&names, usual)) {
            Some(chosen) if !chosen.is_empty() => chosen,
            _ => names.iter().collect(),
        },
    };
    let tables: BTreeSet<&str> = chosen.iter().map(|name| table(name)).collect();
    let asked = split.or(usual).is_some_and(|s| s.contains('*'));
    ensure!(
        tables.len() == 1 || asked,
        "several tables could be meant, {}; `split` says which: {}",
        listed(tables.iter().copied()),
        here()
    );
    Ok(chosen.into_iter().map(|name| path.join(name)).collect())
}

/// The data files below a folder, as paths relative to it, and one of Arrow's if there is any.
fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    names: &mut Vec<String>,
    saved: &mut Option<String>,
) -> Result<()> {
    ensure!(depth <= DEEPEST, "folders are more than {DEEPEST} deep");
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name();
        let Some(name) = name.to_str().filter(|n| !n.starts_with('.')) else {
            continue;
        };
        let path = entry.path();
        // The files of a hub's cache are links.
        let meta = fs::metadata(&path).with_context(|| path.display().to_string())?;
        if meta.is_dir() {
            walk(&path, &format!("{prefix}{name}/"), depth + 1, names, saved)?;
        } else if path
            .extension()
            .is_some_and(|end| end.eq_ignore_ascii_case("arrow"))
        {
            *saved = Some(format!("{prefix}{name}"));
        } else if format(&path).is_ok() && !ABOUT.contains(&name) {
            names.push(format!("{prefix}{name}"));
        }
        ensure!(names.len() <= MOST_FILES, "more than {MOST_FILES} files");
    }
    Ok(())
}

fn choose<'a>(names: &'a [String], split: &str) -> Vec<&'a String> {
    let of = |is: &dyn Fn(&str) -> bool| -> Vec<&'a String> {
        names.iter().filter(|name| is(name)).collect()
    };
    if split.contains('*') {
        return of(&|name| matches(split, name));
    }
    let (folder, words) = (format!("/{split}/"), words(split));
    let ways: [&dyn Fn(&str) -> bool; 3] = [
        &|name| table(name).rsplit('/').next() == Some(split),
        &|name| format!("/{name}").contains(&folder),
        &|name| self::words(name).contains(&words),
    ];
    let chosen = ways.into_iter().map(of).find(|chosen| !chosen.is_empty());
    chosen.unwrap_or_default()
}

/// The path of a file without its ending and without the number of a shard; files that are called by a number are shards of their
/// folder.
fn table(name: &str) -> &str {
    let folder = name.rfind('/').map_or(0, |at| at + 1);
    let end = name[folder..]
        .find('.')
        .map_or(name.len(), |at| folder + at);
    let stem = &name[..end];
    if folder > 0 && stem[folder..].chars().all(|c| c.is_ascii_digit()) {
        return &name[..folder - 1];
    }
    let shard = stem.match_indices('-').find(|(at, _)| {
        let rest = &stem[at + 1..];
        let digits = rest.find(|c: char| !c.is_ascii_digit());
        digits.is_some_and(|n| n > 0 && rest[n..].starts_with("-of-"))
    });
    shard.map_or(stem, |(at, _)| &stem[..at])
}

/// In lower case, a blank around each word.
fn words(text: &str) -> String {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower
        .split(|c: char| !c.is_alphanumeric())
        .filter(|w| !w.is_empty())
        .collect();
    format!(" {} ", words.join(" "))
}

/// Whether a path is like a pattern, in which each `*` stands for anything.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = name.strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let mut parts: Vec<&str> = parts.collect();
    let last = parts.pop().unwrap_or_default();
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
