//! The styles of series: colour, dash and shape of a number, and what a legend shows of them. Knows no charts.

use crate::html::svg::{Anchor, COLOURS, Place, Svg, TEXT};

/// Styles beyond the colours are dashed.
const DASHES: [&str; 4] = ["", "6 3.5", "2 3", "9 3 2 3"];

/// The attribute of a style's line, where it is dashed.
pub fn dash(style: usize) -> String {
    match DASHES[style / COLOURS.len() % DASHES.len()] {
        "" => String::new(),
        dash => format!(" stroke-dasharray=\"{dash}\""),
    }
}

/// The corners of a style's mark around 0: circle, square, diamond, triangle.
pub fn shape(style: usize) -> Vec<(f64, f64)> {
    let (corners, turn, radius) = match (style + style / COLOURS.len()) % 4 {
        0 => (20, 0.0, 5.0),
        1 => (4, 0.5, 6.0),
        2 => (4, 0.0, 6.5),
        _ => (3, 0.25, 6.75),
    };
    let corner = |i: usize| {
        let around = (i as f64 + turn) / corners as f64 * std::f64::consts::TAU;
        (around.cos() * radius, -around.sin() * radius)
    };
    (0..corners).map(corner).collect()
}

/// A line with its mark, for a legend in a page.
pub fn swatch(style: usize) -> String {
    let mut svg = Svg::new(Place::Page);
    mark(&mut svg, style, (14.0, 7.0));
    let mark = svg.text;
    format!("<svg class=\"swatch\" viewBox=\"0 0 28 14\" aria-hidden=\"true\">{mark}</svg>")
}

fn mark(svg: &mut Svg, style: usize, (x, y): (f64, f64)) {
    let colour = svg.place.colour(style);
    let ends = [(x - 13.0, y), (x + 13.0, y)];
    svg.line(&ends, &colour, 2.0, &dash(style));
    svg.polygon((x, y), &shape(style), &colour);
}

/// The legend below a figure of this width, beginning at this height; returns the height it takes.
pub fn block(svg: &mut Svg, labels: &[(&str, usize)], wide: f64, top: f64) -> f64 {
    let lengths = labels.iter().map(|(label, _)| label.chars().count());
    let column = lengths.max().unwrap_or(0) as f64 * 7.0 + 52.0;
    let columns = ((wide - 20.0) / column).clamp(1.0, 4.0) as usize;
    for (i, (label, style)) in labels.iter().enumerate() {
        let x = 20.0 + (i % columns) as f64 * column;
        let y = top + 12.0 + (i / columns) as f64 * 20.0;
        mark(svg, *style, (x + 13.0, y));
        svg.text((x + 33.0, y), Anchor::Start, TEXT, label);
    }
    labels.len().div_ceil(columns) as f64 * 20.0 + 12.0
}
