//! What a separation keeps beside its metrics for whoever draws it: `points.jsonl`, a line a prompt, and `pictures.json`, the embeddings
//! that were made, of which one is shown. Knows no node and nothing of how either is computed.

use serde::{Deserialize, Serialize};

pub const POINTS: &str = "points.jsonl";
pub const PICTURES: &str = "pictures.json";

/// A prompt of a separation, as
/// `{"id":"eval-harmful-0003","value":"harmful","positive":true,"fold":2,"score":1.7,"silhouette":0.2,"x":3.1,"y":8.8,"all":[[3.1,8.8],…]}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The prompt's.
    pub id: String,
    /// Its value of the label that parts the sides.
    pub value: String,
    pub positive: bool,
    /// Whose probe scored it: that of the other folds.
    pub fold: usize,
    /// Above 0 the probe takes it for positive.
    pub score: f64,
    /// In the space of the states.
    pub silhouette: f64,
    /// In the picture that is shown, of 0 to about 10.
    pub x: f32,
    pub y: f32,
    /// In every picture, in the order of `Pictures::pictures`.
    pub all: Vec<[f32; 2]>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pictures {
    /// The layer whose states were embedded.
    pub layer: usize,
    /// Place of the one that is shown: that with the median margin.
    pub shown: usize,
    pub pictures: Vec<Picture>,
}

/// One embedding, by its seed, and the line that parts the sides in it: w·(x, y) + b = 0, positive where it is above.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Picture {
    pub seed: u64,
    /// Width of the band between the sides; absent where the line has all points on one side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
    pub w: [f64; 2],
    pub b: f64,
    /// Mean share of the points of a side that are on their side of the line.
    pub accuracy: f64,
    pub silhouette: f64,
    /// Absent where there are not twice as many points as neighbours.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trustworthiness: Option<f64>,
}
