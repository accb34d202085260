//! The parameters of the kind `teacher`.

use crate::shared::answers::{self, Served};
use crate::shared::bounds;
use base::setup::Acts;
use base::{choice, params};

choice! {
    /// Who the teacher is.
    pub enum From { World = "world", Endpoint = "endpoint", Model = "model" }
}
choice! {
    /// How the world's teacher writes.
    pub enum Style { Terse = "terse", Stepwise = "stepwise", Hedging = "hedging", Mixed = "mixed" }
}

const SENT: Acts = Acts::only(
    "where `from` is `model`, or an endpoint is sent it: not with `endpoint.server = \"openai-reasoning\"`, nor where `endpoint.omit` names it",
    |s| !s.says("from", "world") && answers::is_sent(s, "temperature"),
);
const SAMPLED: Acts = Acts::only("where `from` is `endpoint` or `model`", |s| {
    !s.says("from", "world")
});
const DRAWN: Acts = Acts::only(
    "where `from` is `endpoint` or `model` and `temperature` is above 0",
    |s| {
        let drawn = !s.says("from", "world") && s.exceeds("temperature", 0.0);
        drawn && answers::is_sent(s, "top_p")
    },
);
pub const LOCAL: Acts = Acts::only("where `from` is `model`", |s| s.says("from", "model"));
const BUILT_IN: Acts = Acts::only("where `from` is `world`", |s| s.says("from", "world"));
const REASONED: Acts = Acts::only("where `from` is `world` and `reasoning` is on", |s| {
    s.says("from", "world") && s.is_on("reasoning")
});
const SEEDED: Acts = Acts::draws("unless a model answers at `temperature` 0", |s| {
    !s.says("from", "model") || s.exceeds("temperature", 0.0)
});

params! {
    pub struct Params {
        /// The teacher: of the built-in world (`world`), the one of the table `endpoint` (`endpoint`), or the one at the port
        /// `model` (`model`).
        from: From = From::World;
        /// Traces a prompt.
        samples: u32 = 4, in bounds::SAMPLES;
        /// `false`: the answers of the same traces alone, without think tags, as for a model that is not to reason.
        reasoning: bool = true;
        /// Traces with the same text as an earlier one of their prompt are removed.
        drop_duplicates: bool = true;
        /// Traces that ran into the length limit are removed.
        drop_unfinished: bool = true, if SAMPLED;
        /// Seed of the traces; an endpoint is sent seed + i for trace i of a prompt.
        seed: u64 = 0, in bounds::SEED, if SEEDED;
        /// `endpoint` and `model`: sampling temperature. DeepSeek recommends 0.6 for R1; what TARS used is not published.
        temperature: f64 = 0.6, in bounds::TEMPERATURE, if SENT;
        /// `endpoint` and `model`: nucleus.
        top_p: f64 = 0.95, in bounds::NUCLEUS, if DRAWN;
        /// `endpoint` and `model`: tokens of a trace, reasoning included.
        max_new_tokens: usize = 8192, in bounds::TOKENS, if SAMPLED;
        /// `world`: share of traces that decide wrongly.
        error_rate: f64 = 0.1, in bounds::SHARE, if BUILT_IN;
        /// `world`: share of traces with empty reasoning.
        empty_rate: f64 = 0.1, in bounds::SHARE, if BUILT_IN;
        /// `world`: how the reasoning is written. `terse` is how the base corpus states facts, so that little is unlearned for it;
        /// `mixed` varies by trace.
        style: Style = Style::Terse, if REASONED;
    }
    with { served: Served }
}
