//! Which tokens a suffix may have. Never a control token: it attacks the chat template, and whoever sends a text cannot send it.
//! Knows the tokenizer, no search.

use crate::tokenizer::Tokenizer;
use anyhow::{Result, ensure};
use base::choice;

choice! {
    /// Which texts a suffix is made of.
    pub enum Characters {
        /// Tokens whose own text is printable ASCII, as in nanoGCG.
        PrintableAscii = "printable-ascii",
        /// Every token of the vocabulary.
        Vocabulary = "vocabulary",
    }
}

/// The tokens of a vocabulary that may stand in a suffix.
#[derive(Clone, Debug, PartialEq)]
pub struct Allowed {
    /// Ascending; never empty.
    pub ids: Vec<u32>,
    /// By id, as many as the model has embeddings.
    flags: Vec<bool>,
}

impl Allowed {
    /// Of a model with so many embeddings. Left out are added tokens (special or not), those that the tokenizer names (bos, eos,
    /// pad, unk), embeddings without a token, and what `characters` leaves out.
    ///
    /// Errors: no token is left.
    pub fn new(
        tokenizer: &Tokenizer,
        embeddings: usize,
        characters: Characters,
    ) -> Result<Allowed> {
        let mut flags = vec![false; embeddings];
        let control = tokenizer.control_ids();
        for (id, flag) in flags.iter_mut().enumerate() {
            let id = id as u32;
            if control.contains(&id) || !tokenizer.has(id) {
                continue;
            }
            *flag = match characters {
                Characters::Vocabulary => true,
                Characters::PrintableAscii => {
                    let text = tokenizer.decode(&[id], false)?;
                    text.chars().all(|c| c.is_ascii() && !c.is_ascii_control())
                }
            };
        }
        Allowed::of(flags)
    }

    /// Those of these tokens whose text is as asked for.
    ///
    /// Errors: no token is left.
    pub fn whose(self, tokenizer: &Tokenizer, fits: impl Fn(&str) -> bool) -> Result<Allowed> {
        let mut flags = self.flags;
        for id in self.ids {
            flags[id as usize] = fits(&tokenizer.decode(&[id], false)?);
        }
        Allowed::of(flags)
    }

    fn of(flags: Vec<bool>) -> Result<Allowed> {
        let ids = (0u32..).zip(&flags).filter(|(_, flag)| **flag);
        let ids: Vec<u32> = ids.map(|(id, _)| id).collect();
        ensure!(
            !ids.is_empty(),
            "no token is left that may stand in a suffix: of {} none has a text that is allowed and is no control token",
            flags.len()
        );
        Ok(Allowed { ids, flags })
    }

    pub fn has(&self, id: u32) -> bool {
        self.flags.get(id as usize).copied().unwrap_or(false)
    }
}
