//! What a model is trained on or asked, token by token, as data: rendered by kinds, read by whoever shows it.

/// The examples of a node, the first of them in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// In the plural: `conversations`.
    pub what: &'static str,
    /// What the model writes after each of them; nothing where they are whole.
    pub then: Option<&'static str>,
    pub shown: Vec<Shown>,
    /// How many there are, and over all of them:
    pub examples: usize,
    pub tokens: usize,
    pub trained: usize,
    pub longest: usize,
    /// How many were left out, by why.
    pub dropped: Vec<(String, usize)>,
    /// What else there is to know of them, a sentence each.
    pub notes: Vec<String>,
    most: usize,
}

/// An example in full.
#[derive(Clone, Debug, PartialEq)]
pub struct Shown {
    pub id: String,
    pub ids: Vec<u32>,
    pub mask: Vec<bool>,
    /// The text, cut where it begins or ends to be trained.
    pub runs: Vec<(String, bool)>,
}

impl Tokens {
    /// Keeps at most so many examples in full.
    pub fn new(what: &'static str, most: usize) -> Tokens {
        Tokens {
            what,
            then: None,
            shown: vec![],
            examples: 0,
            tokens: 0,
            trained: 0,
            longest: 0,
            dropped: vec![],
            notes: vec![],
            most,
        }
    }

    /// Adds an example; `decode` makes text of ids.
    pub fn push<E>(
        &mut self,
        id: &str,
        ids: &[u32],
        mask: &[bool],
        decode: impl Fn(&[u32]) -> Result<String, E>,
    ) -> Result<(), E> {
        assert_eq!(ids.len(), mask.len(), "every token is trained or is not");
        self.examples += 1;
        self.tokens += ids.len();
        self.trained += mask.iter().filter(|&&m| m).count();
        self.longest = self.longest.max(ids.len());
        if self.shown.len() < self.most {
            let mut runs = vec![];
            let mut at = 0;
            for run in mask.chunk_by(|a, b| a == b) {
                runs.push((decode(&ids[at..at + run.len()])?, run[0]));
                at += run.len();
            }
            self.shown.push(Shown {
                id: id.into(),
                ids: ids.into(),
                mask: mask.into(),
                runs,
            });
        }
        Ok(())
    }

    /// Left out, and why; none is not worth a word.
    pub fn dropped(mut self, why: String, count: usize) -> Tokens {
        if count > 0 {
            self.dropped.push((why, count));
        }
        self
    }
}
