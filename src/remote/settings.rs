//! `[remote]` in the settings of a store or of a user.

use serde::Deserialize;

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Where it is: `Address`.
    pub url: Option<String>,
    /// Whose records are believed.
    pub trust: Option<toml::Value>,
    /// Nothing is given to it.
    #[serde(default)]
    pub read_only: bool,
}
