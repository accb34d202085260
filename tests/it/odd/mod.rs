//! Inputs of the outside world that are odd, each with the right value or an error that says what to do. A file a kind of oddness.

mod acts;
mod cells;
mod depth;
mod folders;
mod params;
mod progress;
mod rows_lost;
mod services;
mod shown;
mod specials;
mod stopping;
mod tables;
mod templates;
mod unjudged;
