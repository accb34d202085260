//! What the path parameters of a node lead to on this machine: contents for its manifest, what is absent, commits of the hub. Knows
//! the parameters of a kind; who decides anything by it is `plan`.

use crate::graph::Node;
use crate::graph::manifest;
use crate::kind::Kind;
use crate::store::Store;
use crate::store::hub;
use anyhow::{Context, Result};
use base::params::ParamSpec;
use base::value::{self, Value, Values};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::convert::Infallible;

/// Of one node, as it was at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paths {
    /// By parameter: what stands for the contents in a manifest; of what is absent, that it is.
    pub contents: BTreeMap<String, String>,
    pub absent: Vec<Absent>,
    /// By address on the hub: the commit that it stood for.
    pub commits: BTreeMap<String, String>,
}

/// A file or folder that a node names and that is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Absent {
    /// The parameter that names it.
    pub param: String,
    /// An absolute path, or an address on the hub.
    pub written: String,
    /// Where it was looked for.
    pub looked: String,
    /// The command that gets it, where one is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub get: Option<String>,
}

impl Absent {
    /// In one line.
    pub fn told(&self) -> String {
        let Absent {
            written, looked, ..
        } = self;
        let looked = match looked == written {
            true => String::new(),
            false => format!(" (looked at {looked})"),
        };
        let get = self.get.as_ref().map(|g| format!("; get it with `{g}`"));
        format!("no {written}{looked}{}", get.unwrap_or_default())
    }
}

impl Paths {
    /// As it is now.
    pub fn of(store: &Store, node: &Node) -> Result<Paths> {
        Paths::of_params(store, node.kind, &node.params)
    }

    /// The same of parameters that may be located already.
    pub(crate) fn of_params(store: &Store, kind: &Kind, params: &Values) -> Result<Paths> {
        let mut found = Paths::default();
        for spec in (kind.params)() {
            let Some(value) = value::at(params, spec.name) else {
                continue;
            };
            if manifest::holds_paths(&spec.ty) {
                let content = &mut |written: &str| found.content(store, spec.name, written);
                let contents = manifest::with_contents(value, content)
                    .with_context(|| format!("parameter `{}`", spec.name))?;
                let text = match contents {
                    Value::Str(content) => content,
                    several => several.canon(),
                };
                found.contents.insert(spec.name.to_string(), text);
            }
        }
        Ok(found)
    }

    /// What stands for the content of a path or an address.
    fn content(&mut self, store: &Store, param: &str, written: &str) -> Result<String> {
        match hub::find(written) {
            hub::Found::There { path, commit } => {
                if let Some(commit) = commit {
                    self.commits.insert(written.into(), commit);
                }
                store.sources().content(&path)
            }
            hub::Found::Absent { looked, get } => {
                self.absent.push(absent(param, written, looked, get));
                Ok("absent".into())
            }
        }
    }
}

fn absent(param: &str, written: &str, looked: String, get: Option<String>) -> Absent {
    Absent {
        param: param.into(),
        written: written.into(),
        looked,
        get,
    }
}

/// Those of these parameters that are not there.
pub fn missing(specs: &[ParamSpec], values: &Values) -> Vec<Absent> {
    let named = named(specs, values).into_iter();
    let missing = named.filter_map(|(param, written)| match hub::find(&written) {
        hub::Found::There { .. } => None,
        hub::Found::Absent { looked, get } => Some(absent(param, &written, looked, get)),
    });
    missing.collect()
}

/// Every path or address, with the parameter that holds it.
pub fn named(specs: &[ParamSpec], values: &Values) -> Vec<(&'static str, String)> {
    let mut found = vec![];
    for spec in specs.iter().filter(|spec| manifest::holds_paths(&spec.ty)) {
        let Some(value) = value::at(values, spec.name) else {
            continue;
        };
        let note = &mut |written: &str| -> Result<String, Infallible> {
            found.push((spec.name, written.to_string()));
            Ok(String::new())
        };
        let Ok(_) = manifest::with_contents(value, note);
    }
    found
}

pub(crate) fn has_any(kind: &Kind) -> bool {
    let specs = (kind.params)();
    specs.iter().any(|spec| manifest::holds_paths(&spec.ty))
}

/// The parameters with every path as it is on this machine: addresses of the hub are where their files lie.
pub fn located(kind: &Kind, params: &Values) -> Values {
    let mut located = params.clone();
    for spec in (kind.params)() {
        if manifest::holds_paths(&spec.ty)
            && let Some(value) = value::at_mut(&mut located, spec.name)
        {
            let place = &mut |written: &str| -> Result<String, Infallible> {
                Ok(match hub::find(written) {
                    hub::Found::There { path, .. } => path.display().to_string(),
                    hub::Found::Absent { .. } => written.to_string(),
                })
            };
            let Ok(there) = manifest::with_contents(value, place);
            *value = there;
        }
    }
    located
}
