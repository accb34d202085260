//! A node as a recipe sets it up, before it is one of a graph: what conditions on parameters are asked about. A parameter that can do
//! nothing beside the others is refused, so that nobody believes to have compared what was never different.

use crate::value::{self, Value, Values};

/// Parameters, and the ports that are connected.
pub struct Setup<'a> {
    /// Identity and execution parameters, defaults written out.
    pub values: &'a Values,
    pub ports: &'a [&'static str],
}

impl Setup<'_> {
    pub fn connected(&self, port: &str) -> bool {
        self.ports.contains(&port)
    }

    /// The value of a parameter, as `lr` or `lora.rank`.
    fn value(&self, name: &str) -> Option<&Value> {
        value::at(self.values, name)
    }

    /// Whether an optional parameter is there, or a list has items.
    pub fn given(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::List(items)) => !items.is_empty(),
            Some(Value::Table(map)) => !map.is_empty(),
            value => value.is_some(),
        }
    }

    /// Whether a parameter is this word.
    pub fn says(&self, name: &str, word: &str) -> bool {
        matches!(self.value(name), Some(Value::Str(s)) if s == word)
    }

    /// Whether a list holds this word.
    pub fn lists(&self, name: &str, word: &str) -> bool {
        let is = |item: &Value| matches!(item, Value::Str(s) if s == word);
        matches!(self.value(name), Some(Value::List(items)) if items.iter().any(is))
    }

    /// Whether a switch is on.
    pub fn is_on(&self, name: &str) -> bool {
        self.value(name) == Some(&Value::Bool(true))
    }

    /// Whether a parameter is a number that is this one or above it.
    pub fn reaches(&self, name: &str, low: f64) -> bool {
        self.exceeds(name, low.next_down())
    }

    /// Whether a parameter is a number above this one.
    pub fn exceeds(&self, name: &str, low: f64) -> bool {
        match self.value(name) {
            Some(Value::Int(i)) => *i as f64 > low,
            Some(Value::Float(f)) => *f > low,
            _ => false,
        }
    }
}

/// Where a parameter does anything.
#[derive(Clone, Copy)]
pub struct Acts {
    pub(crate) given: fn(&Setup) -> bool,
    /// As in "it acts only where `from` is `model`".
    pub(crate) when: &'static str,
    /// A seed that nothing is drawn by is no treatment that anybody compares, and recipes give one to every node: a warning.
    pub(crate) refused: bool,
}

impl Acts {
    /// Whether it does here.
    pub fn is_met(&self, setup: &Setup) -> bool {
        (self.given)(setup)
    }

    pub const fn only(when: &'static str, given: fn(&Setup) -> bool) -> Acts {
        let refused = true;
        Acts {
            given,
            when,
            refused,
        }
    }

    /// For seeds.
    pub const fn draws(when: &'static str, given: fn(&Setup) -> bool) -> Acts {
        let refused = false;
        Acts {
            given,
            when,
            refused,
        }
    }
}
