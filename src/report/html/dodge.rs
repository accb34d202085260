//! Places for marks of a chart that would hide each other: who comes later steps aside, as little as will do. Knows no charts.

use crate::html::room::Room;

/// How far marks are apart, in pixels.
const APART: f64 = 12.0;
/// Ways to step aside at each distance, upwards first.
const WAYS: usize = 12;
const RINGS: usize = 12;

/// For each point, in their order, where its mark stands: there, or beside it inside of the room. Where there is no room at all, there.
pub fn places(points: &[(f64, f64)], inside: &Room) -> Vec<(f64, f64)> {
    let mut taken: Vec<(f64, f64)> = vec![];
    for point in points {
        let free = |at: &(f64, f64)| taken.iter().all(|other| distance(*at, *other) >= APART);
        let fits = |at: &(f64, f64)| Room::around(*at, APART / 2.0).within(inside);
        let place = match free(point) {
            true => *point,
            false => aside(*point)
                .find(|at| free(at) && fits(at))
                .unwrap_or(*point),
        };
        taken.push(place);
    }
    taken
}

fn aside((x, y): (f64, f64)) -> impl Iterator<Item = (f64, f64)> {
    (1..=RINGS).flat_map(move |ring| {
        let far = APART * (1.0 + ring as f64) / 2.0;
        (0..WAYS).map(move |way| {
            let turn = way as f64 / WAYS as f64 * std::f64::consts::TAU;
            (x + far * turn.sin(), y - far * turn.cos())
        })
    })
}

pub fn distance(a: (f64, f64), b: (f64, f64)) -> f64 {
    (a.0 - b.0).hypot(a.1 - b.1)
}
