//! Limits that hang on several parameters at once; one parameter's own bounds stand at its declaration (`bounds`).

use base::params::Problem;

/// Adds a problem unless `low <= value <= high`.
pub fn range(found: &mut Vec<Problem>, path: &str, value: f64, low: f64, high: f64) {
    if !(low..=high).contains(&value) {
        found.push(Problem {
            path: path.into(),
            message: format!("`{path}` is {value}, outside of {low} to {high}"),
            help: None,
        });
    }
}
