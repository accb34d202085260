//! An axis of a chart: what it spans and how its numbers are written. Knows no pixels.

use serde::Serialize;
use std::ops::Range;

#[derive(Clone, Debug, Serialize)]
pub struct Axis {
    pub label: String,
    /// Shares are shown in percent.
    pub share: bool,
    /// Where the axis may not begin later or end earlier.
    pub holds: Option<(f64, f64)>,
    /// Whole numbers only.
    pub whole: bool,
    /// Twice a value lies as far from it wherever it is.
    pub doubling: bool,
}

impl Axis {
    pub fn new(label: &str) -> Axis {
        Axis {
            label: label.into(),
            share: false,
            holds: None,
            whole: false,
            doubling: false,
        }
    }

    pub fn share(label: &str) -> Axis {
        Axis {
            share: true,
            ..Axis::new(label)
        }
    }

    /// The axis has this value on it.
    pub fn with(mut self, value: f64) -> Axis {
        self.holds = Some((value, value));
        self
    }

    /// The axis goes from one value to the other at least.
    pub fn over(mut self, low: f64, high: f64) -> Axis {
        self.holds = Some((low, high));
        self
    }

    pub fn whole(mut self) -> Axis {
        self.whole = true;
        self
    }

    /// For values above 0.
    pub fn doubling(mut self) -> Axis {
        self.doubling = true;
        self
    }
}

impl Axis {
    /// Where a value is on the axis; a range is of such places.
    pub fn place(&self, value: f64) -> f64 {
        match self.doubling {
            true => value.log2(),
            false => value,
        }
    }

    pub fn range(&self, values: impl Iterator<Item = f64>) -> Range<f64> {
        let held = self.holds.into_iter().flat_map(|(low, high)| [low, high]);
        let places = values.chain(held).map(|v| self.place(v));
        let all: Vec<f64> = places.filter(|v| v.is_finite()).collect();
        let low = all.iter().copied().fold(f64::INFINITY, f64::min);
        let high = all.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if low > high {
            return 0.0..1.0;
        }
        let air = match high - low {
            0.0 => 0.5_f64.max(low.abs() * 0.1),
            wide => wide * 0.05,
        };
        // An axis that is held at 0 begins there.
        let from = if self.holds == Some((low, low)) {
            low
        } else {
            low - air
        };
        let range = from..high + air;
        match self.share {
            true => range.start.max(-0.01)..range.end.min(1.01),
            false => range,
        }
    }

    /// Round values in a range, about as many as asked for.
    pub fn ticks(&self, range: &Range<f64>, most: usize) -> Vec<f64> {
        let least = (range.end - range.start) / most as f64;
        let power = 10f64.powf(least.log10().floor());
        let round = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
        // A range that is no wider than rounding has no round step.
        let step = round.into_iter().find(|step| *step >= least);
        let mut step = step.filter(|s| s.is_normal()).unwrap_or(1.0);
        if self.whole || self.doubling {
            step = step.max(1.0);
        }
        let first = (range.start / step).ceil() as i64;
        let ticks = (first..).take(most + 1).map(|i| i as f64 * step);
        let ticks = ticks.take_while(|tick| *tick <= range.end);
        match self.doubling {
            true => ticks.map(f64::exp2).collect(),
            false => ticks.collect(),
        }
    }

    /// A value as it is read at a mark: a share to a tenth of a percent, others in four digits.
    pub fn exact(&self, value: f64) -> String {
        if self.share {
            return format!("{:.1} %", value * 100.0);
        }
        match value.abs() {
            size if size != 0.0 && size < 1e-3 => format!("{value:.2e}"),
            size if size >= 1e3 => format!("{value:.0}"),
            _ => {
                let text = format!("{value:.3}");
                text.trim_end_matches('0').trim_end_matches('.').to_string()
            }
        }
    }

    pub fn tick(&self, value: f64) -> String {
        // What is 0 but for rounding.
        let value = if value.abs() < 1e-12 { 0.0 } else { value };
        if self.share {
            let percent = value * 100.0;
            return match (percent - percent.round()).abs() < 1e-6 {
                true => format!("{percent:.0} %"),
                false => format!("{percent:.1} %"),
            };
        }
        // Five digits tell neighbours apart, whatever the size.
        match value.abs() {
            size if size >= 10_000.0 => format!("{}k", digits(value / 1000.0)),
            size if size > 0.0 && size < 1e-3 => {
                let text = format!("{value:.4e}");
                let (number, power) = text.split_once('e').unwrap_or((text.as_str(), "0"));
                format!("{}e{power}", trimmed(number))
            }
            _ => digits(value),
        }
    }
}

/// Five digits, without those at the end that say nothing.
fn digits(value: f64) -> String {
    let whole = value.abs().max(1e-3).log10().floor() as i32;
    let places = usize::try_from(4 - whole).unwrap_or_default();
    trimmed(&format!("{value:.places$}")).into()
}

fn trimmed(text: &str) -> &str {
    match text.contains('.') {
        true => text.trim_end_matches('0').trim_end_matches('.'),
        false => text,
    }
}
