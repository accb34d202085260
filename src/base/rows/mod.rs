//! Rows of the JSONL artifacts: prompts, conversations, completions, pairs, scores; and metrics. One struct a schema, an id a row.
//!
//! An artifact folder holds `rows.jsonl` (one JSON object a line, no blank lines), or `metrics.json` and, where they
//! were kept, the values behind the metrics in `values.jsonl`: a line a prompt, as
//! `{"id":"eval-harmful-0003","fingerprint":"9b1c…","values":{"defense":1.0,"reasoning/harmful":14.0}}`. Field order is
//! the order of declaration, so equal rows are equal bytes.

mod attacks;
mod files;
mod metrics;
mod schemas;

pub use attacks::{ArchiveCell, AttackStep, archive};
pub use files::{
    CASES, DROPPED, METRICS, ROWS, RowWriter, STATES, VALUES, parse_lines, read_lines, read_rows,
    write_lines, write_rows,
};
pub use metrics::{Measured, Metric, Metrics, write_metrics, write_values};
pub use schemas::{
    ATTACK, BEHAVIOR, CompletedPrompt, Completion, Conversation, Message, Pair, Prompt,
    PromptClass, Score, Truth,
};
