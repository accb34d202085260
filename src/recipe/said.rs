//! What a recipe says of each parameter of a kind: by its name, by one that it had before, or not at all. Reports the keys that are
//! no parameters; whether a value is right is not known here.

use crate::check;
use crate::compose;
use crate::draft::{Draft, Spelled};
use crate::tree::{Entry, Shape, Table};
use base::diag::{Diag, Diags};
use base::params::{self, Block, Default, ParamSpec};
use base::text::did_you_mean;
use base::value::Values;
use engine::kind::Kind;
use std::sync::Arc;

/// Keys of a node that are no parameters.
const OWN: [&str; 3] = ["kind", "in", "description"];

/// The parameters of a kind: (identity, execution).
pub struct Shapes(pub Half, pub Half);

pub struct Half {
    pub specs: Vec<ParamSpec>,
    /// What a node is that says nothing of these; absent where it has to.
    pub unsaid: Option<Arc<Values>>,
}

/// What a recipe says of a parameter.
pub enum Said<'d> {
    Entry(&'d Entry),
    Nothing,
    /// The optional table that it would stand in is not there.
    NoBlock,
    /// It cannot be told, and is reported by itself.
    Wrong,
}

impl<'d> Said<'d> {
    pub fn of(draft: &Draft<'d>, spec: &ParamSpec) -> Said<'d> {
        let said = Said::by_name(draft, spec);
        if !matches!(said, Said::Nothing | Said::NoBlock) {
            return said;
        }
        let mut spelled = draft.spelled.iter();
        let meant = spelled.find(|o| o.means.contains(&spec.name));
        match meant {
            Some(spelled) if spelled.means.len() == 1 => Said::Entry(spelled.entry),
            Some(_) => Said::Wrong,
            None => said,
        }
    }

    fn by_name(draft: &Draft<'d>, spec: &ParamSpec) -> Said<'d> {
        let entry = |table: &'d Table, key: &str| match table.get(key) {
            Some(entry) if takes_back(entry) && spec.can_be_absent() => Said::Nothing,
            Some(entry) => Said::Entry(entry),
            None => Said::Nothing,
        };
        let Some(block) = spec.block else {
            return entry(draft.table, spec.name);
        };
        let absent = match block.optional {
            true => Said::NoBlock,
            false => Said::Nothing,
        };
        match draft.table.get(block.name) {
            None => absent,
            Some(written) => match &written.item.shape {
                Shape::Table(table) => entry(table, spec.field()),
                Shape::Bool(false) => absent,
                _ if draft.spelled.iter().any(|o| std::ptr::eq(o.entry, written)) => absent,
                _ => Said::Wrong,
            },
        }
    }
}

/// `false` in the place of what a parent says.
fn takes_back(entry: &Entry) -> bool {
    matches!(entry.item.shape, Shape::Bool(false))
}

fn on_command_line(entry: &Entry) -> bool {
    entry.key_at.source.name == compose::SET
}

impl Half {
    fn of(specs: fn() -> Vec<ParamSpec>) -> Half {
        let needs = |s: &ParamSpec| {
            matches!(s.default, Default::Required) && s.block.is_none_or(|block| !block.optional)
        };
        let unsaid = (!specs().iter().any(needs)).then(|| Arc::new(params::unsaid(specs())));
        Half {
            specs: specs(),
            unsaid,
        }
    }

    pub fn has(&self, key: &str) -> bool {
        self.specs.iter().any(|s| s.key() == key)
    }
}

impl Shapes {
    pub fn of(kind: &Kind) -> Shapes {
        Shapes(Half::of(kind.params), Half::of(kind.exec))
    }

    fn specs(&self) -> impl Iterator<Item = &ParamSpec> {
        self.0.specs.iter().chain(&self.1.specs)
    }

    /// Reports every key of a node that is no parameter; of those that mean one, what they mean.
    pub fn spelled<'d>(&self, draft: &Draft<'d>, diags: &mut Diags) -> Vec<Spelled<'d>> {
        let mut found = vec![];
        for entry in draft.table.entries() {
            let key = entry.key.as_str();
            if OWN.contains(&key) {
                continue;
            }
            match self.specs().find(|s| s.key() == key) {
                None => found.extend(self.stranger(draft, entry, diags)),
                Some(ParamSpec {
                    block: Some(block), ..
                }) => self.block(draft, entry, *block, &mut found, diags),
                Some(_) => {}
            }
        }
        found
    }

    /// A key that is neither a parameter nor a block.
    fn stranger<'d>(
        &self,
        draft: &Draft<'d>,
        entry: &'d Entry,
        diags: &mut Diags,
    ) -> Option<Spelled<'d>> {
        let (key, kind) = (entry.key.as_str(), draft.kind);
        let before: Vec<&ParamSpec> = self.specs().filter(|s| was(s, key)).collect();
        if !before.is_empty() {
            return Some(now(draft, entry, key, &before, diags));
        }
        let message = format!("unknown parameter `{key}`");
        let mut diag =
            Diag::at(&entry.key_at, message).label(format!("not a parameter of `{}`", kind.name));
        // A child may have changed the kind of a node whose parameters the parent wrote.
        if let Some(k) = draft.table.get("kind")
            && !Arc::ptr_eq(&k.key_at.source, &entry.key_at.source)
        {
            diag = diag.related(&k.item.at, "the kind is named here");
        }
        if kind.port(key).is_some() {
            let help = format!("`{key}` is an input: write `in = {{ {key} = \"node\" }}`");
            diags.push(diag.help(help));
            return None;
        }
        let fields: Vec<&ParamSpec> = self
            .specs()
            .filter(|s| s.block.is_some() && s.field() == key)
            .collect();
        if !fields.is_empty() {
            let help = format!("write {}", names(draft, entry, &fields));
            diags.push(diag.help(help));
            return Some(spelled(&fields, entry));
        }
        let own = OWN.iter().copied();
        let known = self.specs().map(ParamSpec::key);
        let ports = kind.inputs.iter().map(|p| p.name);
        diags.push(diag.suggest(did_you_mean(key, known.chain(own).chain(ports))));
        None
    }

    /// What stands in a block and is no parameter of it.
    fn block<'d>(
        &self,
        draft: &Draft<'d>,
        entry: &'d Entry,
        block: Block,
        found: &mut Vec<Spelled<'d>>,
        diags: &mut Diags,
    ) {
        let (node, name) = (&draft.entry.key, block.name);
        let fields: Vec<&ParamSpec> = self.specs().filter(|s| s.key() == name).collect();
        let table = match &entry.item.shape {
            Shape::Table(table) => table,
            Shape::Bad | Shape::Bool(false) => return,
            _ => {
                // The word of the table was a parameter's.
                let before: Vec<&ParamSpec> =
                    self.specs().filter(|s| s.was.contains(&name)).collect();
                if !before.is_empty() {
                    found.push(now(draft, entry, name, &before, diags));
                    return;
                }
                let diag = check::wrong("a table", name, &entry.item);
                diags.push(diag.help(match on_command_line(entry) {
                    true => format!("as `{node}.{}=VALUE`", fields[0].name),
                    false => format!("write `[node.{node}.{name}]`"),
                }));
                return;
            }
        };
        for entry in table.entries() {
            let key = entry.key.as_str();
            if fields.iter().any(|s| s.field() == key) {
                continue;
            }
            let of_block = fields.iter().copied();
            let before: Vec<&ParamSpec> = of_block.filter(|s| was(s, key)).collect();
            if !before.is_empty() {
                found.push(now(draft, entry, &format!("{name}.{key}"), &before, diags));
                continue;
            }
            let diag = Diag::at(&entry.key_at, format!("unknown parameter `{name}.{key}`"))
                .label(format!("not a parameter of `[node.{node}.{name}]`"));
            let outside = self.specs().find(|s| s.name == key);
            diags.push(match outside {
                Some(spec) if on_command_line(entry) => {
                    diag.help(format!("write {}", names(draft, entry, &[spec])))
                }
                Some(_) => diag.help(format!("`{key}` stands in `[node.{node}]`")),
                None => diag.suggest(did_you_mean(key, fields.iter().map(|s| s.field()))),
            });
        }
    }
}

fn spelled<'d>(specs: &[&ParamSpec], entry: &'d Entry) -> Spelled<'d> {
    let means = specs.iter().map(|s| s.name).collect();
    Spelled { means, entry }
}

/// Whether a parameter was called so before it was called what it is: `lora.rank` was `lora_rank`.
fn was(spec: &ParamSpec, key: &str) -> bool {
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
fn now<'d>(
    draft: &Draft<'d>,
    entry: &'d Entry,
    written: &str,
    specs: &[&ParamSpec],
    diags: &mut Diags,
) -> Spelled<'d> {
    let message = format!("`{written}` is now {}", names(draft, entry, specs));
    let mut help = format!("`{}`: {}", specs[0].name, specs[0].doc.trim());
    if let Some(block) = specs[0].block.filter(|block| block.optional) {
        help += &format!(" (`{} = false`: none)", block.name);
    }
    // What a run kept nobody wrote, so nobody is told.
    if !(draft.resolved && specs.len() == 1) {
        diags.push(Diag::at(&entry.key_at, message).help(help));
    }
    spelled(specs, entry)
}

/// What one writes for these parameters in the place of an entry: the path in the node, or of the command line.
fn names(draft: &Draft, entry: &Entry, specs: &[&ParamSpec]) -> String {
    let of_node = match on_command_line(entry) {
        true => format!("{}.", draft.entry.key),
        false => String::new(),
    };
    let name = |spec: &&ParamSpec| format!("`{of_node}{}`", spec.name);
    let names: Vec<String> = specs.iter().map(name).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => names.concat(),
    }
}
