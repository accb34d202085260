//! What kinds of several rooms share.

pub mod aim;
pub mod answers;
pub mod asked;
pub mod bounds;
pub(crate) mod by_class;
pub mod cases;
pub mod devices;
pub mod dropped;
pub mod endpoint;
pub mod estimate;
pub mod leaks;
pub mod measure;
pub(crate) mod model_checks;
pub mod model_io;
pub mod observer;
pub mod range;
pub mod reasoning;
pub mod states;
