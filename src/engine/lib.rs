//! Runs a graph of typed nodes with content-hashed caching. Knows neither recipes nor models: it is tested on toy kinds.
//!
//! In reading order: what a node is (`kind`, `params`, `graph`, `union`), what makes two nodes the same (`key`, `sources`), where
//! artifacts live (`objects`, `record`, `store`, `index`, `attempt`, `commit`), what has to run and why (`plan`, `verdict`, `history`, `why`), which calls it will make (`forecast`), running
//! it (`exec`, `process`, `worker`, `session`, `warden`, `checkpoint`, `failure`, `holder`, `system`), what happened (`event`, `journal`) and the
//! care of what is there (`keep`).

pub mod kind;

pub mod graph;
pub mod key;
pub mod sources;
pub mod union;

pub mod attempt;
pub mod commit;
pub mod hub;
pub mod index;
pub mod objects;
pub mod origin;
pub mod outlook;
pub mod record;
pub mod store;

pub mod forecast;
pub mod history;
pub mod layout;
pub mod paths;
pub mod plan;
pub mod verdict;
pub mod why;

pub mod checkpoint;
pub mod exec;
pub mod failure;
pub mod fault;
pub mod holder;
pub mod process;
pub mod pulse;
pub mod session;
pub mod system;
pub mod warden;
pub mod worker;

pub mod clock;
pub mod event;
pub mod journal;

pub mod keep;
