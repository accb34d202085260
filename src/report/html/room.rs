//! Room for words in a chart: rectangles that may not meet. Knows no charts.

/// A rectangle of the picture, in pixels.
pub struct Room {
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
}

impl Room {
    pub fn around((x, y): (f64, f64), radius: f64) -> Room {
        Room {
            left: x - radius,
            right: x + radius,
            top: y - radius,
            bottom: y + radius,
        }
    }

    /// Of a line between its left or upper end and the other.
    pub fn of_line(from: (f64, f64), to: (f64, f64)) -> Room {
        Room {
            left: from.0 - 1.0,
            right: to.0 + 1.0,
            top: from.1 - 1.0,
            bottom: to.1 + 1.0,
        }
    }

    /// Of a line at any angle: small squares one beside the other.
    pub fn along(from: (f64, f64), to: (f64, f64)) -> Vec<Room> {
        const SIDE: f64 = 2.0;
        let (wide, high) = (to.0 - from.0, to.1 - from.1);
        let steps = (wide.abs().max(high.abs()) / (2.0 * SIDE)).max(1.0) as usize;
        let part = |i: usize| i as f64 / steps as f64;
        (0..=steps)
            .map(|i| (from.0 + wide * part(i), from.1 + high * part(i)))
            .map(|point| Room::around(point, SIDE))
            .collect()
    }

    /// Where a text of this size can stand at a mark, the best first.
    pub fn beside((x, y): (f64, f64), wide: f64, high: f64) -> Vec<Room> {
        let (right, left, middle) = (x + 8.0, x - 8.0 - wide, x - wide / 2.0);
        let (above, below) = (y - 10.0, y + 10.0);
        let at = [
            (right, above),
            (left, above),
            (right, below),
            (left, below),
            (right, y),
            (left, y),
            (middle, above - 2.0),
            (middle, below + 2.0),
        ];
        let room = |(left, y): (f64, f64)| Room {
            left,
            right: left + wide,
            top: y - high / 2.0,
            bottom: y + high / 2.0,
        };
        at.map(room).into()
    }

    /// Where such a text can stand further from its mark, the nearest first.
    pub fn about((x, y): (f64, f64), wide: f64, high: f64) -> Vec<Room> {
        const WAYS: usize = 16;
        let ring = |far: usize| {
            (0..WAYS).map(move |way| {
                let turn = way as f64 / WAYS as f64 * std::f64::consts::TAU;
                let far = 22.0 + far as f64 * 12.0;
                let middle = (x + (far + wide / 2.0) * turn.cos(), y - far * turn.sin());
                Room {
                    left: middle.0 - wide / 2.0,
                    right: middle.0 + wide / 2.0,
                    top: middle.1 - high / 2.0,
                    bottom: middle.1 + high / 2.0,
                }
            })
        };
        (0..12).flat_map(ring).collect()
    }

    /// So much wider on each side.
    pub fn wider(&self, by: f64) -> Room {
        Room {
            left: self.left - by,
            right: self.right + by,
            top: self.top - by,
            bottom: self.bottom + by,
        }
    }

    /// The point of it that is nearest to another.
    pub fn nearest(&self, (x, y): (f64, f64)) -> (f64, f64) {
        (
            x.clamp(self.left, self.right),
            y.clamp(self.top, self.bottom),
        )
    }

    pub fn meets(&self, other: &Room) -> bool {
        self.left < other.right
            && other.left < self.right
            && self.top < other.bottom
            && other.top < self.bottom
    }

    pub fn within(&self, other: &Room) -> bool {
        self.left >= other.left
            && self.right <= other.right
            && self.top >= other.top
            && self.bottom <= other.bottom
    }
}
