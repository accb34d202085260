//! What a model that has a part in an attack is asked, and what it said.

use base::response;
use base::rows::Message;
use serde::{Deserialize, Serialize};

/// What a model is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Question {
    /// What the draw of a model on this machine hangs on: no other question to the part has it.
    pub id: String,
    pub messages: Vec<Message>,
    /// Which draw for these messages it is: an endpoint is sent the node's seed and this, and its journal keeps each apart.
    pub sample: u32,
    /// What the reply is made to begin with; of models on this machine only.
    pub begun: Option<&'static str>,
}

/// What it said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reply {
    /// Everything, reasoning in think tags and what the reply was begun with included; empty where the service would not answer.
    pub response: String,
    /// Given and new ones; of an endpoint the new ones alone.
    pub tokens: u64,
    pub finished: bool,
    /// Why the service would not answer.
    pub rejected: Option<String>,
}

impl Reply {
    /// Of the built-in world, which asks nobody.
    pub fn of_world(text: String) -> Reply {
        Reply {
            response: text,
            tokens: 0,
            finished: true,
            rejected: None,
        }
    }

    /// Without reasoning; empty where that never ends.
    pub fn answer(&self) -> String {
        response::split(&self.response).answer
    }
}
