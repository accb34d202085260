//! Room for words in a chart: rectangles that may not meet. Knows no charts.

/// Drawn pixels a shown pixel.
pub const FINE: i32 = 4;

/// A rectangle of the picture, in drawn pixels.
pub struct Room {
    pub left: i32,
    pub right: i32,
    pub top: i32,
    pub bottom: i32,
}

impl Room {
    pub fn around((x, y): (i32, i32), radius: i32) -> Room {
        let r = radius * FINE;
        Room {
            left: x - r,
            right: x + r,
            top: y - r,
            bottom: y + r,
        }
    }

    /// Of a line between its left or upper end and the other.
    pub fn of_line((from, to): ((i32, i32), (i32, i32))) -> Room {
        Room {
            left: from.0 - FINE,
            right: to.0 + FINE,
            top: from.1 - FINE,
            bottom: to.1 + FINE,
        }
    }

    /// Of a line at any angle: small squares one beside the other.
    pub fn along(from: (i32, i32), to: (i32, i32)) -> Vec<Room> {
        const SIDE: i32 = 2;
        let (wide, high) = (to.0 - from.0, to.1 - from.1);
        let steps = (wide.abs().max(high.abs()) / (2 * SIDE * FINE)).max(1);
        (0..=steps)
            .map(|i| (from.0 + wide * i / steps, from.1 + high * i / steps))
            .map(|point| Room::around(point, SIDE))
            .collect()
    }

    /// Where a text of this size can stand at a mark, the best first.
    pub fn beside((x, y): (i32, i32), wide: i32, high: i32) -> Vec<Room> {
        let (right, left, middle) = (x + 8 * FINE, x - 8 * FINE - wide, x - wide / 2);
        let (above, below) = (y - 10 * FINE, y + 10 * FINE);
        let at = [
            (right, above),
            (left, above),
            (right, below),
            (left, below),
            (right, y),
            (left, y),
            (middle, above - 2 * FINE),
            (middle, below + 2 * FINE),
        ];
        let room = |(left, y): (i32, i32)| Room {
            left,
            right: left + wide,
            top: y - high / 2,
            bottom: y + high / 2,
        };
        at.map(room).into()
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
