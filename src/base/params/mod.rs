//! Parameters of a kind, declared once: the struct a kind reads, the schema the recipe is checked against, the defaults
//! that are written out, and the text of `pipe kinds` all come from one `params!` block.
//!
//! A kind has two blocks: `Params` (identity: every field is in the key) and `Exec` (how it runs: never in a key).

mod bounds;
mod values;

use crate::setup::Acts;
use crate::value::{self, Value, Values};
pub use bounds::{Bounds, Problem};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
pub use values::{ParamValue, Pattern, Ty};

pub enum Default {
    Required,
    /// An `Option` that is absent: absent from the key as well.
    Absent,
    Value(Value),
}

pub struct ParamSpec {
    /// With that of its block: `lr`, `lora.rank`.
    pub name: &'static str,
    /// The table of the recipe that it stands in, if not in the node itself.
    pub block: Option<Block>,
    pub ty: Ty,
    pub default: Default,
    pub doc: &'static str,
    /// Whether a value of the right shape fits the field's own type: a `u32` is not every integer.
    pub fits: fn(&Value) -> Result<(), String>,
    /// Of parameters that hold numbers, also in lists and tables.
    pub bounds: Option<Bounds>,
    /// None: it acts whatever else is set.
    pub acts: Option<Acts>,
    /// What it was called before.
    pub was: &'static [&'static str],
    /// The word of a choice that stands for what this one was.
    pub renamed: fn(&str) -> Option<&'static str>,
}

/// A table inside of a node: `[node.sft.lora]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Block {
    pub name: &'static str,
    pub doc: &'static str,
    /// It is there where the recipe writes it. Others always are.
    pub optional: bool,
}

impl ParamSpec {
    /// Its name inside of its block.
    pub fn field(&self) -> &'static str {
        self.name.split_once('.').map_or(self.name, |(_, f)| f)
    }

    /// The key of the node that it is written under: its block's name, or its own.
    pub fn key(&self) -> &'static str {
        self.block.map_or(self.name, |b| b.name)
    }

    fn within(self, block: Block) -> ParamSpec {
        assert!(self.block.is_none(), "a block holds no other block");
        ParamSpec {
            name: dotted(block.name, self.name),
            block: Some(block),
            ..self
        }
    }

    /// The numbers of a value that are out of bounds, each by its path.
    pub fn problems(&self, value: &Value) -> Vec<Problem> {
        let mut found = vec![];
        if let Some(bounds) = &self.bounds {
            bounds.look(self.name, value, &mut found);
        }
        found
    }

    /// A value of its type in the place of one that is wrong; another the second time.
    pub fn stand_in(&self, second: bool) -> Option<Value> {
        match (&self.default, second) {
            (Default::Value(value), false) => Some(value.clone()),
            (Default::Absent, false) => None,
            _ => Some(self.ty.some(self.bounds.as_ref(), usize::from(second))),
        }
    }

    /// Whether `false` is no value of it, and so takes back what a parent says.
    pub fn can_be_absent(&self) -> bool {
        matches!(self.default, Default::Absent) && !matches!(self.ty, Ty::Bool | Ty::Any)
    }

    /// Whether it is set to something else than what it is where nothing is said of it.
    pub(crate) fn is_set(&self, values: &Values) -> bool {
        match (value::at(values, self.name), &self.default) {
            (Some(value), Default::Value(default)) => value != default,
            (value, _) => value.is_some(),
        }
    }
}

/// `lora.rank`. Both words are declared in the code, so that no more than that is ever kept.
fn dotted(block: &'static str, field: &'static str) -> &'static str {
    static NAMES: Mutex<BTreeMap<(&str, &str), &str>> = Mutex::new(BTreeMap::new());
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    names
        .entry((block, field))
        .or_insert_with(|| format!("{block}.{field}").leak())
}

/// A struct made by `params!`.
pub trait ParamSet: Sized {
    /// The struct's own doc comment.
    const DOC: &'static str = "";
    fn specs() -> Vec<ParamSpec>;
    fn read(values: &Values) -> Result<Self, String>;
    /// The values that read back as this struct.
    fn write(&self) -> Values;
}

/// What can stand behind a name in `blocks`: a struct made by `params!`, or an `Option` of one.
pub trait Nested: Sized {
    fn specs(name: &'static str) -> Vec<ParamSpec>;
    fn read(name: &str, values: &Values) -> Result<Self, String>;
    fn write(&self, name: &str, values: &mut Values);
}

impl<S: ParamSet> Nested for S {
    fn specs(name: &'static str) -> Vec<ParamSpec> {
        block_specs::<S>(name, false)
    }
    fn read(name: &str, values: &Values) -> Result<S, String> {
        let inner = match values.get(name) {
            Some(Value::Table(inner)) => <S as ParamSet>::read(inner),
            Some(_) => Err("expected a table".into()),
            None => <S as ParamSet>::read(&Values::new()),
        };
        inner.map_err(|e| format!("`{name}`: {e}"))
    }
    fn write(&self, name: &str, values: &mut Values) {
        let inner = ParamSet::write(self);
        if !inner.is_empty() {
            values.insert(name.into(), Value::Table(inner));
        }
    }
}

impl<S: ParamSet> Nested for Option<S> {
    fn specs(name: &'static str) -> Vec<ParamSpec> {
        block_specs::<S>(name, true)
    }
    fn read(name: &str, values: &Values) -> Result<Option<S>, String> {
        let given = values.contains_key(name);
        given.then(|| <S as Nested>::read(name, values)).transpose()
    }
    fn write(&self, name: &str, values: &mut Values) {
        if let Some(inner) = self {
            values.insert(name.into(), Value::Table(ParamSet::write(inner)));
        }
    }
}

fn block_specs<S: ParamSet>(name: &'static str, optional: bool) -> Vec<ParamSpec> {
    let block = Block {
        name,
        doc: S::DOC,
        optional,
    };
    let specs = <S as ParamSet>::specs().into_iter();
    specs.map(|spec| spec.within(block)).collect()
}

/// The values of a node of whose parameters a recipe says nothing.
pub fn unsaid(specs: impl IntoIterator<Item = ParamSpec>) -> Values {
    let mut values = Values::new();
    for spec in specs {
        if let Default::Value(value) = spec.default
            && spec.block.is_none_or(|block| !block.optional)
        {
            value::put(&mut values, spec.name, value);
        }
    }
    values
}

/// What the parameters of a struct are where a recipe says nothing of them.
pub fn defaults<P: ParamSet>() -> Values {
    unsaid(<P as ParamSet>::specs())
}

/// The fields of a struct that several kinds share, with other defaults for some.
pub fn with_defaults(
    mut specs: Vec<ParamSpec>,
    defaults: &[(&str, Option<Value>)],
) -> Vec<ParamSpec> {
    for (name, default) in defaults {
        let spec = specs.iter_mut().find(|spec| spec.name == *name);
        let spec = spec.unwrap_or_else(|| panic!("a shared struct has no field `{name}`"));
        let default = default.clone().expect("a default is a value");
        if let Err(why) = (spec.fits)(&default) {
            panic!("the default of `{name}`: {why}");
        }
        spec.default = Default::Value(default);
    }
    specs
}

/// The fields of a block that acts only under a condition.
pub fn acting(mut specs: Vec<ParamSpec>, acts: Option<Acts>) -> Vec<ParamSpec> {
    if acts.is_none() {
        return specs;
    }
    for spec in &mut specs {
        let name = spec.name;
        assert!(
            spec.acts.is_none(),
            "`{name}` has a condition, and so has its block"
        );
        spec.acts = acts;
    }
    specs
}

/// Declares a block. Every field has a doc comment; `= value` is its default; without one the recipe must give it, unless it is an
/// `Option`, which is then absent.
///
/// ```ignore
/// params! {
///     pub struct Params {
///         /// Peak learning rate.
///         lr: f64 = 3e-5, in bounds::LR;
///         /// Seed of the data order.
///         seed: u64 = 0, in bounds::SEED;
///     }
///     with { judging: Judging }
///     blocks { guard: Guards, lora: Option<Lora> }
/// }
/// ```
///
/// `with` takes over the fields of other structs, which several kinds share: in a recipe they stand beside the own ones.
/// `optim: Optim { lr = 3e-5 }` gives a field of such a struct another default, or one where it has none. `blocks` gives
/// structs a table of their own, as `[node.sft.lora]` or `lora = { rank = 8 }`: an `Option` is there where the recipe
/// writes the table. `judge: Judge where ACTS`: its fields do anything only there. `Params` and `Exec` of a kind may have a
/// block of the same name, which is one table in the recipe. After a field, `, in BOUNDS` says which numbers it takes (`Bounds`; every
/// number has some), `, if ACTS` where it does anything at all (`Acts`), and `, was "NAME"` what it was called before; that `lora.rank`
/// was `lora_rank` needs no word.
#[macro_export]
macro_rules! params {
    (@maybe) => { None };
    (@maybe $given:expr) => { Some($given) };
    (@default $ty:ty) => {
        match <$ty as $crate::params::ParamValue>::OPTIONAL {
            true => $crate::params::Default::Absent,
            false => $crate::params::Default::Required,
        }
    };
    (@default $ty:ty, $default:expr) => {{
        let value: $ty = $default;
        match <$ty as $crate::params::ParamValue>::write(&value) {
            Some(value) => $crate::params::Default::Value(value),
            None => $crate::params::Default::Absent,
        }
    }};
    ( $(#[doc = $about:literal])* pub struct $name:ident { $( $(#[doc = $doc:literal])+ $field:ident : $ty:ty $(= $default:expr)?
          $(, in $bounds:expr)? $(, if $acts:expr)? $(, was $was:literal)* ; )* }
      $( with { $( $part:ident : $set:ty $({ $( $over:ident = $value:expr ),+ $(,)? })? ),+ $(,)? } )?
      $( blocks { $( $block:ident : $inner:ty $(where $when:expr)? ),+ $(,)? } )? ) => {
        $(#[doc = $about])*
        #[derive(Clone, Debug)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $ty, )* $( $( pub $part: $set, )+ )? $( $( pub $block: $inner, )+ )? }

        impl $crate::params::ParamSet for $name {
            const DOC: &'static str = concat!($($about),*);

            fn specs() -> Vec<$crate::params::ParamSpec> {
                let own = vec![ $( $crate::params::ParamSpec {
                    name: stringify!($field),
                    block: None,
                    ty: <$ty as $crate::params::ParamValue>::ty(),
                    default: $crate::params!(@default $ty $(, $default)?),
                    doc: concat!($($doc),+),
                    fits: |value| <$ty as $crate::params::ParamValue>::read(Some(value)).map(|_| ()),
                    bounds: $crate::params!(@maybe $($bounds)?),
                    acts: $crate::params!(@maybe $($acts)?),
                    was: &[$($was),*],
                    renamed: <$ty as $crate::params::ParamValue>::renamed,
                } ),* ];
                own.into_iter()
                    $( $( .chain($crate::params::with_defaults(
                        <$set as $crate::params::ParamSet>::specs(),
                        &[ $( $( (stringify!($over), $crate::params::ParamValue::write(&$value)) ),+ )? ],
                    )) )+ )?
                    $( $( .chain($crate::params::acting(
                        <$inner as $crate::params::Nested>::specs(stringify!($block)),
                        $crate::params!(@maybe $($when)?),
                    )) )+ )?
                    .collect()
            }

            fn read(values: &$crate::value::Values) -> Result<Self, String> {
                Ok($name { $( $field: <$ty as $crate::params::ParamValue>::read(values.get(stringify!($field)))
                    .map_err(|e| format!("`{}`: {e}", stringify!($field)))?, )*
                    $( $( $part: <$set as $crate::params::ParamSet>::read(values)?, )+ )?
                    $( $( $block: <$inner as $crate::params::Nested>::read(stringify!($block), values)?, )+ )?
                })
            }

            fn write(&self) -> $crate::value::Values {
                let mut values = $crate::value::Values::new();
                $(
                    let value = $crate::params::ParamValue::write(&self.$field);
                    values.extend(value.map(|v| (stringify!($field).to_string(), v)));
                )*
                $( $( values.extend($crate::params::ParamSet::write(&self.$part)); )+ )?
                $( $( $crate::params::Nested::write(&self.$block, stringify!($block), &mut values); )+ )?
                values
            }
        }
    };
}
