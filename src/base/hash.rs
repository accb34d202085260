//! Names that are hashes: of what a node is, of where it stands, of bytes.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

macro_rules! hex_name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(transparent)]
        pub struct $name(String);

        // It becomes part of a path, so what is no hash is refused where it is read.
        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<$name, D::Error> {
                let text = String::deserialize(deserializer)?;
                let named = $name::parse(&text);
                named.ok_or_else(|| D::Error::custom("a hash is 64 hexadecimal digits"))
            }
        }

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
