//! Examples of a training kind: rows of ids with their mask, and what was too long for it. What a node trains on and what
//! `pipe show --tokens` prints come from here.

use crate::base::tokens::Tokens;
use crate::learn::chat::Example;
use crate::learn::tokenizer::Tokenizer;
use crate::learn::train::Row;
use anyhow::Result;

#[derive(Default)]
pub struct Examples {
    /// Of each row.
    pub ids: Vec<String>,
    pub rows: Vec<Row>,
    /// Left out: longer than the limit.
    pub long: usize,
}

impl Examples {
    pub fn push(&mut self, id: &str, example: Example, max_tokens: usize) {
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
