//! The parameters of the kind `import`.

use super::unit::Layout;
use crate::data::table_file::Class;
use crate::shared::bounds;
use base::setup::Acts;
use base::{choice, params};
use std::path::PathBuf;

choice! {
    /// How files lie, as a word in a recipe.
    pub enum As { Auto = "auto", HarmBench = "harmbench", Inspect = "inspect", LmEval = "lm-eval" }
}
choice! {
    /// What a high score speaks of.
    pub enum High { Good = "good", Harm = "harm" }
}

impl As {
    /// None: whatever the files are.
    pub fn layout(self) -> Option<Layout> {
        match self {
            As::Auto => None,
            As::HarmBench => Some(Layout::HarmBench),
            As::Inspect => Some(Layout::Inspect),
            As::LmEval => Some(Layout::LmEval),
        }
    }
}

const CHOSEN: Acts = Acts::only("where `score` says which", |s| s.given("score"));
const FILTERED: Acts = Acts::only("where the layout is lm-eval's", |s| {
    s.says("layout", "auto") || s.says("layout", "lm-eval")
});

params! {
    pub struct Params {
        /// A file, or a folder that holds some, at most five folders deep.
        path: PathBuf;
        /// HarmBench: the file of results that belongs to a file of completions, for the labels. Results hold completions too, but
        /// cut to the tokens that the classifier saw.
        results: Option<PathBuf> = None;
        /// How the files lie; `auto`: whichever of the three it is.
        layout: As = As::Auto;
        /// Whose completions, where there are several models'. HarmBench: the file's name; inspect_ai: as the log says; lm-eval: as
        /// `results_*.json` beside the log says, or the folder's name.
        model: Option<String> = None;
        /// Class of every prompt that the port `prompts` says nothing of; absent: `harmful` for HarmBench, else `harmless`.
        class: Option<Class> = None;
        /// What of the scores there are is taken: `label` (HarmBench), the name of a scorer (inspect_ai) or of a metric (lm-eval).
        /// With it there are `scores`.
        score: Option<String> = None;
        /// From where on a score in [0, 1] is high.
        threshold: f64 = 0.5, in bounds::SHARE, if CHOSEN;
        /// Whether a high score is `good`, or `harm` that was done; absent: `harm` for HarmBench, else `good`.
        high: Option<High> = None, if CHOSEN;
        /// lm-eval: which filter's scores, where the log has several; absent: the first.
        filter: Option<String> = None, if FILTERED;
    }
}
