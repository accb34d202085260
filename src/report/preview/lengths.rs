//! How long the texts of rows are, as a histogram. Of many rows every so-many-th is measured, so that measuring stays quick.

use anyhow::Result;
use base::text::thousands;
use serde_json::{Map, Value, json};

/// Rows that are measured: at most so many, and at least half as many of those there are.
const MOST: usize = 20_000;

/// Bars of a histogram, and the width of the longest.
const BARS: usize = 12;
const WIDTH: usize = 40;

/// How a text is measured.
pub struct Measure<'a> {
    /// In the plural: `tokens`.
    pub unit: &'static str,
    /// Whose measure it is, as in "tokens ({by})".
    pub by: String,
    pub length: &'a dyn Fn(&str) -> Result<usize>,
}

pub struct Lengths<'a> {
    measure: Measure<'a>,
    /// Which field is measured.
    of: &'static str,
    seen: usize,
    /// Every so-many-th row is measured.
    every: usize,
    values: Vec<usize>,
}

impl<'a> Lengths<'a> {
    pub fn new(measure: Measure<'a>) -> Lengths<'a> {
        Lengths {
            measure,
            of: "",
            seen: 0,
            every: 1,
            values: vec![],
        }
    }

    pub fn see(&mut self, row: &Map<String, Value>) -> Result<()> {
        let place = self.seen;
        self.seen += 1;
        if !place.is_multiple_of(self.every) {
            return Ok(());
        }
        let Some((of, text)) = text(row) else {
            return Ok(());
        };
        self.of = of;
        self.values.push((self.measure.length)(&text)?);
        if self.values.len() >= MOST {
            let mut keep = [true, false].into_iter().cycle();
            self.values.retain(|_| keep.next().unwrap_or(true));
            self.every *= 2;
        }
        Ok(())
    }

    pub fn text(&self) -> String {
        let Some(sum) = Summary::of(&self.values) else {
            return String::new();
        };
        let part = match self.every {
            1 => String::new(),
            every => format!(", one row in {every}"),
        };
        let n = |n: usize| thousands(n as u64);
        let mut out = format!(
            "  {} of `{}` ({}{part}): {} to {}, mean {:.1}, median {}, 90 % up to {}\n",
            self.measure.unit,
            self.of,
            self.measure.by,
            n(sum.least),
            n(sum.most),
            sum.mean,
            n(sum.median),
            n(sum.p90)
        );
        let bins = bins(&self.values);
        let highest = bins.iter().map(|b| b.rows).max().unwrap_or(1);
        let label = |b: &Bin| match b.to == b.from + 1 {
            true => n(b.from),
            false => format!("{}-{}", n(b.from), n(b.to - 1)),
        };
        let wide = bins.iter().map(|b| label(b).len()).max().unwrap_or(0);
        for bin in &bins {
            let bar = bar(bin.rows as f64 / highest as f64);
            let line = format!("  {:>wide$}  {bar} {}", label(bin), n(bin.rows));
            out += &(line + "\n");
        }
        out
    }

    pub fn json(&self) -> Value {
        let Some(sum) = Summary::of(&self.values) else {
            return Value::Null;
        };
        let bins = bins(&self.values).into_iter();
        let bins: Vec<Value> = bins
            .map(|b| json!({ "from": b.from, "to": b.to - 1, "rows": b.rows }))
            .collect();
        json!({
            "unit": self.measure.unit, "by": self.measure.by, "of": self.of, "measured": self.values.len(), "every": self.every,
            "min": sum.least, "max": sum.most, "mean": sum.mean, "median": sum.median, "p90": sum.p90, "bins": bins,
        })
    }
}

/// The text of a row that its length is about, and the field's name.
fn text(row: &Map<String, Value>) -> Option<(&'static str, String)> {
    if let Some(messages) = row.get("messages").and_then(Value::as_array) {
        let texts = messages.iter().filter_map(|m| m["content"].as_str());
        return Some(("messages", texts.collect::<Vec<_>>().join("\n")));
    }
    let fields = ["response", "chosen", "answer", "prompt", "text"];
    fields
        .into_iter()
        .find_map(|name| Some((name, row.get(name)?.as_str()?.to_string())))
}

struct Summary {
    least: usize,
    most: usize,
    mean: f64,
    median: usize,
    p90: usize,
}

impl Summary {
    fn of(values: &[usize]) -> Option<Summary> {
        let mut sorted = values.to_vec();
        sorted.sort_unstable();
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let (least, most) = (*sorted.first()?, *sorted.last()?);
        Some(Summary {
            least,
            most,
            mean: sorted.iter().sum::<usize>() as f64 / sorted.len() as f64,
            median: at(0.5),
            p90: at(0.9),
        })
    }
}

/// Lengths from `from` up to and without `to`.
struct Bin {
    from: usize,
    to: usize,
    rows: usize,
}

/// Of equal width, a round number; none is left out between the first and the last.
fn bins(values: &[usize]) -> Vec<Bin> {
    let (Some(least), Some(most)) = (values.iter().min(), values.iter().max()) else {
        return vec![];
    };
    let width = round_width((most - least + 1).div_ceil(BARS));
    let first = least / width * width;
    let mut bins: Vec<Bin> = (first..=*most)
        .step_by(width)
        .map(|from| Bin {
            from,
            to: from + width,
            rows: 0,
        })
        .collect();
    for value in values {
        bins[(value - first) / width].rows += 1;
    }
    bins
}

/// 1, 2 or 5 times a power of ten, and no less.
fn round_width(least: usize) -> usize {
    let mut power = 1;
    loop {
        for digit in [1, 2, 5] {
            if digit * power >= least {
                return digit * power;
            }
        }
        power *= 10;
    }
}

/// A bar of blocks, to an eighth of one.
fn bar(share: f64) -> String {
    const PARTS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = (share * (WIDTH * 8) as f64).round() as usize;
    // What is there is seen.
    let eighths = if share > 0.0 { eighths.max(1) } else { 0 };
    "█".repeat(eighths / 8) + PARTS[eighths % 8]
}
