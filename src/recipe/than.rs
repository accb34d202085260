//! `than`: a condition about two metrics of one node, where others are about one metric of two recipes. What a claim of such conditions
//! has no use for, and what they cannot say.

use crate::tree::{Item, Shape, Table};
use base::diag::{Diag, Diags, Place};

/// What stands in a condition, or in its claim, for a node or a variant of another recipe.
const OF_ANOTHER: [&str; 3] = ["against", "against_at", "against_node"];

/// Whether a claim is within its recipe: a condition of it says `than`.
pub fn within(claim: &Table) -> bool {
    items(claim).iter().any(says)
}

fn items(claim: &Table) -> &[Item] {
    match claim.get("expect").map(|e| &e.item.shape) {
        Some(Shape::List(items)) => items,
        _ => &[],
    }
}

fn says(item: &Item) -> bool {
    matches!(&item.shape, Shape::Table(table) if table.get("than").is_some())
}

/// Reports what a claim within its recipe says of another one, and conditions of it that are about another one.
pub fn look(claim: &Table, diags: &mut Diags) {
    let conditions = items(claim).iter().filter_map(|item| match &item.shape {
        Shape::Table(table) => Some(table),
        _ => None,
    });
    for table in std::iter::once(claim).chain(conditions) {
        for entry in OF_ANOTHER.iter().filter_map(|key| table.get(key)) {
            let message = format!("`than` is of the same node, so there is no `{}`", entry.key);
            let help = "without `than` a condition compares one metric with another recipe";
            diags.push(Diag::at(&entry.key_at, message).help(help));
        }
    }
    for item in items(claim).iter().filter(|item| !says(item)) {
        if let Shape::Table(_) = item.shape {
            let message = "the condition lacks `than`, which others of its claim have";
            let help = "a claim is within its recipe or against another one: write two";
            diags.push(Diag::at(&item.at, message).help(help));
        }
    }
}

/// Two metrics are one against one.
pub fn fits(metrics: &[(String, Place)], than: &(String, Place), diags: &mut Diags) {
    let (name, at) = than;
    match metrics {
        [(metric, other)] if metric == name => {
            let message = format!("`{name}` is compared with itself");
            diags.push(Diag::at(at, message).related(other, "the same metric"));
        }
        [_] => {}
        _ => {
            let diag = Diag::at(at, "`than` goes with `metric`, one against one");
            diags.push(diag.help("write a condition for each metric"));
        }
    }
}
