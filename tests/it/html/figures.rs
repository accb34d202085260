//! The figures as files: stable names, well-formed, readable without a page.

use super::Study;
use pipe::report::html::axis::Axis;

#[test]
fn figures_are_well_formed_and_stand_alone_under_stable_names() {
    let figures = Study::new().page().figures();
    let names: Vec<&str> = figures.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(
        names,
        [
            "graph.svg",
            "frontier.svg",
            "curve-rl-reward.svg",
            "curve-rl-kl.svg",
            "reasoning-lookups.svg",
            "reasoning-class.svg",
            "reasoning-form.svg"
        ]
    );
    for (name, svg) in &figures {
        well_formed(svg).unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(
            svg.starts_with("<svg xmlns=\"http://www.w3.org/2000/svg\""),
            "{name}"
        );
        assert_eq!(
            svg.matches("http").count(),
            1,
            "{name} names nothing but its own language"
        );
        assert!(svg.contains("<title>"), "{name} says what it is");
        assert!(
            !svg.contains("var(") && !svg.contains("currentColor"),
            "{name} has its own colours"
        );
    }
    let frontier = &figures[1].1;
    assert!(
        frontier.contains(">rl</text>"),
        "the legend is part of the figure"
    );
    assert!(frontier.contains("λ 0.3"));
}

#[test]
fn pictures_in_the_page_follow_its_colours() {
    let html = Study::new().html();
    let charts: Vec<&str> = html.split("<svg class=\"chart").skip(1).collect();
    assert_eq!(
        charts.len(),
        7,
        "the frontier for a window and for a telephone"
    );
    for chart in charts {
        let chart = chart.split("</svg>").next().unwrap();
        assert!(chart.contains("var(--c") && chart.contains("currentColor"));
        let colours = chart.replace(" href=\"#", "");
        assert!(!colours.contains("=\"#"), "no fixed colour is left");
        let (_, chart) = chart.split_once('"').unwrap();
        let svg = format!("<svg{chart}</svg>");
        well_formed(&svg).unwrap();
    }
}

#[test]
fn ticks_beside_each_other_are_not_the_same_number() {
    let axis = Axis::new("x");
    let written = |range: std::ops::Range<f64>| -> Vec<String> {
        let ticks = axis.ticks(&range, 3);
        ticks.into_iter().map(|t| axis.tick(t)).collect()
    };
    assert_eq!(written(0.0..4.5e-5), ["0", "2e-5", "4e-5"]);
    assert_eq!(written(0.0..0.45), ["0", "0.2", "0.4"]);
    assert_eq!(
        written(0.001009..0.001031),
        ["0.00101", "0.00102", "0.00103"]
    );
    assert_eq!(written(10_000.0..11_400.0), ["10k", "10.5k", "11k"]);
    assert_eq!(written(-250.0..250.0), ["-200", "0", "200"]);
    assert_eq!(Axis::share("x").tick(0.125), "12.5 %");
}

#[test]
fn the_check_of_well_formedness_sees_what_is_wrong() {
    assert!(well_formed("<a b=\"1\"><c/>x &lt; y</a>").is_ok());
    for wrong in [
        "<a><b></a></b>",
        "<a>",
        "<a b=1/>",
        "<a>x & y</a>",
        "<a b=\"<\"/>",
        "<a></a><b",
        "<a/>x</b>",
    ] {
        assert!(well_formed(wrong).is_err(), "{wrong}");
    }
}

/// Enough of XML to notice what a parser would refuse in a figure: tags that do not match, bare attributes and signs.
pub fn well_formed(text: &str) -> Result<(), String> {
    let mut open: Vec<&str> = vec![];
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        entities(&rest[..at])?;
        let end = rest[at..].find('>').ok_or("a tag without an end")? + at;
        let tag = &rest[at + 1..end];
        rest = &rest[end + 1..];
        if let Some(name) = tag.strip_prefix('/') {
            match open.pop() {
                Some(last) if last == name => {}
                last => return Err(format!("</{name}> after {last:?}")),
            }
            continue;
        }
        let closed = tag.ends_with('/');
        let tag = tag.trim_end_matches('/');
        let (name, attributes) = tag.split_once(char::is_whitespace).unwrap_or((tag, ""));
        attributes_of(attributes)?;
        if !closed {
            open.push(name);
        }
    }
    entities(rest)?;
    match open.is_empty() {
        true => Ok(()),
        false => Err(format!("{open:?} stay open")),
    }
}

fn attributes_of(mut text: &str) -> Result<(), String> {
    while !text.trim().is_empty() {
        let (name, value) = text
            .trim_start()
            .split_once("=\"")
            .ok_or(format!("attribute {text:?}"))?;
        let (value, rest) = value
            .split_once('"')
            .ok_or(format!("the value of {name}"))?;
        let word = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == ':';
        if name.is_empty() || !name.chars().all(word) || value.contains('<') {
            return Err(format!("attribute {name:?} with {value:?}"));
        }
        entities(value)?;
        text = rest;
    }
    Ok(())
}

fn entities(text: &str) -> Result<(), String> {
    for part in text.split('&').skip(1) {
        let name = part.split(';').next().unwrap_or_default();
        if !["lt", "gt", "amp", "quot", "apos", "#39"].contains(&name) {
            return Err(format!("& before {part:?}"));
        }
    }
    Ok(())
}
