//! Files that were made elsewhere become the outputs of a node: copied into an attempt, checked for the shape of their type, and
//! committed like everything else.

use crate::gc::vouch::{self, OverrideSource, Refusal};
use crate::graph::{Graph, NodeId};
use crate::kind::Type;
use crate::kind::attempt::{Attempt, Spec};
use crate::store::Store;
use crate::store::commit::{self, CommitError, Delivery};
use crate::store::record::{Adopted, Provenance, Record};
use crate::system::Process;
use crate::system::clock;
use crate::system::files;
use anyhow::{Context, Result};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// `paths`: a file or folder for every output of the node.
pub fn adopt(
    store: &Store,
    graph: &Graph,
    id: NodeId,
    paths: &BTreeMap<String, PathBuf>,
    voucher: &OverrideSource,
) -> Result<Record, Refusal> {
    let node = graph.node(id);
    let types = node.kind.types(&node.params);
    if let Some(name) = types.keys().find(|name| !paths.contains_key(**name)) {
        return Err(Refusal::No(format!(
            "`{}` delivers `{name}` as well: `--output {name}=PATH`",
            node.name
        )));
    }
    for (name, path) in paths {
        if !types.contains_key(name.as_str()) {
            let message = format!("`{}` delivers no `{name}`", node.name);
            return Err(Refusal::No(message));
        }
        fit(store, path)?;
    }
    let open = vouch::open(store, graph, id)?;
    let spec = Spec {
        key: open.key.clone(),
        kind: node.kind.name.into(),
        revision: node.kind.revision,
        node: node.name.clone(),
        params: String::new(),
        exec: String::new(),
        inputs: BTreeMap::new(),
        outputs: types.keys().map(|name| name.to_string()).collect(),
        threads: 0,
        earlier: vec![],
        calls: store.calls(),
        engine: Process::own(),
        run: String::new(),
        started_ms: clock::now_ms(),
    };
    let attempt = Attempt::create(store, &spec, &[])?;
    let delivery = Delivery {
        attempt: &attempt,
        earlier: &[],
        spec: &spec,
        manifest: &open.manifest,
        types,
        provenance: Provenance {
            recipe: voucher.recipe.into(),
            node: node.plain_name().into(),
            version: voucher.version.into(),
            ..Provenance::default()
        },
        forced: false,
        adopted: Some(Adopted {
            from: paths
                .iter()
                .map(|(name, path)| (name.clone(), path.display().to_string()))
                .collect(),
            reason: voucher.reason.into(),
            at_ms: spec.started_ms,
        }),
    };
    let committed = deliver(store, &delivery, paths);
    // Under its lock still: none of the key's attempts is of use any more, or of use to anyone but us.
    match &committed {
        Ok(_) => {
            Attempt::sweep(store, &open.key);
            store.remember(&open.plan_key, &open.key);
        }
        Err(_) => {
            let _ = attempt.remove();
        }
    }
    committed
}

fn deliver(
    store: &Store,
    delivery: &Delivery,
    paths: &BTreeMap<String, PathBuf>,
) -> Result<Record, Refusal> {
    for (name, path) in paths {
        let ty = delivery.types[name.as_str()];
        let into = delivery.attempt.output(name);
        copy(path, &into, ty)?;
        ty.check(&into).map_err(|error| {
            let shown = path.display();
            Refusal::No(format!("{shown} is no artifact of type `{ty}`: {error:#}"))
        })?;
    }
    match commit::commit(store, delivery) {
        Ok(committed) => Ok(committed.record),
        Err(CommitError::Outputs(message)) => Err(Refusal::No(message)),
        Err(CommitError::Store(error)) => Err(Refusal::World(error)),
    }
}

/// No links, and nothing of the store itself.
fn fit(store: &Store, path: &Path) -> Result<(), Refusal> {
    let shown = path.display();
    let meta = fs::symlink_metadata(path)
        .map_err(|error| Refusal::No(format!("cannot read {shown}: {error}")))?;
    if meta.is_symlink() {
        return Err(Refusal::No(format!(
            "{shown} is a link; name what it leads to"
        )));
    }
    let whole = path.canonicalize().context("finding the path")?;
    // One that is not there yet holds nothing.
    let root = store.root().canonicalize().ok();
    if root.is_some_and(|root| whole.starts_with(&root) || root.starts_with(&whole)) {
        return Err(Refusal::No(format!(
            "{shown} is a part of the store, or holds it"
        )));
    }
    if meta.is_dir()
        && let Err(error) = files::walk(path, false)
    {
        return Err(Refusal::No(format!(
            "{shown}: {error:#}; links are not followed"
        )));
    }
    Ok(())
}

/// A single file takes the name that its type gives it.
fn copy(path: &Path, into: &Path, ty: Type) -> Result<()> {
    let files = match path.is_dir() {
        true => files::walk(path, false)?,
        false => {
            let own = path.file_name().unwrap_or_default().to_string_lossy();
            let name = ty.file().map_or(own.into_owned(), String::from);
            vec![(name, path.to_path_buf())]
        }
    };
    for (relative, from) in files {
        let to = into.join(&relative);
        let shown = || format!("copying {}", from.display());
        if let Some(parent) = to.parent() {
            fs::create_dir_all(parent).with_context(shown)?;
        }
        fs::copy(&from, &to).with_context(shown)?;
    }
    Ok(())
}
