//! What rainbow teaming delivers: the archives as TARS released theirs, the prompts of their cells, the log.

use super::hunt::{Hunt, Mutant, Outcome};
use super::params::Params;
use crate::attacks::part::params::From;
use crate::shared::cases::{CaseWriter, Labels, Made};
use anyhow::{Context, Result};
use base::rows::{AttackStep, Prompt, PromptClass};
use std::collections::BTreeMap;
use std::path::Path;

/// Labels of a case: the names of its cell.
pub const RISK: &str = "risk";
pub const STYLE: &str = "style";

/// A file an archive, in the order of their names.
pub fn write_archives(folder: &Path, hunts: &[Hunt]) -> Result<()> {
    let width = hunts.len().to_string().len();
    for (i, hunt) in hunts.iter().enumerate() {
        let path = folder.join(format!("archive_{:0width$}.json", i + 1));
        let written = std::fs::write(&path, hunt.archive.json());
        written.with_context(|| format!("failed to write {}", path.display()))?;
    }
    Ok(())
}

/// The prompts of all cells. Those of the world's mutator are cases of the prompts that they come from.
pub fn write_cases(
    mut out: CaseWriter,
    p: &Params,
    hunts: &[Hunt],
    prompts: &[Prompt],
    (risks, styles): (&[String], &[String]),
) -> Result<Made> {
    let mut of: BTreeMap<usize, Vec<(String, Labels)>> = BTreeMap::new();
    for (i, hunt) in hunts.iter().enumerate() {
        for (cell, elite) in hunt.archive.elites() {
            let (r, s) = (cell / styles.len(), cell % styles.len());
            let labels = Labels::from([
                (RISK.to_string(), risks[r].clone()),
                (STYLE.to_string(), styles[s].clone()),
            ]);
            let case = (elite.text.clone(), labels);
            match (p.mutator.from, elite.origin) {
                (From::World, Some(origin)) => of.entry(origin).or_default().push(case),
                _ => {
                    let alone = alone(format!("rainbow-{}-{r}-{s}", i + 1), &elite.text, &risks[r]);
                    out.push_labelled(&alone, &[case], &[])?;
                }
            }
        }
        let log = hunt.done.iter().map(|mutant| {
            let origin = mutant.origin.map_or("start", |o| prompts[o].id.as_str());
            step(mutant, (i, origin), p.seed, (risks, styles))
        });
        out.log(&log.collect::<Vec<_>>())?;
    }
    for (i, prompt) in prompts.iter().enumerate() {
        if p.mutator.from == From::World {
            out.push_labelled(prompt, &of.remove(&i).unwrap_or_default(), &[])?;
        }
    }
    out.finish()
}

/// `source` of what a model made.
const SOURCE: &str = "rainbow";

/// What a model made, of which nothing is known but what it was to be about.
fn alone(id: String, text: &str, risk: &str) -> Prompt {
    Prompt {
        id,
        class: PromptClass::Harmful,
        prompt: text.into(),
        source: SOURCE.into(),
        category: risk.into(),
        difficulty: 0,
        labels: BTreeMap::new(),
        truth: None,
        attacked: None,
    }
}

fn step(
    mutant: &Mutant,
    (archive, origin): (usize, &str),
    seed: u64,
    (risks, styles): (&[String], &[String]),
) -> AttackStep {
    let (r, s) = (mutant.cell / styles.len(), mutant.cell % styles.len());
    let outcome = mutant.outcome.map_or("", Outcome::words);
    AttackStep {
        text: mutant.text.clone(),
        score: mutant.fitness,
        queries: mutant.queries,
        tokens: mutant.tokens,
        note: Some(format!("{}, {}: {outcome}", risks[r], styles[s])),
        ..AttackStep::new(origin, archive as u32, mutant.iteration as u32, seed)
    }
}
