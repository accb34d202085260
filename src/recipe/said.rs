//! What a recipe says of each parameter of a kind: by its name, by one that it had before, or not at all. Reports the keys that are
//! no parameters; whether a value is right is not known here.

use crate::check;
use crate::compose::OWN;
use crate::draft::{Draft, Spelled};
use crate::flags;
use crate::older;
use crate::tree::{Entry, Item, Shape, Table};
use base::diag::{Diag, Diags};
use base::params::{self, Block, Default, ParamSpec, Ty};
use base::text::did_you_mean;
use base::value::Values;
use engine::kind::Kind;
use std::sync::Arc;

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

/// Parameters of a table that are offered for a value in its place.
const MOST_MEANT: usize = 3;

/// Whether a value is of a parameter's type.
fn takes(spec: &ParamSpec, item: &Item) -> bool {
    matches!(
        (&spec.ty, &item.shape),
        (Ty::Bool, Shape::Bool(_))
            | (Ty::Int, Shape::Int(_))
            | (Ty::Float, Shape::Int(_) | Shape::Float(_))
            | (
                Ty::Str | Ty::Path | Ty::Choice(_) | Ty::Pattern(_),
                Shape::Str(_)
            )
            | (Ty::List(_), Shape::List(_))
            | (Ty::Any, _)
    )
}

/// The parameter that is meant by a misspelt name, if it has to be there: it is not to be called missing as well.
fn needed<'s>(
    mut specs: impl Iterator<Item = &'s ParamSpec>,
    near: Option<&str>,
) -> Option<&'s ParamSpec> {
    let is = |s: &&ParamSpec| matches!(s.default, Default::Required) && Some(s.field()) == near;
    specs.find(is)
}

/// `false` in the place of what a parent says.
fn takes_back(entry: &Entry) -> bool {
    matches!(entry.item.shape, Shape::Bool(false))
}

impl Half {
    fn of(specs: impl Fn() -> Vec<ParamSpec>) -> Half {
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
        Shapes(Half::of(kind.params), Half::of(|| kind.execution()))
    }

    /// Whether something may be said at this path: a parameter, a block, a field of either.
    pub fn knows(&self, path: &str) -> bool {
        let within = |outer: &str, inner: &str| {
            let rest = inner.strip_prefix(outer);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.specs()
            .any(|s| within(s.name, path) || within(path, s.name))
    }

    /// The names of its parameters, and of its blocks.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.specs().flat_map(|s| [s.key(), s.name])
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
                // Whether any node has it is looked at where all are known.
                None if flags::for_every_node(&entry.key_at) => {}
                None => found.extend(self.stranger(draft, entry, diags)),
                Some(ParamSpec {
                    block: Some(block), ..
                }) => self.block(draft, entry, *block, &mut found, diags),
                Some(_) => {}
            }
        }
        if draft.resolved {
            let specs: Vec<&ParamSpec> = self.specs().collect();
            older::leave_out(&specs, &mut found);
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
        let before: Vec<&ParamSpec> = self.specs().filter(|s| older::was(s, key)).collect();
        if !before.is_empty() {
            return Some(older::now(draft, entry, key, &before, diags));
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
            // It stood beside the node's own parameters before there was a table for it.
            if draft.resolved && fields.len() == 1 {
                return Some(Spelled::of(&fields, entry));
            }
            let help = format!("write {}", draft.names(entry, &fields));
            diags.push(diag.help(help));
            return Some(Spelled::of(&fields, entry));
        }
        let own = OWN.iter().copied();
        let known = self.specs().map(ParamSpec::key);
        let ports = kind.inputs.iter().map(|p| p.name);
        let near = did_you_mean(key, known.chain(own).chain(ports));
        let meant = self.specs().filter(|s| s.block.is_none());
        let meant = needed(meant, near.as_deref());
        diags.push(diag.suggest(near));
        meant.map(|spec| Spelled::of(&[spec], entry))
    }

    /// What somebody may have meant who wrote a value in the place of a table of these parameters.
    fn meant(&self, draft: &Draft, entry: &Entry, fields: &[&ParamSpec]) -> String {
        let (node, name) = (&draft.entry.key, fields[0].key());
        // `true` says that there is to be one, and nothing of it.
        let says = !matches!(entry.item.shape, Shape::Bool(_));
        let fitting = fields.iter().filter(|s| says && takes(s, &entry.item));
        let names: Vec<&str> = fitting.map(|s| s.name).take(MOST_MEANT).collect();
        let first = names.first().copied().unwrap_or(fields[0].name);
        if draft.is_axis(entry) {
            return format!("an axis is `{node}.{first}`");
        }
        if draft.by_path(entry) {
            return format!("as `{node}.{first}=VALUE`");
        }
        let value = match &entry.item.shape {
            Shape::Str(text) => Some(format!("{text:?}")),
            _ => entry.item.inline_text(),
        };
        let value = value.filter(|_| !names.is_empty());
        let Some(value) = value else {
            return format!("write `[node.{node}.{name}]`");
        };
        let each: Vec<String> = names.iter().map(|n| format!("`{n} = {value}`")).collect();
        let kind = draft.kind.name;
        format!(
            "write what is meant, as {}; `pipe kinds {kind}.{name}` explains the table",
            each.join(" or ")
        )
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
            Shape::Bad => return,
            Shape::Bool(false) => {
                if !block.optional && !entry.item.replaces {
                    let message = format!("`{name} = false` takes nothing back");
                    let label = "nothing below says anything of it, and its defaults act";
                    let diag = Diag::at(&entry.item.at, message).label(label);
                    let all = draft.names(entry, &fields);
                    diags.push(diag.help(format!("write what is meant of {all}")));
                }
                return;
            }
            _ => {
                // The word of the table was a parameter's.
                let before = self.specs().filter(|s| s.was.contains(&name));
                let before: Vec<&ParamSpec> = before.filter(|s| takes(s, &entry.item)).collect();
                if !before.is_empty() {
                    found.push(older::now(draft, entry, name, &before, diags));
                    return;
                }
                let diag = check::wrong("a table", name, &entry.item);
                diags.push(diag.help(self.meant(draft, entry, &fields)));
                return;
            }
        };
        for entry in table.entries() {
            let key = entry.key.as_str();
            // Whether any node has it is looked at where all are known.
            if fields.iter().any(|s| s.field() == key) || flags::for_every_node(&entry.key_at) {
                continue;
            }
            let of_block = fields.iter().copied();
            let before: Vec<&ParamSpec> = of_block.filter(|s| older::was(s, key)).collect();
            if !before.is_empty() {
                found.push(older::now(
                    draft,
                    entry,
                    &format!("{name}.{key}"),
                    &before,
                    diags,
                ));
                continue;
            }
            let diag = Diag::at(&entry.key_at, format!("unknown parameter `{name}.{key}`"))
                .label(format!("not a parameter of `[node.{node}.{name}]`"));
            let outside = self.specs().find(|s| s.name == key);
            diags.push(match outside {
                Some(spec) if draft.by_path(entry) => {
                    diag.help(format!("write {}", draft.names(entry, &[spec])))
                }
                Some(_) => diag.help(format!("`{key}` stands in `[node.{node}]`")),
                None => {
                    let near = did_you_mean(key, fields.iter().map(|s| s.field()));
                    let meant = needed(fields.iter().copied(), near.as_deref());
                    found.extend(meant.map(|spec| Spelled::of(&[spec], entry)));
                    diag.suggest(near)
                }
            });
        }
    }
}
