//! The page as text: the template with the data, the pictures, the style and the script put into it.

use crate::html::samples::harmless;
use crate::html::svg::escape;
use crate::html::{Page, curves, legend, runs};
use anyhow::{Context, Result};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value};
use minijinja::{Environment, context};
use serde_json::json;
use std::collections::BTreeMap;

const NAME: &str = "page.html";
const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// What the parts of the page share, then each of them, then what the address asks for.
const SCRIPT: [&str; 4] = [
    include_str!("page.js"),
    include_str!("curves.js"),
    include_str!("samples.js"),
    "page.read();",
];

/// What follows a page that a server keeps up to date.
const LIVE: &str = include_str!("live.js");

/// One file that refers to no other.
pub fn page(page: &Page) -> Result<String> {
    written(page, None)
}

/// The same as the page of a server, which asks it whether there is a newer one than this edition.
pub fn served(page: &Page, edition: &str) -> Result<String> {
    written(page, Some(edition))
}

/// Where there is no page to show: why, and a script that looks again.
pub fn waiting(why: &str, edition: &str) -> String {
    let (why, edition) = (escape(why), escape(edition));
    format!(
        "<!doctype html>\n<html lang=\"en\" data-edition=\"{edition}\">\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}; connect-src 'self'\">\n\
         <title>Nothing to report yet</title>\n<style>\n{STYLE}\n</style>\n<body>\n<div id=\"live\" hidden></div>\n\
         <h1>Nothing to report yet</h1>\n<pre>{why}</pre>\n<script>\n{LIVE}\n</script>\n</body>\n</html>\n"
    )
}

/// What a page may load: nothing.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

fn written(page: &Page, edition: Option<&str>) -> Result<String> {
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
            data => Value::from_safe_string(data(page)),
            policy => safe(POLICY),
            edition => edition,
            style => safe(STYLE),
            script => safe(&SCRIPT.join("\n")),
            live => safe(LIVE),
        })
        .context("the page could not be written")
}

/// What the script reads.
fn data(page: &Page) -> String {
    let data = json!({
        "evaluations": page.samples.evaluations,
        "prompts": page.samples.compact(),
        "curves": runs::compact(&page.curves.runs, &curves::named()),
    });
    harmless(&data.to_string())
}
