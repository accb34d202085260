//! What people read of recipes and runs: tables, the live view, summaries. A reader of events and records; knows neither
//! kinds nor models.

pub mod asked;
pub mod beside;
pub mod closing;
pub mod command;
pub mod compare;
pub mod devices;
pub mod doubt;
pub mod grid;
pub mod html;
pub mod metrics;
pub mod missing;
pub mod model;
pub mod page;
pub mod pairing;
pub mod preview;
pub mod progress;
pub mod reading;
pub mod remaining;
pub mod side;
pub mod spread;
pub mod steps;
pub mod summary;
pub mod table;
pub mod telling;
pub mod verdicts;
pub mod view;
pub mod words;
pub mod wrap;
