//! What the page says first, in words: how many claims hold, and the largest difference that a claim found with its interval. Every
//! number is `verdicts`'.

use crate::beside::{Beside, Sided};
use crate::compare::measures::incomparable;
use crate::compare::numbers::Numbers;
use crate::html::differs::{Differs, differs};
use crate::html::frontier::{Frontier, Point};
use crate::html::study::Study;
use crate::metrics;
use crate::verdicts::decide::Verdict;
use crate::verdicts::{Answer, Weighed};
use base::claim::Expect;
use base::text::count;
use serde::Serialize;

#[derive(Serialize)]
pub struct Story {
    /// `5 of 8 claims are reproduced, 1 is contradicted, 2 are inconclusive.`
    pub headline: String,
    /// The largest difference that a claim with a verdict is about; without one, the ends of the frontier.
    pub main: Option<String>,
    pub differs: Vec<Differs>,
}

pub fn story(study: &Study, answers: &[Answer], frontier: &Frontier) -> Story {
    Story {
        headline: headline(answers),
        main: main(answers).or_else(|| ends(study, &frontier.points)),
        differs: differs(study),
    }
}

fn headline(answers: &[Answer]) -> String {
    if answers.is_empty() {
        return "The recipes make no claims.".into();
    }
    let all = answers.len();
    let of = |verdict: Option<Verdict>| answers.iter().filter(|a| a.verdict == verdict).count();
    let parts = [
        (of(Some(Verdict::Reproduced)), "reproduced"),
        (of(Some(Verdict::Contradicted)), "contradicted"),
        (of(Some(Verdict::Inconclusive)), "inconclusive"),
        (of(None), "not answered"),
    ];
    let is = |n: usize| if n == 1 { "is" } else { "are" };
    // `1 of 3 claims is`, `0 of 1 claim is`: of none the verb goes with all of them.
    let first = |n: usize| is(if n == 0 { all } else { n });
    let told: Vec<String> = parts
        .iter()
        .enumerate()
        .filter(|(i, (n, _))| *i == 0 || *n > 0)
        .map(|(i, (n, word))| match i {
            0 => {
                let claims = count(all as u64, "claim", "claims");
                format!("{n} of {claims} {} {word}", first(*n))
            }
            _ => format!("{n} {} {word}", is(*n)),
        })
        .collect();
    let doubtful = match answers.iter().filter(|a| a.doubtful()).count() {
        0 => String::new(),
        n => format!(
            " {} on answers of which more than a tenth are unreadable or have no verdict.",
            count(n as u64, "verdict rests", "verdicts rest")
        ),
    };
    format!("{}.{doubtful}", told.join(", "))
}

/// A difference that a claim is about, of one metric or of the mean of several.
struct Found<'a> {
    answer: &'a Answer,
    condition: &'a Weighed,
    label: &'a str,
    numbers: &'a Numbers,
    beside: Option<Sided>,
    doubtful: bool,
}

/// Of claims with a verdict that is not doubtful, the largest difference that is one: of shares where there are some,
/// since nothing is larger than what has another unit, and over seeds where there are some.
fn main(answers: &[Answer]) -> Option<String> {
    let decided = |a: &&Answer| {
        let open = matches!(a.verdict, None | Some(Verdict::Inconclusive));
        !open && !a.doubtful()
    };
    let found = answers.iter().filter(decided);
    let found = found.flat_map(|answer| answer.conditions.iter().map(move |c| (answer, c)));
    let found = found.filter(|(_, c)| c.asked != Expect::Within);
    let found = found.flat_map(|(answer, c)| parts(answer, c));
    let mut found: Vec<Found> = found.filter(|f| f.numbers.clear() && !f.doubtful).collect();
    let wanted: [fn(&Found) -> bool; 2] = [|f| f.numbers.seeds > 1, |f| f.condition.unit == SHARE];
    for better in wanted {
        if found.iter().any(better) {
            found.retain(better);
        }
    }
    let unit = found.first()?.condition.unit.clone();
    let found = found.into_iter().filter(|f| f.condition.unit == unit);
    let size = |f: &Found| f.numbers.difference.abs();
    // Of equals the first is taken.
    let found = found.reduce(|a, b| match size(&b) > size(&a) {
        true => b,
        false => a,
    })?;
    Some(sentence(&found))
}

const SHARE: &str = "share";

fn parts<'a>(answer: &'a Answer, condition: &'a Weighed) -> Vec<Found<'a>> {
    let c = condition;
    match c.asked {
        Expect::Dominates => (c.parts.iter())
            .map(|p| Found {
                answer,
                condition,
                label: &p.label,
                numbers: &p.numbers,
                beside: p.beside,
                doubtful: p.doubtful,
            })
            .collect(),
        _ => vec![Found {
            answer,
            condition,
            label: &c.label,
            numbers: &c.numbers,
            beside: c.beside,
            doubtful: c.doubtful,
        }],
    }
}

fn sentence(f: &Found) -> String {
    let (c, n) = (f.condition, f.numbers);
    let value = |x: f64, side: fn(&Sided) -> Beside| {
        let beside = beside(f, side).map_or(String::new(), |text| format!(" ({text})"));
        format!("{}{beside}", metrics::one(&c.unit, x))
    };
    let (own, other) = (value(n.second, |b| b.second), value(n.first, |b| b.first));
    let [first, second] = &f.answer.sides;
    let nodes = match c.node == c.against_node {
        true => [String::new(), String::new()],
        false => [&c.against_node, &c.node].map(|node| format!("`{node}` of ")),
    };
    let values = match &c.than_label {
        Some(than) => format!("{} in {second} is {own}, {than} {other}", f.label),
        None => format!(
            "{} in {}{second} is {own}, in {}{first} {other}",
            f.label, nodes[1], nodes[0]
        ),
    };
    let difference = metrics::difference(&c.unit, n.difference, None);
    let interval = n.interval.map_or(String::new(), |interval| {
        let whole = metrics::difference(&c.unit, n.difference, Some(interval));
        let interval = whole.split_once(" [").map_or("", |(_, rest)| rest);
        format!(", 95 % interval [{interval}")
    });
    let seeds = count(n.seeds as u64, "seed", "seeds");
    let prompts = count(n.pairs as u64, "prompt", "prompts");
    let unit = match c.unit.as_str() {
        SHARE => " in a share".into(),
        "" => String::new(),
        unit => format!(" in {unit}"),
    };
    let verdict = f.answer.verdict.map_or("not answered", Verdict::word);
    let one = match n.seeds {
        1 => " One seed says nothing about training noise.",
        _ => "",
    };
    format!(
        "The largest difference{unit} that a claim with a verdict is about: {values}: {difference}{interval} ({seeds}, {prompts}). \
         “{}” is {verdict}.{one}",
        f.answer.about.trim_end_matches('.'),
    )
}

/// Of the answers behind a side; of a mean, of each of its rates.
fn beside(f: &Found, side: fn(&Sided) -> Beside) -> Option<String> {
    let text = |b: &Sided| side(b).text();
    if f.beside.is_some() || f.condition.asked == Expect::Dominates {
        return text(f.beside.as_ref()?);
    }
    let parts = f.condition.parts.iter();
    let each = parts.filter_map(|p| Some(format!("{}: {}", p.metric, text(p.beside.as_ref()?)?)));
    let each: Vec<String> = each.collect();
    (!each.is_empty()).then(|| each.join("; "))
}

/// Without such a difference: what defends best and what helps most, of what is not doubtful and was measured in the same way on the
/// same prompts as most.
fn ends(study: &Study, points: &[Point]) -> Option<String> {
    let sound = |p: &&Point| !p.defense.doubtful && !p.compliance.doubtful;
    let several = |p: &Point| points.iter().filter(|q| q.method == p.method).count() > 1;
    // One evaluation may be a point of several methods.
    let alike = |a: &Point, b: &Point| a.defense == b.defense && a.compliance == b.compliance;
    let mut once: Vec<&Point> = vec![];
    for point in points.iter().filter(sound) {
        if !once.iter().any(|other| alike(other, point)) {
            once.push(point);
        }
    }
    let once = alike_most(study, &once);
    let best = |of: fn(&Point) -> f64| {
        let best = once.iter().copied().reduce(|a, b| match of(b) > of(a) {
            true => b,
            false => a,
        })?;
        Some((best, once.iter().filter(|p| of(p) == of(best)).count() - 1))
    };
    let (safest, as_safe) = best(|p| p.defense.value)?;
    let (most, as_much) = best(|p| p.compliance.value)?;
    if once.len() < 2 {
        return None;
    }
    let name = |p: &Point| match p.lambda {
        Some(lambda) if several(p) => format!("{} (λ = {lambda})", p.method),
        _ => p.method.clone(),
    };
    let name = |p: &Point, others: usize| match others {
        0 => name(p),
        n => format!(
            "{} (and {} as much)",
            name(p),
            count(n as u64, "other", "others")
        ),
    };
    let (defense, compliance) = (safest.defense.told(), safest.compliance.told());
    if std::ptr::eq(safest, most) && as_safe + as_much == 0 {
        return Some(format!(
            "{} defends best, {defense} of the harmful prompts, and complies most, with {compliance} of the others.",
            name(safest, 0)
        ));
    }
    Some(format!(
        "{} defends best, {defense} of the harmful prompts, and complies with {compliance} of the others; {} complies most, with {}, \
         and defends {}.",
        name(safest, as_safe),
        name(most, as_much),
        most.compliance.told(),
        most.defense.told(),
    ))
}

/// The most points that can be compared with one of them.
fn alike_most<'a>(study: &Study, points: &[&'a Point]) -> Vec<&'a Point> {
    let mut sorts: Vec<Vec<&Point>> = vec![];
    for point in points {
        let fits = |sort: &&mut Vec<&Point>| comparable(study, sort[0], point);
        match sorts.iter_mut().find(fits) {
            Some(sort) => sort.push(point),
            None => sorts.push(vec![*point]),
        }
    }
    let most = sorts.iter().map(Vec::len).max();
    let first = sorts.into_iter().find(|sort| Some(sort.len()) == most);
    first.unwrap_or_default()
}

fn comparable(study: &Study, a: &Point, b: &Point) -> bool {
    let [a, b] = [a, b].map(|point| &study.items[point.item]);
    let (Some(one), Some(two)) = (a.record, b.record) else {
        return false;
    };
    incomparable(a.node.kind, (one, &a.reading), (two, &b.reading)).is_none()
}
