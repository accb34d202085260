//! What a folder does that two machines share: whether locks exclude, links and renames are whole, how late one sees what the other
//! wrote. One side asks (`examine`), the other answers (`answer`); they talk through files of the folder itself, and that they can is
//! the first thing that is found out.

mod answer;
mod deeds;
mod examine;
mod talk;
mod words;

pub use answer::answer;
pub use examine::{Examined, examine};
pub use talk::Still;
pub use words::{Finding, Side};
