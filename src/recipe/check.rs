//! One written value against the shape a kind declares for it. Knows no graph.

use crate::layer::Layer;
use crate::place;
use crate::tree::{Entry, Item, Shape};
use crate::vars;
use base::bounded;
use base::diag::{Diag, Diags, Place};
use base::params::{ParamSpec, Ty};
use base::text::did_you_mean;
use base::value::Value;
use engine::store::hub::Address;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Where relative paths start.
pub struct Folders<'a> {
    pub layers: &'a [Layer],
    /// The folder of `--set`, and where the layers' own folders start.
    pub cwd: &'a Path,
}

impl Folders<'_> {
    /// Whether this was written in a recipe that the one in question extends.
    pub fn is_elder(&self, written: &Place) -> bool {
        let elders = self.layers.iter().rev().skip(1);
        elders
            .map(|l| &l.source)
            .any(|source| Arc::ptr_eq(source, &written.source))
    }

    fn absolute(&self, path: &str, written: &Place) -> std::io::Result<PathBuf> {
        let here = |l: &&Layer| Arc::ptr_eq(&l.source, &written.source);
        let layer = self.layers.iter().find(here);
        let folder = match layer {
            Some(layer) => self.cwd.join(&layer.folder),
            None => self.cwd.into(),
        };
        // A recipe of the program lies in no folder: what is above it is beside the recipe that extends it.
        let shipped = layer.and_then(|layer| layer.path.as_deref());
        let path = match shipped.and_then(place::shipped_name) {
            Some(_) => path.trim_start_matches("../"),
            None => path,
        };
        std::path::absolute(folder.join(path))
    }
}

/// The value of a parameter, `None` where it was wrong and is reported. What a run kept (`resolved`) may have a word's older name.
pub fn param(
    spec: &ParamSpec,
    entry: &Entry,
    folders: &Folders,
    resolved: bool,
    diags: &mut Diags,
) -> Option<Value> {
    // What a run kept nobody wrote, so nobody is told.
    if let Shape::Str(word) = &entry.item.shape
        && resolved
        && let Some(now) = (spec.renamed)(word)
    {
        return Some(Value::Str(now.into()));
    }
    // Of a word that it does not take, the field's own type may know more: what it is called now.
    if let (Ty::Choice(words), Shape::Str(word)) = (&spec.ty, &entry.item.shape)
        && !words.contains(&word.as_str())
        && let Err(problem) = (spec.fits)(&Value::Str(word.clone()))
        && problem != format!("expected {}", spec.ty.describe())
    {
        let diag = Diag::at(&entry.item.at, format!("`{}`: {problem}", spec.name));
        diags.push(with_origin(diag, &entry.item));
        return None;
    }
    let mut reading = Reading { folders, diags };
    let value = reading.value(&spec.ty, &entry.item, spec.name)?;
    if let Err(problem) = (spec.fits)(&value) {
        let diag = Diag::at(&entry.item.at, format!("`{}`: {problem}", spec.name));
        diags.push(with_origin(diag, &entry.item));
        return None;
    }
    Some(value)
}

/// `name` expects something else.
pub fn wrong(what: &str, name: &str, item: &Item) -> Diag {
    let message = format!("`{name}` expects {what}, got {}", item.type_name());
    with_origin(Diag::at(&item.at, message), item)
}

/// Whether a text stands in quotes where it is written: on the command line it need not.
fn quoted(item: &Item) -> bool {
    let at = item.from.as_ref().unwrap_or(&item.at);
    let written = at.source.text.get(at.span.clone()).unwrap_or_default();
    !at.source.name.starts_with("--") || written.starts_with(['"', '\''])
}

fn with_origin(mut diag: Diag, item: &Item) -> Diag {
    match &item.from {
        // Who wrote the command line is to look there, not into the recipe.
        Some(place) if place.source.name.starts_with("--") => {
            let used = diag.place.replace(place.clone());
            match used {
                Some(used) => diag.related(&used, "the value is used here"),
                None => diag,
            }
        }
        Some(place) => diag.related(place, "the value is written here"),
        None => diag,
    }
}

struct Reading<'a> {
    folders: &'a Folders<'a>,
    diags: &'a mut Diags,
}

impl Reading<'_> {
    fn value(&mut self, ty: &Ty, item: &Item, name: &str) -> Option<Value> {
        match (ty, &item.shape) {
            (_, Shape::Bad) => None,
            (Ty::Bool, Shape::Bool(b)) => Some(Value::Bool(*b)),
            (Ty::Int, Shape::Int(i)) => Some(Value::Int(*i)),
            (Ty::Float, Shape::Float(f)) => Some(Value::Float(*f)),
            (Ty::Float, Shape::Int(i)) => self.whole(*i, item, name),
            (Ty::Str | Ty::Pattern(_), Shape::Str(s)) => Some(Value::Str(s.clone())),
            (Ty::Choice(words), Shape::Str(s)) => self.choice(words, s, item, name),
            (Ty::Path, Shape::Str(s)) => self.path(s, item),
            (Ty::List(of), Shape::List(items)) => self.list(of, items, name),
            (Ty::Any, _) => self.any(item, name),
            (Ty::Map(of), Shape::Table(table)) => {
                // Every value is read before any is given up, so that all errors show.
                let read = |e: &Entry| {
                    let value = self.value(of, &e.item, &format!("{name}.{}", e.key));
                    value.map(|v| (e.key.clone(), v))
                };
                let pairs: Vec<_> = table.entries().iter().map(read).collect();
                Some(Value::Table(pairs.into_iter().collect::<Option<_>>()?))
            }
            _ => self.mismatch(ty, item, name),
        }
    }

    fn list(&mut self, of: &Ty, items: &[Item], name: &str) -> Option<Value> {
        let read = |(i, item)| self.value(of, item, &format!("{name}[{i}]"));
        let values: Vec<_> = items.iter().enumerate().map(read).collect();
        Some(Value::List(values.into_iter().collect::<Option<_>>()?))
    }

    /// A value as it is written.
    fn any(&mut self, item: &Item, name: &str) -> Option<Value> {
        let ty = match &item.shape {
            Shape::Bool(_) => Ty::Bool,
            Shape::Int(_) => Ty::Int,
            Shape::Float(_) => Ty::Float,
            Shape::Str(_) => Ty::Str,
            Shape::List(_) => Ty::List(Ty::Any.into()),
            Shape::Table(_) => Ty::Map(Ty::Any.into()),
            Shape::Bad => return None,
        };
        self.value(&ty, item, name)
    }

    fn mismatch(&mut self, ty: &Ty, item: &Item, name: &str) -> Option<Value> {
        let diag = wrong(&ty.describe(), name, item);
        self.diags.push(match (ty, &item.shape) {
            (Ty::Int, Shape::Float(f)) if f.fract() == 0.0 && f.abs() < 1e15 => {
                diag.help(format!("write `{f:.0}`"))
            }
            (Ty::Int | Ty::Float, Shape::Str(s)) if s.parse::<f64>().is_ok() && quoted(item) => {
                diag.help("write it without quotes")
            }
            (Ty::Bool, Shape::Str(s)) if s == "true" || s == "false" => {
                diag.help("write it without quotes")
            }
            (_, Shape::Str(s)) if vars::meant(s).is_some() => {
                diag.suggest(vars::meant(s).map(vars::mention))
            }
            (Ty::List(_), _) => diag.help("an array is written `[a, b]`"),
            _ => diag,
        });
        None
    }

    fn whole(&mut self, i: i64, item: &Item, name: &str) -> Option<Value> {
        let float = i as f64;
        // Beyond 2^53 a float would be another number than the one written.
        if float as i128 != i128::from(i) {
            let message = format!("`{name}`: no float is exactly {i}");
            self.diags
                .push(with_origin(Diag::at(&item.at, message), item));
            return None;
        }
        Some(Value::Float(float))
    }

    fn choice(&mut self, words: &[&str], word: &str, item: &Item, name: &str) -> Option<Value> {
        if words.contains(&word) {
            return Some(Value::Str(word.into()));
        }
        let what = Ty::describe_words(words);
        let message = format!("`{name}` expects {what}, got `{word}`");
        let near = did_you_mean(word, words.iter().copied());
        let near = near.or_else(|| vars::meant(word).map(vars::mention));
        let diag = Diag::at(&item.at, message).suggest(near);
        self.diags.push(with_origin(diag, item));
        None
    }

    /// A file that is not there is no fault of the recipe: it may be on another machine. Running it is refused.
    fn path(&mut self, path: &str, item: &Item) -> Option<Value> {
        let wrong = |message: String| with_origin(Diag::at(&item.at, message), item);
        if let Some(address) = Address::parse(path) {
            return match address {
                Ok(address) => Some(Value::Str(address.to_string())),
                Err(problem) => {
                    self.diags.push(wrong(format!("`{path}`: {problem}")));
                    None
                }
            };
        }
        if path.is_empty() {
            let help = "it would be the recipe's own folder; name a file, or write `.` where the folder is meant";
            self.diags
                .push(wrong("the path is empty".into()).help(help));
            return None;
        }
        let absent = format!("no file or folder `{path}`");
        let full = match self.folders.absolute(path, item.origin()) {
            Ok(full) => full,
            Err(error) => {
                self.diags.push(wrong(absent).help(error.to_string()));
                return None;
            }
        };
        let Some(text) = full.to_str() else {
            self.diags.push(wrong(absent).help("the path is not UTF-8"));
            return None;
        };
        if !full.exists() {
            let help = match path.starts_with('~') {
                true => "`~` is not expanded".to_string(),
                false => format!("looked for `{text}`; a run needs it"),
            };
            self.diags.aside(wrong(absent).help(help).warning());
        }
        if let Err(error) = bounded::special(&full)
            && full.exists()
        {
            self.diags.push(wrong(format!("`{path}`: {error}")));
            return None;
        }
        Some(Value::Str(text.into()))
    }
}
