//! What a node computes is asked for by programs outside, again and again, while the node itself does not run: the contract between
//! whoever listens to them and a kind. Knows no protocol but that questions and answers are JSON.

use super::estimate::NodePreview;
use anyhow::Result;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

/// Whether it is to stop.
pub type Stopping = Arc<dyn Fn() -> bool + Send + Sync>;

/// Hears what is to be said of what goes on.
pub type Say = Arc<dyn Fn(&str) + Send + Sync>;

/// What a kind needs to know to serve a node.
pub struct Opening<'a> {
    /// Its parameters, and the folders of the inputs that it serves with.
    pub node: NodePreview<'a>,
    /// The folder of the journal of calls.
    pub calls: &'a Path,
    /// Its name in the journal.
    pub by: &'a str,
    /// The key in a variable that the node names.
    pub secret: &'a dyn Fn(&str) -> Result<String>,
    pub stop: Stopping,
    pub say: Say,
}

/// Why a question has no answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Refused {
    /// It cannot be read, or asks for what there is not.
    Wrong(String),
    /// There is no answer to it, and there will be none.
    Unanswerable(String),
    /// The same may go well in a while; what was paid for is kept.
    Later(String),
    /// What answers failed.
    Failed(String),
    /// It stops.
    Stopped,
}

/// Answers questions from several threads at once.
pub trait Served: Send + Sync {
    /// What is served, for people and programs.
    fn about(&self) -> Value;
    fn answer(&self, question: Value) -> Result<Value, Refused>;
    /// How much was asked and paid so far.
    fn tally(&self) -> Value;
}

/// See `Kind::rewards`.
pub struct Serves {
    /// The ports whose artifacts it serves with, where they are connected.
    pub ports: &'static [&'static str],
    pub open: fn(&Opening) -> Result<Box<dyn Served>>,
}
