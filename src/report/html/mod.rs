//! `pipe report` as one HTML file that needs nothing but itself, and the same figures as files. Gathers from sides and
//! the store, a file a section; knows no kinds, no clock and no network, so the same store gives the same bytes.

pub mod apart;
pub mod attacks;
pub mod axis;
pub mod claims;
pub mod curves;
pub mod differs;
mod dodge;
mod draw;
pub mod evaluations;
pub mod frontier;
pub mod graph;
pub mod head;
mod kept;
pub mod labels;
pub mod legend;
pub mod lines;
pub mod losses;
mod plane;
pub mod plot;
pub mod provenance;
pub mod reasoning;
pub mod render;
pub mod representations;
pub mod room;
pub mod runs;
pub mod samples;
pub mod series;
mod source;
pub mod story;
pub mod study;
pub mod svg;

use crate::html::apart::Apart;
use crate::html::attacks::Attacks;
use crate::html::claims::Claims;
use crate::html::curves::Curves;
use crate::html::evaluations::Evaluations;
use crate::html::frontier::Frontier;
use crate::html::head::Head;
use crate::html::plot::Chart;
use crate::html::provenance::Entry;
use crate::html::reasoning::Reasoning;
use crate::html::representations::Representations;
use crate::html::samples::Samples;
use crate::html::series::methods;
use crate::html::story::Story;
use crate::html::study::{Item, Study};
use crate::side::Side;
use anyhow::Result;
use engine::kind::Role;
use engine::store::Store;
use serde::Serialize;
pub use source::Source;
use source::Styles;

/// Prompts whose answers the page carries, where the reader says no other number.
pub const SAMPLES: usize = 200;

/// What the reader asks for.
pub struct Options {
    /// Prompts whose answers the page carries.
    pub samples: usize,
    /// What else than recipes stood on the command line of those that run, word by word: a command that is named has it as well.
    pub given: Vec<String>,
}

/// Everything a report shows, as data.
#[derive(Serialize)]
pub struct Page {
    pub head: Head,
    pub story: Story,
    pub groups: Vec<graph::Group>,
    pub frontier: Frontier,
    pub curves: Curves,
    pub apart: Apart,
    pub attacks: Attacks,
    pub reasoning: Reasoning,
    pub representations: Representations,
    pub claims: Claims,
    pub evaluations: Evaluations,
    pub samples: Samples,
    pub provenance: Vec<Entry>,
    pub sources: Vec<Source>,
    /// The picture of the graph, for a page and as a file.
    #[serde(skip)]
    pub graph: (String, String),
}

impl Page {
    /// Reads what the sides have.
    pub fn gather(
        store: &Store,
        sides: &[Side],
        sources: &[Source],
        options: &Options,
    ) -> Result<Page> {
        let study = Study::new(store, sides)?;
        let groups = graph::groups(&study);
        let evaluated = methods(&study, is_evaluation);
        let counted = methods(&study, |item| item.metric(reasoning::IN_TOKENS).is_some());
        let rows = samples::rows(store, &study, &evaluated)?;
        let mut styles = Styles::default();
        // Its series, few and in many charts, get the plainest styles.
        let attacks = attacks::attacks(store, &study, &evaluated, &mut styles)?;
        let frontier = frontier::frontier(&study, &evaluated, &mut styles);
        let claims = claims::claims(store, sides)?;
        Ok(Page {
            head: head::head(&study, sources, &options.given),
            story: story::story(&study, &claims.answers, &frontier),
            frontier,
            apart: apart::apart(store, &study, &evaluated, &mut styles)?,
            attacks,
            reasoning: reasoning::reasoning(&study, &evaluated, &counted, &mut styles),
            representations: representations::representations(store, &study)?,
            curves: curves::curves(store, &study, &mut styles),
            claims,
            evaluations: evaluations::evaluations(&study, &evaluated),
            samples: samples::samples(store, &study, &rows, &evaluated, options.samples)?,
            provenance: provenance::entries(&study, &groups),
            sources: sources.to_vec(),
            graph: (
                graph::inline(&study, &groups),
                graph::figure(&study, &groups),
            ),
            groups,
        })
    }

    /// (file name, SVG) of every figure.
    pub fn figures(&self) -> Vec<(String, String)> {
        let graph = ("graph.svg".to_string(), self.graph.1.clone());
        let charts = self
            .charts()
            .map(|c| (format!("{}.svg", c.name), c.figure()));
        std::iter::once(graph).chain(charts).collect()
    }

    fn charts(&self) -> impl Iterator<Item = &Chart> {
        let curves = self.curves.groups.iter().flat_map(|g| &g.charts);
        let apart = self.apart.labels.iter().map(|l| &l.chart);
        let frontier = self.frontier.chart.iter();
        frontier
            .chain(apart)
            .chain(&self.attacks.charts)
            .chain(&self.attacks.within)
            .chain(&self.attacks.losses)
            .chain(curves)
            .chain(&self.reasoning.charts)
            .chain(self.representations.shown.iter().map(|s| &s.chart))
    }
}

fn is_evaluation(item: &Item) -> bool {
    item.node.kind.role == Role::Evaluates || item.metric("defense").is_some()
}
