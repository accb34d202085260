//! Claims that are asked at once: their p corrected together, their verdicts by that, and what would settle those that are open.

use super::answer::{Answer, Needed};
use super::decide::{self, Verdict};
use base::stats::crossed::{self, Enough};

/// Corrects the answers together; whoever asks several questions at once finds something by chance more often. A p of at most `alpha` makes
/// a verdict.
pub fn corrected(mut answers: Vec<Answer>, alpha: f64) -> Vec<Answer> {
    // What has no p cannot be found by chance either.
    let told = |a: &Answer| a.raw_p;
    let raw: Vec<f64> = answers.iter().filter_map(told).collect();
    let family = raw.len();
    let mut holm = crossed::holm(&raw).into_iter();
    for answer in answers.iter_mut().filter(|a| a.raw_verdict.is_some()) {
        answer.p = answer.raw_p.and_then(|_| holm.next());
        answer.family = answer.p.map(|_| family);
        let leans = answer.decision().leans;
        let verdict = decide::at(leans, answer.p, alpha);
        answer.raw_verdict = Some(decide::at(leans, answer.raw_p, alpha));
        for one in &mut answer.conditions {
            one.verdict = one.decision().verdict(alpha);
        }
        answer.verdict = Some(verdict);
        answer.settled = verdict != Verdict::Inconclusive && answer.seeds > 1;
        // At how small a p it was asked, this many beside it.
        let share = answer.raw_p.zip(answer.p).map(|(raw, p)| raw / p);
        let alpha = alpha * share.filter(|s| *s > 0.0).unwrap_or(1.0);
        answer.enough = (!answer.settled).then(|| answer.needed(alpha));
    }
    answers
}

impl Answer {
    fn needed(&self, alpha: f64) -> Needed {
        if self.fixed {
            return Needed::Fixed;
        }
        let enough = match self.decision().leans {
            Verdict::Contradicted => self.to_fail(alpha),
            _ => self.to_hold(alpha),
        };
        match enough {
            None => Needed::Another,
            Some(Some(Enough::Prompts { prompts, seeds })) => Needed::Prompts { prompts, seeds },
            Some(Some(Enough::Nothing)) => Needed::Nothing,
            Some(Some(Enough::Seeds(n))) => Needed::Seeds(n.max(self.seeds + 1)),
            // Every condition is clear, but not so clear that the claim is.
            Some(None) => Needed::Seeds(self.seeds + 1),
        }
    }

    /// One condition that fails is enough, which of them was not said beforehand.
    fn to_fail(&self, alpha: f64) -> Option<Option<Enough>> {
        let alpha = alpha / self.conditions.len() as f64;
        let fails = self.conditions.iter().filter(|c| {
            let leans = c.decision().leans;
            leans == Verdict::Contradicted
        });
        let each = fails.map(|c| decide::enough(c.asked, c.by, &c.estimates(), alpha));
        let all: Vec<Enough> = each.collect::<Option<_>>()?;
        Some(all.into_iter().reduce(Enough::least))
    }

    fn to_hold(&self, alpha: f64) -> Option<Option<Enough>> {
        let open = self.conditions.iter().filter(|c| {
            let p = c.p_verdict.unwrap_or(1.0);
            p > alpha || self.seeds < 2
        });
        let each = open.map(|c| decide::enough(c.asked, c.by, &c.estimates(), alpha));
        let all: Vec<Enough> = each.collect::<Option<_>>()?;
        Some(all.into_iter().reduce(Enough::most))
    }
}

/// The claims whose p were corrected together.
pub fn family(answers: &[Answer]) -> impl Iterator<Item = &Answer> {
    answers.iter().filter(|a| a.family.is_some())
}
