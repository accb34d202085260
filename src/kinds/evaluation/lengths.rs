//! How long does a model reason, and how long does it answer, and on what? The adaptivity of TARS (arXiv 2507.00971, Table 3):
//! mean tokens of reasoning and answer by domain of SORRY-Bench.

use crate::shared::dropped::Dropped;
use crate::shared::measure::{self, MOST_VALUES, Measure};
use crate::shared::model_checks;
use anyhow::{Context, Result};
use base::params::ParamSet;
use base::response;
use base::rows::{self, CompletedPrompt, Completion, PromptClass};
use base::value::Values;
use base::{choice, params};
use engine::kind::context::{Interrupted, NodeCtx};
use engine::kind::{Kind, MetricInfo, Output, Port, Role, Type};
use learn::tokenizer::Tokenizer;

choice! {
    /// What is counted.
    pub enum Count { Tokens = "tokens", Words = "words" }
}

params! {
    pub struct Params {
        /// What is counted: tokens of the model on the port `model`, whoever wrote the text, so that models with different
        /// tokenizers can be compared; or words between white space.
        count: Count = Count::Tokens;
    }
}

pub const KIND: Kind = Kind {
    name: "lengths",
    revision: 4,
    role: Role::Measures,
    summary: "lengths of reasoning and answer, overall and by class, category and label",
    about: "`reasoning/tokens` and `answer/tokens` are means over prompts with bootstrap intervals, then `…/CLASS`, \
            `…/type/CATEGORY` and `…/LABEL/VALUE` for each further label of the rows (`reasoning/tokens/domain/…` of \
            SORRY-Bench) with at most 100 values. What stands in think tags, or before a lone closing one, is reasoning; where a `<think>` is never closed, all after it is, and \
            it adds nothing to the answer; a response without tags has no reasoning. Tags are not counted. `finished` is the share of \
            responses that ended by themselves (the length of the others is a lower bound), `closed_think` the share with \
            reasoning that ends, both with Wilson intervals. Prompts with the same label `behavior` are one observation, as in \
            `evaluate`. `values.jsonl` beside the metrics holds every prompt's values, which is what `diff` pairs.",
    example: r#"
[node.rl-lengths]
kind = "lengths"
in = { completions = "rl-answers", model = "rl" }
"#,
    inputs: &[
        Port::required("completions", Type::Completions, "what is measured"),
        Port::required_where(
            "model",
            Type::Model,
            "whose tokens are counted",
            "where `count` is `tokens`",
            counts_tokens,
        ),
    ],
    outputs: &[Output::always(
        "metrics",
        Type::Metrics,
        "the lengths, and every prompt's values behind them",
    )],
    metrics: &[
        // In tokens or words.
        MetricInfo::plain("reasoning/*", "", "reasoning, *"),
        MetricInfo::plain("answer/*", "", "answer, *"),
        measure::FINISHED,
        MetricInfo::higher("finished/*", "share", "finished within the limit, *"),
        MetricInfo::higher("closed_think", "share", "closed think block"),
        MetricInfo::higher("closed_think/*", "share", "closed think block, *"),
        measure::DROPPED,
        measure::DROPPED_OF,
    ],
    params: Params::specs,
    run,
    ..Kind::DEFAULTS
};

fn counts_tokens(values: &Values) -> bool {
    Params::read(values).is_ok_and(|p| p.count == Count::Tokens)
}

fn run(ctx: &mut NodeCtx) -> Result<()> {
    let p: Params = ctx.params()?;
    let completions: Vec<Completion> = rows::read_rows(ctx.input("completions"))?;
    let tokenizer = match p.count {
        Count::Tokens => Some(Tokenizer::load(ctx.input("model"))?),
        Count::Words => None,
    };
    let length = |text: &str| -> Result<usize> {
        match &tokenizer {
            // Some tokenizers put a token before every text, an empty one as well.
            Some(_) if text.is_empty() => Ok(0),
            Some(tokenizer) => Ok(tokenizer.encode(text)?.len()),
            None => Ok(text.split_whitespace().count()),
        }
    };
    let mut measured: Vec<Measured> = vec![];
    for (i, completion) in completions.iter().enumerate() {
        if ctx.stop() {
            return Err(Interrupted.into());
        }
        let row = Measured::of(completion, &length);
        measured.push(row.with_context(|| format!("completion {}", completion.id))?);
        ctx.progress(i as u64 + 1, completions.len() as u64, "responses", "");
    }
    if let Some(reach) = tokenizer.as_ref().and_then(Tokenizer::positions) {
        let lengths: Vec<usize> = measured.iter().map(|m| m.reasoning + m.answer).collect();
        if let Some(told) = model_checks::beyond("responses", &lengths, reach) {
            ctx.log(&told);
        }
    }
    let unit = match p.count {
        Count::Tokens => "tokens",
        Count::Words => "words",
    };
    let dropped = Dropped::read(ctx.input("completions"))?;
    let mut measures = measures(&measured, unit);
    measures.extend(dropped.measures(&completions));
    let folder = ctx.output("metrics");
    let values = measure::values(dropped.prompts(&completions), &measures);
    rows::write_values(&folder, &values)?;
    rows::write_metrics(&folder, measures.into_iter().map(|m| m.metric).collect())
}

/// A response's lengths.
pub struct Measured<'a> {
    pub prompt: &'a CompletedPrompt,
    pub reasoning: usize,
    pub answer: usize,
    pub finished: bool,
    pub closed: bool,
}

impl<'a> Measured<'a> {
    pub fn of(
        completion: &'a Completion,
        length: &dyn Fn(&str) -> Result<usize>,
    ) -> Result<Measured<'a>> {
        let parts = response::split(&completion.response);
        Ok(Measured {
            prompt: &completion.prompt,
            reasoning: length(parts.reasoning.as_deref().unwrap_or(""))?,
            answer: length(&response::own(
                &completion.response,
                completion.begun.as_deref(),
            ))?,
            finished: completion.finished,
            closed: parts.closed && parts.reasoning.is_some(),
        })
    }
}

/// What is known of a row.
type Of<T> = fn(&Measured) -> T;

/// All lengths, in the order a table shows them; `unit` is what they count.
pub fn measures(rows: &[Measured], unit: &str) -> Vec<Measure> {
    let groups = groups(rows);
    let mut out: Vec<Measure> = vec![];
    let lengths: [(&str, Of<usize>); 2] = [
        ("reasoning", |row| row.reasoning),
        ("answer", |row| row.answer),
    ];
    for (part, of) in lengths {
        for (group, rows) in &groups {
            let values = rows.iter().map(|row| (row.prompt, of(row) as f64));
            let name = format!("{part}/{unit}{group}");
            out.extend(measure::resampled_mean(&name, unit, values));
        }
    }
    let shares: [(&str, Of<bool>); 2] = [
        ("finished", |row| row.finished),
        ("closed_think", |row| row.closed),
    ];
    for (name, has) in shares {
        for (group, rows) in &groups {
            let values = rows.iter().map(|row| (row.prompt, has(row)));
            out.extend(measure::share(&format!("{name}{group}"), values));
        }
    }
    out
}

/// The rows by what stands behind a measure's name: nothing, `/CLASS`, `/type/CATEGORY`, `/LABEL/VALUE`; no group twice.
fn groups<'a, 'b>(rows: &'b [Measured<'a>]) -> Vec<(String, Vec<&'b Measured<'a>>)> {
    let mut groups = vec![(String::new(), rows.iter().collect())];
    for class in PromptClass::ALL {
        let of_class: Vec<&Measured> = rows.iter().filter(|r| r.prompt.class == class).collect();
        if !of_class.is_empty() {
            groups.push((format!("/{}", class.word()), of_class));
        }
    }
    let mut split = measure::by_label(rows.iter(), |row| &row.prompt.labels);
    let categories: Vec<&Measured> = rows
        .iter()
        .filter(|r| !r.prompt.category.is_empty())
        .collect();
    split.remove("type");
    for row in categories {
        let types = split.entry("type").or_default();
        types.entry(&row.prompt.category).or_default().push(row);
    }
    for (label, values) in split.into_iter().filter(|(_, v)| v.len() <= MOST_VALUES) {
        for (value, rows) in values {
            groups.push((format!("/{label}/{value}"), rows));
        }
    }
    groups
}
