//! What a node *is*: a text that a person can read, and its hash. `plan`, `why` and `diff` compare the texts, so they
//! cannot disagree with the keys.
//!
//! | in a key | never in a key |
//! |---|---|
//! | kind, revision of the kind | name of the node, of the recipe, of the run |
//! | every identity parameter, defaults written out | execution parameters (`Exec`), threads |
//! | content of source files and folders | their paths and times |
//! | content digests of the inputs, by port | which node made them |
//! | names and types of the outputs | host, time, version of the binary |
//!
//! The text has one `what = value` line per fact, sorted inside its section. Values are on one line (`Value::canon`
//! escapes line ends) and what stands before ` = ` is a word of a kind, so two different nodes never share a text.

use crate::kind::{Kind, Type};
use base::hash::{Key, PlanKey};
use base::params::Ty;
use base::value::{self, Value, Values};
use std::borrow::Cow;
use std::collections::BTreeMap;

const ACTION: &str = "pipe action v1";
const PLAN: &str = "pipe plan v1";

/// The readable identity of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    text: String,
}

/// A manifest without its inputs, which are known last: what stands before them and after them.
pub(crate) struct ManifestPrefix {
    kind: &'static Kind,
    before: String,
    after: String,
}

impl ManifestPrefix {
    /// `sources`: by parameter, what stands for the contents of its paths.
    pub fn new(
        kind: &'static Kind,
        params: &Values,
        sources: &BTreeMap<String, String>,
    ) -> ManifestPrefix {
        let mut before = Lines::default();
        before.line("kind", "", |text| text.push_str(kind.name));
        before.line("revision", "", |text| {
            text.push_str(&kind.revision.to_string())
        });
        let mut params = Cow::Borrowed(params);
        for name in sources.keys() {
            value::remove(params.to_mut(), name);
        }
        for (name, value) in params.iter() {
            before.line("param", name, |text| value.write_canon(text));
        }
        for (name, value) in sources {
            before.line("source", name, |text| text.push_str(value));
        }
        let mut outputs: Vec<(&str, Type)> = kind.outputs.iter().map(|o| (o.name, o.ty)).collect();
        outputs.sort();
        let mut after = Lines::default();
        for (name, ty) in outputs {
            after.line("output", name, |text| text.push_str(ty.word()));
        }
        ManifestPrefix {
            kind,
            before: before.text,
            after: after.text,
        }
    }

    /// `inputs`: by port, in order, what stands for the content of the input.
    pub fn with<'c>(&self, inputs: impl Iterator<Item = (&'static str, &'c str)>) -> Manifest {
        let mut lines = Lines {
            text: String::with_capacity(self.before.len() + self.after.len() + 128),
        };
        lines.text.push_str(&self.before);
        for (port, content) in inputs {
            let port = self
                .kind
                .port(port)
                .expect("a resolved node has only ports of its kind");
            lines.line("input", port.name, |text| {
                text.push_str(port.ty.word());
                text.push(' ');
                text.push_str(content);
            });
        }
        lines.text.push_str(&self.after);
        Manifest { text: lines.text }
    }
}

#[derive(Default)]
struct Lines {
    text: String,
}

impl Lines {
    fn line(&mut self, section: &str, name: &str, value: impl FnOnce(&mut String)) {
        let text = &mut self.text;
        let start = text.len();
        text.push_str(section);
        if !name.is_empty() {
            text.push(' ');
            text.push_str(name);
        }
        text.push_str(" = ");
        value(text);
        assert!(
            !text[start..].contains('\n') && !name.contains(' '),
            "a manifest has one line per fact"
        );
        text.push('\n');
    }
}

impl Manifest {
    /// `inputs`: by port, what stands for the content of the input.
    pub fn new(
        kind: &'static Kind,
        params: &Values,
        sources: &BTreeMap<String, String>,
        inputs: &BTreeMap<&'static str, String>,
    ) -> Manifest {
        let inputs = inputs
            .iter()
            .map(|(port, content)| (*port, content.as_str()));
        ManifestPrefix::new(kind, params, sources).with(inputs)
    }

    /// One that was written down.
    pub fn from_text(text: &str) -> Manifest {
        Manifest { text: text.into() }
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub fn key(&self) -> Key {
        Key::new(
            blake3::Hasher::new_derive_key(ACTION)
                .update(self.text.as_bytes())
                .finalize(),
        )
    }

    pub fn plan_key(&self) -> PlanKey {
        PlanKey::new(
            blake3::Hasher::new_derive_key(PLAN)
                .update(self.text.as_bytes())
                .finalize(),
        )
    }
}

/// A manifest's facts: `param lr` -> `3e-5`.
pub fn facts(text: &str) -> BTreeMap<&str, &str> {
    text.lines().filter_map(|l| l.split_once(" = ")).collect()
}

/// Whether the type holds paths, whose content is identity instead of their text.
pub fn holds_paths(ty: &Ty) -> bool {
    match ty {
        Ty::Path => true,
        Ty::List(of) | Ty::Map(of) => holds_paths(of),
        _ => false,
    }
}

/// The line text of a value whose paths are replaced by what `content` says of them.
pub(crate) fn with_contents<E>(
    value: &Value,
    content: &mut dyn FnMut(&str) -> Result<String, E>,
) -> Result<Value, E> {
    Ok(match value {
        Value::Str(path) => Value::Str(content(path)?),
        Value::List(items) => Value::List(
            items
                .iter()
                .map(|v| with_contents(v, content))
                .collect::<Result<_, E>>()?,
        ),
        Value::Table(map) => Value::Table(
            map.iter()
                .map(|(k, v)| Ok((k.clone(), with_contents(v, content)?)))
                .collect::<Result<_, E>>()?,
        ),
        other => other.clone(),
    })
}
