//! HarmBench's layout: `{"BEHAVIOR": [{"test_case": …, "generation": …, "label": …}]}`. Its completions have no label; its results have
//! one (1: the behaviour is shown, 0: it is not), the categories at the first case of a behaviour, and generations that are cut to
//! the tokens that the classifier saw.

use super::unit::{Response, Said};
use anyhow::{Context, Result, bail, ensure};
use base::rows::BEHAVIOR;
use serde_json::Value as Json;
use std::collections::BTreeMap;

/// The name of the one score there is.
pub(crate) const LABEL: &str = "label";

/// Whether a file is one of completions, of all JSON files that may lie beside them.
pub(crate) fn is_completions(value: &Json) -> bool {
    let Some(behaviors) = value.as_object() else {
        return false;
    };
    let made = |case: &Json| case.get("generation").is_some() && case.get("test_case").is_some();
    let mut lists = behaviors.values();
    !behaviors.is_empty() && lists.all(|l| l.as_array().is_some_and(|cases| cases.iter().all(made)))
}

/// The responses of a file, behaviour by behaviour. Errors name the behaviour and the case.
pub fn read(value: &Json) -> Result<Vec<Response>> {
    let behaviors = value.as_object();
    let behaviors = behaviors.context("it is no object of behaviours, as HarmBench's files are")?;
    let mut rows = vec![];
    for (behavior, cases) in behaviors {
        let cases = cases
            .as_array()
            .with_context(|| format!("`{behavior}` has no array of test cases"))?;
        for (i, case) in cases.iter().enumerate() {
            let row = row(behavior, case, &cases[0]);
            rows.push(row.with_context(|| format!("`{behavior}`, case {}", i + 1))?);
        }
    }
    Ok(rows)
}

fn row(behavior: &str, case: &Json, first: &Json) -> Result<Response> {
    let prompt = case.get("test_case").context("it has no `test_case`")?;
    let prompt = prompt
        .as_str()
        .context("its `test_case` is no text; only text is imported")?;
    let generation = case.get("generation").context("it has no `generation`")?;
    let mut labels = BTreeMap::from([(BEHAVIOR.to_string(), behavior.to_string())]);
    for (name, field) in [
        ("functional", "FunctionalCategory"),
        ("semantic", "SemanticCategory"),
    ] {
        let value = first.get(field).and_then(Json::as_str);
        labels.extend(value.map(|v| (name.to_string(), v.to_string())));
    }
    let label = case.get(LABEL).filter(|l| !l.is_null());
    Ok(Response {
        key: behavior.into(),
        prompt: prompt.into(),
        // A generation that failed is null, or whatever the service gave.
        response: match generation {
            Json::String(text) => text.clone(),
            Json::Null => String::new(),
            Json::Array(texts) => match texts.as_slice() {
                [] => String::new(),
                [Json::String(text)] => text.clone(),
                _ => bail!(
                    "its `generation` is an array of {} items, where one text is expected",
                    texts.len()
                ),
            },
            _ => bail!("its `generation` is no text"),
        },
        category: labels.get("semantic").cloned().unwrap_or_default(),
        labels,
        scores: label
            .map(|l| (LABEL.to_string(), Said::of(l)))
            .into_iter()
            .collect(),
        ..Response::default()
    })
}

/// Gives the labels and categories of a file of results to the completions that they are of: the same case of the same behaviour.
/// Errors: results of other completions.
pub fn join(completions: &mut [Response], results: &[Response]) -> Result<()> {
    let mut by_behavior: BTreeMap<&str, Vec<&Response>> = BTreeMap::new();
    for row in results {
        by_behavior.entry(&row.key).or_default().push(row);
    }
    let mut at: BTreeMap<String, usize> = BTreeMap::new();
    for row in completions {
        let place = at.entry(row.key.clone()).or_default();
        let labelled = by_behavior.get(row.key.as_str());
        // A behaviour that its file of behaviours lacked was not judged.
        if let Some(labelled) = labelled {
            let own = labelled.get(*place);
            let own = own.filter(|own| own.prompt == row.prompt);
            let own = own.with_context(|| {
                let case = *place + 1;
                format!("`{}`, case {case} is not that of the completions", row.key)
            })?;
            row.scores = own.scores.clone();
            row.labels = own.labels.clone();
            row.category = own.category.clone();
        }
        *place += 1;
    }
    for (behavior, labelled) in by_behavior {
        let there = at.get(behavior).copied().unwrap_or(0);
        ensure!(
            labelled.len() == there,
            "`{behavior}` has {} cases, and {there} completions",
            labelled.len()
        );
    }
    Ok(())
}
