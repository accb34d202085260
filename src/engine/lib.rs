//! Runs a graph of typed nodes with content-hashed caching. Knows neither recipes nor models: it is tested on toy kinds.
//!
//! In reading order, each room knows those before it: the machine (`system`), what a node is (`kind`), what makes two nodes the same
//! (`graph`), where artifacts live (`store`), what has to run and why (`plan`), what happened (`events`), running it (`run`) and the care
//! of what is there (`gc`).

pub mod system;

pub mod kind;

pub mod graph;

pub mod store;

pub mod plan;

pub mod events;

pub mod run;

pub mod gc;
