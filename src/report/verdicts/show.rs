//! Verdicts for reading: the table of claims, the numbers behind each condition, and what would settle what is open.

use crate::beside;
use crate::compare::measures::Numbers;
use crate::metrics;
use crate::page::Page;
use crate::table::{Table, left, right};
use crate::verdicts::decide::{MOST_SEEDS, Verdict};
use crate::verdicts::{Answer, Needed, Weighed, family};
use base::claim::Expect;
use base::text::count;

/// The verdicts, the numbers behind them, and what is to be said of claims without an answer.
pub fn page(answers: &[Answer]) -> Page {
    let mut page = Page::default();
    if answers.is_empty() {
        return page;
    }
    page.head("claims");
    let several = answers.iter().filter(|a| a.verdict.is_some()).count() > 1;
    let mut columns = vec![left("verdict")];
    columns.extend(several.then(|| left("alone")));
    columns.extend([right("p"), left("recipe"), right("seeds"), left("claim")]);
    let mut claims = Table::new(columns);
    let mut numbers = Table::new([
        left("recipe"),
        left("condition"),
        right("own"),
        right("other"),
        right("difference [95 %]"),
        right("p"),
        left("verdict"),
    ]);
    for answer in answers {
        let seeds = match answer.verdict {
            Some(_) => answer.seeds.to_string(),
            None => String::new(),
        };
        let verdict = answer.verdict.map_or("not answered", Verdict::word);
        let mut cells = vec![marked(verdict, answer.doubtful())];
        let alone = answer.raw_verdict.map_or("", Verdict::word);
        cells.extend(several.then(|| alone.to_string()));
        cells.push(answer.p.map_or(String::new(), p_value));
        cells.extend([answer.recipe.clone(), seeds, answer.about.clone()]);
        claims.push(cells);
        for one in &answer.conditions {
            for cells in condition(one) {
                let recipe = std::iter::once(answer.recipe.clone());
                numbers.push(recipe.chain(cells));
            }
            let own = one.beside.map(|b| [Some(b.second), Some(b.first)]);
            if let Some((label, shares)) = own.and_then(|own| beside::line(&own, None)) {
                let shares = shares.into_iter();
                let mut cells: Vec<String> =
                    [String::new(), label].into_iter().chain(shares).collect();
                cells.resize(7, String::new());
                numbers.push(cells);
            }
        }
    }
    page.table(claims);
    page.table(numbers);
    for answer in answers {
        let about = format!("{}: {}", answer.recipe, answer.about);
        for warning in &answer.warnings {
            page.item(format!("warning: {about}: {warning}"));
        }
        if let Some(why) = &answer.unanswered {
            page.item(format!("{about}: not answered: {why}"));
        }
        for note in &answer.notes {
            page.item(format!("{about}: left out: {note}"));
        }
        if let Some(text) = open(answer) {
            page.item(format!("{about}: {text}"));
        }
    }
    let together: Vec<String> = family(answers)
        .map(|a| format!("{}: {}", a.recipe, a.about))
        .collect();
    if together.len() > 1 {
        page.line(format!(
            "corrected together (Holm), {} claims: {}",
            together.len(),
            together.join("; ")
        ));
    }
    let one = answers
        .iter()
        .filter(|a| a.verdict.is_some() && a.seeds == 1);
    if one.count() > 0 {
        page.line("one seed: the interval is over prompts and says nothing about training noise");
    }
    page
}

/// What would settle a claim that is open, and what so many seeds can tell.
pub fn open(answer: &Answer) -> Option<String> {
    let needed = match answer.enough? {
        Needed::Another => "one seed; two at least tell training noise".to_string(),
        Needed::Seeds(n) => format!("open; about {n} seeds in all would settle it"),
        Needed::Prompts(n) => {
            format!("open; more seeds would not settle it, about {n} prompts would")
        }
        Needed::Fixed => {
            "open; it does not depend on the seed, so no more seeds would settle it".into()
        }
        Needed::Nothing if answer.p.is_none() => {
            "open; nothing varied between the seeds, so there is no interval".into()
        }
        Needed::Nothing => {
            format!(
                "open; not even {MOST_SEEDS} seeds would settle a difference this close to its bound"
            )
        }
    };
    let told = |c: &Weighed| {
        let size = metrics::number(&c.unit, c.numbers.detectable?);
        let unit = if c.unit == "share" { " points" } else { "" };
        Some(format!("{size}{unit} of {}", c.label))
    };
    let told: Vec<String> = answer.conditions.iter().filter_map(told).collect();
    let seeds = count(answer.seeds as u64, "seed tells", "seeds tell");
    Some(match (told.is_empty(), answer.seeds) {
        (true, _) | (_, 1) => needed,
        _ => format!(
            "{needed}; {seeds} differences from {} on, in four of five studies",
            told.join(", ")
        ),
    })
}

/// What was expected, both values, the difference, p, the verdict; where both sides of a frontier are meant, a line for each of them.
fn condition(c: &Weighed) -> Vec<[String; 6]> {
    let value = |x: f64| match c.unit.as_str() {
        "share" => format!("{} %", metrics::number("share", x)),
        unit => metrics::number(unit, x),
    };
    let p = c.p_verdict.map_or(String::new(), p_value);
    let verdict = marked(c.verdict.word(), c.doubtful);
    let line = |label: String, n: &Numbers, p: String, verdict: String| {
        [
            label,
            value(n.second),
            value(n.first),
            metrics::difference(&c.unit, n.difference, n.interval),
            p,
            verdict,
        ]
    };
    let head = format!("{} {}", c.label, expected(c));
    if c.asked != Expect::Dominates {
        return vec![line(head, &c.numbers, p, verdict)];
    }
    let correlation = c
        .correlation
        .map_or(String::new(), |r| format!("r = {r:.2}"));
    let empty = String::new;
    let mut lines = vec![[head, empty(), empty(), correlation, p, verdict]];
    let parts = c.parts.iter();
    lines.extend(parts.map(|part| {
        let label = format!("  {}", part.label);
        line(label, &part.numbers, empty(), empty())
    }));
    lines
}

/// `0.031`, `< 0.0001`.
pub fn p_value(p: f64) -> String {
    match p < 1e-4 {
        true => "< 0.0001".into(),
        false => format!("{p:.4}"),
    }
}

/// A verdict that says little is not read without its mark.
fn marked(verdict: &str, doubtful: bool) -> String {
    match doubtful {
        true => format!("{verdict} (!)"),
        false => verdict.into(),
    }
}

/// `lower`, `higher by 2.0 points`, `within 5.0 points`, `dominates`.
pub fn expected(c: &Weighed) -> String {
    let unit = if c.unit == "share" { " points" } else { "" };
    let by = format!("{}{unit}", metrics::number(&c.unit, c.by));
    match (c.asked, c.by == 0.0) {
        (Expect::Within, _) => format!("within {by}"),
        (asked, true) => asked.word().to_string(),
        (Expect::Dominates, false) => format!("dominates, lower by {by} at most"),
        (asked, false) => format!("{} by {by}", asked.word()),
    }
}

/// `2 reproduced, 1 inconclusive of 3 claims`.
pub fn summary(answers: &[Answer]) -> String {
    let all = [
        Some(Verdict::Reproduced),
        Some(Verdict::Contradicted),
        Some(Verdict::Inconclusive),
        None,
    ];
    let told: Vec<String> = all
        .into_iter()
        .map(|v| (v, answers.iter().filter(|a| a.verdict == v).count()))
        .filter(|(_, n)| *n > 0)
        .map(|(v, n)| format!("{n} {}", v.map_or("not answered", Verdict::word)))
        .collect();
    let claims = count(answers.len() as u64, "claim", "claims");
    let doubtful = match answers.iter().filter(|a| a.doubtful()).count() {
        0 => String::new(),
        n => format!(
            "; {} on answers of which more than a tenth are unreadable",
            count(n as u64, "verdict rests", "verdicts rest")
        ),
    };
    match told.is_empty() {
        true => claims,
        false => format!("{} of {claims}{doubtful}", told.join(", ")),
    }
}
