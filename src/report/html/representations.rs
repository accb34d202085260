//! Where models keep what they are asked: of every separation the picture that it shows, each of whose points leads to its prompt, with
//! the numbers beside it. A picture is of one seed; the table is over all.

use crate::html::axis::Axis;
use crate::html::labels::{self, Key};
use crate::html::plot::{Chart, Form, Mark, Series};
use crate::html::series::{Estimate, Method, Variant, estimate, methods};
use crate::html::source::Styles;
use crate::html::study::{Item, Study};
use crate::html::svg::COLOURS;
use anyhow::{Context, Result};
use base::claim::SEED;
use base::picture::{PICTURES, POINTS, Picture, Pictures, Point};
use base::rows::{ROWS, parse_lines};
use base::text::count;
use engine::kind::Type;
use engine::store::Store;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

const MARGIN: &str = "umap/margin";
const PROBE: &str = "probe";
const SHUFFLED: &str = "probe/shuffled";

/// What the table has a column of.
const NUMBERS: [&str; 8] = [
    MARGIN,
    "umap/margin/lowest",
    "umap/margin/highest",
    "umap/accuracy",
    "umap/unparted",
    PROBE,
    SHUFFLED,
    "silhouette",
];

/// Characters of a prompt that stand at its point.
const MOST_TEXT: usize = 400;

const LINE: &str = "line between them, with its margin";
/// Its style: the last of the colours, a grey.
const GREY: usize = COLOURS.len() - 1;

#[derive(Serialize)]
pub struct Representations {
    pub shown: Vec<Shown>,
    /// The legend of all pictures.
    pub series: Vec<Key>,
    /// What is in the columns of the table.
    pub columns: Vec<String>,
}

/// A model's states.
#[derive(Serialize)]
pub struct Shown {
    pub label: String,
    pub chart: Chart,
    /// What is said of the seed that is drawn.
    pub caption: String,
    /// Over all seeds, in the order of the columns.
    pub cells: Vec<Option<Estimate>>,
    pub seeds: usize,
}

/// Of a prompt whose states were taken.
#[derive(Deserialize)]
struct Asked {
    id: String,
    prompt: String,
}

pub fn representations(store: &Store, study: &Study) -> Result<Representations> {
    let mut styles = Styles::default();
    let (mut shown, mut names) = (vec![], BTreeSet::new());
    let mut columns = vec![];
    for method in methods(study, |item| item.file(Type::Metrics, PICTURES).is_some()) {
        for variant in method.news() {
            let Some(item) = variant.items.iter().find(|i| is_drawn(&study.items[**i])) else {
                continue;
            };
            let kind = study.items[*item].node.kind;
            columns = NUMBERS.map(|name| kind.label(name)).to_vec();
            let drawn = Drawn::read(store, study, &study.items[*item])?;
            let name = format!("states-{}", labels::slug(&method.label_of(variant)));
            let name = labels::unused(&name, &mut names);
            shown.push(drawn.shown(study, *item, (&method, variant), name, &mut styles));
        }
    }
    Ok(Representations {
        series: labels::legend(shown.iter().map(|s| &s.chart)),
        shown,
        columns,
    })
}

fn is_drawn(item: &Item) -> bool {
    item.file(Type::Metrics, PICTURES).is_some() && item.file(Type::Metrics, POINTS).is_some()
}

/// What a separation keeps for a picture.
struct Drawn {
    points: Vec<Point>,
    pictures: Pictures,
    /// Texts of the prompts, by id; of states whose rows are gone, none.
    texts: BTreeMap<String, String>,
}

impl Drawn {
    fn read(store: &Store, study: &Study, item: &Item) -> Result<Drawn> {
        let text = |name: &str| {
            let blob = item.file(Type::Metrics, name);
            let text = store.objects().read_text(blob.expect("it was looked for"));
            text.with_context(|| format!("{name} of `{}`", item.name))
        };
        let of = |name: &str| format!("failed to parse {name} of `{}`", item.name);
        let points = parse_lines(text(POINTS)?.as_bytes()).with_context(|| of(POINTS))?;
        let pictures = serde_json::from_str(&text(PICTURES)?).with_context(|| of(PICTURES))?;
        let mut texts = BTreeMap::new();
        for parent in item.parents.iter().map(|p| &study.items[*p]) {
            let rows = parent.file(Type::States, ROWS);
            let Some(rows) = rows.filter(|blob| store.objects().has(blob)) else {
                continue;
            };
            store.objects().lines(rows, &mut |line| {
                let asked: Asked = serde_json::from_str(line)?;
                texts.entry(asked.id).or_insert(asked.prompt);
                Ok(())
            })?;
        }
        Ok(Drawn {
            points,
            pictures,
            texts,
        })
    }

    fn shown(
        &self,
        study: &Study,
        item: usize,
        (method, variant): (&Method, &Variant),
        name: String,
        styles: &mut Styles,
    ) -> Shown {
        let label = method.label_of(variant);
        let cells = NUMBERS.map(|name| estimate(study, &variant.items, name));
        let there = variant
            .items
            .iter()
            .filter(|i| study.items[**i].record.is_some());
        Shown {
            chart: self.chart(name, &label, styles),
            caption: self.caption(study, item),
            cells: cells.into(),
            seeds: there.count(),
            label,
        }
    }

    fn chart(&self, name: String, label: &str, styles: &mut Styles) -> Chart {
        let mut series: Vec<Series> = [true, false]
            .iter()
            .map(|side| self.side(*side, styles))
            .collect();
        let picture = self.pictures.pictures.get(self.pictures.shown);
        series.extend(picture.and_then(|picture| self.line(picture)));
        Chart {
            name,
            title: format!("Prompts in the states of {label}"),
            x: Axis::new("UMAP"),
            y: Axis::new("UMAP"),
            rows: vec![],
            series,
            form: Form::Map,
        }
    }

    /// The points of a side.
    fn side(&self, positive: bool, styles: &mut Styles) -> Series {
        let own = || self.points.iter().filter(|p| p.positive == positive);
        let values: BTreeSet<&str> = own().map(|p| p.value.as_str()).collect();
        let label = values.into_iter().collect::<Vec<_>>().join(", ");
        let marks = own().map(|point| Mark {
            x: f64::from(point.x),
            y: f64::from(point.y),
            prompt: Some(point.id.clone()),
            about: Some(self.about(point)),
            ..Mark::default()
        });
        Series {
            style: styles.of(&label),
            marks: marks.collect(),
            label,
            line: false,
            dots: true,
            threads: vec![],
        }
    }

    /// `harmful, eval-harmful-0003, probe +1.70`, and the prompt's beginning.
    fn about(&self, point: &Point) -> String {
        let Point {
            value, id, score, ..
        } = point;
        let head = format!("{value}, {id}, probe {score:+.2}");
        match self.texts.get(id) {
            Some(text) if text.chars().count() > MOST_TEXT => {
                let text: String = text.chars().take(MOST_TEXT).collect();
                format!("{head}\n{text}…")
            }
            Some(text) => format!("{head}\n{text}"),
            None => head,
        }
    }

    /// Where w·(x, y) + b is 0, and faintly where it is 1 and -1; nothing where no line parts the points.
    fn line(&self, picture: &Picture) -> Option<Series> {
        picture.margin?;
        let at = |height: f64| self.within(picture.w, picture.b - height);
        let mark = |(x, y)| Mark {
            x,
            y,
            ..Mark::default()
        };
        Some(Series {
            label: LINE.into(),
            style: GREY,
            line: true,
            dots: false,
            marks: at(0.0).into_iter().map(mark).collect(),
            threads: [-1.0, 1.0].map(at).into(),
        })
    }

    /// The two ends of w·(x, y) + b = 0 within the rectangle of all points; none where it lies outside.
    fn within(&self, [w, v]: [f64; 2], b: f64) -> Vec<(f64, f64)> {
        let span = |of: fn(&Point) -> f32| {
            let all = self.points.iter().map(|p| f64::from(of(p)));
            let (low, high) = (f64::INFINITY, f64::NEG_INFINITY);
            all.fold((low, high), |(low, high), x| (low.min(x), high.max(x)))
        };
        let (x, y) = (span(|p| p.x), span(|p| p.y));
        let in_span = |value: f64, (low, high): (f64, f64)| (low..=high).contains(&value);
        let upright = [x.0, x.1].map(|at| (at, -(w * at + b) / v));
        let across = [y.0, y.1].map(|at| (-(v * at + b) / w, at));
        let upright = upright.into_iter().filter(|end| in_span(end.1, y));
        let across = across.into_iter().filter(|end| in_span(end.0, x));
        let mut ends: Vec<(f64, f64)> = upright.chain(across).collect();
        ends.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)));
        match ends.as_slice() {
            [first, .., last] => vec![*first, *last],
            _ => vec![],
        }
    }

    /// The numbers of the seed that is drawn, in words.
    fn caption(&self, study: &Study, item: usize) -> String {
        let of = |name: &str| Some(estimate(study, &[item], name)?.text);
        let value = |name: &str| Some(of(name)?.0);
        let whole = |name: &str| {
            let (value, interval) = of(name)?;
            Some(match interval {
                Some(interval) => format!("{value} {interval}"),
                None => value,
            })
        };
        let mut words = vec![];
        let axes = &study.sides[study.items[item].side].axes;
        words.extend(axes.get(SEED).map(|seed| format!("Seed {seed}")));
        words.push(format!("layer {}", self.pictures.layer));
        let all = self.pictures.pictures.len() as u64;
        let parted = self.pictures.pictures.iter().filter(|p| p.margin.is_some());
        let parted = parted.count() as u64;
        if let Some(margin) = value(MARGIN) {
            let mut text = format!(
                "UMAP margin {margin}, the median of {}",
                count(parted, "picture", "pictures")
            );
            let range = value("umap/margin/lowest").zip(value("umap/margin/highest"));
            if let Some((low, high)) = range.filter(|_| parted > 1) {
                text += &format!(" ({low} to {high})");
            }
            words.push(text);
        }
        if parted < all {
            words.push(format!(
                "in {} of {all} the line parts nothing",
                all - parted
            ));
        }
        if let Some(probe) = whole(PROBE) {
            words.push(match value(SHUFFLED) {
                Some(chance) => format!("probe AUROC {probe}, {chance} with shuffled labels"),
                None => format!("probe AUROC {probe}"),
            });
        }
        words.join("; ") + "."
    }
}
