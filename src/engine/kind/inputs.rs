//! What a node is made from: outputs of other nodes, by port.

/// A node's place in `Graph::nodes`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// An input: one output of another node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    pub node: NodeId,
    pub output: &'static str,
}

/// Edges by port, in the order of the ports' names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Inputs(Vec<(&'static str, Edge)>);

impl Inputs {
    pub fn insert(&mut self, port: &'static str, edge: Edge) {
        match self.0.binary_search_by(|(name, _)| (*name).cmp(port)) {
            Ok(at) => self.0[at].1 = edge,
            Err(at) => {
                // Most nodes have one input or two.
                self.0.reserve_exact(1);
                self.0.insert(at, (port, edge));
            }
        }
    }

    pub fn get(&self, port: &str) -> Option<&Edge> {
        self.iter().find(|(name, _)| **name == port).map(|(_, e)| e)
    }

    pub fn iter(&self) -> Entries<'_> {
        self.0.iter().map(|(port, edge)| (port, edge))
    }

    pub fn keys(&self) -> impl Iterator<Item = &&'static str> {
        self.0.iter().map(|(port, _)| port)
    }

    pub fn values(&self) -> impl Iterator<Item = &Edge> {
        self.0.iter().map(|(_, edge)| edge)
    }

    pub fn values_mut(&mut self) -> impl Iterator<Item = &mut Edge> {
        self.0.iter_mut().map(|(_, edge)| edge)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

type Entries<'a> = std::iter::Map<
    std::slice::Iter<'a, (&'static str, Edge)>,
    fn(&'a (&'static str, Edge)) -> (&'a &'static str, &'a Edge),
>;

impl<'a> IntoIterator for &'a Inputs {
    type Item = (&'a &'static str, &'a Edge);
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

impl IntoIterator for Inputs {
    type Item = (&'static str, Edge);
    type IntoIter = std::vec::IntoIter<(&'static str, Edge)>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl std::ops::Index<&str> for Inputs {
    type Output = Edge;

    fn index(&self, port: &str) -> &Edge {
        self.get(port).expect("the port is connected")
    }
}

impl FromIterator<(&'static str, Edge)> for Inputs {
    fn from_iter<I: IntoIterator<Item = (&'static str, Edge)>>(all: I) -> Inputs {
        let mut inputs = Inputs::default();
        for (port, edge) in all {
            inputs.insert(port, edge);
        }
        inputs
    }
}
