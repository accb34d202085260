//! Charts as SVG: points with intervals, lines, and rows of categories. Knows numbers and labels, not what they mean.
//!
//! Drawn four times as large as shown, because the drawing library counts in whole pixels. In a page the colours become
//! CSS variables, so that they follow the reader's theme; a figure of its own keeps readable fixed ones.

use crate::html::axis::Axis;
use crate::html::legend;
use crate::html::room::{FINE, Room};
use anyhow::{Result, anyhow};
use plotters::chart::ChartContext;
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Serialize;
use std::ops::Range;

const TEXT: i32 = 13;
const ERROR: &str = "the figure could not be drawn";

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
}

impl Chart {
    /// Width and height as shown.
    fn size(&self) -> (i32, i32) {
        match self.rows.len() {
            0 if self.noted() => (600, 430),
            0 => (520, 330),
            rows => (520, 60 + rows as i32 * self.row_height()),
        }
    }

    fn noted(&self) -> bool {
        self.series
            .iter()
            .flat_map(|s| &s.marks)
            .any(|m| m.note.is_some())
    }

    fn row_height(&self) -> i32 {
        (self.series.len() as i32 * 9 + 12).max(30)
    }

    /// A row's shift of a series, so that intervals do not cover each other; in rows.
    fn shift(&self, series: usize) -> f64 {
        let n = self.series.len() as f64;
        let step = 9.0 / f64::from(self.row_height());
        (series as f64 - (n - 1.0) / 2.0) * step
    }

    /// For a page: no size of its own, colours by CSS variables, without a legend.
    pub fn inline(&self) -> Result<String> {
        let (wide, high) = self.size();
        let body = self.draw(wide, high)?;
        let start = format!(
            "<svg class=\"chart\" viewBox=\"0 0 {} {}\" role=\"img\" aria-labelledby=\"t-{n}\">\n<title id=\"t-{n}\">{}</title>\n",
            wide * FINE,
            high * FINE,
            legend::escape(&self.spoken()),
            n = self.name
        );
        Ok(legend::themed(&(start + &body + "</svg>")))
    }

    /// A file of its own, with its legend.
    pub fn figure(&self) -> Result<String> {
        let (wide, high) = self.size();
        let body = self.draw(wide, high)?;
        let labels: Vec<(&str, usize)> = self
            .series
            .iter()
            .map(|s| (s.label.as_str(), s.style))
            .collect();
        let (legend, more) = legend::block(&labels, wide, high);
        let all = high + more;
        let start = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{all}\" viewBox=\"0 0 {} {}\" role=\"img\">\n\
             <title>{}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>\n",
            wide * FINE,
            all * FINE,
            legend::escape(&self.spoken())
        );
        Ok(legend::fixed(&(start + &body + &legend + "</svg>\n")))
    }

    /// What a screen reader says.
    fn spoken(&self) -> String {
        let labels: Vec<&str> = self.series.iter().map(|s| s.label.as_str()).collect();
        let axes = match self.rows.is_empty() {
            true => format!("{} against {}", self.y.label, self.x.label),
            false => self.x.label.clone(),
        };
        format!("{}: {axes}; {}", self.title, labels.join(", "))
    }

    /// The content of the picture, without its outermost tags.
    fn draw(&self, wide: i32, high: i32) -> Result<String> {
        let mut text = String::new();
        let size = ((wide * FINE) as u32, (high * FINE) as u32);
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        self.paint(&root).map_err(|e| anyhow!("{ERROR}: {e}"))?;
        root.present().map_err(|e| anyhow!("{ERROR}: {e}"))?;
        drop(root);
        let inside = text.split_once('>').map(|(_, rest)| rest.trim());
        let inside = inside.and_then(|rest| rest.strip_suffix("</svg>"));
        Ok(inside.unwrap_or_default().trim_start().to_string())
    }

    fn paint<'a>(&self, root: &Area<'a>) -> Painted<'a> {
        let (x, y) = self.ranges();
        let rows = self.rows.len();
        let longest = self
            .rows
            .iter()
            .map(|r| r.chars().count())
            .max()
            .unwrap_or(0);
        let left = match rows {
            0 => 58,
            _ => (longest as i32 * 7 + 14).clamp(58, 200),
        };
        let mut chart = ChartBuilder::on(root)
            .margin_top(12 * FINE)
            .margin_right(18 * FINE)
            .x_label_area_size(44 * FINE)
            .y_label_area_size(left * FINE)
            .build_cartesian_2d(x.clone(), y.clone())?;
        let font = ("sans-serif", f64::from(TEXT * FINE) * 1.24);
        let (ticks_x, ticks_y) = (self.x.ticks(&x, 7), self.y.ticks(&y, 6));
        let format_x = |v: &f64| self.x.tick(*v);
        let format_y = |v: &f64| self.y.tick(*v);
        let mut mesh = chart.configure_mesh();
        mesh.axis_style(legend::axis().stroke_width(FINE as u32))
            .bold_line_style(legend::grid().stroke_width(FINE as u32))
            .light_line_style(TRANSPARENT)
            .label_style(font.into_font().color(&legend::ink()))
            .axis_desc_style(font.into_font().color(&legend::ink()))
            .set_all_tick_mark_size(5 * FINE)
            .x_labels(ticks_x)
            .y_labels(ticks_y)
            .x_label_formatter(&format_x)
            .y_label_formatter(&format_y)
            .x_desc(self.x.label.clone());
        match rows {
            0 => mesh.y_desc(self.y.label.clone()),
            _ => mesh.disable_y_mesh().y_labels(0),
        };
        mesh.draw()?;
        self.row_labels(root, &chart)?;
        for (i, series) in self.series.iter().enumerate() {
            self.series(i, series, &mut chart)?;
        }
        self.notes(root, &chart)
    }

    /// Writes the marks' notes where there is room, those of lines first; a note without room is left out.
    fn notes<'a>(&self, root: &Area<'a>, chart: &Context<'a>) -> Painted<'a> {
        let at = |m: &Mark| chart.backend_coord(&(m.x, m.y));
        let marks = || {
            self.series
                .iter()
                .flat_map(|s| s.marks.iter().map(move |m| (s.line, m)))
        };
        let place = |x: f64, y: f64| chart.backend_coord(&(x, y));
        let mut taken: Vec<Room> = vec![];
        for (_, m) in marks() {
            taken.push(Room::around(at(m), 6));
            let across = m
                .x_interval
                .map(|(low, high)| (place(low, m.y), place(high, m.y)));
            let along = m
                .y_interval
                .map(|(low, high)| (place(m.x, high), place(m.x, low)));
            taken.extend(across.into_iter().chain(along).map(Room::of_line));
        }
        for series in self.series.iter().filter(|s| s.line) {
            for ends in series.marks.windows(2) {
                taken.extend(Room::along(at(&ends[0]), at(&ends[1])));
            }
        }
        let (across, down) = chart.plotting_area().get_pixel_range();
        let inside = Room {
            left: across.start,
            right: across.end + 16 * FINE,
            top: down.start - 10 * FINE,
            bottom: down.end,
        };
        let style = ("sans-serif", f64::from((TEXT - 2) * FINE) * 1.24)
            .into_font()
            .color(&legend::ink())
            .pos(Pos::new(HPos::Left, VPos::Center));
        for first in [true, false] {
            for (_, mark) in marks().filter(|(line, _)| *line == first) {
                let Some(text) = &mark.note else {
                    continue;
                };
                let wide = text.chars().count() as i32 * 25 * FINE / 4;
                let rooms = Room::beside(at(mark), wide, 13 * FINE);
                let free = |r: &Room| r.within(&inside) && !taken.iter().any(|t| t.meets(r));
                if let Some(room) = rooms.into_iter().find(free) {
                    root.draw_text(text, &style, (room.left, (room.top + room.bottom) / 2))?;
                    taken.push(room);
                }
            }
        }
        Ok(())
    }

    fn row_labels<'a>(&self, root: &Area<'a>, chart: &Context<'a>) -> Painted<'a> {
        for (row, label) in self.rows.iter().enumerate() {
            let (x, y) = chart.backend_coord(&(chart.x_range().start, row as f64));
            let style = ("sans-serif", f64::from(TEXT * FINE) * 1.24)
                .into_font()
                .color(&legend::ink())
                .pos(Pos::new(HPos::Right, VPos::Center));
            root.draw_text(label, &style, (x - 6 * FINE, y))?;
        }
        Ok(())
    }

    fn series<'a>(&self, i: usize, series: &Series, chart: &mut Context<'a>) -> Painted<'a> {
        let colour = legend::colour(series.style);
        let shift = if self.rows.is_empty() {
            0.0
        } else {
            self.shift(i)
        };
        for thread in &series.threads {
            chart.draw_series([PathElement::new(
                thread.clone(),
                colour.mix(0.35).stroke_width(FINE as u32),
            )])?;
        }
        for mark in &series.marks {
            let y = mark.y + shift;
            let thin = legend::plain(series.style)
                .mix(0.7)
                .stroke_width(FINE as u32 * 3 / 2);
            if let Some((low, high)) = mark.x_interval {
                chart.draw_series([PathElement::new([(low, y), (high, y)], thin)])?;
            }
            if let Some((low, high)) = mark.y_interval {
                chart.draw_series([PathElement::new([(mark.x, low), (mark.x, high)], thin)])?;
            }
        }
        if series.line {
            let points: Vec<(f64, f64)> = series.marks.iter().map(|m| (m.x, m.y)).collect();
            chart.draw_series([PathElement::new(
                points,
                colour.stroke_width(FINE as u32 * 2),
            )])?;
        }
        if series.dots {
            for mark in &series.marks {
                let shape = legend::shape(series.style, 5 * FINE);
                chart.draw_series([EmptyElement::at((mark.x, mark.y + shift))
                    + Polygon::new(shape, colour.filled())])?;
            }
        }
        Ok(())
    }

    /// What the axes span: the data with its intervals, a little air, and what they have to hold.
    fn ranges(&self) -> (Range<f64>, Range<f64>) {
        let marks = || self.series.iter().flat_map(|s| &s.marks);
        let threads = || self.series.iter().flat_map(|s| s.threads.iter().flatten());
        let xs = marks()
            .flat_map(|m| ends(m.x, m.x_interval))
            .chain(threads().map(|t| t.0));
        let x = self.x.range(xs);
        if !self.rows.is_empty() {
            return (x, self.rows.len() as f64 - 0.5..-0.5);
        }
        let ys = marks()
            .flat_map(|m| ends(m.y, m.y_interval))
            .chain(threads().map(|t| t.1));
        (x, self.y.range(ys))
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Context<'a> = ChartContext<'a, SVGBackend<'a>, Plane>;
type Plane =
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>;
type Painted<'a> =
    std::result::Result<(), DrawingAreaErrorKind<<SVGBackend<'a> as DrawingBackend>::ErrorType>>;

fn ends(value: f64, interval: Option<(f64, f64)>) -> [f64; 3] {
    let (low, high) = interval.unwrap_or((value, value));
    [low, value, high]
}
