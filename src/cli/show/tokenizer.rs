//! Whose tokens the lengths of rows are counted in: those of a model that the node takes in, or of one beside which its rows are
//! taken in further down.

use super::super::study;
use anyhow::Result;
use engine::graph::{Edge, Graph, NodeId};
use engine::kind::Type;
use engine::plan::layout::Layout;
use engine::store::Store;
use learn::tokenizer::Tokenizer;

/// Models that are tried: each asks the store once.
const TRIED: usize = 4;

pub struct ByTokenizer {
    /// The node whose model it is of.
    pub node: String,
    tokenizer: Tokenizer,
}

impl ByTokenizer {
    /// Tokens of a text as it stands.
    pub fn length(&self, text: &str) -> Result<usize> {
        Ok(self.tokenizer.encode(text)?.len())
    }
}

/// Nothing where there is no such model, or none that is made already.
pub fn of(store: &Store, graph: &Graph, id: NodeId, output: &str) -> Option<ByTokenizer> {
    let takes_it = |other: &NodeId| {
        let mut edges = graph.node(*other).inputs.iter();
        edges.any(|(_, edge)| edge.node == id && edge.output == output)
    };
    let below = graph.ids().filter(takes_it);
    let nodes = std::iter::once(id).chain(below);
    let models = nodes.flat_map(|node| models(graph, node));
    models.take(TRIED).find_map(|edge| {
        let record = study::found(store, graph, edge.node).ok()?.ok()?;
        let layout = Layout::new(store);
        let folder = layout.add("model", record.outputs.get(edge.output)?).ok()?;
        Some(ByTokenizer {
            node: graph.node(edge.node).name.clone(),
            tokenizer: Tokenizer::load(&folder).ok()?,
        })
    })
}

/// The models that a node takes in.
fn models(graph: &Graph, id: NodeId) -> Vec<&Edge> {
    let node = graph.node(id);
    let is_model = |port: &str| node.kind.port(port).is_some_and(|p| p.ty == Type::Model);
    let edges = node.inputs.iter().filter(|(port, _)| is_model(port));
    edges.map(|(_, edge)| edge).collect()
}
