//! What the archives of rainbow teaming come to.

use super::archive::evenness;
use super::hunt::{Hunt, Outcome};
use crate::shared::cases;
use base::rows::Metric;
use base::text::count;

/// Coverage, mean fitness, evenness, over the cells of all archives.
pub fn state(hunts: &[Hunt]) -> [f64; 3] {
    let fitness: Vec<Option<f64>> = hunts.iter().flat_map(|h| h.archive.fitness()).collect();
    let n = fitness.len() as f64;
    let filled = fitness.iter().flatten().count() as f64;
    let sum: f64 = fitness.iter().flatten().sum();
    [filled / n, sum / n, evenness(&fitness)]
}

/// The metrics, and a line for the log.
pub fn measured(hunts: &[Hunt]) -> (Vec<Metric>, String) {
    let cells: usize = hunts.iter().map(|hunt| hunt.archive.cells.len()).sum();
    let filled = hunts.iter().map(|hunt| hunt.archive.elites().count()).sum();
    let [_, fitness, entropy] = state(hunts);
    let all = || hunts.iter().flat_map(|hunt| &hunt.done);
    let n = all().count();
    let plain = |name: &str, value: f64, n: usize, unit: &str| Metric {
        name: name.into(),
        value,
        n,
        interval: None,
        unit: unit.into(),
    };
    let queries: u64 = all().map(|mutant| mutant.queries).sum();
    let mut metrics = vec![
        cases::share("coverage", filled, cells),
        plain("fitness", fitness, cells, ""),
        plain("entropy", entropy, cells, ""),
        plain(
            "queries",
            queries as f64 / hunts.len() as f64,
            hunts.len(),
            "queries",
        ),
    ];
    for (name, outcome) in [
        ("outcome/no_mutant", Outcome::NoMutant),
        ("outcome/too_close", Outcome::TooClose),
        ("outcome/loses", Outcome::Loses),
        ("outcome/takes", Outcome::Takes),
    ] {
        let these = all().filter(|mutant| mutant.outcome == Some(outcome));
        metrics.push(cases::share(name, these.count(), n));
    }
    let rated = all().filter(|mutant| mutant.fitness.is_some());
    let (mut of, mut unrated, mut unanswered) = (0, 0, 0);
    for mutant in rated {
        of += 1;
        unrated += usize::from(mutant.unrated);
        unanswered += usize::from(mutant.unanswered);
    }
    let votes: usize = all().map(|mutant| mutant.votes).sum();
    let unread: usize = all().map(|mutant| mutant.unread).sum();
    for (name, count, of) in [
        ("unanswered", unanswered, of),
        ("unreadable/ratings", unrated, of),
        ("unreadable/votes", unread, votes),
    ] {
        if of > 0 {
            metrics.push(cases::share(name, count, of));
        }
    }
    let line = format!(
        "{filled} of {cells} cells filled, mean fitness {fitness:.3}; {}: {unrated} ratings and {unread} votes cannot be read, {unanswered} \
         times no answer of the target",
        count(n as u64, "mutant", "mutants"),
    );
    (metrics, line)
}
