//! Parameters and edges of a node that are written and do nothing there. Knows no kind by name.

use crate::check::Folders;
use crate::compose;
use crate::draft::Draft;
use crate::tree::{Item, Shape};
use base::diag::{Diag, Diags};
use base::idle::idle;
use base::setup::Setup;
use base::value;
use engine::graph::Node;
use engine::kind::{Need, Role};
use std::collections::BTreeMap;

/// Parameters that are set and do nothing, by node and name, over the choices of a recipe's axes: what acts in any of them is meant.
#[derive(Default)]
pub struct IdleParams(BTreeMap<(String, &'static str), Option<(Diag, bool)>>);

impl IdleParams {
    fn see(&mut self, node: &str, param: &'static str, idle: Option<(Diag, bool)>) {
        let kept = self
            .0
            .entry((node.into(), param))
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

/// Notes which parameters and edges of a node do nothing. Gives those that do nothing here and were set at every node that has them: they
/// are as if nobody had said anything.
pub fn look(
    folders: &Folders,
    draft: &Draft,
    node: &Node,
    seen: &mut IdleParams,
) -> Vec<&'static str> {
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
    let mut unsaid = vec![];
    for (name, idle) in idle(specs, &setup) {
        let everywhere = compose::for_every_node(draft.locate(name));
        unsaid.extend((everywhere && idle.is_some()).then_some(name));
        let told = idle.filter(|_| !everywhere).map(|idle| {
            // What a parent or the file wrote cannot be taken back by who only changes what it hangs on.
            let at = draft.locate(name);
            let elder = folders.is_elder(at) || (changed && !compose::by_flag(at));
            (draft.diag(idle.problem), idle.refused && !elder)
        });
        seen.see(&node.name, name, told);
    }
    // All that a program is given stands in its job file, too: what it reads of that, nobody knows.
    if draft.kind.role == Role::Runs {
        return unsaid;
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
    unsaid
}

/// Whether the command line says anything in here.
fn is_changed(item: &Item) -> bool {
    let below = match &item.shape {
        Shape::Table(table) => table.entries().iter().any(|e| is_changed(&e.item)),
        Shape::List(items) => items.iter().any(is_changed),
        _ => false,
    };
    below || compose::by_flag(item.origin())
}
