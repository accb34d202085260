//! JSON values in and out of chat templates: what a template sees of a message, and what its `tojson` writes, which is
//! what Python's `json.dumps(value, ensure_ascii=False)` writes.

use minijinja::value::ValueKind;
use minijinja::{Error, ErrorKind, Value};

/// Deeper than any message.
const DEEPEST: usize = 200;
/// Spaces of one level.
const WIDEST: usize = 64;

/// The template's view of a JSON value; object keys keep their order.
pub fn value(json: &serde_json::Value) -> Value {
    use serde_json::Value as Json;
    match json {
        Json::Null => Value::from(()),
        Json::Bool(b) => Value::from(*b),
        Json::Number(n) => match (n.as_i64(), n.as_u64()) {
            (Some(i), _) => Value::from(i),
            (None, Some(u)) => Value::from(u),
            (None, None) => {
                Value::from(n.as_f64().expect("a JSON number is an integer or a float"))
            }
        },
        Json::String(text) => Value::from(text.as_str()),
        Json::Array(items) => items.iter().map(value).collect(),
        Json::Object(entries) => Value::from_pairs(
            entries
                .iter()
                .map(|(key, item)| (key.as_str(), value(item))),
        ),
    }
}

/// `json.dumps(value, ensure_ascii=False, indent=indent, sort_keys=sort_keys)`. Fails where an iterator does.
/// Every item is paid for first.
pub fn dumps(
    value: &Value,
    indent: Option<usize>,
    sort_keys: bool,
    pay: &dyn Fn() -> Result<(), Error>,
) -> Result<String, Error> {
    if indent.is_some_and(|width| width > WIDEST) {
        let message = "tojson: the indent is too wide";
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let mut writer = Writer {
        pay,
        out: String::new(),
        indent,
        sort_keys,
    };
    writer.write(value, 1)?;
    Ok(writer.out)
}

struct Writer<'a> {
    pay: &'a dyn Fn() -> Result<(), Error>,
    out: String,
    indent: Option<usize>,
    sort_keys: bool,
}

impl Writer<'_> {
    fn write(&mut self, value: &Value, depth: usize) -> Result<(), Error> {
        (self.pay)()?;
        if depth > DEEPEST {
            let message = "tojson: the value is nested too deep";
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => self.out.push_str("null"),
            ValueKind::Number if !value.is_integer() => {
                self.out.push_str(&float(f64::try_from(value.clone())?))
            }
            ValueKind::Bool => {
                let word = if value.is_true() { "true" } else { "false" };
                self.out.push_str(word)
            }
            ValueKind::Number => self.out.push_str(&value.to_string()),
            ValueKind::Seq | ValueKind::Iterable => {
                self.out.push('[');
                let mut any = false;
                for item in value.try_iter()? {
                    self.separate(&mut any, depth);
                    self.write(&item, depth + 1)?;
                }
                self.close(any, depth, ']');
            }
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.out.push('{');
                let mut any = false;
                for key in keys {
                    self.separate(&mut any, depth);
                    self.string(&key);
                    self.out.push_str(": ");
                    self.write(&value.get_item(&key)?, depth + 1)?;
                }
                self.close(any, depth, '}');
            }
            _ => self.string(value),
        }
        Ok(())
    }

    fn string(&mut self, value: &Value) {
        let text = serde_json::Value::from(value.to_string());
        self.out.push_str(&text.to_string());
    }

    fn separate(&mut self, any: &mut bool, depth: usize) {
        if *any {
            let comma = if self.indent.is_some() { "," } else { ", " };
            self.out.push_str(comma);
        }
        *any = true;
        self.line(depth);
    }

    fn close(&mut self, any: bool, depth: usize, bracket: char) {
        if any {
            self.line(depth - 1);
        }
        self.out.push(bracket);
    }

    fn line(&mut self, depth: usize) {
        if let Some(width) = self.indent {
            self.out.push('\n');
            self.out.extend(std::iter::repeat_n(' ', width * depth));
        }
    }
}

/// The shortest digits that read back the same, with an exponent from 1e16 on and below 1e-4, as Python's `repr`.
fn float(x: f64) -> String {
    let size = x.abs();
    if size == 0.0 || (1e-4..1e16).contains(&size) {
        return format!("{x:?}");
    }
    let text = format!("{x:e}");
    match text.split_once('e') {
        Some((digits, exponent)) => {
            let (sign, exponent) = match exponent.strip_prefix('-') {
                Some(exponent) => ('-', exponent),
                None => ('+', exponent),
            };
            format!("{digits}e{sign}{exponent:0>2}")
        }
        // Not finite.
        None => text,
    }
}
