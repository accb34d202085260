//! What a recipe says of a model that has a part in an attack. Each part has a table of its own, `[node.x.attacker]`, whose fields are
//! the same; `part!` declares it, since where a field acts is said with the table's name.

use crate::shared::answers;
use crate::shared::endpoint::{EndpointParams, Service};
use anyhow::{Context, Result};
use base::choice;
use base::params::Problem;
use base::setup::Setup;
use services::chat::{Chat, Sampling};
use std::path::PathBuf;

choice! {
    /// Who has a part.
    pub enum From { World = "world", Model = "model", Endpoint = "endpoint" }
}
choice! {
    /// Who has a part that the built-in world cannot have: it answers nobody.
    pub enum FromModel { Model = "model", Endpoint = "endpoint" }
}

impl From {
    pub fn origin(self) -> From {
        self
    }
}

impl FromModel {
    pub fn origin(self) -> From {
        match self {
            FromModel::Model => From::Model,
            FromModel::Endpoint => From::Endpoint,
        }
    }
}

/// A part as the recipe has it.
#[derive(Clone, Debug)]
pub struct Part {
    /// Its table, and its port.
    pub block: &'static str,
    pub from: From,
    /// At the endpoint.
    pub model: Option<String>,
    pub extra_body: Option<String>,
    pub temperature: f64,
    pub max_tokens: usize,
    /// A file or folder with what it is told, instead of ours.
    pub template: Option<PathBuf>,
}

/// What requests hold beside `extra_body`: of the part's own table, or nobody's business.
const OWN_FIELDS: [(&str, &str); 10] = [
    ("model", "`model` says it"),
    ("messages", "the attack says them"),
    ("prompt", "the attack says it"),
    ("n", "each question has one answer"),
    ("stream", "answers are read as a whole"),
    ("temperature", "`temperature` says it"),
    ("top_p", "it is 1"),
    ("seed", "the node's `seed` says it"),
    ("max_tokens", "`max_tokens` says it"),
    ("max_completion_tokens", "`max_tokens` says it"),
];

impl Part {
    pub fn service(&self) -> Service {
        Service::Part(self.block)
    }

    /// Beyond types.
    pub fn problems(&self, endpoint: &EndpointParams) -> Vec<Problem> {
        let (service, block) = (self.service(), self.block);
        let mut found = endpoint.problems(service);
        if self.from == From::Endpoint {
            let (path, who) = (format!("{block}.from"), format!("`{block}`"));
            let by = (path.as_str(), who.as_str());
            found.extend(endpoint.missing(service, self.model.as_deref(), by));
        }
        let path = format!("{block}.extra_body");
        let extra = self.extra_body.as_deref();
        found.extend(answers::extra_problems(extra, &path, &OWN_FIELDS));
        found
    }

    /// The protocol by which it is asked at an endpoint. `seed`: of the node.
    pub(super) fn chat(&self, endpoint: &EndpointParams, seed: u64) -> Result<Chat> {
        let block = self.block;
        let model = self.model.clone();
        Ok(Chat {
            model: model.with_context(|| format!("`{block}.model` does not say who is asked"))?,
            sampling: Sampling {
                temperature: self.temperature,
                top_p: 1.0,
                top_k: 0,
                max_tokens: self.max_tokens as u64,
                seed,
                stop: vec![],
                extra: answers::extra(self.extra_body.as_deref(), &format!("{block}.extra_body"))?,
                logprobs: false,
            },
            plain: false,
            rendered: false,
            dialect: endpoint.server,
            per_request: 1,
            omit: endpoint.omit.clone(),
        })
    }
}

/// Whether the temperature of a part does anything: a model has it, and an endpoint is sent it.
pub fn is_warm(setup: &Setup, block: &str) -> bool {
    let of = |field: &str| format!("{block}.{field}");
    let kept_back =
        setup.says(&of("server"), "openai-reasoning") || setup.lists(&of("omit"), "temperature");
    match (
        setup.says(&of("from"), "world"),
        setup.says(&of("from"), "endpoint"),
    ) {
        (true, _) => false,
        (_, true) => !kept_back,
        _ => true,
    }
}

/// Declares the table of a part: its struct, and the condition under which a service is asked. `told`: the doc of its template, of a part that is
/// told anything but what it is asked.
macro_rules! part {
    (@template $part:ident) => {{
        let _ = $part; // It has none.
        None
    }};
    (@template $part:ident $($told:literal)+) => { $part.template.clone() };
    (@speaks $block:literal $($told:literal)+) => {
        base::setup::Acts::only(
            concat!("where a model is `", $block, "`"),
            |s| !s.says(concat!($block, ".from"), "world"),
        )
    };
    ($(#[doc = $about:literal])+ pub struct $name:ident in $block:literal, served $served:ident, from $origin:ident :: $from:ident,
     temperature $temperature:expr, max_tokens $most:expr $(, told { $(#[doc = $told:literal])+ })?) => {
        pub const $served: base::setup::Acts = base::setup::Acts::only(
            concat!("where `", $block, ".from` is `endpoint`"),
            |s| s.says(concat!($block, ".from"), "endpoint"),
        );

        base::params! {
            $(#[doc = $about])+
            pub struct $name {
                /// The model folder at the port of this name (`model`), the model that `model` names at a service (`endpoint`), or, of
                /// attackers and judges, the built-in world (`world`).
                from: $crate::attacks::part::params::$origin = $crate::attacks::part::params::$origin::$from;
                /// `endpoint`: the model's name there. It is in the key, the address is not.
                model: Option<String> = None, if $served;
                /// `endpoint`: further fields of every request, a JSON object as text: `'{"reasoning_effort": "low"}'`.
                extra_body: Option<String> = None, if $served;
                /// `model` and `endpoint`: 0 takes the most likely token.
                temperature: f64 = $temperature, in $crate::shared::bounds::TEMPERATURE, if base::setup::Acts::only(
                    concat!("where a model is `", $block, "` that is sent it: not with `", $block, ".server = \"openai-reasoning\"`, nor where `", $block,
                        ".omit` names it"),
                    |s| $crate::attacks::part::params::is_warm(s, $block),
                );
                /// `model` and `endpoint`: tokens of a reply, reasoning included.
                max_tokens: usize = $most, in $crate::shared::bounds::TOKENS
                    $(, if $crate::attacks::part::params::part!(@speaks $block $($told)+))?;
                $( $(#[doc = $told])+
                template: Option<std::path::PathBuf> = None,
                    if $crate::attacks::part::params::part!(@speaks $block $($told)+); )?
            }
        }

        impl $name {
            pub fn part(&self) -> $crate::attacks::part::params::Part {
                let own = self;
                $crate::attacks::part::params::Part {
                    block: $block,
                    from: self.from.origin(),
                    model: self.model.clone(),
                    extra_body: self.extra_body.clone(),
                    temperature: self.temperature,
                    max_tokens: self.max_tokens,
                    template: $crate::attacks::part::params::part!(@template own $($($told)+)?),
                }
            }
        }
    };
}
pub(crate) use part;
