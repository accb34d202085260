//! Inputs of the outside world that are odd, each with the right value or an error that says what to do. A file a kind of oddness.

mod cells;
mod folders;
mod progress;
mod rows_lost;
mod services;
mod shown;
mod specials;
mod stopping;
mod tables;
mod templates;
