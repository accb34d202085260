//! Parameters of a kind, declared once: the struct a kind reads, the schema the recipe is checked against, the defaults
//! that are written out, and the text of `pipe kinds` all come from one `params!` block.
//!
//! A kind has two blocks: `Params` (identity: every field is in the key) and `Exec` (how it runs: never in a key).

use crate::base::value::{Value, Values};
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

/// For kinds without a block of one class.
pub struct None_;
impl ParamSet for None_ {
    fn specs() -> Vec<ParamSpec> {
        vec![]
    }
    fn read(_: &Values) -> Result<Self, String> {
        Ok(None_)
    }
    fn write(&self) -> Values {
        Values::new()
    }
}

/// Declares a block. Every field has a doc comment; `= value` is its default; without one the recipe must give it, unless it is an
/// `Option`, which is then absent.
///
/// ```ignore
/// params! {
///     pub struct Params {
///         /// Peak learning rate.
///         lr: f64 = 3e-5;
///         /// Seed of the data order.
///         seed: u64 = 0;
///     }
///     with { lora: Lora }
/// }
/// ```
///
/// `with` takes over the fields of other blocks, which several kinds share: in a recipe they stand beside the own ones.
#[macro_export]
macro_rules! params {
    (@default $ty:ty) => {
        match <$ty as $crate::engine::params::ParamValue>::OPTIONAL {
            true => $crate::engine::params::Default::Absent,
            false => $crate::engine::params::Default::Required,
        }
    };
    (@default $ty:ty, $default:expr) => {{
        let value: $ty = $default;
        match <$ty as $crate::engine::params::ParamValue>::write(&value) {
            Some(value) => $crate::engine::params::Default::Value(value),
            None => $crate::engine::params::Default::Absent,
        }
    }};
    ( pub struct $name:ident { $( $(#[doc = $doc:literal])+ $field:ident : $ty:ty $(= $default:expr)? ; )* }
      $( with { $( $part:ident : $set:ty ),+ $(,)? } )? ) => {
        #[derive(Clone, Debug)]
        pub struct $name { $( $(#[doc = $doc])+ pub $field: $ty, )* $( $( pub $part: $set, )+ )? }

        impl $crate::engine::params::ParamSet for $name {
            fn specs() -> Vec<$crate::engine::params::ParamSpec> {
                let own = vec![ $( $crate::engine::params::ParamSpec {
                    name: stringify!($field),
                    ty: <$ty as $crate::engine::params::ParamValue>::ty(),
                    default: $crate::params!(@default $ty $(, $default)?),
                    doc: concat!($($doc),+),
                    fits: |value| <$ty as $crate::engine::params::ParamValue>::read(Some(value)).map(|_| ()),
                } ),* ];
                own.into_iter()
                    $( $( .chain(<$set as $crate::engine::params::ParamSet>::specs()) )+ )?
                    .collect()
            }

            fn read(values: &$crate::base::value::Values) -> Result<Self, String> {
                Ok($name { $( $field: <$ty as $crate::engine::params::ParamValue>::read(values.get(stringify!($field)))
                    .map_err(|e| format!("`{}`: {e}", stringify!($field)))?, )*
                    $( $( $part: <$set as $crate::engine::params::ParamSet>::read(values)?, )+ )?
                })
            }

            fn write(&self) -> $crate::base::value::Values {
                let mut values = $crate::base::value::Values::new();
                $(
                    let value = $crate::engine::params::ParamValue::write(&self.$field);
                    values.extend(value.map(|v| (stringify!($field).to_string(), v)));
                )*
                $( $( values.extend($crate::engine::params::ParamSet::write(&self.$part)); )+ )?
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

        impl $crate::engine::params::ParamValue for $name {
            fn ty() -> $crate::engine::params::Ty {
                $crate::engine::params::Ty::Choice(&[$($word),+])
            }
            fn read(value: Option<&$crate::base::value::Value>) -> Result<Self, String> {
                match value {
                    $( Some($crate::base::value::Value::Str(s)) if s == $word => Ok($name::$variant), )+
                    _ => Err(format!("expected {}", Self::ty().describe())),
                }
            }
            fn write(&self) -> Option<$crate::base::value::Value> {
                Some($crate::base::value::Value::Str(match self { $( $name::$variant => $word ),+ }.to_string()))
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
