//! What a page is made from, and the styles that its charts share.

use serde::Serialize;

/// A recipe's own words.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    /// The recipe's name.
    pub recipe: String,
    pub about: Option<String>,
    /// The recipe as resolved, under the first choice of its axes.
    pub text: String,
}

/// One style for one label, in all charts.
#[derive(Default)]
pub struct Styles {
    labels: Vec<String>,
}

impl Styles {
    pub fn of(&mut self, label: &str) -> usize {
        if let Some(style) = self.labels.iter().position(|l| l == label) {
            return style;
        }
        self.labels.push(label.into());
        self.labels.len() - 1
    }
}
