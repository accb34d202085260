//! What kinds of several rooms share.

pub mod ahead;
pub mod answers;
pub mod bounds;
pub mod leaks;
pub mod measure;
pub mod model_io;
pub mod range;
pub mod remote;
