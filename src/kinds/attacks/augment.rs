//! Best-of-N (Hughes et al. 2024, arXiv 2412.03556): many copies of a prompt with letters out of order, random capitals and noise. No
//! search: `generate` answers the copies, and `evaluate` says how many of so many succeed.

use super::letters::{is_letter, is_printable, is_space};
use crate::shared::bounds;
use crate::shared::cases::{self, CaseWriter};
use crate::shared::estimate;
use anyhow::Result;
use base::params;
use base::params::{ParamSet, Problem};
use base::rng::{Rng, Seed};
use base::rows::{self, AttackStep, Prompt};
use base::setup::Acts;
use base::text::count;
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Port, Role, Type};

/// Letters of a word above which its inner ones may change places.
const SHORT: usize = 3;

const CAPITALISED: Acts = Acts::only("where `capitals` is on", |s| s.is_on("capitals"));

params! {
    pub struct Params {
        /// Copies of a prompt. The paper goes up to 10,000, the release to 60 × 120.
        n: usize = 100, in bounds::SAMPLES;
        /// σ, how much is changed: a word of more than three letters is scrambled with probability √σ, a letter changes its case with
        /// probability √σ, a character its code with probability σ³.
        sigma: f64 = 0.4, in bounds::SHARE;
        /// The inner letters of words change places; white space becomes single spaces.
        scramble: bool = true;
        /// Letters of a to z change their case.
        capitals: bool = true;
        /// Printable characters move by one code, within printable ASCII.
        noise: bool = true;
        /// As the release does: a letter outside of a to z whose case would change is lost.
        drop_other_letters: bool = false, if CAPITALISED;
        /// Seed of the copies.
        seed: u64 = 0, in bounds::SEED;
    }
}

pub const KIND: Kind = Kind {
    name: "augment",
    revision: 1,
    role: Role::Generates,
    summary: "attacks by best-of-N: copies of a prompt with letters scrambled, capitals and noise",
    about: "The three stages come one after the other: scrambling, capitals, noise; each can be left out. Letters outside of ASCII stay as \
            they are, where the release loses some. Copy k of a prompt hangs on the seed, its id and k alone. Success within k tries \
            is measured by evaluating the answers: the behaviour is the prompt that was copied.",
    example: r#"
[node.best-of-n]
kind = "augment"
in = { prompts = "prompts.eval" }
n = 50
"#,
    inputs: &[Port::required(
        "prompts",
        Type::Prompts,
        "what is asked of the model that is attacked",
    )],
    outputs: &[
        cases::PROMPTS_OUT,
        cases::CASES_OUT,
        cases::LOG_OUT,
        cases::METRICS_OUT,
    ],
    metrics: &[cases::MADE, cases::WITHOUT],
    relabels: true,
    params: Params::specs,
    check: Some(check),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn check(values: &Values) -> Vec<Problem> {
    let changes = |p: &Params| p.scramble || p.capitals || p.noise;
    match Params::read(values) {
        Ok(p) if !changes(&p) => vec![Problem {
            path: "scramble".into(),
            message: "without any stage all copies are the same".into(),
            help: Some("`scramble`, `capitals` or `noise` is to be on".into()),
        }],
        _ => vec![],
    }
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let seed = Seed::new(p.seed).child("augment");
    let mut out = CaseWriter::create(ctx, KIND.name)?;
    for prompt in &prompts {
        let copies = (0..p.n).map(|k| {
            let mut draws = Drawn::new(seed.child(&prompt.id).at(k as u64));
            augment(&prompt.prompt, &p, &mut draws).result
        });
        let copies: Vec<String> = copies.collect();
        let steps = copies.iter().enumerate().map(|(k, text)| AttackStep {
            text: text.clone(),
            case: Some(k as u32),
            ..AttackStep::new(&prompt.id, 0, k as u32, p.seed)
        });
        let steps: Vec<AttackStep> = steps.collect();
        out.push(prompt, &copies, &steps)?;
    }
    let made = out.finish()?;
    let of = count(made.prompts as u64, "prompt", "prompts");
    ctx.log(&format!(
        "{} of {of}",
        count(made.cases as u64, "copy", "copies")
    ));
    rows::write_metrics(&ctx.output("metrics"), made.metrics())
}

/// The draws of an augmentation, in the order in which they are asked for.
pub trait Draws {
    /// Whether this word is scrambled, this letter changes its case, this character moves: a number in [0, 1) for each stage in turn.
    fn unit(&mut self, stage: Stage) -> f64;
    /// Places of the inner letters of a word that is scrambled: place i takes the letter that was at `order[i]`.
    fn order(&mut self, n: usize) -> Vec<usize>;
    /// Whether a character that moves goes up.
    fn up(&mut self) -> bool;
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Scramble,
    Capitals,
    Noise,
}

/// A copy after each stage.
#[derive(Clone, Debug, PartialEq)]
pub struct Augmented {
    pub scrambled: String,
    pub capital: String,
    pub result: String,
}

/// One copy of the text.
pub fn augment(text: &str, p: &Params, draws: &mut dyn Draws) -> Augmented {
    let (often, seldom) = (p.sigma.sqrt(), p.sigma.powi(3));
    let scrambled = match p.scramble {
        true => scramble(text, often, draws),
        false => text.to_string(),
    };
    let capital = match p.capitals {
        true => capitals(&scrambled, often, p.drop_other_letters, draws),
        false => scrambled.clone(),
    };
    let result = match p.noise {
        true => noise(&capital, seldom, draws),
        false => capital.clone(),
    };
    Augmented {
        scrambled,
        capital,
        result,
    }
}

fn scramble(text: &str, share: f64, draws: &mut dyn Draws) -> String {
    let words = text.split(is_space).filter(|word| !word.is_empty());
    let words: Vec<String> = words.map(|word| scrambled(word, share, draws)).collect();
    words.join(" ")
}

fn scrambled(word: &str, share: f64, draws: &mut dyn Draws) -> String {
    let mut letters: Vec<char> = word.chars().collect();
    if letters.len() <= SHORT || draws.unit(Stage::Scramble) >= share {
        return word.to_string();
    }
    let last = letters.len() - 1;
    let inner = letters[1..last].to_vec();
    let order = draws.order(inner.len());
    for (place, from) in letters[1..last].iter_mut().zip(order) {
        *place = inner[from];
    }
    letters.into_iter().collect()
}

fn capitals(text: &str, share: f64, drop_others: bool, draws: &mut dyn Draws) -> String {
    let changed = text.chars().filter_map(|c| {
        let changes = is_letter(c) && draws.unit(Stage::Capitals) < share;
        match (changes, c.is_ascii_uppercase()) {
            (false, _) => Some(c),
            (true, true) => Some(c.to_ascii_lowercase()),
            (true, false) if c.is_ascii() => Some(c.to_ascii_uppercase()),
            (true, false) => (!drop_others).then_some(c),
        }
    });
    changed.collect()
}

fn noise(text: &str, share: f64, draws: &mut dyn Draws) -> String {
    let moved = text.chars().map(|c| {
        if !is_printable(c) || draws.unit(Stage::Noise) >= share {
            return c;
        }
        let up = draws.up();
        // What would leave printable ASCII stays, as does what was never in it.
        match (c, up) {
            (' '..='}', true) => char::from(c as u8 + 1),
            ('!'..='~', false) => char::from(c as u8 - 1),
            _ => c,
        }
    });
    moved.collect()
}

/// Draws of a seed, each stage from a stream of its own: with one stage left out the others stay.
struct Drawn {
    scramble: Rng,
    capitals: Rng,
    noise: Rng,
}

impl Drawn {
    fn new(seed: Seed) -> Drawn {
        Drawn {
            scramble: seed.child("scramble").rng(),
            capitals: seed.child("capitals").rng(),
            noise: seed.child("noise").rng(),
        }
    }
}

impl Draws for Drawn {
    fn unit(&mut self, stage: Stage) -> f64 {
        match stage {
            Stage::Scramble => self.scramble.unit(),
            Stage::Capitals => self.capitals.unit(),
            Stage::Noise => self.noise.unit(),
        }
    }

    fn order(&mut self, n: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..n).collect();
        self.scramble.shuffle(&mut order);
        order
    }

    fn up(&mut self) -> bool {
        self.noise.chance(0.5)
    }
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let prompts = preview.expected("prompts");
    let mut copies = prompts.clone();
    copies.rows = prompts.rows.map(|n| n * p.n as f64);
    Ok(estimate::only("prompts", copies))
}
