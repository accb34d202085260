//! Examples of a training kind: rows of ids with their mask, and what was too long for it. What a node trains on and what
//! `pipe show --tokens` prints come from here.

use anyhow::Result;
use base::rows::{Message, Metric};
use base::tokens::Tokens;
use engine::kind::MetricInfo;
use engine::kind::context::NodeCtx;
use learn::chat::{self, Example};
use learn::tokenizer::Tokenizer;
use learn::train::Row;

/// How many examples are trained turn by turn.
pub const AS_SAMPLED: MetricInfo = MetricInfo::plain(
    "template/as_sampled",
    "",
    "trained turn by turn, as sampled",
);

#[derive(Default)]
pub struct Examples {
    /// Of each row.
    pub ids: Vec<String>,
    pub rows: Vec<Row>,
    /// Left out: longer than the limit.
    pub long: usize,
    /// Those that the chat template would have rendered otherwise than they would be sampled.
    pub as_sampled: AsSampled,
}

/// What is trained turn by turn as it would be sampled, since its template would have left out text of it or begun it
/// otherwise: ids in their order, and how the first of them differs.
#[derive(Default)]
pub struct AsSampled {
    ids: Vec<String>,
    first: String,
}

impl AsSampled {
    /// `why`: how the template's own rendering differs; none where it does not.
    pub fn push(&mut self, id: &str, why: Option<&str>) {
        let Some(why) = why else {
            return;
        };
        if self.ids.is_empty() {
            self.first = why.into();
        }
        if self.ids.last().is_none_or(|last| last != id) {
            self.ids.push(id.into());
        }
    }

    /// None where there is nothing to tell. `what`: in the plural.
    pub fn told(&self, what: &str, all: usize) -> Option<String> {
        const NAMED: usize = 5;
        let named: Vec<&str> = self.ids.iter().take(NAMED).map(String::as_str).collect();
        let more = if self.ids.len() > NAMED { ", …" } else { "" };
        (!self.ids.is_empty()).then(|| {
            format!(
                "{} of {all} {what} are trained turn by turn as they would be sampled, whole, since the chat template renders \
                 them otherwise: {}{more} ({}: {})",
                self.ids.len(),
                named.join(", "),
                named[0],
                self.first
            )
        })
    }

    pub fn say(&self, ctx: &NodeCtx, what: &str, all: usize) {
        if let Some(told) = self.told(what, all) {
            ctx.log(&told);
        }
    }

    pub fn note(&self, tokens: &mut Tokens, what: &str, all: usize) {
        tokens.notes.extend(self.told(what, all));
    }

    /// Nothing where there is none.
    pub fn metric(&self, what: &str, all: usize) -> Option<Metric> {
        (!self.ids.is_empty()).then(|| Metric {
            name: AS_SAMPLED.name.into(),
            value: self.ids.len() as f64,
            n: all,
            interval: None,
            unit: what.into(),
        })
    }
}

impl Examples {
    /// Every turn of the assistant, in one example or in one each.
    pub fn add(
        &mut self,
        tokenizer: &Tokenizer,
        id: &str,
        messages: &[Message],
        max_tokens: usize,
    ) -> Result<()> {
        let training = chat::render_turns(tokenizer, messages)?;
        self.as_sampled.push(id, training.as_sampled.as_deref());
        for example in training.examples {
            self.push(id, example, max_tokens);
        }
        Ok(())
    }

    fn push(&mut self, id: &str, example: Example, max_tokens: usize) {
        if example.ids.len() > max_tokens {
            self.long += 1;
            return;
        }
        self.ids.push(id.into());
        self.rows.push(Row {
            ids: example.ids,
            mask: example.mask,
        });
    }

    pub fn show(
        &self,
        tokens: &mut Tokens,
        tokenizer: &Tokenizer,
        label: impl Fn(&str) -> String,
    ) -> Result<()> {
        for (id, row) in self.ids.iter().zip(&self.rows) {
            tokens.push(&label(id), &row.ids, &row.mask, |ids| {
                tokenizer.decode(ids, false)
            })?;
        }
        Ok(())
    }
}

/// Why an example is left out.
pub fn longer(max_tokens: usize) -> String {
    format!("longer than {max_tokens} tokens")
}
