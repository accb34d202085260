//! Where a recipe is: a file, or one that comes with the program, as `pipe:tars`. Paths from one to the other, their texts, and what is
//! said of one that is not there. Knows nothing of what a recipe says.

use crate::shipped;
use base::bounded;
use base::claim::SHIPPED;
use base::diag::Diag;
use base::text::did_you_mean;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The largest text of a recipe, in bytes: ten thousand nodes are less than one million.
pub const MOST_TEXT: u64 = 16 << 20;

/// The name that follows `pipe:`, whether there is such a recipe or not; nothing of a file's path.
pub fn shipped_name(path: &Path) -> Option<String> {
    let name = path.to_str()?.strip_prefix(SHIPPED)?;
    let name = tidy(Path::new(name.trim_start_matches('/')));
    let name = name.to_str()?;
    Some(name.strip_suffix(".toml").unwrap_or(name).into())
}

/// A path as it is passed on: a recipe that comes with the program has one spelling.
pub fn spelled(path: &Path) -> PathBuf {
    match shipped_name(path) {
        Some(name) => format!("{SHIPPED}{name}").into(),
        None => path.into(),
    }
}

/// The same, found from wherever one is.
pub fn full(cwd: &Path, path: &Path) -> PathBuf {
    match shipped_name(path) {
        Some(_) => spelled(path),
        None => cwd.join(path),
    }
}

/// The path of the recipe that another one calls so: it starts where that one is, or in `folder` if that is a file or a text.
pub fn beside(from: Option<&Path>, folder: &Path, written: &str) -> PathBuf {
    let written = Path::new(written);
    match (shipped_name(written), from.and_then(shipped_name)) {
        (Some(_), _) => spelled(written),
        (None, Some(own)) if written.is_relative() => {
            let own = Path::new(&own).with_file_name(written);
            spelled(Path::new(&format!("{SHIPPED}{}", own.display())))
        }
        (None, _) => folder.join(written),
    }
}

/// Whether a word of the command line means a recipe, as opposed to a run.
pub fn is_recipe(path: &Path) -> bool {
    shipped_name(path).is_some() || path.is_file()
}

/// Whether there is such a recipe.
pub fn is_there(full: &Path) -> bool {
    match shipped_name(full) {
        Some(name) => shipped::text(&name).is_some(),
        None => full.is_file(),
    }
}

/// What a recipe is called that does not say it: `tars` of `recipes/tars.toml` and of `pipe:tars`.
pub fn stem(path: &Path) -> String {
    let stem = match shipped_name(path) {
        Some(name) => name.rsplit('/').next().map(String::from),
        None => path.file_stem().map(|s| s.to_string_lossy().into_owned()),
    };
    stem.unwrap_or_else(|| "recipe".into())
}

/// The text of a recipe; of one that cannot be read what is wrong, without a place. `written` is how somebody called it.
pub fn text(cwd: &Path, path: &Path, written: &Path) -> Result<String, Box<Diag>> {
    let shown = match tidy(path) {
        here if here.as_os_str().is_empty() => ".".into(),
        tidy => tidy.display().to_string(),
    };
    if let Some(name) = shipped_name(path) {
        let absent = || {
            let near = near(cwd, path, written);
            let help = near.unwrap_or_else(|| "`pipe new --list` names all".into());
            Diag::plain(format!("no recipe `{shown}` comes with the program")).help(help)
        };
        return match shipped::text(&name) {
            Some(text) => Ok(text.into()),
            None => Err(Box::new(absent())),
        };
    }
    bounded::read_text(&cwd.join(path), MOST_TEXT).map_err(|error| {
        let message = match error.kind() {
            ErrorKind::NotFound => format!("failed to read `{shown}`: there is no such file"),
            ErrorKind::IsADirectory => format!(
                "failed to read `{shown}`: it is a folder; a recipe is a file, as `study.toml`"
            ),
            _ => format!("failed to read `{shown}`: {error}"),
        };
        let mut diag = Diag::plain(message);
        if error.kind() == ErrorKind::NotFound {
            let bare = path.extension().is_none() && path.components().count() == 1;
            let form = "a recipe is a file, as `study.toml`, or one that comes with the program, as `pipe:tars`; names of nodes \
                        stand after it";
            diag.help = near(cwd, path, written).or_else(|| bare.then(|| form.into()));
        }
        Box::new(diag)
    })
}

/// What may be meant by a recipe that is not there: a file in the same folder, else one that comes with the program.
pub fn near(cwd: &Path, path: &Path, written: &Path) -> Option<String> {
    let meant = |name: &Path| format!("did you mean `{}`?", name.display());
    if let Some(name) = shipped_name(path) {
        let near = near_name(&name)?;
        return Some(meant(Path::new(&format!("{SHIPPED}{near}"))));
    }
    let folder = cwd.join(path.parent().unwrap_or(Path::new("")));
    let there = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let stems = there.filter_map(|f| {
        f.file_name()
            .to_str()?
            .strip_suffix(".toml")
            .map(String::from)
    });
    let mut stems: Vec<String> = stems.collect();
    stems.sort();
    let whole = path.file_name()?.to_str()?;
    let name = whole.strip_suffix(".toml").unwrap_or(whole);
    // What ends otherwise may end wrongly.
    let stem = path.file_stem()?.to_str()?;
    let alike = |name: &str| did_you_mean(name, stems.iter().map(String::as_str));
    let same = stems.iter().find(|s| *s == stem).cloned();
    if let Some(near) = same.or_else(|| alike(name)).or_else(|| alike(stem)) {
        return Some(meant(&written.with_file_name(format!("{near}.toml"))));
    }
    let tidy = tidy(path);
    let whole = tidy.to_str()?;
    let name = of_the_same_name(whole.strip_suffix(".toml").unwrap_or(whole))?;
    Some(format!(
        "`{SHIPPED}{name}` comes with the program: did you mean that?"
    ))
}

/// The recipe that comes with the program and whose name this path ends with, or whose last part is the same.
fn of_the_same_name(path: &str) -> Option<&'static str> {
    let ends = |name: &&str| path == *name || path.ends_with(&format!("/{name}"));
    let same = |name: &&str| last(name) == last(path);
    shipped::names()
        .find(ends)
        .or_else(|| shipped::names().find(same))
}

/// The recipe that comes with the program and whose name, or the last part of it, is near.
fn near_name(name: &str) -> Option<&'static str> {
    let whole = did_you_mean(name, shipped::names());
    let whole = whole.and_then(|near| shipped::names().find(|name| *name == near));
    let part = || did_you_mean(last(name), shipped::names().map(last));
    let of_part = |near: String| shipped::names().find(|name| last(name) == near);
    whole
        .or_else(|| of_the_same_name(name))
        .or_else(|| part().and_then(of_part))
}

fn last(name: &str) -> &str {
    name.rsplit('/').next().unwrap_or(name)
}

/// `a/b/../x.toml` as `a/x.toml`, for people only: with symbolic links it may be another file.
pub fn tidy(path: &Path) -> PathBuf {
    use std::path::Component::{CurDir, Normal, ParentDir};
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            CurDir => {}
            ParentDir if matches!(tidy.components().next_back(), Some(Normal(_))) => {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}
