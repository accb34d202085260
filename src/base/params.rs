//! Parameters of a kind, declared once: the struct a kind reads, the schema the recipe is checked against, the defaults
//! that are written out, and the text of `pipe kinds` all come from one `params!` block.
//!
//! A kind has two blocks: `Params` (identity: every field is in the key) and `Exec` (how it runs: never in a key).

use crate::setup::Acts;
use crate::value::{self, Value, Values};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

/// The shape of a parameter, for checking and for the manual.
#[derive(Clone, Debug, PartialEq)]
pub enum Ty {
    Bool,
    Int,
    Float,
    Str,
    /// One of these words.
    Choice(&'static [&'static str]),
    List(Box<Ty>),
    /// A table from any name to this type.
    Map(Box<Ty>),
    /// A file or folder. Its *content* is identity, its path never is.
    Path,
    /// Whatever a recipe can hold, for those whose parameters are not ours.
    Any,
}

impl Ty {
    /// A value of this type.
    fn some(&self, bounds: Option<&Bounds>, which: usize) -> Value {
        let (low, high) = bounds.map_or((0.0, 1.0), |b| (b.low, b.high));
        match self {
            Ty::Bool | Ty::Any => Value::Bool(which == 0),
            Ty::Int => Value::Int((low as i64 + 1 + which as i64).min(high as i64)),
            Ty::Float => Value::Float(low + (high - low).min(1.0) / (2 + which) as f64),
            Ty::Choice(words) => Value::Str(words[which % words.len()].to_string()),
            Ty::List(_) => Value::List(vec![]),
            Ty::Map(_) => Value::Table(BTreeMap::new()),
            Ty::Str | Ty::Path => Value::Str(["/a", "/b"][which % 2].into()),
        }
    }

    /// As in "expected {}".
    pub fn describe(&self) -> String {
        match self {
            Ty::Bool => "true or false".into(),
            Ty::Int => "an integer".into(),
            Ty::Float => "a number".into(),
            Ty::Str => "a string".into(),
            Ty::Choice(words) => Ty::describe_words(words),
            Ty::List(of) => format!("an array, each item {}", of.describe()),
            Ty::Map(of) => format!("a table, each value {}", of.describe()),
            Ty::Path => "a path".into(),
            Ty::Any => "anything".into(),
        }
    }

    /// The same for the words of a choice.
    pub fn describe_words(words: &[&str]) -> String {
        let words: Vec<String> = words.iter().map(|w| format!("`{w}`")).collect();
        format!("one of {}", words.join(", "))
    }
}

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

    /// Whether it is set to something else than what it is where nothing is said of it.
    pub fn is_set(&self, values: &Values) -> bool {
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

/// Which numbers a parameter takes, and why no others.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    pub low: f64,
    /// Whether `low` itself is left out.
    pub above: bool,
    pub high: f64,
    /// A sentence.
    pub why: &'static str,
}

impl Bounds {
    pub const fn within(low: f64, high: f64, why: &'static str) -> Bounds {
        let above = false;
        Bounds {
            low,
            above,
            high,
            why,
        }
    }

    pub const fn above(low: f64, high: f64, why: &'static str) -> Bounds {
        let above = true;
        Bounds {
            low,
            above,
            high,
            why,
        }
    }

    fn look(&self, path: &str, value: &Value, found: &mut Vec<Problem>) {
        let number = match value {
            Value::Int(i) => *i as f64,
            Value::Float(f) => *f,
            Value::List(items) => {
                for (i, item) in items.iter().enumerate() {
                    self.look(&format!("{path}.{i}"), item, found);
                }
                return;
            }
            Value::Table(map) => {
                for (key, item) in map {
                    self.look(&format!("{path}.{key}"), item, found);
                }
                return;
            }
            _ => return,
        };
        let Bounds { low, high, .. } = self;
        let inside = match self.above {
            true => number > *low,
            false => number >= *low,
        };
        // A number that is none is neither.
        if inside && number <= *high {
            return;
        }
        let message = match self.above && !inside {
            true => format!("`{path}` is {number} and has to be above {low}"),
            false => format!(
                "`{path}` is {}, outside of {} to {}",
                told(number),
                told(*low),
                told(*high)
            ),
        };
        found.push(Problem {
            path: path.into(),
            message,
            help: Some(self.why.into()),
        });
    }
}

/// A number as a recipe may write it.
fn told(number: f64) -> String {
    match number.abs() {
        large if large >= 1e15 => format!("{number:e}"),
        _ => number.to_string(),
    }
}

/// Something a kind finds wrong with parameters that have the right types.
#[derive(Clone, Debug, PartialEq)]
pub struct Problem {
    /// Dotted path inside the node, as `reward.harmful`.
    pub path: String,
    pub message: String,
    pub help: Option<String>,
}

/// A type that can stand in a `params!` block.
pub trait ParamValue: Sized {
    fn ty() -> Ty;
    fn read(value: Option<&Value>) -> Result<Self, String>;
    fn write(&self) -> Option<Value>;
    const OPTIONAL: bool = false;
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
/// writes the table. `Params` and `Exec` of a kind may have a block of the same name, which is one table in the recipe.
/// After a field, `, in BOUNDS` says which numbers it takes (`Bounds`; every number has some), `, if ACTS` where it does
/// anything at all (`Acts`), and `, was "NAME"` what it was called before; that `lora.rank` was `lora_rank` needs no word.
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
      $( blocks { $( $block:ident : $inner:ty ),+ $(,)? } )? ) => {
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
                } ),* ];
                own.into_iter()
                    $( $( .chain($crate::params::with_defaults(
                        <$set as $crate::params::ParamSet>::specs(),
                        &[ $( $( (stringify!($over), $crate::params::ParamValue::write(&$value)) ),+ )? ],
                    )) )+ )?
                    $( $( .chain(<$inner as $crate::params::Nested>::specs(stringify!($block))) )+ )?
                    .collect()
            }

            fn read(values: &base::value::Values) -> Result<Self, String> {
                Ok($name { $( $field: <$ty as $crate::params::ParamValue>::read(values.get(stringify!($field)))
                    .map_err(|e| format!("`{}`: {e}", stringify!($field)))?, )*
                    $( $( $part: <$set as $crate::params::ParamSet>::read(values)?, )+ )?
                    $( $( $block: <$inner as $crate::params::Nested>::read(stringify!($block), values)?, )+ )?
                })
            }

            fn write(&self) -> base::value::Values {
                let mut values = base::value::Values::new();
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

/// Declares an enum whose variants are words in a recipe.
///
/// ```ignore
/// choice! { pub enum Schedule { Constant = "constant", Cosine = "cosine" } }
/// ```
#[macro_export]
macro_rules! choice {
    ( $(#[$meta:meta])* pub enum $name:ident { $( $(#[$vmeta:meta])* $variant:ident = $word:literal ),+ $(,)? } ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum $name { $( $(#[$vmeta])* $variant ),+ }

        impl $crate::params::ParamValue for $name {
            fn ty() -> $crate::params::Ty {
                $crate::params::Ty::Choice(&[$($word),+])
            }
            fn read(value: Option<&base::value::Value>) -> Result<Self, String> {
                match value {
                    $( Some(base::value::Value::Str(s)) if s == $word => Ok($name::$variant), )+
                    _ => Err(format!("expected {}", Self::ty().describe())),
                }
            }
            fn write(&self) -> Option<base::value::Value> {
                Some(base::value::Value::Str(match self { $( $name::$variant => $word ),+ }.to_string()))
            }
        }
    };
}

macro_rules! integer {
    ($($t:ty),+) => { $(
        impl ParamValue for $t {
            fn ty() -> Ty { Ty::Int }
            fn read(value: Option<&Value>) -> Result<Self, String> {
                match value {
                    Some(Value::Int(i)) => <$t>::try_from(*i).map_err(|_| format!("{i} is out of range")),
                    _ => Err("expected an integer".into()),
                }
            }
            fn write(&self) -> Option<Value> {
                Some(Value::Int(i64::try_from(*self).expect("a default fits an i64")))
            }
        }
    )+ };
}
integer!(u64, u32, usize, i64);

impl ParamValue for f64 {
    fn ty() -> Ty {
        Ty::Float
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        match value {
            Some(Value::Float(f)) => Ok(*f),
            Some(Value::Int(i)) => Ok(*i as f64),
            _ => Err("expected a number".into()),
        }
    }
    fn write(&self) -> Option<Value> {
        Some(Value::Float(*self))
    }
}

impl ParamValue for bool {
    fn ty() -> Ty {
        Ty::Bool
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        match value {
            Some(Value::Bool(b)) => Ok(*b),
            _ => Err("expected true or false".into()),
        }
    }
    fn write(&self) -> Option<Value> {
        Some(Value::Bool(*self))
    }
}

impl ParamValue for String {
    fn ty() -> Ty {
        Ty::Str
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        match value {
            Some(Value::Str(s)) => Ok(s.clone()),
            _ => Err("expected a string".into()),
        }
    }
    fn write(&self) -> Option<Value> {
        Some(Value::Str(self.clone()))
    }
}

/// A file or folder outside the store. The recipe resolves it against its own folder; the engine digests its content.
impl ParamValue for PathBuf {
    fn ty() -> Ty {
        Ty::Path
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        match value {
            Some(Value::Str(s)) => Ok(PathBuf::from(s)),
            _ => Err("expected a path".into()),
        }
    }
    fn write(&self) -> Option<Value> {
        Some(Value::Str(self.display().to_string()))
    }
}

impl ParamValue for Value {
    fn ty() -> Ty {
        Ty::Any
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        value.cloned().ok_or("expected a value".into())
    }
    fn write(&self) -> Option<Value> {
        Some(self.clone())
    }
}

impl<T: ParamValue> ParamValue for Option<T> {
    const OPTIONAL: bool = true;
    fn ty() -> Ty {
        T::ty()
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        value.map(|v| T::read(Some(v))).transpose()
    }
    fn write(&self) -> Option<Value> {
        self.as_ref().and_then(T::write)
    }
}

impl<T: ParamValue> ParamValue for Vec<T> {
    fn ty() -> Ty {
        Ty::List(Box::new(T::ty()))
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        match value {
            Some(Value::List(items)) => items.iter().map(|v| T::read(Some(v))).collect(),
            _ => Err("expected an array".into()),
        }
    }
    fn write(&self) -> Option<Value> {
        Some(Value::List(self.iter().filter_map(T::write).collect()))
    }
}

impl<T: ParamValue> ParamValue for BTreeMap<String, T> {
    fn ty() -> Ty {
        Ty::Map(Box::new(T::ty()))
    }
    fn read(value: Option<&Value>) -> Result<Self, String> {
        match value {
            Some(Value::Table(map)) => map
                .iter()
                .map(|(k, v)| Ok((k.clone(), T::read(Some(v))?)))
                .collect(),
            _ => Err("expected a table".into()),
        }
    }
    fn write(&self) -> Option<Value> {
        Some(Value::Table(
            self.iter()
                .filter_map(|(k, v)| Some((k.clone(), v.write()?)))
                .collect(),
        ))
    }
}
