//! Parameters and edges of a node that are written and do nothing there. Knows no kind by name.

use crate::check::Folders;
use crate::draft::Draft;
use crate::flags;
use crate::tree::{Item, Shape, Table};
use base::diag::{Diag, Diags};
use base::idle::idle;
use base::setup::Setup;
use base::value;
use engine::graph::Node;
use engine::kind::{Need, Role};
use std::collections::BTreeMap;

/// Parameters that are set and do nothing, by node and name, over the choices of a recipe's axes: what acts in any of them is meant.
#[derive(Default)]
pub struct IdleParams(BTreeMap<(String, String), Option<(Diag, bool)>>);

impl IdleParams {
    fn see(&mut self, node: &str, param: &str, idle: Option<(Diag, bool)>) {
        let kept = self
            .0
            .entry((node.into(), param.into()))
            .or_insert_with(|| idle.clone());
        if idle.is_none() {
            *kept = None;
        }
    }

    pub fn report(self, diags: &mut Diags) {
        for (diag, refused) in self.0.into_values().flatten() {
            match refused {
                true => diags.push(diag),
                false => diags.aside(diag.warning()),
            }
        }
    }
}

/// The parameters that were set for every node that has them and do nothing at this one.
pub fn set_for_all(draft: &Draft, setup: &Setup) -> Vec<&'static str> {
    let specs = (draft.kind.params)().into_iter();
    let specs = specs.chain(draft.kind.execution());
    let idle = specs.filter(|spec| spec.acts.is_some_and(|acts| !acts.is_met(setup)));
    let names = idle.map(|spec| spec.name);
    names
        .filter(|name| match draft.spelled_at(name) {
            Some(at) => flags::for_every_node(at),
            None => flags::is_set_for_every_node(draft.table, name),
        })
        .collect()
}

/// Notes what was set for every node that has it and does nothing at this one: where it acts at none, nobody may have meant it.
/// `settled`: the node without what does nothing there. `knows`: what may be said of its kind.
pub fn look_for_all(
    draft: &Draft,
    settled: Option<&Table>,
    knows: impl Fn(&str) -> bool,
    seen: &mut IdleParams,
) {
    let paths = |table| {
        let mut set = BTreeMap::new();
        flags::set_for_every_node(table, "", &mut set);
        set
    };
    let set = paths(draft.table);
    let acting = settled.map_or_else(|| set.clone(), paths);
    for (path, at) in set.iter().filter(|(path, _)| knows(path)) {
        // What is said of a field makes its table.
        let below = format!("{path}.");
        if set.keys().any(|other| other.starts_with(&below)) {
            continue;
        }
        let told = || {
            let message = format!("`{path}` does nothing at any node that has it");
            let kind = draft.kind.name;
            let help = format!("`pipe kinds {kind}.{path}` says where it acts");
            (Diag::at(at, message).help(help), false)
        };
        let idle = !acting.contains_key(path);
        seen.see(flags::EVERY, path, idle.then(told));
    }
}

/// Notes which parameters and edges of a node do nothing.
pub fn look(folders: &Folders, draft: &Draft, node: &Node, seen: &mut IdleParams) {
    let mut values = (*node.params).clone();
    value::merge(&mut values, &node.exec);
    let ports: Vec<&'static str> = node.inputs.keys().copied().collect();
    let setup = Setup {
        values: &values,
        ports: &ports,
    };
    let specs = (draft.kind.params)()
        .into_iter()
        .chain(draft.kind.execution());
    let changed = is_changed(&draft.entry.item);
    for (name, idle) in idle(specs, &setup) {
        let told = idle.map(|idle| {
            // What a parent or the file wrote cannot be taken back by who only changes what it hangs on.
            let at = draft.locate(name);
            let elder = folders.is_elder(at) || (changed && !flags::by_flag(at));
            (draft.diag(idle.problem), idle.refused && !elder)
        });
        seen.see(&node.name, name, told);
    }
    // All that a program is given stands in its job file, too: what it reads of that, nobody knows.
    if draft.kind.role == Role::Runs {
        return;
    }
    for port in draft.kind.inputs {
        let Need::With { when, .. } = port.need else {
            continue;
        };
        if node.inputs.get(port.name).is_some() {
            let unread = !port.need.of(&node.params);
            let path = format!("in.{}", port.name);
            let message = format!(
                "the input `{}` is needed {when}: here it is not read",
                port.name
            );
            let diag = Diag::at(draft.locate(&path), message);
            seen.see(&node.name, port.name, unread.then_some((diag, false)));
        }
    }
}

/// Whether the command line says anything in here.
fn is_changed(item: &Item) -> bool {
    let below = match &item.shape {
        Shape::Table(table) => table.entries().iter().any(|e| is_changed(&e.item)),
        Shape::List(items) => items.iter().any(is_changed),
        _ => false,
    };
    below || flags::by_flag(item.origin())
}
