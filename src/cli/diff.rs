//! `pipe diff`: what differs between two recipes or two runs, and whether that is more than noise.

use super::args::{Changes, StoreArgs};
use super::complete;
use super::output::{Error, Outcome, colour, complain, print, room};
use super::{past, remote, store, study};
use base::claim::Axes;
use base::diag::Diags;
use base::stats::crossed::ALPHA;
use clap::ValueHint;
use engine::store::Store;
use recipe::place;
use report::compare::show::Shown;
use report::compare::{self, Asked, Comparison};
use report::page::Page;
use report::side::Side;
use report::verdicts::{self, Answer, show};
use serde_json::json;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Compare two recipes, or two runs: what was changed, what came of it, whether that is more than noise.
///
/// Measures are compared prompt by prompt and over the seeds that both sides have; a difference is what B has more.
/// They are not compared where the judge or the prompts are others. Defense, compliance, refusals and what the claims are about are
/// shown, and --all shows the rest. Claims of one recipe about the other are answered.
/// A and B are recipes, or runs of the store by their id or its beginning. Nothing is run.
///
/// Exit status: 0 nothing differs, 1 something does.
///
/// Example: pipe diff recipes/tars.toml recipes/ablations/no-reasoning.toml --metric defense --metric compliance
///
/// Example: pipe diff recipes/tars.toml recipes/ablations/dpo.toml --pair rl-eval=dpo-eval
#[derive(clap::Args)]
pub struct Diff {
    /// A recipe's TOML file, or a run
    #[arg(value_name = "A", value_hint = ValueHint::FilePath)]
    first: PathBuf,
    /// A recipe's TOML file, or a run
    #[arg(value_name = "B", value_hint = ValueHint::FilePath)]
    second: PathBuf,
    #[command(flatten)]
    changes: Changes,
    #[command(flatten)]
    store: StoreArgs,
    /// Every metric, not the main ones alone
    #[arg(long, conflicts_with = "metrics")]
    all: bool,
    /// Only this metric. May be repeated
    #[arg(long = "metric", value_name = "METRIC", add = complete::metrics())]
    metrics: Vec<String>,
    /// Compare an evaluation of A with one of another name in B. May be repeated
    #[arg(long, value_name = "NODE=NODE")]
    pair: Vec<String>,
    /// Only variants of A with this value. May be repeated
    #[arg(long, value_name = "AXIS=VALUE")]
    at: Vec<String>,
    /// Only variants of B with this value. May be repeated
    #[arg(long, value_name = "AXIS=VALUE")]
    against_at: Vec<String>,
    /// Print as Markdown
    #[arg(long, conflicts_with = "json")]
    md: bool,
    /// Print as JSON
    #[arg(long)]
    json: bool,
}

pub fn run(args: &Diff) -> Outcome {
    let asked = Asked {
        metrics: args.metrics.clone(),
        nodes: pairs(&args.pair, "--pair NODE=NODE")?,
        first_at: axes(&args.at, "--at AXIS=VALUE")?,
        second_at: axes(&args.against_at, "--against-at AXIS=VALUE")?,
    };
    let store = store::reading(&args.store)?;
    let mut warnings = Diags::default();
    let first = one(args, &store, &args.first, &mut warnings)?;
    let second = one(args, &store, &args.second, &mut warnings)?;
    // Both may say the same of a file that they extend.
    complain(&warnings.finish().render(colour()));
    let mut comparisons = vec![];
    for (a, b) in of_one_recipe(&first, &second)? {
        comparisons.extend(compare::compare(&store, &a, &b, &asked)?);
    }
    let lone = of_no_recipe(&first, &second);
    for comparison in &mut comparisons {
        comparison.alone.extend(lone.iter().cloned());
    }
    let claims = claims(&store, &first, &second)?;
    let same = comparisons.iter().all(|c| c.same && c.alone.is_empty());
    if args.json {
        let answer = json!({ "same": same, "comparisons": comparisons, "claims": claims });
        remote::answer(&store, answer);
    } else {
        remote::tell(&store);
        let page = page(&comparisons, &claims, &args.shown(&claims));
        print(&if args.md {
            page.markdown()
        } else {
            page.fit(room())
        });
    }
    match same {
        true => Ok(()),
        false => Err(Error::Told(1)),
    }
}

impl Diff {
    fn shown(&self, claims: &[Answer]) -> Shown {
        if self.all {
            return Shown::All;
        }
        if !self.metrics.is_empty() {
            return Shown::Only(self.metrics.iter().cloned().collect());
        }
        let conditions = claims.iter().flat_map(|a| &a.conditions);
        let named = conditions.flat_map(|c| {
            let parts = c.parts.iter().map(|p| &p.metric);
            parts.chain([&c.metric]).chain(&c.than)
        });
        Shown::Main(named.cloned().collect())
    }
}

fn page(comparisons: &[Comparison], claims: &[Answer], shown: &Shown) -> Page {
    let mut page = Page::default();
    for comparison in comparisons {
        page.append(compare::show::page(comparison, shown));
    }
    page.append(show::page(claims));
    page
}

/// The variants of a recipe, or what a run left.
fn one(args: &Diff, store: &Store, what: &Path, warnings: &mut Diags) -> Result<Vec<Side>, Error> {
    if place::is_recipe(what) {
        let mut study = study::load_all(&[what.to_path_buf()], &args.changes)?;
        warnings.extend(std::mem::take(&mut study.warnings));
        return study::sides(store, study);
    }
    match past::find(store, &what.to_string_lossy())? {
        Some(id) => past::sides(store, &id),
        None => Err(past::neither(what)),
    }
}

fn whole(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_path_buf())
}

/// Variants of one recipe on both sides.
type Recipes<'a> = Vec<(Vec<&'a Side>, Vec<&'a Side>)>;

/// A run may hold several recipes: then those of one name are compared.
fn of_one_recipe<'a>(first: &'a [Side], second: &'a [Side]) -> Result<Recipes<'a>, Error> {
    let names = |sides: &'a [Side]| -> BTreeSet<&'a str> {
        sides.iter().map(|s| s.recipe.as_str()).collect()
    };
    let (ours, theirs) = (names(first), names(second));
    if ours.len() == 1 && theirs.len() == 1 {
        return Ok(vec![(first.iter().collect(), second.iter().collect())]);
    }
    let of = |sides: &'a [Side], name: &str| -> Vec<&'a Side> {
        sides.iter().filter(|s| s.recipe == name).collect()
    };
    let both = ours.intersection(&theirs);
    let pairs: Recipes = both
        .map(|name| (of(first, name), of(second, name)))
        .collect();
    match pairs.is_empty() {
        true => Err(Error::Usage(
            "the two sides have no recipe of the same name".into(),
        )),
        false => Ok(pairs),
    }
}

/// Variants of recipes that only one of two runs holds.
fn of_no_recipe(first: &[Side], second: &[Side]) -> Vec<String> {
    let names =
        |sides: &[Side]| -> BTreeSet<String> { sides.iter().map(|s| s.recipe.clone()).collect() };
    let (ours, theirs) = (names(first), names(second));
    if ours.len() == 1 && theirs.len() == 1 {
        return vec![];
    }
    let lone = |sides: &[Side], others: &BTreeSet<String>| -> Vec<String> {
        let lone = sides.iter().filter(|s| !others.contains(&s.recipe));
        lone.map(Side::label).collect()
    };
    [lone(first, &theirs), lone(second, &ours)].concat()
}

/// What each side's recipe says of the other's.
fn claims(store: &Store, first: &[Side], second: &[Side]) -> Result<Vec<Answer>, Error> {
    let (first, second): (Vec<&Side>, Vec<&Side>) =
        (first.iter().collect(), second.iter().collect());
    let mut found = verdicts::between(store, &first, &second)?;
    if whole(&first[0].file) != whole(&second[0].file) {
        found.extend(verdicts::between(store, &second, &first)?);
    }
    Ok(verdicts::corrected(found, ALPHA))
}

fn pairs(texts: &[String], form: &str) -> Result<Vec<(String, String)>, Error> {
    let pair = |t: &String| {
        let (a, b) = t
            .split_once('=')
            .ok_or_else(|| Error::Usage(format!("`{t}` is not of the form {form}")))?;
        Ok((a.trim().to_string(), b.trim().to_string()))
    };
    texts.iter().map(pair).collect()
}

fn axes(texts: &[String], form: &str) -> Result<Axes, Error> {
    Ok(pairs(texts, form)?.into_iter().collect())
}
