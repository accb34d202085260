//! Verdicts for reading: the table of claims, the numbers behind each condition, and what would settle what is open.

use crate::beside::{self, Sided};
use crate::compare::numbers::Numbers;
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
    page.table(table(answers));
    page.table(numbers(answers));
    page.append(remarks(answers));
    page
}

/// The verdicts, and what would settle those that are open. Above numbers that say themselves how much of an evaluation cannot be read:
/// here a mark does.
pub fn verdicts(answers: &[Answer]) -> Page {
    let mut page = Page::default();
    page.table(table(answers));
    if answers.iter().any(Answer::doubtful) {
        page.item("(!): more than a tenth of the answers behind it are unreadable or have no verdict, so that it says little");
    }
    for answer in answers {
        let about = format!("{}: {}", answer.recipe, answer.about);
        let others = answer.warnings.iter();
        for warning in others.filter(|w| !answer.doubts.contains(*w)) {
            page.item(format!("warning: {about}: {warning}"));
        }
        if let Some(text) = open(answer) {
            page.item(format!("{about}: {text}"));
        }
    }
    page
}

/// Whether a recipe has several claims, so that its name does not say which of them is meant: claims have numbers then.
fn numbered(answers: &[Answer]) -> bool {
    let mut recipes: Vec<_> = answers.iter().map(|a| &a.recipe).collect();
    recipes.sort();
    recipes.windows(2).any(|pair| pair[0] == pair[1])
}

fn table(answers: &[Answer]) -> Table {
    let several = answers.iter().filter(|a| a.verdict.is_some()).count() > 1;
    let numbered = numbered(answers);
    let mut columns: Vec<_> = numbered.then(|| right("#")).into_iter().collect();
    columns.push(left("verdict"));
    columns.extend(several.then(|| left("alone")));
    columns.extend([right("p"), left("recipe"), right("seeds"), left("claim")]);
    let mut claims = Table::new(columns);
    for (n, answer) in answers.iter().enumerate() {
        let seeds = match answer.verdict {
            Some(_) => answer.seeds.to_string(),
            None => String::new(),
        };
        let verdict = answer.verdict.map_or("not answered", Verdict::word);
        let number = numbered.then(|| (n + 1).to_string());
        let mut cells: Vec<String> = number.into_iter().collect();
        cells.push(marked(verdict, answer.doubtful()));
        let alone = answer.raw_verdict.map_or("", Verdict::word);
        cells.extend(several.then(|| alone.to_string()));
        cells.push(answer.p.map_or(String::new(), p_value));
        cells.extend([answer.recipe.clone(), seeds, answer.about.clone()]);
        claims.push(cells);
    }
    claims
}

fn numbers(answers: &[Answer]) -> Table {
    let numbered = numbered(answers);
    let mut columns: Vec<_> = numbered.then(|| left("#")).into_iter().collect();
    columns.extend([
        left("recipe"),
        left("condition"),
        right("own"),
        right("other"),
        right("difference [95 %]"),
        right("p"),
        left("verdict"),
    ]);
    let width = columns.len();
    let mut numbers = Table::new(columns);
    for (n, answer) in answers.iter().enumerate() {
        let several = answer.conditions.len() > 1;
        for (k, one) in answer.conditions.iter().enumerate() {
            let number = match several {
                true => format!("{}.{}", n + 1, k + 1),
                false => (n + 1).to_string(),
            };
            for Line { cells, beside } in condition(one) {
                let number = numbered.then(|| number.clone()).into_iter();
                let named = number.chain([answer.recipe.clone()]);
                numbers.push(named.chain(cells));
                let own = beside.map(|b| [Some(b.second), Some(b.first)]);
                if let Some((label, shares)) = own.and_then(|own| beside::line(&own, None)) {
                    let unnamed = vec![String::new(); width - 6].into_iter();
                    let mut cells: Vec<String> = unnamed.chain([label]).chain(shares).collect();
                    cells.resize(width, String::new());
                    numbers.push(cells);
                }
            }
        }
    }
    numbers
}

/// What is to be said of claims beside their verdicts.
fn remarks(answers: &[Answer]) -> Page {
    let mut page = Page::default();
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
        Needed::Prompts { prompts, seeds } if seeds <= answer.seeds => {
            format!("open; about {prompts} prompts would settle it, seeds alone would not")
        }
        Needed::Prompts { prompts, seeds } => format!(
            "open; about {seeds} seeds of {prompts} prompts would settle it, seeds alone would not"
        ),
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
    match answer.seeds {
        1 => Some(needed),
        _ => Some(
            [Some(needed), tells(answer)]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join("; "),
        ),
    }
}

/// Which differences so many seeds tell from none, and of what they tell none that there can be.
fn tells(answer: &Answer) -> Option<String> {
    let known = answer.conditions.iter();
    let known = known.filter_map(|c| Some((c, c.numbers.detectable?)));
    // A share differs by 100 points at most.
    let (some, none): (Vec<_>, Vec<_>) =
        known.partition(|(c, size)| c.unit != "share" || *size < 1.0);
    let sizes = some.iter().map(|(c, size)| {
        let unit = if c.unit == "share" { " points" } else { "" };
        format!("{}{unit} of {}", metrics::number(&c.unit, *size), c.label)
    });
    let sizes: Vec<String> = sizes.collect();
    let none: Vec<&str> = none.iter().map(|(c, _)| c.label.as_str()).collect();
    let seeds = count(answer.seeds as u64, "seed tells", "seeds tell");
    match (sizes.is_empty(), none.is_empty()) {
        (true, true) => None,
        (false, true) => Some(format!("{seeds} differences from {} on", sizes.join(", "))),
        (true, false) => Some(format!(
            "{seeds} no difference at all in {}",
            none.join(", ")
        )),
        (false, false) => Some(format!(
            "{seeds} differences from {} on, none at all in {}",
            sizes.join(", "),
            none.join(", ")
        )),
    }
}

/// A line of numbers, and what stands beside its rates.
struct Line {
    cells: [String; 6],
    beside: Option<Sided>,
}

/// What was expected, both values, the difference, p, the verdict; of several metrics, a line for each of them follows.
fn condition(c: &Weighed) -> Vec<Line> {
    let p = c.p_verdict.map_or(String::new(), p_value);
    let verdict = marked(c.verdict.word(), c.doubtful);
    let line = |label: String, n: &Numbers, p: String, verdict: String| {
        let values = [n.second, n.first].map(|x| metrics::one(&c.unit, x));
        let [own, other] = values;
        let difference = metrics::difference(&c.unit, n.difference, n.interval);
        [label, own, other, difference, p, verdict]
    };
    let head = format!("{} {}", c.label, expected(c));
    let head = match c.asked {
        Expect::Dominates => {
            let correlation = c.correlation.map(|r| format!("r = {r:.2}"));
            let [own, other] = [String::new(), String::new()];
            [
                head,
                own,
                other,
                correlation.unwrap_or_default(),
                p,
                verdict,
            ]
        }
        _ => line(head, &c.numbers, p, verdict),
    };
    let mut lines = vec![Line {
        cells: head,
        beside: c.beside,
    }];
    lines.extend(c.parts.iter().map(|part| {
        let label = format!("  {}", part.label);
        Line {
            cells: line(label, &part.numbers, String::new(), String::new()),
            beside: part.beside,
        }
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

/// `lower`, `higher by 2.0 points`, `within 5.0 points`, `dominates`; `higher than reasoning words, lookups/0`.
pub fn expected(c: &Weighed) -> String {
    match (&c.than_label, c.asked) {
        (Some(than), Expect::Within) => format!("{} of {than}", bounded(c)),
        (Some(than), Expect::Differs) => format!("{} from {than}", bounded(c)),
        (Some(than), _) => format!("{} than {than}", bounded(c)),
        (None, _) => bounded(c),
    }
}

fn bounded(c: &Weighed) -> String {
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
            "; {} on answers of which more than a tenth are unreadable or have no verdict",
            count(n as u64, "verdict rests", "verdicts rest")
        ),
    };
    match told.is_empty() {
        true => claims,
        false => format!("{} of {claims}{doubtful}", told.join(", ")),
    }
}
