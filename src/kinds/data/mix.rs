//! Mixes the RL prompts by λ, the share of harmful ones.

use crate::shared::bounds;
use crate::shared::estimate;
use anyhow::{Result, ensure};
use base::params;
use base::params::ParamSet;
use base::rng::Seed;
use base::rows::{self, Prompt, PromptClass};
use base::setup::Acts;
use base::text::count;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Output, Port, Role, Type};

const HARMLESS: Acts = Acts::only("where `lambda` is below 1", |s| !s.reaches("lambda", 1.0));

params! {
    pub struct Params {
        /// λ: share of harmful prompts, in [0, 1].
        lambda: f64 = 0.5, in bounds::SHARE;
        /// Prompts in the mix.
        total: usize, in bounds::ROWS;
        /// Share of ambiguous prompts among those that are not harmful.
        ambiguous_share: f64 = 0.5, in bounds::SHARE, if HARMLESS;
        /// Seed of the sample.
        seed: u64 = 0, in bounds::SEED;
        /// Take every class as a prefix of one fixed shuffle, so that the mixes of a λ sweep contain each other and a
        /// sweep varies proportions, not prompts. The released TARS sets are not nested.
        nested: bool = false;
    }
}

pub const KIND: Kind = Kind {
    name: "mix",
    revision: 1,
    role: Role::Selects,
    summary: "draws RL prompts from a pool: λ harmful, the rest harmless and ambiguous",
    about: "harmful = floor(total · λ); of the rest, floor(rest · ambiguous_share) are ambiguous and the others harmless. \
            Sampling is without replacement; a pool that is too small is an error. The rows keep the pool's ids and are \
            shuffled.",
    example: r#"
[node.mix]
kind = "mix"
in = { prompts = "prompts.rl" }
lambda = 0.5
total = 2000
"#,
    inputs: &[Port::required(
        "prompts",
        Type::Prompts,
        "the pool, all classes",
    )],
    outputs: &[Output::always("prompts", Type::Prompts, "the mix")],
    params: Params::specs,
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let pool: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let mixed = mix(&pool, &p)?;
    rows::write_rows(&ctx.output("prompts"), &mixed)
}

/// How many of each class, in the order of `PromptClass::ALL`.
pub fn counts(total: usize, lambda: f64, ambiguous_share: f64) -> [usize; 3] {
    // The small term keeps products such as 2000 · 0.7 from falling below their exact value.
    let floor = |x: f64| (x + 1e-9).floor() as usize;
    let harmful = floor(total as f64 * lambda).min(total);
    let rest = total - harmful;
    let ambiguous = floor(rest as f64 * ambiguous_share).min(rest);
    [harmful, rest - ambiguous, ambiguous]
}

/// The mix of a pool. Errors: a class with too few prompts.
pub fn mix(pool: &[Prompt], p: &Params) -> Result<Vec<Prompt>> {
    let mut seed = Seed::new(p.seed).child("mix");
    if !p.nested {
        seed = seed.child(&format!("lambda {:?}", p.lambda));
    }
    let mut mixed = vec![];
    for (class, n) in PromptClass::ALL
        .into_iter()
        .zip(counts(p.total, p.lambda, p.ambiguous_share))
    {
        let mut of_class: Vec<&Prompt> = pool.iter().filter(|row| row.class == class).collect();
        ensure!(
            of_class.len() >= n,
            "the mix needs {} of class {} and the pool has {}",
            count(n as u64, "prompt", "prompts"),
            class.word(),
            of_class.len()
        );
        seed.child(class.word()).rng().shuffle(&mut of_class);
        mixed.extend(of_class.into_iter().take(n).cloned());
    }
    seed.child("order").rng().shuffle(&mut mixed);
    Ok(mixed)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let each = counts(p.total, p.lambda, p.ambiguous_share);
    let mut likely = estimate::rows(Some(p.total as f64), None);
    likely.shares = Some(each.map(|n| n as f64 / p.total.max(1) as f64));
    Ok(estimate::only("prompts", likely))
}
