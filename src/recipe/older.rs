//! What parameters were called before they were called what they are, told to authors, and how a run kept them that was made then. Knows
//! no kind by name.

use crate::draft::{Draft, Spelled};
use crate::tree::{Entry, Shape};
use base::diag::{Diag, Diags};
use base::params::{Default, ParamSpec, Ty};

/// Whether a parameter was called so before it was called what it is: `lora.rank` was `lora_rank`.
pub fn was(spec: &ParamSpec, key: &str) -> bool {
    match spec.block {
        None => spec.was.contains(&key),
        Some(block) => {
            let flat = key.strip_prefix(block.name);
            let flat = flat.and_then(|rest| rest.strip_prefix('_'));
            let flat = flat.is_some_and(|rest| rest == spec.field() || spec.was.contains(&rest));
            flat || spec.was.contains(&key)
        }
    }
}

/// What is written as `written` has other names now, which is reported.
pub fn now<'d>(
    draft: &Draft<'d>,
    entry: &'d Entry,
    written: &str,
    specs: &[&ParamSpec],
    diags: &mut Diags,
) -> Spelled<'d> {
    let message = format!("`{written}` is now {}", draft.names(entry, specs));
    let mut help = format!("`{}`: {}", specs[0].name, specs[0].doc.trim());
    if let Some(block) = specs[0].block.filter(|block| block.optional) {
        help += &format!(" (`{} = false`: none)", block.name);
    }
    // What a run kept nobody wrote, so nobody is told.
    let nobody = draft.resolved && specs.len() == 1 && of_one_measure(specs[0], entry);
    if !nobody {
        diags.push(Diag::at(&entry.key_at, message).help(help));
    }
    Spelled::of(specs, entry)
}

/// Whether the number of an older version means the same now: one that has another type counts something else, as steps are no
/// share of them. 0 is 0 of either.
fn of_one_measure(spec: &ParamSpec, entry: &Entry) -> bool {
    match entry.item.shape {
        Shape::Int(n) => n == 0 || spec.ty != Ty::Float,
        _ => true,
    }
}

/// Leaves out what a run kept of an optional table that it had not: before there was one, 0 in the place of what the table needs
/// said so, as `lora_rank = 0`.
pub fn leave_out(specs: &[&ParamSpec], found: &mut Vec<Spelled>) {
    let none = |spelled: &&Spelled| matches!(spelled.entry.item.shape, Shape::Int(0));
    let blocks: Vec<&str> = found
        .iter()
        .filter(none)
        .filter_map(|spelled| {
            let spec = specs.iter().find(|s| spelled.means == [s.name])?;
            let needed = matches!(spec.default, Default::Required);
            let block = spec.block.filter(|block| block.optional && needed);
            block.map(|block| block.name)
        })
        .collect();
    let of = |name: &str| {
        let block = name.split_once('.').map(|(block, _)| block);
        block.is_some_and(|block| blocks.contains(&block))
    };
    found.retain(|spelled| !spelled.means.iter().any(|name| of(name)));
}
