//! What kinds of several rooms share.

pub mod ahead;
pub mod answers;
pub mod bounds;
pub mod endpoint;
pub mod leaks;
pub mod measure;
pub mod model_io;
pub mod observer;
pub mod range;
