//! The held-out reward: what responses to prompts that nothing is learned from are worth, before and after. Both are means over the
//! prompts that have a reward both times, so that what they differ by is the training's.

use super::params::Params;
use super::rollouts::of_groups;
use super::served::Source;
use crate::scorers::reward::{self, Route};
use crate::shared::by_class;
use crate::shared::measure::{self, Measure};
use crate::shared::model_io::{Course, Sampling};
use crate::shared::observer::NodeObserver;
use anyhow::{Result, ensure};
use base::rows::{Prompt, PromptClass};
use base::stats;
use engine::kind::MetricInfo;
use engine::kind::context::NodeCtx;
use std::ops::Range;

const NAME: &str = "held_out_reward";
const WHEN: [&str; 2] = ["before", "after"];

pub const METRICS: [MetricInfo; 5] = [
    MetricInfo::higher(NAME, "reward", "held-out reward, all"),
    MetricInfo::higher("held_out_reward/*", "reward", "held-out reward, *"),
    measure::UNSCORABLE,
    measure::UNSCORABLE_OF,
    MetricInfo::lower(
        "unscorable/held_out_reward/*",
        "share",
        "without a readable verdict, of held-out reward, *",
    ),
];

/// A response to a held-out prompt.
pub struct Response {
    /// None: it does not count.
    worth: Option<f64>,
    unscorable: bool,
}

/// The responses to each prompt.
pub type Responses = Vec<Vec<Response>>;

/// Responses of these weights.
pub fn responses(
    ctx: &NodeCtx,
    sampling: &mut Sampling,
    (route, source): (&mut Route, &mut Source),
    prompts: &[Prompt],
    (p, step): (&Params, u64),
) -> Result<Responses> {
    let rows = prompts.len() * sampling.samples;
    let mut course = Course::part(ctx, "held-out responses", rows);
    let asks = (step, route.clients().calls());
    let (groups, _) = source.groups(ctx, sampling, prompts, &mut course, asks)?;
    let texts = sampling.responses(&groups)?;
    let judged = of_groups(prompts, &texts);
    let mut observer = NodeObserver {
        others: source.calls(),
        ..reward::observer(ctx)
    };
    let mut scored = route.score_all(&judged, &mut observer)?.into_iter();
    let mut all = vec![];
    for (prompt, group) in prompts.iter().zip(&texts) {
        let own = scored.by_ref().take(group.len()).map(|scored| {
            Ok(Response {
                unscorable: scored.value.is_none(),
                worth: p.value(scored.value, &prompt.id)?,
            })
        });
        all.push(own.collect::<Result<Vec<Response>>>()?);
    }
    ensure!(
        all.iter().flatten().any(|r| r.worth.is_some()),
        "no response to a held-out prompt has a reward that is a number"
    );
    Ok(all)
}

/// Mean rewards before and after, over all and by class: one observation a prompt. `may_lack`: responses without a
/// reward are no error.
pub fn measures(prompts: &[Prompt], responses: [&Responses; 2], may_lack: bool) -> Vec<Measure> {
    let [before, after] = responses;
    let each = prompts.iter().zip(before.iter().zip(after));
    let both: Vec<(&Prompt, [f64; 2])> = each
        .filter_map(|(prompt, (b, a))| Some((prompt, [mean(b)?, mean(a)?])))
        .collect();
    let mut out = vec![];
    for (at, when) in WHEN.into_iter().enumerate() {
        let of = |name: String, class: Option<PromptClass>| {
            let rows = both.iter();
            let rows = rows.filter(|(p, _)| class.is_none_or(|c| c == p.class));
            measure::rewards(&name, rows.map(|(p, means)| (p.id.as_str(), means[at])))
        };
        out.extend(of(format!("{NAME}/{when}"), None));
        for class in PromptClass::ALL {
            out.extend(of(format!("{NAME}/{when}/{}", class.word()), Some(class)));
        }
    }
    if !may_lack {
        return out;
    }
    let lacks = |when: Range<usize>| {
        let each = responses[when].iter().copied();
        let each = each.flat_map(|all| prompts.iter().zip(all));
        let rows = each.flat_map(|(prompt, own)| {
            let row = |r: &Response| (prompt.id.as_str(), prompt.class, r.unscorable);
            own.iter().map(row).collect::<Vec<_>>()
        });
        rows.collect::<Vec<_>>().into_iter()
    };
    let name = measure::UNSCORABLE.name;
    out.extend(by_class::shares(name, lacks(0..2)));
    for (at, when) in WHEN.into_iter().enumerate() {
        let name = format!("{name}/{NAME}/{when}");
        out.extend(by_class::shares(&name, lacks(at..at + 1)));
    }
    out
}

/// What is to be said where some prompts have no reward before or after.
pub fn lacking(prompts: &[Prompt], [before, after]: [&Responses; 2]) -> Option<String> {
    let without = |all: &Responses| all.iter().filter(|r| mean(r).is_none()).count();
    let both = before.iter().zip(after);
    let both = both.filter(|(b, a)| mean(b).is_some() && mean(a).is_some());
    let (both, all) = (both.count(), prompts.len());
    (both < all).then(|| {
        format!(
            "of {all} held-out prompts {} have no reward before and {} none after: the held-out reward is of the {both} that have \
             both",
            without(before),
            without(after)
        )
    })
}

fn mean(responses: &[Response]) -> Option<f64> {
    let worths: Vec<f64> = responses.iter().filter_map(|r| r.worth).collect();
    stats::mean(&worths)
}
