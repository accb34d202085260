//! Does the response have its think tags? The rule is `base::response::well_formed`.

use super::{How, Judged, Reads, Scorer, Verdict};
use base::response;

pub const SCORER: Scorer = Scorer {
    name: "format",
    summary: "1 if `<think>` and `</think>` each occur exactly once, in that order, else 0",
    how: How::Text(|judged: &Judged, _| {
        let formed = response::well_formed(judged.response);
        Ok(Verdict::number(f64::from(formed)))
    }),
    reads: Reads::Nothing,
};
