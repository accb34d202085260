//! What a search for suffixes is told.

use crate::attacks::ending::{Ending, SEARCHES, searches};
use crate::shared::aim::Aim;
use crate::shared::bounds;
use base::params::Bounds;
use base::setup::Acts;
use base::{choice, params};
use learn::attack::allowed::Characters;

choice! {
    /// How replacements are found.
    pub enum Method { Gradient = "gradient", Random = "random", None = "none" }
}

choice! {
    /// Which candidates count.
    pub enum Filter { Prompt = "prompt", Suffix = "suffix", None = "none" }
}

choice! {
    /// Where candidates differ from the suffix.
    pub enum Positions { Even = "even", Random = "random" }
}

choice! {
    /// What a search makes small.
    pub enum Objective { CrossEntropy = "cross-entropy", Mellowmax = "mellowmax", FirstToken = "first-token" }
}

choice! {
    /// What a search goes on from, and delivers.
    pub enum Keep { Last = "last", Best = "best", Buffer = "buffer" }
}

const BY_GRADIENT: Acts = Acts::only("where `search` is `gradient`", |s| {
    s.says("search", "gradient")
});
const RANDOMLY: Acts = Acts::only("where `search` is `gradient` and `replace` is 1", |s| {
    s.says("search", "gradient") && !s.exceeds("replace", 1.0)
});
const AS_IDS: Acts = Acts::only(
    "where `search` is not `random`, which tries only what can be sent",
    |s| !s.says("search", "random"),
);
const BUFFERED: Acts = Acts::only("where `keep` is `buffer`", |s| {
    s.says("search", "gradient") && s.says("keep", "buffer")
});
const COUNTED: Acts = Acts::only("where no `init` is given, or `search` is `none`", |s| {
    !s.given("init") || !searches(s)
});

const SUFFIX: Bounds = Bounds::within(1.0, 4_096.0, "it is a part of a prompt");
const CANDIDATES: Bounds = Bounds::within(1.0, 1e6, "each goes through the model");

params! {
    pub struct Params {
        /// `gradient`: GCG, replacements that the gradient at the suffix favours. `random`: random search, a run of tokens replaced at
        /// random. `none`: random tokens and no search, the control that a search is held against.
        search: Method = Method::Gradient;
        /// Steps of a search.
        steps: usize = 500, in bounds::STEPS, if SEARCHES;
        /// Candidates a step.
        width: usize = 512, in CANDIDATES, if SEARCHES;
        /// Replacements that a candidate's token is drawn from: the so many with the most negative gradient.
        topk: usize = 256, in CANDIDATES, if BY_GRADIENT;
        /// Tokens that a candidate replaces: at different places, or by random search at most so many in a row, half of them where the
        /// target has a probability above 0.01, a quarter above 0.1.
        replace: usize = 1, in SUFFIX, if SEARCHES;
        /// `even`: every place of the suffix gets the same number of candidates. `random`: places are drawn.
        positions: Positions = Positions::Even, if RANDOMLY;
        /// What the suffix is at first, with the space that it begins with. Without it: `length` times ` !`, or of a vocabulary without
        /// that token tokens drawn at random.
        init: Option<String> = None, if SEARCHES;
        /// Tokens of the suffix.
        length: usize = 20, in SUFFIX, if COUNTED;
        /// `printable-ascii`: tokens whose text is that. `vocabulary`: every token. Never control tokens or think tags.
        allow: Characters = Characters::PrintableAscii;
        /// Which candidates count: those with which the whole `prompt` that is sent has the ids that were searched for, as a text that
        /// is encoded again; those of which the `suffix` by itself has (nanoGCG, HarmBench); `none`: all.
        filter: Filter = Filter::Prompt, if AS_IDS;
        /// `cross-entropy` of the target, mean of its tokens; `mellowmax` of its raw logits, as in nanoGCG; `first-token`: cross
        /// entropy of the target's first token alone, which random search takes with and without a space before it.
        loss: Objective = Objective::CrossEntropy, if SEARCHES;
        /// `last`: every step goes on from its best candidate, also from one that is worse than before, and the last one is delivered
        /// (HarmBench). `best`: the same, and the best of all is delivered (nanoGCG). `buffer`: every step goes on from the best of so
        /// many.
        keep: Keep = Keep::Best, if BY_GRADIENT;
        /// Suffixes that are kept, of which a better one replaces the worst; 1 never goes on from a worse one.
        buffer: usize = 1, in bounds::AT_ONCE, if BUFFERED;
        /// Cases of a prompt, each a search with draws of its own.
        cases: usize = 1, in bounds::SAMPLES;
        /// Seed of the draws.
        seed: u64 = 0, in bounds::SEED;
    }
    with { aim: Aim, ending: Ending }
}

params! {
    pub struct Exec {
        /// Tokens of candidates that a thread takes through the model at the same time: fewer take less memory and more time.
        at_once: usize = 384, in bounds::AT_ONCE;
        /// Steps between two saves of a search; one that ends is always saved.
        save_every: usize = 100, in bounds::EVERY;
    }
}

impl Params {
    /// What its test cases are labelled: searches for different targets, and suffixes that nobody searched for, are different attacks.
    pub fn attack(&self) -> String {
        match self.search {
            Method::Gradient => self.aim.called("gcg"),
            Method::Random => self.aim.called("random-search"),
            Method::None => "random".into(),
        }
    }
}
