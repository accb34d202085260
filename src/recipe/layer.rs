//! One file of a recipe: its top-level keys, and the chain of files it extends. Reads recipe files and nothing else.

use crate::parse;
use crate::tree::{Entry, Item, Shape, Table};
use base::bounded;
use base::diag::{Diag, Diags, Place, Source};
use base::text::did_you_mean;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Recipes that extend one another.
const DEEPEST: usize = 100;

const KEYS: [&str; 8] = [
    "name",
    "description",
    "extends",
    "drop",
    "vars",
    "matrix",
    "claim",
    "node",
];

/// The largest text of a recipe, in bytes: ten thousand nodes are less than one million.
pub const MOST_TEXT: u64 = 16 << 20;

/// What one file, or the command line, says.
pub struct Layer {
    /// Relative paths written here start in this folder.
    pub folder: PathBuf,
    /// Where it was read from; absent for the command line and for a text.
    pub path: Option<PathBuf>,
    pub source: Arc<Source>,
    pub name: Option<String>,
    pub description: Option<String>,
    pub extends: Option<(String, Place)>,
    pub drop: Vec<(String, Place)>,
    pub vars: Table,
    pub matrix: Table,
    /// As they were written; not inherited.
    pub claims: Vec<Item>,
    pub nodes: Table,
}

/// The file and all it extends, the eldest first; what could not be read is missing and reported. A relative path starts
/// at `cwd`, and so do the folders of the layers.
pub fn chain(path: &Path, cwd: &Path, diags: &mut Diags) -> Vec<Layer> {
    let name = path.display().to_string();
    match bounded::read_text(&cwd.join(path), MOST_TEXT) {
        Ok(text) => {
            let folder = parent_folder(path);
            let youngest = layer(&name, &text, folder, Some(path.into()), diags);
            elders(youngest, cwd, diags)
        }
        Err(error) => {
            diags.push(Diag::plain(format!("failed to read `{name}`: {error}")));
            vec![]
        }
    }
}

/// The layer and all it extends, the eldest first.
pub fn elders(youngest: Option<Layer>, cwd: &Path, diags: &mut Diags) -> Vec<Layer> {
    let mut layers: Vec<Layer> = youngest.into_iter().collect();
    while let Some((extends, place)) = layers.last().and_then(|l| l.extends.clone()) {
        let folder = &layers[layers.len() - 1].folder;
        let path = folder.join(&extends);
        // Symbolic links followed; a path that leads nowhere stands for itself.
        let real = |path: &Path| {
            cwd.join(path)
                .canonicalize()
                .unwrap_or_else(|_| path.into())
        };
        let known = |l: &Layer| l.path.as_deref().is_some_and(|p| real(p) == real(&path));
        if let Some(start) = layers.iter().position(known) {
            let mut names: Vec<&str> = layers[start..].iter().map(|l| &*l.source.name).collect();
            names.push(names[0]);
            let message = format!("recipes extend each other: {}", names.join(" -> "));
            diags.push(Diag::at(&place, message).label("closes the circle"));
            break;
        }
        if layers.len() >= DEEPEST {
            let message = format!("more than {DEEPEST} recipes extend one another");
            diags.push(Diag::at(&place, message));
            break;
        }
        let name = tidy(&path).display().to_string();
        let text = match bounded::read_text(&cwd.join(&path), MOST_TEXT) {
            Ok(text) => text,
            Err(error) => {
                let message = format!("failed to read `{name}`: {error}");
                diags.push(Diag::at(&place, message).label("extended here"));
                break;
            }
        };
        match layer(&name, &text, parent_folder(&path), Some(path), diags) {
            Some(layer) => layers.push(layer),
            None => break,
        }
    }
    layers.reverse();
    layers
}

/// One text. `None` where its syntax is broken.
pub fn layer(
    name: &str,
    text: &str,
    folder: PathBuf,
    path: Option<PathBuf>,
    diags: &mut Diags,
) -> Option<Layer> {
    let (source, table) = parse::document(name, text, diags);
    let mut layer = Layer {
        folder,
        path,
        source,
        name: None,
        description: None,
        extends: None,
        drop: vec![],
        vars: Table::default(),
        matrix: Table::default(),
        claims: vec![],
        nodes: Table::default(),
    };
    for entry in table?.into_entries() {
        layer.take(entry, diags);
    }
    Some(layer)
}

impl Layer {
    fn take(&mut self, entry: Entry, diags: &mut Diags) {
        match entry.key.as_str() {
            "name" => self.name = named(string(&entry, diags), diags),
            "description" => self.description = string(&entry, diags).map(|(s, _)| s),
            "extends" => self.extends = string(&entry, diags),
            "drop" => self.drop = strings(&entry, diags),
            "vars" => {
                let mut vars = table(entry, diags);
                vars.retain(|v| is_variable(v, diags));
                self.vars = vars;
            }
            "node" => {
                let mut nodes = table(entry, diags);
                nodes.retain(|n| is_node(n, diags));
                self.nodes = nodes;
            }
            "matrix" => self.matrix = table(entry, diags),
            "claim" => match entry.item.shape {
                Shape::List(items) => self.claims = items,
                _ => {
                    expected("an array of tables", &entry.item, "claim", diags);
                }
            },
            key => {
                let diag = Diag::at(&entry.key_at, format!("unknown key `{key}`"));
                diags.push(
                    diag.label("not a key of a recipe")
                        .suggest(did_you_mean(key, KEYS)),
                );
            }
        }
    }
}

/// The recipe's own name.
fn named(name: Option<(String, Place)>, diags: &mut Diags) -> Option<String> {
    let (name, at) = name?;
    if let Some(problem) = bounded::name_problem(&name) {
        let diag = Diag::at(&at, format!("this cannot be a recipe's name: {problem}"));
        diags.push(diag.help("a few words or letters, as `name = \"lambda-sweep\"`"));
        return None;
    }
    Some(name)
}

fn parent_folder(path: &Path) -> PathBuf {
    path.parent().map(Path::to_path_buf).unwrap_or_default()
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

fn is_variable(entry: &Entry, diags: &mut Diags) -> bool {
    let problem = bounded::name_problem(&entry.key);
    if let Some(problem) = &problem {
        let message = format!("this cannot be a variable's name: {problem}");
        diags.push(Diag::at(&entry.key_at, message));
    }
    problem.is_none()
}

fn is_node(entry: &Entry, diags: &mut Diags) -> bool {
    if !matches!(entry.item.shape, Shape::Table(_)) {
        let message = format!(
            "`node.{}` is {}, not a table",
            entry.key,
            entry.item.type_name()
        );
        diags.push(Diag::at(&entry.key_at, message).help("a node is written `[node.NAME]`"));
        return false;
    }
    let lower = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-".contains(c);
    if entry.key.is_empty() || !entry.key.chars().all(lower) {
        let message = format!("`{}` cannot be a node's name", entry.key);
        let help = "a name is made of `a`-`z`, `0`-`9`, `_` and `-`";
        diags.push(Diag::at(&entry.key_at, message).help(help));
    } else if let Some(problem) = bounded::name_problem(&entry.key) {
        let message = format!("this cannot be a node's name: {problem}");
        diags.push(Diag::at(&entry.key_at, message));
    }
    if ["vars", "node"].contains(&entry.key.as_str()) {
        let message = format!("`{}` cannot be a node's name", entry.key);
        diags.push(Diag::at(&entry.key_at, message).help("`--set` uses the word itself"));
    }
    true
}

fn expected(what: &str, item: &Item, key: &str, diags: &mut Diags) {
    if !matches!(item.shape, Shape::Bad) {
        let message = format!("`{key}` expects {what}, got {}", item.type_name());
        diags.push(Diag::at(&item.at, message));
    }
}

fn string(entry: &Entry, diags: &mut Diags) -> Option<(String, Place)> {
    match &entry.item.shape {
        Shape::Str(s) => Some((s.clone(), entry.item.at.clone())),
        _ => {
            expected("a string", &entry.item, &entry.key, diags);
            None
        }
    }
}

fn strings(entry: &Entry, diags: &mut Diags) -> Vec<(String, Place)> {
    let Shape::List(items) = &entry.item.shape else {
        expected("an array of names", &entry.item, &entry.key, diags);
        return vec![];
    };
    let mut strings = vec![];
    for item in items {
        match &item.shape {
            Shape::Str(s) => strings.push((s.clone(), item.at.clone())),
            _ => expected("names", item, &entry.key, diags),
        }
    }
    strings
}

fn table(entry: Entry, diags: &mut Diags) -> Table {
    match entry.item.shape {
        Shape::Table(table) => table,
        _ => {
            expected("a table", &entry.item, &entry.key, diags);
            Table::default()
        }
    }
}
