//! Picks prompts by what is known of them, and then a slice of what is left.

use crate::data::labels;
use crate::data::removed::{COUNTS, Details, PICKED, Picked};
use crate::data::table_file::Class;
use crate::shared::bounds;
use crate::shared::estimate;
use crate::shared::model_io;
use anyhow::{Context, Result, bail, ensure};
use base::params::ParamSet;
use base::params::Problem;
use base::rng::Seed;
use base::rows::{self, Prompt, PromptClass};
use base::setup::Acts;
use base::text::{did_you_mean, listed};
use base::value::Values;
use base::{choice, params};
use engine::kind::context::NodeCtx;
use engine::kind::estimate::{NodePreview, Work};
use engine::kind::{Kind, Port, Role, Type};
use learn::tokenizer::Tokenizer;
use regex::Regex;
use std::collections::{BTreeMap, BTreeSet};

choice! {
    /// Which tokens of a prompt count.
    pub enum Counted { Rendered = "rendered", Text = "text" }
}

const COUNTED: Acts = Acts::only("where `min_tokens` or `max_tokens` is given", |s| {
    s.given("min_tokens") || s.given("max_tokens")
});

params! {
    pub struct Params {
        /// Least length in characters.
        min_chars: Option<usize> = None, in bounds::COUNT;
        /// Greatest length in characters.
        max_chars: Option<usize> = None, in bounds::COUNT;
        /// Least length in tokens of the model at the port `model`.
        min_tokens: Option<usize> = None, in bounds::COUNT;
        /// Greatest length in tokens of the model at the port `model`.
        max_tokens: Option<usize> = None, in bounds::COUNT;
        /// Whether the chat template counts: all that the model is asked (`rendered`), or the prompt's own `text`.
        counted: Counted = Counted::Rendered, if COUNTED;
        /// Regular expressions that all have to match somewhere in the prompt; `(?i)` ignores case, `^` and `$` are the whole
        /// prompt's ends.
        matching: Vec<String> = vec![];
        /// Regular expressions of which none may match.
        not_matching: Vec<String> = vec![];
        /// Classes that are kept; empty: all.
        classes: Vec<Class> = vec![];
        /// Categories that are kept; empty: all.
        categories: Vec<String> = vec![];
        /// Sources that are kept; empty: all.
        sources: Vec<String> = vec![];
        /// By name of a label, its values that are kept: `{ data_type = ["vanilla_harmful"] }`. Rows without the label are not.
        labels: BTreeMap<String, Vec<String>> = BTreeMap::new();
        /// Seed of an order into which the rows that are left are brought; absent: their own. A row's place hangs on its id and on
        /// who is left with it, not on the order before.
        shuffle: Option<u64> = None, in bounds::SEED;
        /// Leaves out the first so many rows of the order.
        skip: usize = 0, in bounds::COUNT;
        /// Takes so many after these; absent: all. Too few are an error.
        take: Option<usize> = None, in bounds::COUNT;
    }
}

pub const KIND: Kind = Kind {
    name: "filter",
    revision: 1,
    role: Role::Selects,
    summary: "picks prompts by length, pattern, class, category, source or label, then a slice of an order",
    about: "A row is removed for the first condition that it fails, in the order `class`, `source`, `category`, `label`, \
            `chars`, `tokens`, `pattern`; the order and the slice come last, and what is not in the slice is removed as \
            `slice`. Two nodes with the same conditions and the same `shuffle` have one order, so that `take = 400` and `skip = \
            400` share no row. A class, source, category, label or value of a label that no row has is an error that lists \
            those there are.",
    example: r#"
[node.rl-harmful]
kind = "filter"
in = { prompts = "wildjailbreak" }
labels = { data_type = ["vanilla_harmful", "adversarial_harmful"] }
max_chars = 999
shuffle = 0
skip = 400
take = 800
"#,
    inputs: &[
        Port::required("prompts", Type::Prompts, "what is picked from"),
        Port::required_where(
            "model",
            Type::Model,
            "whose tokenizer and chat template count",
            "with `min_tokens` or `max_tokens`",
            |values| Params::read(values).is_ok_and(|p| p.min_tokens.or(p.max_tokens).is_some()),
        ),
    ],
    outputs: PICKED,
    metrics: COUNTS,
    params: Params::specs,
    check: Some(check),
    estimate: Some(estimate),
    run,
    ..Kind::DEFAULTS
};

const REASONS: &[&str] = &[
    "class", "source", "category", "label", "chars", "tokens", "pattern", "slice",
];

fn check(values: &Values) -> Vec<Problem> {
    let Ok(p) = Params::read(values) else {
        return vec![];
    };
    let mut found = vec![];
    let mut problem = |path: &str, message: String| {
        found.push(Problem {
            path: path.into(),
            message,
            help: None,
        });
    };
    for (path, low, high) in [
        ("min_chars", p.min_chars, p.max_chars),
        ("min_tokens", p.min_tokens, p.max_tokens),
    ] {
        if let (Some(low), Some(high)) = (low, high)
            && low > high
        {
            let most = path.replace("min", "max");
            problem(
                path,
                format!("`{path}` is {low} and `{most}` {high}: nothing is left"),
            );
        }
    }
    if p.take == Some(0) {
        problem("take", "`take` is 0: nothing is left".into());
    }
    for (path, patterns) in [("matching", &p.matching), ("not_matching", &p.not_matching)] {
        for pattern in patterns {
            if let Err(error) = Regex::new(pattern) {
                let message = error.to_string();
                let message = message.lines().last().unwrap_or_default().trim();
                let message = message.trim_start_matches("error: ");
                let shown: String = pattern.chars().take(60).collect();
                let more = if shown == *pattern { "" } else { "…" };
                problem(
                    path,
                    format!("`{shown}{more}` is no regular expression: {message}"),
                );
            }
        }
    }
    for (name, accepted) in &p.labels {
        if accepted.is_empty() {
            let message = format!("`labels.{name}` accepts no value: nothing is left");
            problem("labels", message);
        }
    }
    found
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let prompts: Vec<Prompt> = rows::read_rows(ctx.input("prompts"))?;
    // Without a limit in tokens a model at the port is not looked at.
    let counts = p.min_tokens.or(p.max_tokens).is_some();
    let tokenizer = match ctx.input_opt("model") {
        Some(folder) if counts => Some(Tokenizer::load(folder)?),
        _ => None,
    };
    filter(prompts, &p, tokenizer.as_ref())?.finish(ctx)
}

/// Sifts the prompts. Errors: names that no row has, too few rows.
pub fn filter(prompts: Vec<Prompt>, p: &Params, tokenizer: Option<&Tokenizer>) -> Result<Picked> {
    named(&prompts, p)?;
    let conditions = Conditions::new(p, tokenizer)?;
    let mut picked = Picked::new(REASONS);
    let mut left = vec![];
    for prompt in prompts {
        match conditions.failed(&prompt)? {
            Some((reason, details)) => picked.remove(prompt, reason, details),
            None => left.push(prompt),
        }
    }
    if let Some(seed) = p.shuffle {
        let seed = Seed::new(seed).child("filter");
        left.sort_by_cached_key(|p| seed.child(&p.id).rng().next_u64());
    }
    let end = match p.take {
        Some(take) => p.skip.saturating_add(take),
        None => left.len(),
    };
    ensure!(
        p.skip <= left.len() && end <= left.len(),
        "the slice is to end at row {}, and {} meet the conditions: {}",
        p.skip.max(end),
        left.len(),
        picked.summary()
    );
    for (place, prompt) in left.into_iter().enumerate() {
        match (p.skip..end).contains(&place) {
            true => picked.keep(prompt),
            false => picked.remove(
                prompt,
                "slice",
                Details::from([("place", (place + 1).into())]),
            ),
        }
    }
    Ok(picked)
}

/// Names that no row has.
fn named(prompts: &[Prompt], p: &Params) -> Result<()> {
    let classes: BTreeSet<&str> = prompts.iter().map(|p| p.class.word()).collect();
    for class in &p.classes {
        known("class", PromptClass::from(*class).word(), &classes)?;
    }
    let sources: BTreeSet<&str> = prompts.iter().map(|p| p.source.as_str()).collect();
    let categories: BTreeSet<&str> = prompts.iter().map(|p| p.category.as_str()).collect();
    for source in &p.sources {
        known("source", source, &sources)?;
    }
    for category in &p.categories {
        known("category", category, &categories)?;
    }
    none_nearly("sources", &p.sources, &sources)?;
    none_nearly("categories", &p.categories, &categories)?;
    let labels = prompts.iter().flat_map(|p| p.labels.keys());
    let labels: BTreeSet<&str> = labels.map(String::as_str).collect();
    for (name, accepted) in &p.labels {
        known("label", name, &labels)?;
        let values = prompts.iter().filter_map(|p| p.labels.get(name));
        let values: BTreeSet<&str> = values.map(String::as_str).collect();
        for value in accepted {
            known(&format!("value of the label `{name}`"), value, &values)?;
        }
        none_nearly(&format!("labels.{name}"), accepted, &values)?;
    }
    Ok(())
}

/// A value that is nearly one that is picked would be removed with all others.
fn none_nearly(param: &str, accepted: &[String], there: &BTreeSet<&str>) -> Result<()> {
    let names: Vec<&str> = accepted.iter().map(String::as_str).collect();
    if let Some((other, name)) = labels::first_nearly(there.iter().copied(), &names) {
        bail!(
            "some prompts have {} and some {}, of which `{param}` picks only the latter; name both, or make them one before",
            labels::quoted(other),
            labels::quoted(name)
        );
    }
    Ok(())
}

fn known(what: &str, name: &str, there: &BTreeSet<&str>) -> Result<()> {
    if there.contains(name) {
        return Ok(());
    }
    let near = did_you_mean(name, there.iter().copied());
    let near = near.map_or(".".into(), |n| format!(", did you mean `{n}`?"));
    match there.is_empty() {
        true => bail!("no prompt has a {what} `{name}`; there is none at all"),
        false => bail!(
            "no prompt has the {what} `{name}`{near} There are {}",
            listed(there.iter().copied())
        ),
    }
}

/// What a prompt has to meet.
struct Conditions<'a> {
    p: &'a Params,
    tokenizer: Option<&'a Tokenizer>,
    matching: Vec<Regex>,
    not_matching: Vec<Regex>,
}

impl<'a> Conditions<'a> {
    fn new(p: &'a Params, tokenizer: Option<&'a Tokenizer>) -> Result<Conditions<'a>> {
        let compiled = |patterns: &[String]| -> Result<Vec<Regex>> {
            let compiled = patterns.iter().map(|pattern| Regex::new(pattern));
            compiled
                .collect::<Result<_, _>>()
                .context("a regular expression")
        };
        Ok(Conditions {
            p,
            tokenizer,
            matching: compiled(&p.matching)?,
            not_matching: compiled(&p.not_matching)?,
        })
    }

    /// The first condition that is not met, and why.
    fn failed(&self, prompt: &Prompt) -> Result<Option<(&'static str, Details)>> {
        let p = self.p;
        let none = Details::new;
        let among = |list: &[String], name: &String| list.is_empty() || list.contains(name);
        let mut classes = p.classes.iter().map(|c| PromptClass::from(*c));
        if !p.classes.is_empty() && !classes.any(|c| c == prompt.class) {
            return Ok(Some(("class", none())));
        }
        if !among(&p.sources, &prompt.source) {
            return Ok(Some(("source", none())));
        }
        if !among(&p.categories, &prompt.category) {
            return Ok(Some(("category", none())));
        }
        for (name, accepted) in &p.labels {
            if !prompt
                .labels
                .get(name)
                .is_some_and(|v| accepted.contains(v))
            {
                let details = Details::from([("label", name.as_str().into())]);
                return Ok(Some(("label", details)));
            }
        }
        let chars = prompt.prompt.chars().count();
        if outside(chars, p.min_chars, p.max_chars) {
            return Ok(Some(("chars", Details::from([("chars", chars.into())]))));
        }
        if let Some(tokens) = self.tokens(prompt)?
            && outside(tokens, p.min_tokens, p.max_tokens)
        {
            return Ok(Some(("tokens", Details::from([("tokens", tokens.into())]))));
        }
        let missed = self.matching.iter().find(|r| !r.is_match(&prompt.prompt));
        let hit = || {
            self.not_matching
                .iter()
                .find(|r| r.is_match(&prompt.prompt))
        };
        Ok(missed.or_else(hit).map(|pattern| {
            let details = Details::from([("pattern", pattern.as_str().into())]);
            ("pattern", details)
        }))
    }

    fn tokens(&self, prompt: &Prompt) -> Result<Option<usize>> {
        let Some(tokenizer) = self.tokenizer else {
            return Ok(None);
        };
        let ids = match self.p.counted {
            Counted::Text => tokenizer.encode(&prompt.prompt),
            Counted::Rendered => {
                model_io::asked(tokenizer, &prompt.prompt, None).map(|asked| asked.ids)
            }
        };
        Ok(Some(
            ids.with_context(|| format!("prompt {}", prompt.id))?.len(),
        ))
    }
}

fn outside(n: usize, low: Option<usize>, high: Option<usize>) -> bool {
    low.is_some_and(|low| n < low) || high.is_some_and(|high| n > high)
}

fn estimate(preview: &NodePreview) -> Result<Work> {
    let p: Params = preview.params()?;
    let mut likely = preview.expected("prompts");
    let left = likely.rows.map(|n| (n - p.skip as f64).max(0.0));
    // Too few are an error, so what is taken is known.
    likely.rows = p.take.map(|n| n as f64).or(left);
    Ok(estimate::only("prompts", likely))
}
