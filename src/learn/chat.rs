//! Conversations to ids: the prompt a model answers, and training examples whose ids and mask are born together.
//!
//! Ids are those of the whole rendered text, as transformers makes them. The ids of a prompt are then a prefix of the
//! ids of the prompt with its answer, except where the answer begins with white space that joins the header's newline
//! into one token; that token is the assistant's. What was sampled is never encoded again.

use crate::template::Dialogue;
use crate::tokenizer::{Encoded, Tokenizer};
use crate::turns::{self, Head, Unlike};
use anyhow::{Context, Result, anyhow, bail};
use base::response::OPEN;
use serde::Serialize;
use serde_json::Value;
use std::ops::Range;

/// Token ids and which of them are trained: the assistant's text and the token that ends its turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    pub ids: Vec<u32>,
    pub mask: Vec<bool>,
}

impl Example {
    /// These ids with only the last trained run kept: the last turn of a conversation.
    pub fn last_turn(mut self) -> Example {
        let end = self.mask.iter().rposition(|&m| m).map_or(0, |i| i + 1);
        let start = self.mask[..end]
            .iter()
            .rposition(|&m| !m)
            .map_or(0, |i| i + 1);
        self.mask[..start].fill(false);
        self
    }

    /// Tokens that are trained.
    pub fn trained(&self) -> usize {
        self.mask.iter().filter(|&&m| m).count()
    }

    /// One token a line: its mark (`+` trained, `.` not), id and text.
    pub fn view(&self, tokenizer: &Tokenizer) -> Result<String> {
        let mut out = String::new();
        for (&id, &trained) in self.ids.iter().zip(&self.mask) {
            let mark = if trained { '+' } else { '.' };
            let text = tokenizer.decode(&[id], false)?;
            out += &format!("{mark} {id:>6} {text:?}\n");
        }
        Ok(out)
    }
}

/// A conversation as what is trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Training {
    /// One, or one a turn of the assistant.
    pub examples: Vec<Example>,
    /// Where the template's rendering of the whole is not what generation makes of it: how they differ. Then every turn is an
    /// example of its own: the ids that a model is asked, those of the response as it stands, and the end of the turn.
    pub as_sampled: Option<String>,
}

/// A conversation as the template renders it, every assistant turn trained, end-of-turn token included; or turn by turn, as
/// it would be sampled, where the template leaves out text of an assistant or begins a turn otherwise than its generation
/// prompt does. Fails where the template does not show which text is the assistant's, leaves out what is asked, or has
/// opened a response in another way than it begins.
pub fn render_turns<M: Serialize>(tokenizer: &Tokenizer, messages: &[M]) -> Result<Training> {
    let messages = values(messages)?;
    let dialogue = Dialogue {
        messages: &messages,
        tools: None,
        add_generation_prompt: false,
    };
    let training = match whole(tokenizer, dialogue) {
        Ok(example) => Training {
            examples: vec![example],
            as_sampled: None,
        },
        Err(error) => match error.downcast_ref::<Unlike>() {
            Some(unlike) => Training {
                examples: by_turns(tokenizer, dialogue)?,
                as_sampled: Some(unlike.to_string()),
            },
            None => return Err(error),
        },
    };
    if training.examples.iter().all(|e| e.trained() == 0) {
        bail!("the conversation has nothing to train on: no text of an assistant in it");
    }
    Ok(training)
}

/// The one example of a conversation. Fails, besides as `render_turns`, where each turn would be one of its own.
pub fn render_training<M: Serialize>(tokenizer: &Tokenizer, messages: &[M]) -> Result<Example> {
    let mut training = render_turns(tokenizer, messages)?;
    match training.examples.pop() {
        Some(example) if training.examples.is_empty() => Ok(example),
        _ => bail!(training.as_sampled.unwrap_or_default()),
    }
}

fn whole(tokenizer: &Tokenizer, dialogue: Dialogue) -> Result<Example> {
    let template = tokenizer.template()?;
    let rendered = template.render(dialogue)?;
    turns::all_asked(dialogue.messages, &rendered.text)?;
    let heads = turns::heads(template, dialogue);
    let (spans, derived) = match rendered.assistant {
        Some(spans) => (spans, false),
        None => (
            derived(tokenizer, dialogue, heads.as_ref(), &rendered.text)?,
            true,
        ),
    };
    // A template that marks its turns need not render what comes before each of them.
    let heads = heads.unwrap_or_default();
    if !derived {
        for ((i, message), head) in turns::assistants(dialogue.messages).zip(&heads) {
            let content = message["content"].as_str().unwrap_or("");
            if turns::continued(&head.opened, content).is_none() {
                bail!("message {}: {}", i + 1, turns::unbegun(&head.opened));
            }
        }
    }
    let each = derived.then_some(spans.as_slice());
    turns::all_answered(dialogue.messages, &heads, each, &rendered.text)?;
    let example = example(tokenizer, &rendered.text, &spans)?;
    if derived {
        for ((i, _), head) in turns::assistants(dialogue.messages).zip(&heads) {
            if !example.ids.starts_with(&tokenizer.encode(&head.text)?) {
                bail!(Unlike(format!(
                    "message {}: its first token reaches back into the generation prompt",
                    i + 1
                )));
            }
        }
    }
    Ok(example)
}

fn by_turns(tokenizer: &Tokenizer, dialogue: Dialogue) -> Result<Vec<Example>> {
    let template = tokenizer.template()?;
    let heads = turns::heads(template, dialogue)?;
    let stops = tokenizer.stop_texts();
    let mut examples = vec![];
    for ((i, _), head) in turns::assistants(dialogue.messages).zip(&heads) {
        let written = turns::sampled(template, &stops, dialogue, i, head)?;
        let text = head.text.clone() + &written;
        let span = head.text.len()..text.len();
        let mut turn = example(tokenizer, &text, std::slice::from_ref(&span))?;
        let asked = tokenizer.encode(&head.text)?;
        if !turn.ids.starts_with(&asked) {
            // No model is asked half of a token: what it writes begins with one of its own.
            let written = tokenizer.encode(&written)?;
            turn.mask = [vec![false; asked.len()], vec![true; written.len()]].concat();
            turn.ids = [asked, written].concat();
        }
        examples.push(turn);
    }
    Ok(examples)
}

/// What a model continues.
#[derive(Clone, Debug, PartialEq)]
pub struct Prompt {
    pub text: String,
    /// The end of the text that belongs to the response: what the template opens, and what the recipe makes it begin with.
    pub begun: String,
}

/// The conversation, the header of the assistant's turn and what it is made to begin with (`<think>\n`, say). A think block
/// that the template opens and the prefill too is opened once.
pub fn prompt<M: Serialize>(
    tokenizer: &Tokenizer,
    messages: &[M],
    prefill: Option<&str>,
) -> Result<Prompt> {
    let messages = values(messages)?;
    let dialogue = Dialogue {
        messages: &messages,
        tools: None,
        add_generation_prompt: true,
    };
    let Head { text, opened } = turns::head(tokenizer.template()?, dialogue)?;
    turns::all_asked(&messages, &text)?;
    let prefill = prefill.unwrap_or("");
    let more = match !opened.is_empty() && prefill.contains(OPEN) {
        false => prefill,
        true => turns::continued(&opened, prefill).with_context(|| {
            format!(
                "the chat template begins the response with {opened:?} already, and `prefill` opens another think block: leave it out"
            )
        })?,
    };
    Ok(Prompt {
        text: text + more,
        begun: opened + more,
    })
}

/// The ids a model continues.
pub fn render_prompt<M: Serialize>(
    tokenizer: &Tokenizer,
    messages: &[M],
    prefill: Option<&str>,
) -> Result<Vec<u32>> {
    tokenizer.encode(&prompt_text(tokenizer, messages, prefill)?)
}

/// The prompt that a model continues as text, special tokens written out: for a server that continues text.
pub fn prompt_text<M: Serialize>(
    tokenizer: &Tokenizer,
    messages: &[M],
    prefill: Option<&str>,
) -> Result<String> {
    Ok(prompt(tokenizer, messages, prefill)?.text)
}

/// The ids of a conversation as it stands, with no header for another turn: what a reward model reads. Fails where the
/// template leaves out text of a message.
pub fn render_whole<M: Serialize>(tokenizer: &Tokenizer, messages: &[M]) -> Result<Vec<u32>> {
    let messages = values(messages)?;
    let dialogue = Dialogue {
        messages: &messages,
        tools: None,
        add_generation_prompt: false,
    };
    let text = tokenizer.template()?.render(dialogue)?.text;
    turns::all_asked(&messages, &text)?;
    turns::all_answered(&messages, &[], None, &text)?;
    tokenizer.encode(&text)
}

/// Ids and mask of any dialogue as its template renders it; the mask may be empty.
pub fn render(tokenizer: &Tokenizer, dialogue: Dialogue) -> Result<Example> {
    let template = tokenizer.template()?;
    let rendered = template.render(dialogue)?;
    let spans = match rendered.assistant {
        Some(spans) => spans,
        None => {
            let heads = turns::heads(template, dialogue);
            derived(tokenizer, dialogue, heads.as_ref(), &rendered.text)?
        }
    };
    example(tokenizer, &rendered.text, &spans)
}

fn derived(
    tokenizer: &Tokenizer,
    dialogue: Dialogue,
    heads: Result<&Vec<Head>, &anyhow::Error>,
    full: &str,
) -> Result<Vec<Range<usize>>> {
    let shown = "the chat template has no generation tags and its assistant turns cannot be shown";
    let heads = heads.map_err(|error| anyhow!("{shown}: {error:#}"))?;
    let (template, stops) = (tokenizer.template()?, tokenizer.stop_texts());
    turns::derived_spans(template, &stops, dialogue, heads, full).context(shown)
}

fn example(tokenizer: &Tokenizer, text: &str, spans: &[Range<usize>]) -> Result<Example> {
    let encoded = tokenizer.encode_offsets(text)?;
    let mask = mask(&encoded, spans);
    Ok(Example {
        ids: encoded.ids,
        mask,
    })
}

/// A span covers the tokens from the first to the last that share a byte with it.
fn mask(encoded: &Encoded, spans: &[Range<usize>]) -> Vec<bool> {
    let mut mask = vec![false; encoded.ids.len()];
    for span in spans {
        let shares = |o: &Range<usize>| o.start < span.end && o.end > span.start;
        let first = encoded.offsets.iter().position(shares);
        let last = encoded.offsets.iter().rposition(shares);
        if let (Some(first), Some(last)) = (first, last) {
            mask[first..=last].fill(true);
        }
    }
    mask
}

fn values<M: Serialize>(messages: &[M]) -> Result<Vec<Value>> {
    let values = messages.iter().map(serde_json::to_value);
    Ok(values.collect::<Result<_, _>>()?)
}
