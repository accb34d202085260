//! Charts as data: points with intervals, lines, and rows of categories. Knows numbers and labels, not what they mean, nor how they are
//! drawn.

use crate::html::axis::Axis;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Chart {
    /// Stable; names the file of the figure.
    pub name: String,
    pub title: String,
    pub x: Axis,
    pub y: Axis,
    /// Rows from top to bottom in place of numbers on the y axis; a mark's `y` is the row's place.
    pub rows: Vec<String>,
    pub series: Vec<Series>,
    pub form: Form,
}

#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    Plot,
    /// Many places whose numbers say nothing: small marks in a square, both axes of one scale and neither with numbers.
    Map,
}

#[derive(Clone, Debug, Serialize)]
pub struct Series {
    pub label: String,
    /// Which of the styles; equal in all charts of a page for the same thing.
    pub style: usize,
    /// Whether the marks are joined.
    pub line: bool,
    /// Whether the marks are drawn.
    pub dots: bool,
    pub marks: Vec<Mark>,
    /// Thin lines behind: the single seeds.
    pub threads: Vec<Vec<(f64, f64)>>,
}

#[derive(Clone, Debug, Default, Serialize)]
pub struct Mark {
    pub x: f64,
    pub y: f64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub x_interval: Option<(f64, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub y_interval: Option<(f64, f64)>,
    /// Written beside it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// What it stands for, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub about: Option<String>,
    /// The id of the prompt that it stands for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Which part of the page it leads to, as an address says it behind `#`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub leads: Option<String>,
}
