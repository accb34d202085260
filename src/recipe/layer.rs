//! One file of a recipe: its top-level keys, and the chain of files it extends. Reads recipe files and nothing else.

use crate::parse;
use crate::place;
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

/// What one file, or the command line, says.
pub struct Layer {
    /// Relative paths to files written here start in this folder. Of a recipe that comes with the program it is that of the recipe which
    /// extends it.
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

/// The recipe and all it extends, the eldest first; what could not be read is missing and reported. A relative path starts
/// at `cwd`, and so do the folders of the layers.
pub fn chain(path: &Path, cwd: &Path, diags: &mut Diags) -> Vec<Layer> {
    match place::text(cwd, path, path) {
        Ok(text) => {
            let youngest = read(path.into(), path.into(), &text, PathBuf::new(), diags);
            elders(youngest, cwd, diags)
        }
        Err(diag) => {
            diags.push(*diag);
            vec![]
        }
    }
}

/// The layer and all it extends, the eldest first.
pub fn elders(youngest: Option<Layer>, cwd: &Path, diags: &mut Diags) -> Vec<Layer> {
    let mut layers: Vec<Layer> = youngest.into_iter().collect();
    while let Some(child) = layers.last()
        && let Some((extends, at)) = child.extends.clone()
    {
        let folder = child.folder.clone();
        let path = place::beside(child.path.as_deref(), &folder, &extends);
        // Symbolic links followed; a path that leads nowhere stands for itself.
        let real = |path: &Path| {
            let full = place::full(cwd, path);
            full.canonicalize().unwrap_or_else(|_| path.into())
        };
        let known = |l: &Layer| l.path.as_deref().is_some_and(|p| real(p) == real(&path));
        if let Some(start) = layers.iter().position(known) {
            let mut names: Vec<&str> = layers[start..].iter().map(|l| &*l.source.name).collect();
            names.push(names[0]);
            let message = format!("recipes extend each other: {}", names.join(" -> "));
            diags.push(Diag::at(&at, message).label("closes the circle"));
            break;
        }
        if layers.len() >= DEEPEST {
            let message = format!("more than {DEEPEST} recipes extend one another");
            diags.push(Diag::at(&at, message));
            break;
        }
        let text = match place::text(cwd, &path, Path::new(&extends)) {
            Ok(text) => text,
            Err(diag) => {
                let place = Some(at);
                diags.push(Diag { place, ..*diag }.label("extended here"));
                break;
            }
        };
        match read(place::tidy(&path), path, &text, folder, diags) {
            Some(layer) => layers.push(layer),
            None => break,
        }
    }
    layers.reverse();
    layers
}

/// The text of a recipe, shown as `name`; `child` is the folder of the recipe that extends it.
fn read(
    name: PathBuf,
    path: PathBuf,
    text: &str,
    child: PathBuf,
    diags: &mut Diags,
) -> Option<Layer> {
    let folder = match place::shipped_name(&path) {
        Some(_) => child,
        None => path.parent().map(Path::to_path_buf).unwrap_or_default(),
    };
    layer(&name.display().to_string(), text, folder, Some(path), diags)
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
