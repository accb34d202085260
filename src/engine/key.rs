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

use crate::base::value::{Value, Values};
use crate::engine::kind::{Kind, Type};
use crate::engine::params::Ty;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

const ACTION: &str = "pipe action v1";
const PLAN: &str = "pipe plan v1";

macro_rules! hex_name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn new(hash: blake3::Hash) -> $name {
                $name(hash.to_hex().to_string())
            }
            /// 64 hexadecimal digits, or nothing.
            pub fn parse(text: &str) -> Option<$name> {
                let fits = text.len() == 64
                    && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
                fits.then(|| $name(text.to_string()))
            }
            pub fn as_str(&self) -> &str {
                &self.0
            }
            /// The first 12 digits, for people and folder names.
            pub fn short(&self) -> &str {
                self.0.get(..12).unwrap_or(&self.0)
            }
            /// The first 2 digits, the folder it lives in.
            pub fn shard(&self) -> &str {
                self.0.get(..2).unwrap_or(&self.0)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

hex_name!(
    /// What makes two executions the same: decides reuse.
    Key
);
hex_name!(
    /// A key over upstream plan keys instead of contents: known before anything ran, a hint only.
    PlanKey
);
hex_name!(
    /// The hash of some bytes: a blob, or the list of blobs of a folder.
    Digest
);

/// The readable identity of a node.
#[derive(Clone, Debug, PartialEq)]
pub struct Manifest {
    text: String,
}

impl Manifest {
    /// `sources`: by parameter, what stands for the contents of its paths; `inputs`: by port, what stands for the
    /// content of the input.
    pub fn new(
        kind: &Kind,
        params: &Values,
        sources: &BTreeMap<String, String>,
        inputs: &BTreeMap<&'static str, String>,
    ) -> Manifest {
        let mut text = format!("kind = {}\nrevision = {}\n", kind.name, kind.revision);
        let mut line = |section: &str, name: &str, value: &str| {
            assert!(
                !value.contains('\n') && !name.contains([' ', '\n']),
                "a manifest has one line per fact"
            );
            text.push_str(&format!("{section} {name} = {value}\n"));
        };
        for (name, value) in params {
            if !sources.contains_key(name) {
                line("param", name, &value.canon());
            }
        }
        for (name, value) in sources {
            line("source", name, value);
        }
        for (port, content) in inputs {
            let ty = kind
                .port(port)
                .expect("a resolved node has only ports of its kind")
                .ty;
            line("input", port, &format!("{} {content}", ty.word()));
        }
        let outputs: BTreeMap<&str, Type> = kind.outputs.iter().map(|o| (o.name, o.ty)).collect();
        for (name, ty) in outputs {
            line("output", name, ty.word());
        }
        Manifest { text }
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
pub fn with_contents<E>(
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
