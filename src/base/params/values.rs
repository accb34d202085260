//! The types that stand in a `params!` block: what a recipe writes for each, and how it is read and written back.

use super::bounds::Bounds;
use crate::value::Value;
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
    /// A word of this form.
    Pattern(&'static Pattern),
    List(Box<Ty>),
    /// A table from any name to this type.
    Map(Box<Ty>),
    /// A file or folder. Its *content* is identity, its path never is.
    Path,
    /// Whatever a recipe can hold, for those whose parameters are not ours.
    Any,
}

/// Words that are too many for a list.
#[derive(Clone, Debug, PartialEq)]
pub struct Pattern {
    /// As JSON Schema has them: what it takes in all.
    pub regex: &'static str,
    /// As in "expected {}".
    pub told: &'static str,
    pub examples: [&'static str; 2],
}

impl Ty {
    /// A value of this type.
    pub(super) fn some(&self, bounds: Option<&Bounds>, which: usize) -> Value {
        let (low, high) = bounds.map_or((0.0, 1.0), |b| (b.low, b.high));
        match self {
            Ty::Bool | Ty::Any => Value::Bool(which == 0),
            Ty::Int => Value::Int((low as i64 + 1 + which as i64).min(high as i64)),
            Ty::Float => Value::Float(low + (high - low).min(1.0) / (2 + which) as f64),
            Ty::Choice(words) => Value::Str(words[which % words.len()].to_string()),
            Ty::Pattern(pattern) => Value::Str(pattern.examples[which % 2].into()),
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
            Ty::Pattern(pattern) => pattern.told.into(),
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

/// A type that can stand in a `params!` block.
pub trait ParamValue: Sized {
    fn ty() -> Ty;
    fn read(value: Option<&Value>) -> Result<Self, String>;
    fn write(&self) -> Option<Value>;
    const OPTIONAL: bool = false;
    /// The word that stands for what this one was.
    fn renamed(_word: &str) -> Option<&'static str> {
        None
    }
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
            fn read(value: Option<&$crate::value::Value>) -> Result<Self, String> {
                match value {
                    $( Some($crate::value::Value::Str(s)) if s == $word => Ok($name::$variant), )+
                    _ => Err(format!("expected {}", Self::ty().describe())),
                }
            }
            fn write(&self) -> Option<$crate::value::Value> {
                Some($crate::value::Value::Str(match self { $( $name::$variant => $word ),+ }.to_string()))
            }
        }
    };
}

/// Of an integer that is never negative or, if it is small enough, too large.
fn out_of_range(i: i64, most: Option<i64>) -> String {
    match most.filter(|most| *most < i64::MAX) {
        Some(most) => format!("{i} is out of range, 0 to {most}"),
        None => format!("{i} is out of range, 0 or more"),
    }
}

macro_rules! integer {
    ($($t:ty),+) => { $(
        impl ParamValue for $t {
            fn ty() -> Ty { Ty::Int }
            fn read(value: Option<&Value>) -> Result<Self, String> {
                match value {
                    Some(Value::Int(i)) => <$t>::try_from(*i).map_err(|_| out_of_range(*i, i64::try_from(<$t>::MAX).ok())),
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
