//! How a chart is drawn: inside a page, or as a file of its own. Knows no more of it than its data says.

use crate::html::axis::Axis;
use crate::html::dodge;
use crate::html::legend;
use crate::html::plane::{Plane, Span};
use crate::html::plot::{Chart, Form, Mark, Series};
use crate::html::room::Room;
use crate::html::svg::{Anchor, Place, Point, Svg, TEXT, To, escape};
use std::ops::Range;

/// Of a chart whose marks have notes: where there is much room, and on a telephone.
const BROAD: (f64, f64) = (960.0, 440.0);
const NARROW: (f64, f64) = (400.0, 420.0);

impl Chart {
    /// Width and height.
    fn size(&self) -> (f64, f64) {
        match self.rows.len() {
            _ if self.form == Form::Map => (330.0, 330.0),
            0 if self.noted() => BROAD,
            0 => (520.0, 330.0),
            rows => (520.0, 60.0 + rows as f64 * self.row_height()),
        }
    }

    fn noted(&self) -> bool {
        self.series
            .iter()
            .flat_map(|s| &s.marks)
            .any(|m| m.note.is_some())
    }

    fn row_height(&self) -> f64 {
        (self.series.len() as f64 * 9.0 + 12.0).max(30.0)
    }

    /// A row's shift of a series, so that intervals do not cover each other; in rows.
    fn shift(&self, series: usize) -> f64 {
        let n = self.series.len() as f64;
        match self.rows.is_empty() {
            true => 0.0,
            false => (series as f64 - (n - 1.0) / 2.0) * 9.0 / self.row_height(),
        }
    }

    /// For a page: no size of its own, colours by CSS variables, without a legend. One with notes is there twice, and the style shows the
    /// one that fits.
    pub fn inline(&self) -> String {
        match self.noted() {
            true => {
                let broad = self.inline_of(BROAD, " broad");
                format!("{broad}\n{}", self.inline_of(NARROW, " narrow"))
            }
            false => self.inline_of(self.size(), ""),
        }
    }

    fn inline_of(&self, size: (f64, f64), class: &str) -> String {
        let (wide, high) = size;
        let title = escape(&self.spoken());
        let n = format!("{}{}", self.name, class.replace(' ', "-"));
        let body = self.draw(Place::Page, size).text;
        format!(
            "<svg class=\"chart{class}\" viewBox=\"0 0 {wide} {high}\" role=\"img\" aria-labelledby=\"t-{n}\">\n\
             <title id=\"t-{n}\">{title}</title>\n{body}</svg>"
        )
    }

    /// A file of its own, with its legend.
    pub fn figure(&self) -> String {
        let (wide, high) = self.size();
        let mut svg = self.draw(Place::File, self.size());
        let labels = self.series.iter().map(|s| (s.label.as_str(), s.style));
        let all = high + legend::block(&mut svg, &labels.collect::<Vec<_>>(), wide, high);
        let (title, body) = (escape(&self.spoken()), svg.text);
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{wide}\" height=\"{all}\" viewBox=\"0 0 {wide} {all}\" role=\"img\">\n\
             <title>{title}</title>\n<rect width=\"100%\" height=\"100%\" fill=\"#FFFFFF\"/>\n{body}</svg>\n"
        )
    }

    /// What a screen reader says.
    fn spoken(&self) -> String {
        let labels: Vec<&str> = self.series.iter().map(|s| s.label.as_str()).collect();
        let axes = match self.rows.is_empty() {
            true if self.form == Form::Map => self.x.label.clone(),
            true => format!("{} against {}", self.y.label, self.x.label),
            false => self.x.label.clone(),
        };
        format!("{}: {axes}; {}", self.title, labels.join(", "))
    }

    /// The content of the picture, without its outermost tags.
    fn draw(&self, place: Place, size: (f64, f64)) -> Svg {
        let mut svg = Svg::new(place);
        let plane = self.plane(size);
        let size = match self.form {
            Form::Plot => {
                self.axes(&mut svg, &plane);
                1.0
            }
            Form::Map => {
                frame(&mut svg, &plane.inside);
                0.6
            }
        };
        for (i, series) in self.series.iter().enumerate() {
            series.draw(self.shift(i), &mut svg, &plane);
        }
        // Above all lines, so that none hides a mark.
        let places = self.places(&plane);
        let mut at = places.iter();
        for (i, series) in self.series.iter().enumerate() {
            for mark in series.marks.iter().filter(|_| series.dots) {
                let at = *at.next().expect("every mark that is drawn has its place");
                let true_place = plane.at(mark.x, mark.y + self.shift(i));
                if dodge::distance(at, true_place) > 0.5 {
                    svg.line(&[true_place, at], svg.place.axis(), 1.0, "");
                }
                series.mark(mark, at, size, self, &mut svg);
            }
        }
        self.notes(&mut svg, &plane, &places);
        svg
    }

    /// Where the marks that are drawn stand, series by series: where notes say which is which, none hides another.
    fn places(&self, plane: &Plane) -> Vec<(f64, f64)> {
        let series = self.series.iter().enumerate().filter(|(_, s)| s.dots);
        let points = series.flat_map(|(i, s)| {
            let shift = self.shift(i);
            s.marks.iter().map(move |m| (m.x, m.y + shift))
        });
        let points: Vec<(f64, f64)> = points.map(|(x, y)| plane.at(x, y)).collect();
        match self.noted() {
            true => dodge::places(&points, &plane.inside.wider(8.0)),
            false => points,
        }
    }

    /// What a mark says to who points at it.
    fn said(&self, series: &Series, mark: &Mark) -> String {
        if let Some(about) = &mark.about {
            return match mark.prompt {
                Some(_) => about.clone(),
                None => format!("{}, {about}", series.label),
            };
        }
        let value = |axis: &Axis, x: f64, interval: Option<(f64, f64)>| {
            let interval = interval.map_or(String::new(), |(low, high)| {
                format!(" [{}, {}]", axis.exact(low), axis.exact(high))
            });
            format!("{} {}{interval}", axis.label, axis.exact(x))
        };
        let x = value(&self.x, mark.x, mark.x_interval);
        let y = match self.rows.get(mark.y as usize).filter(|_| mark.y >= 0.0) {
            Some(row) => row.clone(),
            None => value(&self.y, mark.y, mark.y_interval),
        };
        let note = mark.note.iter().filter(|note| **note != series.label);
        let note: String = note.map(|note| format!(", {note}")).collect();
        format!("{}{note}: {y}; {x}", series.label)
    }

    fn plane(&self, (wide, high): (f64, f64)) -> Plane<'_> {
        let longest = self.rows.iter().map(|r| r.chars().count()).max();
        let left = longest.map_or(64.0, |n| (n as f64 * 7.0 + 20.0).clamp(58.0, 206.0));
        let (x, y) = self.ranges();
        Plane {
            inside: match self.form {
                Form::Plot => Room {
                    left,
                    right: wide - 18.0,
                    top: 12.0,
                    bottom: high - 44.0,
                },
                Form::Map => Room {
                    left: 4.0,
                    right: wide - 4.0,
                    top: 4.0,
                    bottom: high - 4.0,
                },
            },
            x: Span {
                axis: &self.x,
                range: x,
            },
            y: Span {
                axis: &self.y,
                range: y,
            },
        }
    }

    /// Grid, axes, and what is written at them.
    fn axes(&self, svg: &mut Svg, plane: &Plane) {
        let Room {
            left,
            right,
            top,
            bottom,
        } = plane.inside;
        let (grid, axis) = (svg.place.grid(), svg.place.axis());
        for tick in self.x.ticks(&plane.x.range, 7) {
            let x = plane.across(tick);
            svg.line(&[(x, top), (x, bottom)], grid, 1.0, "");
            svg.line(&[(x, bottom), (x, bottom + 5.0)], axis, 1.0, "");
            svg.text((x, bottom + 13.0), Anchor::Middle, TEXT, &self.x.tick(tick));
        }
        if self.rows.is_empty() {
            for tick in self.y.ticks(&plane.y.range, 6) {
                let y = plane.up(tick);
                svg.line(&[(left, y), (right, y)], grid, 1.0, "");
                svg.line(&[(left - 5.0, y), (left, y)], axis, 1.0, "");
                svg.text((left - 8.0, y), Anchor::End, TEXT, &self.y.tick(tick));
            }
            svg.upwards((9.0, (top + bottom) / 2.0), &self.y.label);
        }
        for (row, label) in self.rows.iter().enumerate() {
            let y = plane.up(row as f64);
            svg.text((left - 11.0, y), Anchor::End, TEXT, label);
        }
        svg.line(
            &[(left, top), (left, bottom), (right, bottom)],
            axis,
            1.0,
            "",
        );
        let below = ((left + right) / 2.0, bottom + 34.0);
        svg.text(below, Anchor::Middle, TEXT, &self.x.label);
    }

    /// Writes the marks' notes where there is room, those of lines first; one that is far from its mark is tied to it. A note without
    /// any room is left out.
    fn notes(&self, svg: &mut Svg, plane: &Plane, places: &[(f64, f64)]) {
        let drawn = self.series.iter().filter(|s| s.dots);
        let drawn = drawn.flat_map(|s| s.marks.iter().map(move |m| (s.line, m)));
        let marks: Vec<(bool, &Mark, (f64, f64))> = drawn
            .zip(places)
            .map(|((line, m), at)| (line, m, *at))
            .collect();
        let mut taken: Vec<Room> = vec![];
        // What a note had better not stand on, and what it may where there is no other place.
        let mut crossed: Vec<Room> = vec![];
        for (_, m, at) in &marks {
            taken.push(Room::around(*at, 6.0));
            let across = m.x_interval.map(|(low, high)| ((low, m.y), (high, m.y)));
            let along = m.y_interval.map(|(low, high)| ((m.x, high), (m.x, low)));
            for ((x, y), (to_x, to_y)) in across.into_iter().chain(along) {
                crossed.push(Room::of_line(plane.at(x, y), plane.at(to_x, to_y)));
            }
        }
        for series in self.series.iter().filter(|s| s.line) {
            let at = |m: &Mark| plane.at(m.x, m.y);
            for ends in series.marks.windows(2) {
                crossed.extend(Room::along(at(&ends[0]), at(&ends[1])));
            }
        }
        let inside = Room {
            right: plane.inside.right + 16.0,
            top: plane.inside.top - 10.0,
            ..plane.inside
        };
        for first in [true, false] {
            for (_, mark, at) in marks.iter().filter(|(line, _, _)| *line == first) {
                let Some(text) = &mark.note else {
                    continue;
                };
                let wide = text.chars().count() as f64 * 6.25;
                let free = |r: &Room| r.within(&inside) && !taken.iter().any(|t| t.meets(r));
                let clear = |r: &Room| free(r) && !crossed.iter().any(|t| t.meets(r));
                let near = || Room::beside(*at, wide, 13.0).into_iter();
                let far = || Room::about(*at, wide, 13.0).into_iter();
                let place = near()
                    .find(&clear)
                    .map(|room| (room, false))
                    .or_else(|| far().find(&clear).map(|room| (room, true)))
                    .or_else(|| near().chain(far()).find(&free).map(|room| (room, true)));
                if let Some((room, tied)) = place {
                    if tied {
                        svg.line(&[*at, room.nearest(*at)], svg.place.axis(), 0.75, "");
                    }
                    let middle = (room.left, (room.top + room.bottom) / 2.0);
                    svg.text(middle, Anchor::Start, TEXT - 2.0, text);
                    taken.push(room);
                }
            }
        }
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
        let y = self.y.range(ys);
        match self.form {
            Form::Plot => (x, y),
            Form::Map => {
                let wide = (x.end - x.start).max(y.end - y.start);
                (widened(x, wide), widened(y, wide))
            }
        }
    }
}

impl Series {
    /// All but the marks.
    fn draw(&self, shift: f64, svg: &mut Svg, plane: &Plane) {
        let (colour, dash) = (svg.place.colour(self.style), legend::dash(self.style));
        for thread in &self.threads {
            let points: Vec<_> = thread.iter().map(|(x, y)| plane.at(*x, *y)).collect();
            let faint = format!("{dash} stroke-opacity=\"0.35\"");
            svg.line(&points, &colour, 1.0, &faint);
        }
        let at = |m: &Mark| plane.at(m.x, m.y + shift);
        for mark in &self.marks {
            let y = mark.y + shift;
            let across = mark.x_interval.map(|(low, high)| [(low, y), (high, y)]);
            let x = mark.x;
            let along = mark.y_interval.map(|(low, high)| [(x, low), (x, high)]);
            for ends in across.into_iter().chain(along) {
                let ends = ends.map(|(x, y)| plane.at(x, y));
                svg.line(&ends, &colour, 1.5, " stroke-opacity=\"0.7\"");
            }
        }
        if self.line {
            let points: Vec<_> = self.marks.iter().map(at).collect();
            svg.line(&points, &colour, 2.0, &dash);
        }
    }

    /// `size`: as a multiple of those in a legend.
    fn mark(&self, mark: &Mark, at: (f64, f64), size: f64, chart: &Chart, svg: &mut Svg) {
        let colour = svg.place.colour(self.style);
        let shape = legend::shape(self.style).into_iter();
        let shape: Vec<(f64, f64)> = shape.map(|(x, y)| (x * size, y * size)).collect();
        let about = chart.said(self, mark);
        let to = match (&mark.prompt, &mark.leads) {
            (Some(prompt), _) => To::Prompt(prompt),
            (None, Some(part)) => To::Part(part),
            (None, None) => To::Nothing,
        };
        svg.point(at, &shape, &colour, &Point { about: &about, to });
    }
}

/// The range about the same middle that is so wide.
fn widened(range: Range<f64>, wide: f64) -> Range<f64> {
    let middle = (range.start + range.end) / 2.0;
    middle - wide / 2.0..middle + wide / 2.0
}

fn frame(svg: &mut Svg, inside: &Room) {
    let Room {
        left,
        right,
        top,
        bottom,
    } = *inside;
    let corners = [
        (left, top),
        (right, top),
        (right, bottom),
        (left, bottom),
        (left, top),
    ];
    svg.line(&corners, svg.place.grid(), 1.0, "");
}

fn ends(value: f64, interval: Option<(f64, f64)>) -> [f64; 3] {
    let (low, high) = interval.unwrap_or((value, value));
    [low, value, high]
}
