//! Names that are hashes: of what a node is, of where it stands, of bytes.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DIGITS: &[u8; 16] = b"0123456789abcdef";

macro_rules! hex_name {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name([u8; 64]);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

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
                $name::from_bytes(hash.as_bytes())
            }
            pub fn from_bytes(bytes: &[u8; 32]) -> $name {
                let mut digits = [0; 64];
                for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
                    pair[0] = DIGITS[usize::from(byte >> 4)];
                    pair[1] = DIGITS[usize::from(byte & 15)];
                }
                $name(digits)
            }
            /// 64 hexadecimal digits, or nothing.
            pub fn parse(text: &str) -> Option<$name> {
                let digits: [u8; 64] = text.as_bytes().try_into().ok()?;
                let fits = |b: &u8| matches!(b, b'0'..=b'9' | b'a'..=b'f');
                digits.iter().all(fits).then_some($name(digits))
            }
            pub fn as_str(&self) -> &str {
                std::str::from_utf8(&self.0).expect("hexadecimal digits are a text")
            }
            /// The first 12 digits, for people and folder names.
            pub fn short(&self) -> &str {
                &self.as_str()[..12]
            }
            /// The first 2 digits, the folder it lives in.
            pub fn shard(&self) -> &str {
                &self.as_str()[..2]
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "{}({:?})", stringify!($name), self.as_str())
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
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
