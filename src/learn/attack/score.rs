//! What a model makes of many prompts that are alike: the log-probabilities of a target behind each of them.
//!
//! Keys and values of one sequence, the base, are computed once and shared read-only; a prompt goes on from the last token that it
//! has in common with the base. Prompts are sorted by that, so that those of one chunk are of one length nearly; rows are packed,
//! no prompt is padded, and logits are computed where a target is predicted only. A prompt's numbers depend on the base and on
//! itself alone: not on other prompts, chunks or threads. Knows no search.

use crate::adapter::Net;
use crate::kernels::softmax;
use crate::sample::Stopped;
use crate::sample::cache::Cache;
use crate::sample::decode::{Buffers, Decoder, Tail};
use crate::sample::team::{Team, lead};
use anyhow::{Result, bail, ensure};
use base::choice;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

choice! {
    /// What is to be small.
    pub enum Loss {
        /// The mean of -log p over the target's tokens.
        CrossEntropy = "cross-entropy",
        /// log mean exp(-z) over the raw logits z of the target's tokens, as in nanoGCG: a soft maximum, and no likelihood.
        Mellowmax = "mellowmax",
    }
}

impl Loss {
    pub fn of(self, score: &Score) -> f64 {
        match self {
            Loss::CrossEntropy => {
                let sum: f64 = score.logps.iter().map(|&logp| f64::from(logp)).sum();
                -sum / score.logps.len() as f64
            }
            Loss::Mellowmax => self.of_logits(&score.logits),
        }
    }

    /// Mellowmax of raw logits.
    pub(crate) fn of_logits(self, logits: &[f32]) -> f64 {
        assert_eq!(self, Loss::Mellowmax, "a likelihood is not of logits alone");
        let negative = logits.iter().map(|&z| -f64::from(z));
        let top = negative.clone().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = negative.map(|z| (z - top).exp()).sum();
        top + (sum / logits.len() as f64).ln()
    }
}

/// What is asked of the logits behind a prompt.
#[derive(Clone, Copy, Debug)]
pub enum Wanted<'a> {
    /// Each token of this continuation, given those before it.
    Target(&'a [u32]),
    /// Each of these tokens as the first one.
    First(&'a [u32]),
}

impl<'a> Wanted<'a> {
    pub(crate) fn tokens(self) -> &'a [u32] {
        match self {
            Wanted::Target(tokens) | Wanted::First(tokens) => tokens,
        }
    }

    /// Tokens that follow the prompt before the last logits.
    pub(crate) fn given(self) -> &'a [u32] {
        match self {
            Wanted::Target(tokens) => &tokens[..tokens.len() - 1],
            Wanted::First(_) => &[],
        }
    }
}

/// What was asked for behind one prompt.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Log-probability of each token that was asked for.
    pub logps: Vec<f32>,
    /// Its raw logit.
    pub logits: Vec<f32>,
    /// Greedy decoding gives the target; or one of the first tokens.
    pub greedy: bool,
}

impl Score {
    /// The best log-probability.
    pub fn best(&self) -> f64 {
        let all = self.logps.iter().copied().map(f64::from);
        all.fold(f64::NEG_INFINITY, f64::max)
    }
}

/// How it is computed. No number hangs on it.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    /// Tokens that a thread takes through the model at the same time, unless one prompt has more.
    pub tokens: usize,
    /// Asked between chunks.
    pub stop: &'a (dyn Fn() -> bool + Sync),
}

pub struct Scorer<'n> {
    decoder: Decoder<'n>,
    vocabulary: usize,
    /// Whose keys and values the cache holds.
    base: Vec<u32>,
    cache: Cache,
    computed: usize,
}

/// Numbers of logits a thread holds at once.
const LOGITS: usize = 1 << 20;
/// Chunks a thread has at least, where there is enough work: the last ones end at about the same time.
const CHUNKS: usize = 4;
/// Tokens of a chunk that is worth being one.
const WORTH: usize = 96;

impl<'n> Scorer<'n> {
    /// Lays the weights out: a second copy of every matrix. Errors: a model without a language head.
    pub fn new(net: impl Into<Net<'n>>) -> Result<Scorer<'n>> {
        let net = net.into();
        let decoder = Decoder::new(net, 0)?;
        Ok(Scorer {
            vocabulary: net.config().vocab_size,
            cache: decoder.cache(0),
            decoder,
            base: vec![],
            computed: 0,
        })
    }

    /// Makes these ids the base. What they have in common with the base before is not computed again.
    pub fn rebase(&mut self, ids: &[u32]) -> Result<()> {
        self.check(ids)?;
        let kept = alike(&self.base, ids);
        self.decoder.reach(ids.len());
        if ids.len() > self.cache.capacity() {
            let mut larger = self.decoder.cache(ids.len());
            larger.take_over(&self.cache, kept);
            self.cache = larger;
        }
        self.cache.len = kept;
        self.base.truncate(kept);
        let rest = Tail {
            shared: None,
            own: &mut self.cache,
            tokens: &ids[kept..],
            kept: 0,
        };
        let team = Team::alone();
        self.decoder.extend(&mut [rest], &mut Buffers::new(&team));
        self.base.extend_from_slice(&ids[kept..]);
        Ok(())
    }

    /// Tokens that went through the model for scores so far. Those of bases are not counted: how many of them are new hangs on what
    /// was there before.
    pub fn computed(&self) -> usize {
        self.computed
    }

    /// What was wanted behind each prompt, in their order. Equal prompts are computed once.
    ///
    /// Errors: `Stopped`; logits that are no numbers; a prompt without tokens, or with one that the model has not.
    pub fn score(
        &mut self,
        prompts: &[Vec<u32>],
        wanted: Wanted,
        options: Options,
    ) -> Result<Vec<Score>> {
        assert!(!wanted.tokens().is_empty(), "something is asked for");
        self.check(wanted.tokens())?;
        for prompt in prompts {
            self.check(prompt)?;
            ensure!(!prompt.is_empty(), "a prompt has no tokens");
        }
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        self.decoder.reach(longest + wanted.tokens().len());
        let call = Call::new(self, prompts, wanted, options);
        let threads = rayon::current_num_threads().min(call.chunks.len());
        let next = AtomicUsize::new(0);
        let parts: Vec<Vec<(usize, Score)>> = match threads {
            0 => vec![],
            1 => vec![lead(rayon::current_num_threads(), |team| {
                call.work(&next, team)
            })?],
            _ => (0..threads)
                .into_par_iter()
                .with_max_len(1)
                .map(|_| call.work(&next, &Team::alone()))
                .collect::<Result<_>>()?,
        };
        let mut scores: Vec<Option<Score>> = vec![None; prompts.len()];
        for (place, score) in parts.into_iter().flatten() {
            for &prompt in &call.order[call.distinct[place].clone()] {
                scores[prompt] = Some(score.clone());
            }
        }
        let computed: usize = (0..call.distinct.len()).map(|i| call.rest(i)).sum();
        self.computed += computed;
        let each = scores.into_iter();
        Ok(each
            .map(|score| score.expect("every prompt was in a chunk"))
            .collect())
    }

    fn check(&self, ids: &[u32]) -> Result<()> {
        if let Some(id) = ids.iter().find(|&&id| id as usize >= self.vocabulary) {
            bail!(
                "token {id} is asked of a model with {} embeddings: tokenizer and weights are not of one model",
                self.vocabulary
            );
        }
        Ok(())
    }
}

/// Tokens that two sequences begin with.
fn alike(a: &[u32], b: &[u32]) -> usize {
    a.iter().zip(b).take_while(|(x, y)| x == y).count()
}

/// One call, cut into chunks.
struct Call<'c, 'n> {
    scorer: &'c Scorer<'n>,
    prompts: &'c [Vec<u32>],
    wanted: Wanted<'c>,
    options: Options<'c>,
    /// Prompts by what they share with the base, the longest rest first; equal ones side by side.
    order: Vec<usize>,
    /// Runs of equal prompts in the order.
    distinct: Vec<Range<usize>>,
    /// Runs of those.
    chunks: Vec<Range<usize>>,
    /// Tokens of the longest rest.
    longest: usize,
}

impl<'c, 'n> Call<'c, 'n> {
    fn new(
        scorer: &'c Scorer<'n>,
        prompts: &'c [Vec<u32>],
        wanted: Wanted<'c>,
        options: Options<'c>,
    ) -> Call<'c, 'n> {
        let shared: Vec<usize> = prompts.iter().map(|p| alike(&scorer.base, p)).collect();
        let mut order: Vec<usize> = (0..prompts.len()).collect();
        order.sort_by_key(|&i| (shared[i], &prompts[i], i));
        let mut distinct: Vec<Range<usize>> = vec![];
        for (place, &prompt) in order.iter().enumerate() {
            match distinct.last_mut() {
                Some(run) if prompts[order[run.start]] == prompts[prompt] => run.end += 1,
                _ => distinct.push(place..place + 1),
            }
        }
        let mut call = Call {
            scorer,
            prompts,
            wanted,
            options,
            order,
            distinct,
            chunks: vec![],
            longest: 0,
        };
        let rests: Vec<usize> = (0..call.distinct.len()).map(|i| call.rest(i)).collect();
        call.longest = rests.iter().copied().max().unwrap_or(0);
        let total: usize = rests.iter().sum();
        let threads = rayon::current_num_threads();
        let even = total.div_ceil(CHUNKS * threads).max(WORTH);
        let most = options.tokens.min(even);
        let (mut start, mut tokens) = (0, 0);
        for (i, rest) in rests.iter().enumerate() {
            if i > start && tokens + rest > most {
                call.chunks.push(start..i);
                (start, tokens) = (i, 0);
            }
            tokens += rest;
        }
        if start < rests.len() {
            call.chunks.push(start..rests.len());
        }
        call
    }

    fn prompt(&self, distinct: usize) -> &'c [u32] {
        &self.prompts[self.order[self.distinct[distinct].start]]
    }

    /// Positions of the base that a prompt goes on from: all but the last token at most, behind which logits are wanted.
    fn shared(&self, distinct: usize) -> usize {
        let prompt = self.prompt(distinct);
        alike(&self.scorer.base, prompt).min(prompt.len() - 1)
    }

    /// Tokens that are computed for it.
    fn rest(&self, distinct: usize) -> usize {
        self.prompt(distinct).len() - self.shared(distinct) + self.wanted.given().len()
    }

    /// Takes chunks as long as there are any.
    fn work(&self, next: &AtomicUsize, team: &Team) -> Result<Vec<(usize, Score)>> {
        let mut buffers = Buffers::new(team);
        let mut caches: Vec<Cache> = vec![];
        let (mut logits, mut done) = (vec![], vec![]);
        while let Some(chunk) = self.chunks.get(next.fetch_add(1, Ordering::Relaxed)) {
            if (self.options.stop)() {
                return Err(Stopped.into());
            }
            while caches.len() < chunk.len() {
                caches.push(self.scorer.decoder.cache(self.longest));
            }
            self.chunk(
                chunk.clone(),
                &mut caches,
                &mut buffers,
                &mut logits,
                &mut done,
            )?;
        }
        Ok(done)
    }

    fn chunk(
        &self,
        chunk: Range<usize>,
        caches: &mut [Cache],
        buffers: &mut Buffers,
        logits: &mut Vec<f32>,
        done: &mut Vec<(usize, Score)>,
    ) -> Result<()> {
        let (decoder, given) = (&self.scorer.decoder, self.wanted.given());
        let rests: Vec<Vec<u32>> = chunk
            .clone()
            .map(|i| [&self.prompt(i)[self.shared(i)..], given].concat())
            .collect();
        let kept = given.len() + 1;
        let mut tails: Vec<Tail> = chunk
            .clone()
            .zip(&rests)
            .zip(caches)
            .map(|((i, tokens), own)| {
                own.len = 0;
                Tail {
                    shared: Some((&self.scorer.cache, self.shared(i))),
                    own,
                    tokens,
                    kept,
                }
            })
            .collect();
        decoder.extend(&mut tails, buffers);
        let v = decoder.vocabulary();
        let at_once = (LOGITS / (kept * v)).max(1);
        for (n, some) in chunk
            .clone()
            .collect::<Vec<_>>()
            .chunks(at_once)
            .enumerate()
        {
            let first = n * at_once * kept;
            let rows = first..first + some.len() * kept;
            logits.resize(rows.len() * v, 0.0);
            decoder.logits(rows, buffers, logits);
            for (&i, logits) in some.iter().zip(logits.chunks_exact(kept * v)) {
                done.push((i, self.read(logits, v)?));
            }
        }
        Ok(())
    }

    /// What was wanted of the logits behind one prompt [kept, vocabulary].
    fn read(&self, logits: &[f32], v: usize) -> Result<Score> {
        let mut score = Score {
            logps: vec![],
            logits: vec![],
            greedy: matches!(self.wanted, Wanted::Target(_)),
        };
        let tokens = self.wanted.tokens();
        for (row, z) in logits.chunks_exact(v).enumerate() {
            let stats = softmax::stats(z);
            ensure!(
                stats.lse.is_finite(),
                "the logits behind a candidate are no numbers: the model overflows or its weights are broken"
            );
            let of_row = match self.wanted {
                Wanted::Target(_) => &tokens[row..=row],
                Wanted::First(_) => tokens,
            };
            for &token in of_row {
                let z = z[token as usize];
                score.logits.push(z);
                score.logps.push(z - stats.lse);
            }
            let hit = of_row.contains(&(stats.greedy as u32));
            score.greedy = match self.wanted {
                Wanted::Target(_) => score.greedy && hit,
                Wanted::First(_) => hit,
            };
        }
        Ok(score)
    }
}
