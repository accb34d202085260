//! A record that was found at a remote, and where that is written down.

use super::record::Record;
use super::remote::Signed;
use serde::{Deserialize, Serialize};

#[derive(Clone)]
pub(super) struct Elsewhere {
    pub record: Record,
    pub signed: Signed,
    pub found: Found,
}

/// Where a record was found: `actions/ab/KEY.found`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Found {
    pub remote: String,
    /// Who of those that were trusted signed it; nobody where that was not asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signer: Option<String>,
    pub at_ms: u64,
}
