//! The styles of series: colours in light and dark, shapes, and what a legend shows of them. Knows no charts.

use plotters::style::RGBColor;
use std::fmt::Write as _;

use crate::html::room::FINE;

/// Colours that can be told apart, also by most who see colours differently; each readable on white.
const COLOURS: [(u8, u8, u8); 8] = [
    (0x00, 0x5f, 0xb0),
    (0xc2, 0x41, 0x0c),
    (0x00, 0x7a, 0x57),
    (0x82, 0x44, 0xc0),
    (0x9a, 0x5c, 0x00),
    (0x0b, 0x6f, 0x8a),
    (0xb5, 0x17, 0x5c),
    (0x5a, 0x5a, 0x5a),
];
/// Styles beyond the colours are dashed; a trace of blue keeps them apart in the drawing.
const DASHES: [&str; 4] = ["", "24 14", "8 12", "36 12 8 12"];
const INK: RGBColor = RGBColor(0x22, 0x22, 0x23);
const AXIS: RGBColor = RGBColor(0x8c, 0x8c, 0x8d);
const GRID: RGBColor = RGBColor(0xe4, 0xe4, 0xe5);

pub fn ink() -> RGBColor {
    INK
}

pub fn axis() -> RGBColor {
    AXIS
}

pub fn grid() -> RGBColor {
    GRID
}

/// The colour a style is drawn in; `themed` and `fixed` know it again.
pub fn colour(style: usize) -> RGBColor {
    let (r, g, b) = COLOURS[style % COLOURS.len()];
    RGBColor(r, g, b + dash(style) as u8)
}

/// The same without a dash.
pub fn plain(style: usize) -> RGBColor {
    colour(style % COLOURS.len())
}

fn dash(style: usize) -> usize {
    style / COLOURS.len() % DASHES.len()
}

/// The corners of a style's mark around 0: circle, square, diamond, triangle.
pub fn shape(style: usize, radius: i32) -> Vec<(i32, i32)> {
    let r = f64::from(radius);
    let (corners, turn, grow) = match (style + style / COLOURS.len()) % 4 {
        0 => (20, 0.0, 1.0),
        1 => (4, 0.5, 1.2),
        2 => (4, 0.0, 1.3),
        _ => (3, 0.25, 1.35),
    };
    let corner = |i: usize| {
        let around = (i as f64 + turn) / corners as f64 * std::f64::consts::TAU;
        let at = |x: f64| (x * r * grow).round() as i32;
        (at(around.cos()), at(-around.sin()))
    };
    (0..corners).map(corner).collect()
}

/// A picture whose colours follow the page.
pub fn themed(svg: &str) -> String {
    recoloured(svg, |place| match place {
        Place::Style(style) => format!("var(--c{})", style % COLOURS.len()),
        Place::Ink => "currentColor".into(),
        Place::Axis => "var(--axis)".into(),
        Place::Grid => "var(--grid)".into(),
    })
}

/// A picture with the colours it was drawn in.
pub fn fixed(svg: &str) -> String {
    recoloured(svg, |place| match place {
        Place::Style(style) => hex(plain(style)),
        Place::Ink => hex(INK),
        Place::Axis => hex(AXIS),
        Place::Grid => hex(GRID),
    })
}

enum Place {
    Style(usize),
    Ink,
    Axis,
    Grid,
}

fn recoloured(svg: &str, name: impl Fn(Place) -> String) -> String {
    let mut svg = svg.replace(" opacity=\"1\"", "");
    for style in 0..COLOURS.len() * DASHES.len() {
        let drawn = hex(colour(style));
        let new = name(Place::Style(style));
        let dashed = match dash(style) {
            0 => String::new(),
            dash => format!(" stroke-dasharray=\"{}\"", DASHES[dash]),
        };
        svg = svg.replace(
            &format!("stroke=\"{drawn}\""),
            &format!("stroke=\"{new}\"{dashed}"),
        );
        svg = svg.replace(&format!("fill=\"{drawn}\""), &format!("fill=\"{new}\""));
    }
    for (colour, place) in [(INK, Place::Ink), (AXIS, Place::Axis), (GRID, Place::Grid)] {
        svg = svg.replace(
            &format!("\"{}\"", hex(colour)),
            &format!("\"{}\"", name(place)),
        );
    }
    svg
}

fn hex(RGBColor(r, g, b): RGBColor) -> String {
    format!("#{r:02X}{g:02X}{b:02X}")
}

/// A line with its mark, for a legend in a page.
pub fn swatch(style: usize) -> String {
    let mark = mark(style, 14, 7);
    themed(&format!(
        "<svg class=\"swatch\" viewBox=\"0 0 {} {}\" aria-hidden=\"true\">{mark}</svg>",
        28 * FINE,
        14 * FINE
    ))
}

fn mark(style: usize, x: i32, y: i32) -> String {
    let colour = hex(colour(style));
    let (x, y) = (x * FINE, y * FINE);
    let corners = shape(style, 5 * FINE).into_iter();
    let corners: Vec<String> = corners
        .map(|(a, b)| format!("{},{}", a + x, b + y))
        .collect();
    format!(
        "<line x1=\"{}\" y1=\"{y}\" x2=\"{}\" y2=\"{y}\" stroke=\"{colour}\" stroke-width=\"{}\"/>\
         <polygon points=\"{}\" fill=\"{colour}\"/>",
        x - 13 * FINE,
        x + 13 * FINE,
        2 * FINE,
        corners.join(" ")
    )
}

/// The legend below a figure of this width, beginning at this height; and the height it takes.
pub fn block(labels: &[(&str, usize)], wide: i32, top: i32) -> (String, i32) {
    let longest = labels
        .iter()
        .map(|(l, _)| l.chars().count())
        .max()
        .unwrap_or(0);
    let column = longest as i32 * 7 + 52;
    let columns = ((wide - 20) / column).clamp(1, 4);
    let mut out = String::new();
    for (i, (label, style)) in labels.iter().enumerate() {
        let (row, at) = (i as i32 / columns, i as i32 % columns);
        let (x, y) = (20 + at * column, top + 12 + row * 20);
        out += &mark(*style, x + 13, y);
        let _ = writeln!(
            out,
            "<text x=\"{}\" y=\"{}\" dy=\"0.5ex\" font-family=\"sans-serif\" font-size=\"{}\" fill=\"{}\">{}</text>",
            (x + 33) * FINE,
            y * FINE,
            13 * FINE,
            hex(INK),
            escape(label)
        );
    }
    let rows = labels.len().div_ceil(columns as usize) as i32;
    (out, rows * 20 + 12)
}

/// Text for HTML and XML, as content or as an attribute's value.
pub fn escape(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '&' => out += "&amp;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            // What XML cannot hold.
            c if c.is_control() && !matches!(c, '\n' | '\t') => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}
