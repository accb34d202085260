//! Inputs of the outside world that are odd, each with the right value or an error that says what to do. A file a kind of oddness.

mod progress;
mod services;
mod shown;
mod stopping;
