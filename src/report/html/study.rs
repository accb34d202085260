//! The sides of a report as one study: every node once, with the sides that use it, its record and what it measured.
//! Knows nothing of how it is shown.

use crate::reading::{self, Reading};
use crate::side::Side;
use anyhow::Result;
use base::rows::Metric;
use engine::graph::{Graph, Node, NodeId};
use engine::kind::{Role, Type};
use engine::store::Store;
use engine::store::record::Record;
use engine::system::files::Blob;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A recipe file with its sides.
pub struct Recipe<'a> {
    pub name: &'a str,
    pub file: &'a Path,
    /// Places in `Study::sides`.
    pub sides: Vec<usize>,
}

/// A node that several sides may share.
pub struct Item<'a> {
    pub name: &'a str,
    pub node: &'a Node,
    /// The first side that uses it, and its place there.
    pub side: usize,
    pub id: NodeId,
    /// Places in `Study::recipes`, ascending; the first owns it.
    pub recipes: Vec<usize>,
    pub record: Option<&'a Record>,
    pub about: Option<&'a str>,
    pub reading: Reading,
    /// Places in `Study::items`, each once.
    pub parents: Vec<usize>,
    /// The longest way from a node without inputs.
    pub depth: usize,
}

pub struct Study<'a> {
    pub sides: &'a [Side],
    pub recipes: Vec<Recipe<'a>>,
    /// A parent comes before what needs it.
    pub items: Vec<Item<'a>>,
    /// By side and node: its place in `items`.
    places: Vec<Vec<usize>>,
}

impl<'a> Study<'a> {
    pub fn new(store: &Store, sides: &'a [Side]) -> Result<Study<'a>> {
        let mut study = Study {
            sides,
            recipes: recipes(sides),
            items: vec![],
            places: vec![],
        };
        let mut known: BTreeMap<String, usize> = BTreeMap::new();
        for (at, side) in sides.iter().enumerate() {
            let mut places = vec![];
            for id in side.graph.ids() {
                let identity = identity(side, id, &places);
                let place = match known.get(&identity) {
                    Some(place) => *place,
                    None => {
                        let item = item(store, at, side, id, &places, &study.items)?;
                        known.insert(identity, study.items.len());
                        study.items.push(item);
                        study.items.len() - 1
                    }
                };
                let recipe = study.recipe_of(at);
                let users = &mut study.items[place].recipes;
                if !users.contains(&recipe) {
                    users.push(recipe);
                }
                places.push(place);
            }
            study.places.push(places);
        }
        Ok(study)
    }

    pub fn place(&self, side: usize, id: NodeId) -> usize {
        self.places[side][id.0]
    }

    /// Of these items, each under the seeds of the sides that use it.
    pub fn records(&self, items: &[usize]) -> Vec<(Option<&str>, &'a Record)> {
        let sides = self.sides.iter().zip(&self.places);
        let each = sides.flat_map(|(side, places)| places.iter().map(move |at| (side.seed(), at)));
        let own = each.filter(|(_, at)| items.contains(at));
        let found = own.filter_map(|(seed, at)| Some((seed, self.items[*at].record?)));
        found.collect()
    }

    pub fn recipe_of(&self, side: usize) -> usize {
        let found = self.recipes.iter().position(|r| r.sides.contains(&side));
        found.expect("every side is of a recipe")
    }

    /// What the nodes of this role above an item say of a parameter, where they agree.
    pub fn above(&self, item: usize, role: Role, param: &str) -> Option<f64> {
        let item = &self.items[item];
        let graph: &Graph = &self.sides[item.side].graph;
        let above = graph.closure(&[item.id]).into_iter();
        let mut said = above
            .map(|id| graph.node(id))
            .filter(|n| n.kind.role == role)
            .filter_map(|n| n.params.get(param)?.canon().parse().ok());
        let first: f64 = said.next()?;
        said.all(|other| other == first).then_some(first)
    }
}

impl Item<'_> {
    /// A file of one of its outputs of this type.
    pub fn file(&self, ty: Type, path: &str) -> Option<&Blob> {
        let outputs = self.record?.outputs.values();
        let mut files = outputs.filter(|a| a.ty == ty).flat_map(|a| &a.files);
        files.find(|f| f.path == path)
    }

    pub fn metric(&self, name: &str) -> Option<&Metric> {
        self.reading.metric(name)
    }
}

fn recipes(sides: &[Side]) -> Vec<Recipe<'_>> {
    let mut recipes: Vec<Recipe> = vec![];
    for (at, side) in sides.iter().enumerate() {
        let same = |r: &&mut Recipe| r.name == side.recipe && r.file == side.file;
        match recipes.iter_mut().find(same) {
            Some(recipe) => recipe.sides.push(at),
            None => recipes.push(Recipe {
                name: &side.recipe,
                file: &side.file,
                sides: vec![at],
            }),
        }
    }
    recipes
}

/// Equal for what is the same node in two sides: its key, or, where it has no record, what it is made of.
fn identity(side: &Side, id: NodeId, places: &[usize]) -> String {
    if let Some(record) = side.records.get(&id) {
        return record.key.to_string();
    }
    let node = side.graph.node(id);
    let inputs = node.inputs.iter();
    let inputs: Vec<String> = inputs
        .map(|(port, edge)| format!("{port}={}.{}", places[edge.node.0], edge.output))
        .collect();
    let params = node.params.iter();
    let params: Vec<String> = params
        .map(|(name, value)| format!("{name}={}", value.canon()))
        .collect();
    format!("{} {inputs:?} {params:?}", node.kind.name)
}

fn item<'a>(
    store: &Store,
    at: usize,
    side: &'a Side,
    id: NodeId,
    places: &[usize],
    items: &[Item],
) -> Result<Item<'a>> {
    let node = side.graph.node(id);
    let record = side.records.get(&id);
    let parents: BTreeSet<usize> = node.inputs.values().map(|e| places[e.node.0]).collect();
    let above = parents.iter().map(|p| items[*p].depth + 1);
    Ok(Item {
        name: &node.name,
        node,
        side: at,
        id,
        recipes: vec![],
        record,
        about: side.notes.get(&node.name).map(String::as_str),
        reading: match record {
            Some(record) => reading::read(store, record)?,
            None => Reading::default(),
        },
        depth: above.max().unwrap_or(0),
        parents: parents.into_iter().collect(),
    })
}
