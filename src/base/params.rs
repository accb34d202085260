//! Parameters of a kind, declared once: the struct a kind reads, the schema the recipe is checked against, the defaults
//! that are written out, and the text of `pipe kinds` all come from one `params!` block.
//!
//! A kind has two blocks: `Params` (identity: every field is in the key) and `Exec` (how it runs: never in a key).

use crate::setup::Acts;
use crate::value::{Value, Values};
use std::collections::BTreeMap;
use std::path::PathBuf;

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
    pub name: &'static str,
    pub ty: Ty,
    pub default: Default,
    pub doc: &'static str,
    /// Whether a value of the right shape fits the field's own type: a `u32` is not every integer.
    pub fits: fn(&Value) -> Result<(), String>,
    /// Of parameters that hold numbers, also in lists and tables.
    pub bounds: Option<Bounds>,
    /// None: it acts whatever else is set.
    pub acts: Option<Acts>,
}

impl ParamSpec {
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
        match (values.get(self.name), &self.default) {
            (Some(value), Default::Value(default)) => value != default,
            (value, _) => value.is_some(),
        }
    }
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

/// A block made by `params!`.
pub trait ParamSet: Sized {
    fn specs() -> Vec<ParamSpec>;
    fn read(values: &Values) -> Result<Self, String>;
    /// The values that read back as this block.
    fn write(&self) -> Values;
}

/// What a block is where a recipe says nothing of it.
pub fn defaults<P: ParamSet>() -> Values {
    let value = |spec: ParamSpec| match spec.default {
        Default::Value(value) => Some((spec.name.to_string(), value)),
        Default::Required | Default::Absent => None,
    };
    P::specs().into_iter().filter_map(value).collect()
}

/// The fields of a block that several kinds share, with other defaults for some.
pub fn with_defaults(
    mut specs: Vec<ParamSpec>,
    defaults: &[(&str, Option<Value>)],
) -> Vec<ParamSpec> {
    for (name, default) in defaults {
        let spec = specs.iter_mut().find(|spec| spec.name == *name);
        let spec = spec.unwrap_or_else(|| panic!("a shared block has no field `{name}`"));
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
///     with { lora: Lora }
/// }
/// ```
///
/// `with` takes over the fields of other blocks, which several kinds share: in a recipe they stand beside the own ones.
/// `optim: Optim { lr = 3e-5 }` gives a field of such a block another default, or one where it has none. After a field,
/// `, in BOUNDS` says which numbers it takes (`Bounds`; every number has some), and `, if ACTS` where it does anything at all (`Acts`).
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
    ( pub struct $name:ident { $( $(#[doc = $doc:literal])+ $field:ident : $ty:ty $(= $default:expr)?
          $(, in $bounds:expr)? $(, if $acts:expr)? ; )* }
      $( with { $( $part:ident : $set:ty $({ $( $over:ident = $value:expr ),+ $(,)? })? ),+ $(,)? } )? ) => {
        #[derive(Clone, Debug)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $ty, )* $( $( pub $part: $set, )+ )? }

        impl $crate::params::ParamSet for $name {
            fn specs() -> Vec<$crate::params::ParamSpec> {
                let own = vec![ $( $crate::params::ParamSpec {
                    name: stringify!($field),
                    ty: <$ty as $crate::params::ParamValue>::ty(),
                    default: $crate::params!(@default $ty $(, $default)?),
                    doc: concat!($($doc),+),
                    fits: |value| <$ty as $crate::params::ParamValue>::read(Some(value)).map(|_| ()),
                    bounds: $crate::params!(@maybe $($bounds)?),
                    acts: $crate::params!(@maybe $($acts)?),
                } ),* ];
                own.into_iter()
                    $( $( .chain($crate::params::with_defaults(
                        <$set as $crate::params::ParamSet>::specs(),
                        &[ $( $( (stringify!($over), $crate::params::ParamValue::write(&$value)) ),+ )? ],
                    )) )+ )?
                    .collect()
            }

            fn read(values: &base::value::Values) -> Result<Self, String> {
                Ok($name { $( $field: <$ty as $crate::params::ParamValue>::read(values.get(stringify!($field)))
                    .map_err(|e| format!("`{}`: {e}", stringify!($field)))?, )*
                    $( $( $part: <$set as $crate::params::ParamSet>::read(values)?, )+ )?
                })
            }

            fn write(&self) -> base::value::Values {
                let mut values = base::value::Values::new();
                $(
                    let value = $crate::params::ParamValue::write(&self.$field);
                    values.extend(value.map(|v| (stringify!($field).to_string(), v)));
                )*
                $( $( values.extend($crate::params::ParamSet::write(&self.$part)); )+ )?
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
