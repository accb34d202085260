//! What people read of recipes and runs. Knows neither kinds nor models, and prints nothing itself.

pub mod table;
pub mod words;

pub mod metrics;
pub mod summary;

pub mod progress;
