//! What the recipes claim of each other, and what the numbers say to it.

use crate::report::html::study::Study;
use serde::Serialize;

#[derive(Serialize)]
pub struct Claims {
    pub claims: Vec<Judged>,
}

#[derive(Serialize)]
pub struct Judged {
    pub recipe: String,
    pub about: String,
}

pub fn claims(study: &Study) -> Claims {
    let _ = study;
    Claims { claims: vec![] }
}
