//! PAIR's loop (Chao et al. 2023, arXiv 2310.08419) over many prompts at a time: in each of several streams an attacker proposes a message,
//! the target answers it, a judge rates the answer, and the attacker is told. Knows nobody who speaks (`Cast`), and no files; what
//! is waited for follows from the state alone, so that a search that is taken up again goes on where it was.

use super::reading::Proposal;
use super::stream::{Now, Round, Rules, Said, Stream, Turn};
use anyhow::Result;
use base::rows::{AttackStep, Message, Prompt};
use serde::{Deserialize, Serialize};

/// Why a search ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum End {
    Cutoff,
    /// No stream's attacker could be read.
    Silent,
    Steps,
}

impl End {
    pub fn words(self) -> &'static str {
        match self {
            End::Cutoff => "the cutoff is reached",
            End::Silent => "no attacker can be read",
            End::Steps => "all steps are done",
        }
    }
}

/// The search for one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Search {
    pub streams: Vec<Stream>,
    /// By step, what came of each stream that was alive.
    pub steps: Vec<Vec<Round>>,
    /// The first prompt with the highest rating, and that.
    pub best: Option<(String, u32)>,
    pub end: Option<End>,
}

/// A stream whose turn it is.
pub struct Asked<'a> {
    /// Its prompt's place.
    pub search: usize,
    pub stream: usize,
    pub step: usize,
    /// Replies of the attacker in this step that could not be read.
    pub tries: usize,
    /// Of the attacker: what it is told.
    pub messages: &'a [Message],
    /// Of the target and the judge.
    pub proposal: Option<&'a Proposal>,
    /// Of the judge: empty where the target gave none.
    pub answer: &'a str,
    /// What came of the stream before.
    pub before: Vec<&'a Round>,
}

/// Who speaks.
pub trait Cast {
    /// What each says, in their order; none of an attacker that will say nothing more in this step.
    fn say(&mut self, turn: Turn, asked: &[Asked]) -> Result<Vec<Option<Said>>>;

    /// So many may be asked at the same time.
    fn at_once(&self, turn: Turn) -> usize;
}

/// What the attacker is told.
pub trait Words {
    fn begin(&self, goal: &str) -> String;
    fn feedback(&self, goal: &str, answer: &str, score: u32) -> String;
}

impl Search {
    pub fn new(goal: &str, rules: &Rules, words: &dyn Words) -> Search {
        let stream = |stream: usize| Stream {
            messages: vec![Message::new("user", &words.begin(goal))],
            alive: true,
            over: false,
            now: Now::Proposes,
            answer: String::new(),
            round: Round {
                stream,
                ..Round::default()
            },
        };
        Search {
            streams: (0..rules.streams).map(stream).collect(),
            steps: vec![],
            best: None,
            end: None,
        }
    }

    /// The streams that wait for this.
    fn waiting(&self, turn: Turn) -> impl Iterator<Item = usize> {
        let going = self.end.is_none();
        let streams = self.streams.iter().enumerate();
        let waiting = streams.filter(move |(_, s)| going && s.alive && s.turn() == Some(turn));
        waiting.map(|(i, _)| i)
    }

    fn asked(&self, search: usize, stream: usize) -> Asked<'_> {
        let s = &self.streams[stream];
        let proposal = match &s.now {
            Now::Answers(proposal) | Now::Rates(proposal) => Some(proposal),
            Now::Proposes | Now::Rated => None,
        };
        let rounds = self.steps.iter().flatten();
        Asked {
            search,
            stream,
            step: self.steps.len(),
            tries: s.round.tries,
            messages: &s.messages,
            proposal,
            answer: &s.answer,
            before: rounds.filter(|round| round.stream == stream).collect(),
        }
    }

    /// How often this one's turn comes yet, at most: an attacker whose replies cannot be read is asked as often as it may be.
    pub fn left(&self, turn: Turn, rules: &Rules) -> usize {
        if self.end.is_some() {
            return 0;
        }
        let later = rules.steps - self.steps.len() - 1;
        let of_stream = |stream: &Stream| match (turn, stream.turn()) {
            (Turn::Attacker, Some(Turn::Attacker)) => {
                (later + 1) * rules.retries - stream.round.tries
            }
            (Turn::Attacker, _) => later * rules.retries,
            (_, Some(now)) => later + usize::from(now <= turn),
            (_, None) => later,
        };
        let alive = self.streams.iter().filter(|s| s.alive);
        alive.map(of_stream).sum()
    }

    /// Closes a step in which nobody is waited for.
    fn close(&mut self, goal: &str, rules: &Rules, words: &dyn Words) {
        let open = |s: &Stream| s.alive && s.turn().is_some();
        if self.end.is_some() || self.streams.iter().any(open) {
            return;
        }
        let mut rounds = vec![];
        let mut reached = false;
        for (i, stream) in self.streams.iter_mut().enumerate() {
            if stream.over {
                continue;
            }
            stream.over = !stream.alive;
            let fresh = Round {
                stream: i,
                ..Round::default()
            };
            let mut round = std::mem::replace(&mut stream.round, fresh);
            if let (Some(prompt), Some(score)) = (&round.prompt, round.score) {
                if self.best.as_ref().is_none_or(|(_, best)| score > *best) {
                    self.best = Some((prompt.clone(), score));
                }
                reached |= score >= rules.cutoff;
                let first = stream.messages.len().saturating_sub(2 * rules.keep);
                stream.messages.drain(..first);
                round.kept = stream.messages.len();
            }
            rounds.push(round);
            if stream.alive {
                stream.now = Now::Proposes;
            }
        }
        self.steps.push(rounds);
        self.end = match () {
            () if reached => Some(End::Cutoff),
            () if self.streams.iter().all(|s| !s.alive) => Some(End::Silent),
            () if self.steps.len() == rules.steps => Some(End::Steps),
            () => None,
        };
        if self.end.is_none() {
            self.feed_back(goal, words);
        }
    }

    /// Tells every attacker what came of its last proposal.
    fn feed_back(&mut self, goal: &str, words: &dyn Words) {
        let last = self.steps.last().map_or(&[][..], Vec::as_slice);
        for round in last {
            let stream = &mut self.streams[round.stream];
            if let (true, Some(score)) = (stream.alive, round.score) {
                let told = words.feedback(goal, &stream.answer, score);
                stream.messages.push(Message::new("user", &told));
            }
        }
    }

    /// The case that it found: the first of the best, or where nothing was found the prompt as it is.
    pub fn case(&self, prompt: &Prompt) -> String {
        let best = self.best.as_ref().map(|(text, _)| text.clone());
        best.unwrap_or_else(|| prompt.prompt.clone())
    }

    /// The rows of its log.
    pub fn log(&self, prompt: &Prompt, seed: u64) -> Vec<AttackStep> {
        let mut log = vec![];
        let mut best = self.best.as_ref();
        for (step, rounds) in self.steps.iter().enumerate() {
            for round in rounds {
                let is = |(prompt, score): &(String, u32)| {
                    round.prompt.as_ref() == Some(prompt) && round.score == Some(*score)
                };
                let made = best.is_some_and(is);
                // The first one that is the best.
                if made {
                    best = None;
                }
                log.push(AttackStep {
                    text: round.prompt.clone().unwrap_or_default(),
                    case: made.then_some(0),
                    score: round.score.map(f64::from),
                    queries: round.queries,
                    tokens: round.tokens,
                    note: round.note.clone(),
                    ..AttackStep::new(&prompt.id, round.stream as u32, step as u32, seed)
                });
            }
        }
        if let (Some(last), Some(end)) = (log.last_mut(), self.end) {
            last.ended = Some(end.words().into());
        }
        log
    }
}

/// Goes on with all searches until each has ended. `goals`: what each wants, in their order. `saved` is called whenever replies have come.
pub fn run(
    searches: &mut [Search],
    goals: &[&str],
    rules: &Rules,
    words: &dyn Words,
    cast: &mut dyn Cast,
    saved: &mut dyn FnMut(&[Search]) -> Result<()>,
) -> Result<()> {
    while let Some((turn, waiting)) = next(searches) {
        let most = cast.at_once(turn).min(waiting.len());
        let waiting = &waiting[..most];
        let asked = waiting.iter().map(|(i, k)| searches[*i].asked(*i, *k));
        let asked: Vec<Asked> = asked.collect();
        let said = cast.say(turn, &asked)?;
        assert_eq!(
            said.len(),
            asked.len(),
            "everybody who is asked says something or not"
        );
        for ((i, k), said) in waiting.iter().zip(said) {
            searches[*i].streams[*k].hear(said, rules);
        }
        for (search, goal) in searches.iter_mut().zip(goals) {
            search.close(goal, rules, words);
        }
        saved(searches)?;
    }
    Ok(())
}

/// Whose turn it is next, and the streams that wait for it: attackers first, so that all searches ask the target together.
fn next(searches: &[Search]) -> Option<(Turn, Vec<(usize, usize)>)> {
    let turns = [Turn::Attacker, Turn::Target, Turn::Judge];
    let each = turns.into_iter().map(|turn| {
        let all = searches.iter().enumerate();
        let waiting = all.flat_map(|(i, search)| search.waiting(turn).map(move |k| (i, k)));
        (turn, waiting.collect::<Vec<_>>())
    });
    each.into_iter().find(|(_, waiting)| !waiting.is_empty())
}
