//! Responses that were asked for and are not among the completions, since a service would not give them and the recipe leaves such ones
//! out: no rate counts them, so that whoever measures says how many there are.

use super::by_class;
use super::measure::{self, At, Measure};
use anyhow::Result;
use base::rows::{self, CompletedPrompt, Completion, DROPPED};
use std::path::Path;

pub(crate) struct Dropped {
    /// None: nothing is left out, whatever a service does.
    rows: Option<Vec<Completion>>,
}

impl Dropped {
    /// Of the completions in this folder.
    pub fn read(folder: &Path) -> Result<Dropped> {
        let path = folder.join(DROPPED);
        let there = path.is_file().then(|| rows::read_lines(&path));
        Ok(Dropped {
            rows: there.transpose()?,
        })
    }

    /// The share of all responses, of all and of each class; nothing where none can be left out.
    pub fn measures(&self, completions: &[Completion]) -> Vec<Measure> {
        let Some(dropped) = &self.rows else {
            return vec![];
        };
        let there = completions.iter().map(|c| (c, false));
        let rows = there.chain(dropped.iter().map(|c| (c, true)));
        let rows = rows.map(|(c, lacks)| (At::from(&c.prompt), c.prompt.class, lacks));
        by_class::shares(measure::DROPPED.name, rows)
    }

    /// The prompts of the completions, and those of what is left out.
    pub fn prompts<'a>(
        &'a self,
        completions: &'a [Completion],
    ) -> impl Iterator<Item = &'a CompletedPrompt> {
        let dropped = self.rows.iter().flatten();
        completions.iter().chain(dropped).map(|c| &c.prompt)
    }
}
