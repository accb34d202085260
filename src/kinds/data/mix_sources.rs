//! Mixes prompts by how many of each source there are to be.

use crate::data::labels;
use crate::data::removed::{COUNTS, Details, PICKED, Picked};
use crate::shared::bounds;
use crate::shared::estimate;
use anyhow::{Result, bail, ensure};
use base::params;
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::rows::{self, Prompt, PromptClass};
use base::text::{count, listed};
use base::value::Values;
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Port, Role, Type};
use std::collections::{BTreeMap, BTreeSet};

params! {
    pub struct Params {
        /// How many prompts of each source, or of a class of a source, `"SOURCE/CLASS"`, or of a class of whatever source,
        /// `"*/CLASS"`. No row may be meant twice.
        counts: BTreeMap<String, usize>, in bounds::COUNT;
        /// Seed of the sample.
        seed: u64 = 0, in bounds::SEED;
        /// Take every source as a prefix of one fixed shuffle, so that of two mixes of a pool the smaller count is part of the
        /// greater one and a sweep varies proportions, not prompts.
        nested: bool = false;
    }
}

pub const KIND: Kind = Kind {
    name: "mix-sources",
    revision: 1,
    role: Role::Selects,
    summary: "draws prompts from a pool: so many of each source",
    about: "Sampling is without replacement; a source with too few rows is an error, as is one that no row has. The rows keep the \
            pool's ids and are shuffled. What is not drawn is removed as `not-drawn`, and what no name means as `not-named`. \
            See `mix` for λ.",
    example: r#"
[node.mix]
kind = "mix-sources"
in = { prompts = "pool" }
counts = { wildjailbreak = 413, rainbow = 391, aegis = 196, "*/harmless" = 500, "*/ambiguous" = 500 }
"#,
    inputs: &[Port::required("prompts", Type::Prompts, "the pool")],
    outputs: PICKED,
    metrics: COUNTS,
    params: Params::specs,
    check: Some(check),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

const REASONS: &[&str] = &["not-drawn", "not-named"];

fn check(values: &Values) -> Vec<Problem> {
    let mut found = vec![];
    if Params::read(values).is_ok_and(|p| p.counts.values().all(|n| *n == 0)) {
        found.push(Problem {
            path: "counts".into(),
            message: "a mix needs at least one prompt".into(),
            help: None,
        });
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let pool: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    let mixed = mix(pool, &p)?;
    let mut sources: BTreeMap<&str, usize> = BTreeMap::new();
    for prompt in mixed.kept() {
        *sources.entry(&prompt.source).or_default() += 1;
    }
    let summary: Vec<String> = sources.iter().map(|(s, n)| format!("{n} {s}")).collect();
    ctx.log(&summary.join(", "));
    mixed.finish(ctx)
}

/// A source that is nearly one that is named would be left out as not named.
fn none_nearly(pool: &[Prompt], p: &Params) -> Result<()> {
    let there: BTreeSet<&str> = pool.iter().map(|p| p.source.as_str()).collect();
    // How much of a name is the source.
    let source = |name: &str| {
        let classed = PromptClass::ALL.iter().find_map(|class| {
            let source = name.strip_suffix(class.word())?;
            source.strip_suffix('/').map(str::len)
        });
        classed.unwrap_or(name.len())
    };
    let named = p.counts.keys().map(|name| &name[..source(name)]);
    let named: Vec<&str> = named.filter(|source| *source != "*").collect();
    if let Some((other, name)) = labels::first_nearly(there, &named) {
        bail!(
            "the pool has {} and {}, of which `counts` names only the latter; name both, or make them one before",
            labels::quoted(other),
            labels::quoted(name)
        );
    }
    Ok(())
}

/// The mix of a pool. Errors: a name that means no row or too few, a row that two names mean.
pub fn mix(pool: Vec<Prompt>, p: &Params) -> Result<Picked> {
    let mut meant: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, prompt) in pool.iter().enumerate() {
        let class = prompt.class.word();
        let (one, any) = (format!("{}/{class}", prompt.source), format!("*/{class}"));
        let names = [prompt.source.as_str(), &one, &any];
        let mut names = names.iter().filter_map(|n| p.counts.get_key_value(*n));
        let Some((name, _)) = names.next() else {
            continue;
        };
        if let Some((other, _)) = names.find(|(other, _)| *other != name) {
            bail!(
                "`{name}` and `{other}` both mean the prompt {}: a row may be meant once",
                prompt.id
            );
        }
        meant.entry(name).or_default().push(i);
    }
    none_nearly(&pool, p)?;
    let mut seed = Seed::new(p.seed).child("mix-sources");
    if !p.nested {
        let counts = p.counts.iter().map(|(name, n)| format!("{name}={n}\n"));
        seed = seed.child(&counts.collect::<String>());
    }
    let mut drawn = vec![];
    for (name, n) in &p.counts {
        let mut places = meant.remove(name.as_str()).unwrap_or_default();
        ensure!(
            !places.is_empty(),
            "`{name}` means no prompt; the pool has {}",
            listed(names(&pool).iter().map(String::as_str))
        );
        ensure!(
            places.len() >= *n,
            "the mix needs {} of `{name}` and the pool has {}",
            count(*n as u64, "prompt", "prompts"),
            places.len()
        );
        seed.child(name).rng().shuffle(&mut places);
        drawn.extend(places.into_iter().take(*n));
    }
    seed.child("order").rng().shuffle(&mut drawn);
    let mut picked = Picked::new(REASONS);
    let mut rest: Vec<Option<Prompt>> = pool.into_iter().map(Some).collect();
    for i in drawn {
        rest[i].take().into_iter().for_each(|row| picked.keep(row));
    }
    for prompt in rest.into_iter().flatten() {
        let class = prompt.class.word();
        let named = [
            &prompt.source,
            &format!("{}/{class}", prompt.source),
            &format!("*/{class}"),
        ]
        .iter()
        .any(|name| p.counts.contains_key(*name));
        let reason = if named { "not-drawn" } else { "not-named" };
        picked.remove(prompt, reason, Details::new());
    }
    Ok(picked)
}

/// What the rows of a pool can be called.
fn names(pool: &[Prompt]) -> BTreeSet<String> {
    let of = |p: &Prompt| {
        let one = format!("{}/{}", p.source, PromptClass::word(p.class));
        [p.source.clone(), one]
    };
    pool.iter().flat_map(of).collect()
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let rows: usize = p.counts.values().sum();
    Ok(estimate::only(
        "prompts",
        estimate::rows(Some(rows as f64), None),
    ))
}
