//! The part of a picture in which numbers have places: from values on two axes to pixels. Knows no marks.

use crate::html::axis::Axis;
use crate::html::room::Room;
use std::ops::Range;

pub struct Plane<'a> {
    pub inside: Room,
    pub x: Span<'a>,
    /// From its lower edge to its upper one.
    pub y: Span<'a>,
}

/// An axis, and which of its places the picture shows.
pub struct Span<'a> {
    pub axis: &'a Axis,
    pub range: Range<f64>,
}

impl Plane<'_> {
    pub fn at(&self, x: f64, y: f64) -> (f64, f64) {
        (self.across(x), self.up(y))
    }

    pub fn across(&self, x: f64) -> f64 {
        let Room { left, right, .. } = self.inside;
        left + self.x.share(x) * (right - left)
    }

    pub fn up(&self, y: f64) -> f64 {
        let Room { top, bottom, .. } = self.inside;
        bottom - self.y.share(y) * (bottom - top)
    }
}

impl Span<'_> {
    /// How far a value is through the range; what is no number is at its beginning.
    fn share(&self, value: f64) -> f64 {
        let Range { start, end } = self.range;
        let share = (self.axis.place(value) - start) / (end - start);
        match share.is_nan() {
            true => 0.0,
            false => share.clamp(0.0, 1.0),
        }
    }
}
