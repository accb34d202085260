//! Runs a graph of typed nodes with content-hashed caching. Knows neither recipes nor models: it is tested on toy kinds.

pub mod graph;
pub mod kind;
pub mod params;
pub mod worker;
