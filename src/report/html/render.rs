//! The page as text: the template with the data, the pictures, the style and the script put into it.

use crate::html::{Page, legend};
use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use std::collections::BTreeMap;

const NAME: &str = "page.html";
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// One file that refers to no other.
pub fn page(page: &Page) -> Result<String> {
    let mut env = Environment::new();
    let mut syntax = SyntaxConfig::builder();
    syntax.trim_blocks(true).lstrip_blocks(true);
    env.set_syntax(syntax.build().context("the page's syntax is broken")?);
    // The ending of the name makes every value escaped that is not said to be safe.
    env.add_template(NAME, TEMPLATE)
        .context("the page's template is broken")?;
    env.add_function("swatch", |style: usize| {
        Value::from_safe_string(legend::swatch(style))
    });
    let mut charts = BTreeMap::new();
    for chart in page.charts() {
        charts.insert(chart.name.clone(), Value::from_safe_string(chart.inline()));
    }
    let template = env
        .get_template(NAME)
        .context("the page's template is missing")?;
    let safe = |text: &str| Value::from_safe_string(text.into());
    template
        .render(context! {
            page => Value::from(Serde(page)),
            standing => Value::from(Serde(page.samples.standing())),
            claims => Value::from(Serde(&page.claims.shown)),
            charts => Value::from(charts),
            graph => safe(&page.graph.0),
            samples => Value::from_safe_string(page.samples.compact()),
            style => safe(STYLE),
            script => safe(SCRIPT),
        })
        .context("the page could not be written")
}
