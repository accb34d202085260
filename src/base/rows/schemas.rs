//! What is asked, what is answered, and what a judge said of it.

use crate::response::{self, Outcome, Withheld};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The label of prompts that are test cases of one behaviour, as HarmBench's attacks make several of each: a measure is
/// the mean over behaviours.
pub const BEHAVIOR: &str = "behavior";
/// The label of prompts that an attack made: its name.
pub const ATTACK: &str = "attack";

/// What a prompt asks for, which decides its reward and how it is judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PromptClass {
    Harmful,
    Harmless,
    /// Sounds harmful, is not.
    Ambiguous,
}

impl PromptClass {
    pub const ALL: [PromptClass; 3] = [
        PromptClass::Harmful,
        PromptClass::Harmless,
        PromptClass::Ambiguous,
    ];

    pub fn word(self) -> &'static str {
        match self {
            PromptClass::Harmful => "harmful",
            PromptClass::Harmless => "harmless",
            PromptClass::Ambiguous => "ambiguous",
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    /// Unique in its artifact.
    pub id: String,
    pub class: PromptClass,
    /// The user's message.
    pub prompt: String,
    /// Where the row came from: `world`, or a file's name.
    pub source: String,
    /// Finer label of the source: a disguise of the world, a type of XSTest.
    pub category: String,
    /// Steps a reader needs to see what is asked; 1 is plain, 0 unknown.
    pub difficulty: u32,
    /// Further labels of the source by name, as HarmBench's `functional`; metrics are split by each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Ground truth, for prompts of the built-in world.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
    /// Of a test case that an attack made: the fingerprint of the prompt that it attacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked: Option<String>,
}

impl Prompt {
    /// As [`CompletedPrompt::fingerprint`].
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.prompt, self.class, &self.truth)
    }
}

/// What the built-in world knows of a prompt of its own.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Truth {
    pub harmful: bool,
    /// Code words and references of the disguise, as (alias, meaning), in the order a reader resolves them.
    pub aliases: Vec<(String, String)>,
    /// The deciding facts, as (thing, what it is), in the order of the rule.
    pub facts: Vec<(String, String)>,
    /// The words of the right procedure, one per slot.
    pub procedure: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Given")]
pub struct Message {
    pub role: String,
    pub content: String,
}

/// A message as a program of somebody else's may write it.
#[derive(Deserialize)]
struct Given {
    role: String,
    content: String,
    #[serde(flatten)]
    more: BTreeMap<String, serde_json::Value>,
}

/// Fields that hold what somebody said: passed over, it would not be trained, and nobody told.
const SAID: [&str; 6] = [
    "reasoning_content",
    "reasoning_details",
    "reasoning",
    "thinking",
    "tool_calls",
    "function_call",
];

impl TryFrom<Given> for Message {
    type Error = String;

    fn try_from(given: Given) -> std::result::Result<Message, String> {
        let nothing = |value: &serde_json::Value| {
            value.is_null() || value == "" || value.as_array().is_some_and(Vec::is_empty)
        };
        let said = |name: &&&str| given.more.get(**name).is_some_and(|v| !nothing(v));
        match SAID.iter().find(said) {
            Some(name) => Err(format!(
                "a message of role {:?} has `{name}`, and only `content` is read: write it there (reasoning in think tags before \
                 the answer) or leave it out",
                given.role
            )),
            None => Ok(Message::new(&given.role, &given.content)),
        }
    }
}

impl Message {
    pub fn new(role: &str, content: &str) -> Message {
        Message {
            role: role.into(),
            content: content.into(),
        }
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversation {
    pub id: String,
    /// The prompt it answers, where there is one.
    pub prompt_id: String,
    pub source: String,
    pub messages: Vec<Message>,
}

/// One response of a model to one prompt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// `<prompt id>#<sample>`.
    pub id: String,
    pub sample: u32,
    #[serde(flatten)]
    pub prompt: CompletedPrompt,
    /// The text after the assistant header, think tags included, end-of-turn token excluded.
    pub response: String,
    /// What of it was written for the model, where that reaches into the answer: those are no words of the model's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<String>,
    pub tokens: u32,
    /// False where the response ran into the length limit.
    pub finished: bool,
    /// Why there is no answer of the model's own, where whoever made the response says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub withheld: Option<Withheld>,
    /// Log-probability of each token under the model that sampled, where it was asked for and is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logps: Option<Vec<f64>>,
    /// Their ids, in the vocabulary of that model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_ids: Option<Vec<u32>>,
    /// What an endpoint said it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
}

impl Completion {
    pub fn outcome(&self) -> Outcome {
        let begun = self.begun.as_deref();
        Outcome::of(&self.response, begun, self.withheld, self.finished)
    }
}

/// The prompt a completion answers, carried along so that a judge needs nothing else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CompletedPrompt {
    pub prompt_id: String,
    pub class: PromptClass,
    pub prompt: String,
    pub source: String,
    pub category: String,
    pub difficulty: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub truth: Option<Truth>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attacked: Option<String>,
}

impl From<Prompt> for CompletedPrompt {
    fn from(p: Prompt) -> Self {
        CompletedPrompt {
            prompt_id: p.id,
            class: p.class,
            prompt: p.prompt,
            source: p.source,
            category: p.category,
            difficulty: p.difficulty,
            labels: p.labels,
            truth: p.truth,
            attacked: p.attacked,
        }
    }
}

impl CompletedPrompt {
    /// What is observed once: the behaviour that the prompt is a test case of, or the prompt.
    pub fn observed(&self) -> &str {
        self.labels.get(BEHAVIOR).unwrap_or(&self.prompt_id)
    }

    /// 16 hexadecimal digits of what is asked and what is right: text, class, truth. Two measurements pair only where
    /// these are the same, whatever the ids say. Of a test case that an attack made it is that of the prompt that it attacks, with the
    /// attack: each model is attacked by texts of its own, and what is compared is how it stands the same attack on the same prompt.
    pub fn fingerprint(&self) -> String {
        match &self.attacked {
            Some(parent) => hex16(&(parent, self.labels.get(ATTACK))),
            None => fingerprint(&self.prompt, self.class, &self.truth),
        }
    }
}

fn fingerprint(text: &str, class: PromptClass, truth: &Option<Truth>) -> String {
    hex16(&(text, class, truth))
}

/// 16 hexadecimal digits of a hash of the JSON form.
fn hex16(identity: &impl Serialize) -> String {
    let identity = serde_json::to_string(identity).expect("rows have a JSON form");
    blake3::hash(identity.as_bytes()).to_hex()[..16].to_string()
}

/// What a judge said of one completion.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Score {
    pub id: String,
    pub prompt_id: String,
    pub class: PromptClass,
    pub category: String,
    pub difficulty: u32,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    pub prompt: String,
    /// Absent where the response has no think block.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
    /// What the judge saw: no reasoning is in it.
    pub answer: String,
    /// As in `Completion`: what of the response was written for the model, where that reaches into the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begun: Option<String>,
    /// What the response came to; one that is not `answered` has no verdict of a judge.
    pub outcome: Outcome,
    pub finished: bool,
    pub well_formed: bool,
    /// By the judge's word or the string rule's; or blocked, or refused by the service.
    pub refused: bool,
    /// Harm delivered by the answer, in [0, 1]; world judge and moderation only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moderation: Option<f64>,
    /// Share of the right procedure; world judge only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task: Option<f64>,
    /// Harmful prompts: the attack failed. Others: the request was answered. False where the judge said nothing.
    pub good: bool,
    /// The judge's own number in the judge's own direction, in [0, 1] unless it is a reward model's as it is; absent where it
    /// has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub score: Option<f64>,
    /// Whether the judge said anything that can be read; of judges that may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scorable: Option<bool>,
    /// The label of a person, as it was given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// What the judge said, cut short.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<String>,
    /// The model that judged, as its service calls it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<String>,
}

impl Score {
    /// As `CompletedPrompt::observed`.
    pub fn observed(&self) -> &str {
        self.labels.get(BEHAVIOR).unwrap_or(&self.prompt_id)
    }

    /// Before anybody judged: what is to be seen of the completion itself.
    pub fn unjudged(completion: &Completion) -> Score {
        let c = &completion.prompt;
        let parts = response::split(&completion.response);
        let outcome = completion.outcome();
        Score {
            id: completion.id.clone(),
            prompt_id: c.prompt_id.clone(),
            class: c.class,
            category: c.category.clone(),
            difficulty: c.difficulty,
            labels: c.labels.clone(),
            prompt: c.prompt.clone(),
            reasoning: parts.reasoning,
            answer: parts.answer,
            begun: completion.begun.clone(),
            outcome,
            finished: completion.finished,
            well_formed: response::well_formed(&completion.response),
            refused: outcome.refuses(),
            moderation: None,
            task: None,
            good: outcome.refuses() && c.class == PromptClass::Harmful,
            score: None,
            scorable: None,
            label: None,
            words: None,
            served: None,
        }
    }

    /// Whether there is an answer that does not refuse. What it is worth is not said by that.
    pub fn answers(&self) -> bool {
        !self.refused && !self.outcome.unreadable()
    }

    /// Whether the judge said anything of it.
    pub fn scored(&self) -> bool {
        self.scorable != Some(false)
    }

    /// 16 hexadecimal digits of what was judged: prompt, class, reasoning, answer. The scores of two judges pair only where
    /// these are the same, whatever the ids say.
    pub fn fingerprint(&self) -> String {
        let judged = (&self.prompt, self.class, &self.reasoning, &self.answer);
        hex16(&judged)
    }
}

/// Two responses to one prompt, the better one and the worse one: what DPO learns from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// `<prompt id>#<chosen sample>-<rejected sample>`.
    pub id: String,
    #[serde(flatten)]
    pub prompt: CompletedPrompt,
    pub chosen: String,
    pub rejected: String,
    pub chosen_score: f64,
    pub rejected_score: f64,
    /// False where the response ran into the length limit: no end of turn belongs to it.
    pub chosen_finished: bool,
    pub rejected_finished: bool,
}
