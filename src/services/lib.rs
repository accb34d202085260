//! Services outside of this machine's control: chat models, moderation, scorers over HTTP. Owns the wire formats, the client that
//! asks and asks again, and the journal that keeps every answer. Knows no recipe, no node and no store: it is given folders,
//! settings and ears.
//!
//! A *call* is one answer to be had: a request in a form that does not depend on who serves it, and the number of the sample.
//! Several calls may go in one HTTP request. What was answered is in the journal, durably, before anyone sees it.
//!
//!     asks -> client::Client::all  --journal has it-----------------------------+
//!               |  claim (no two processes make the same call)                   |
//!               |  budget, pace, concurrency                                     v
//!               +-> http::Http::post -> protocol reads the reply -> journal -> answer

pub mod budget;
pub mod chat;
pub mod client;
pub mod endpoint;
pub mod fault;
pub mod http;
#[cfg(feature = "hub")]
pub mod hub;
pub mod journal;
mod ledger;
pub mod moderation;
pub mod pace;
pub mod protocol;
pub mod rollouts;
pub mod score;
