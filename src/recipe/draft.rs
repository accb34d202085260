//! A node of a recipe whose kind is known and whose parameters and edges are not read yet.

use crate::tree::{Entry, Table};
use engine::kind::Kind;

/// A node whose kind is known.
pub struct Draft<'a> {
    pub entry: &'a Entry,
    pub table: &'a Table,
    pub kind: &'static Kind,
}
