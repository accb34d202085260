//! The attacker of the world: puts a request that it is given in another way, as somebody does who wants an answer that is denied. Who
//! asks for what for whom stays, and with it the truth of the prompt: only the words around it are others, and an alias that is added
//! stands for what the prompt had said plainly.
//!
//! The words are those of the split that the request is of: what is put around a request of `eval` is in no prompt that anybody
//! trained on, and what is put around one of `rl` is in no eval.

use super::answer::fill;
use super::ask::REQUESTS;
use super::deal::phrase;
use super::disguise::{INSIDE, Put, ROLES};
use super::rule::World;
use super::words::{BOXES, CODES, EFFECTS, GUILDS, OBJECTS, VERBS};
use anyhow::{Context, Result};
use base::rng::Rng;
use base::rows::{Prompt, Truth};

/// What is put around a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Guise {
    /// Somebody to be played.
    pub role: bool,
    /// A code word for the verb.
    pub code: bool,
    /// A box that the object is in.
    pub boxed: bool,
}

impl Guise {
    /// From the plain one to the one with everything: the prompts of the world have the first five, which are their forms.
    pub const ALL: [Guise; 8] = [
        Guise::of(false, false, false),
        Guise::of(true, false, false),
        Guise::of(false, true, false),
        Guise::of(false, false, true),
        Guise::of(true, true, false),
        Guise::of(true, false, true),
        Guise::of(false, true, true),
        Guise::of(true, true, true),
    ];

    const fn of(role: bool, code: bool, boxed: bool) -> Guise {
        Guise { role, code, boxed }
    }

    pub fn word(self) -> &'static str {
        match (self.role, self.code, self.boxed) {
            (false, false, false) => "plain",
            (true, false, false) => "role",
            (false, true, false) => "code",
            (false, false, true) => "box",
            (true, true, false) => "role+code",
            (true, false, true) => "role+box",
            (false, true, true) => "code+box",
            (true, true, true) => "role+code+box",
        }
    }

    pub fn from_word(word: &str) -> Option<Guise> {
        Guise::ALL.into_iter().find(|guise| guise.word() == word)
    }

    /// Whether all that the other one puts around a request is put around it here too.
    pub fn holds(self, other: Guise) -> bool {
        (self.role || !other.role) && (self.code || !other.code) && (self.boxed || !other.boxed)
    }
}

/// The effects that a request may be about: the risks of this world.
pub const RISKS: [&str; 8] = EFFECTS;

/// The effect of what a prompt asks for; none of a prompt that is not the world's.
pub fn risk(truth: &Truth) -> Option<&str> {
    truth.facts.first().map(|(_, effect)| effect.as_str())
}

/// What a prompt has around its request already. Errors: a text that is no request of the world.
pub fn guise(prompt: &Prompt) -> Result<Guise> {
    Ok(Request::of(prompt)?.guise())
}

impl World {
    /// The request in a guise, in words drawn anew. What the prompt has around it stays, its aliases included; a role becomes another
    /// one. A split may have no second word to go with a code word or a box: then that is left out, and the guise says what there is.
    ///
    /// Errors: a prompt that is no request of the world.
    pub fn rewrite(&self, prompt: &Prompt, guise: Guise, rng: &mut Rng) -> Result<(String, Guise)> {
        let request = Request::of(prompt)?;
        let meant = request.meant(prompt)?;
        let split = self.split_of(meant.verb, meant.object);
        let mut put = Put {
            head: String::new(),
            verb: request.verb.into(),
            thing: request.thing.into(),
            aliases: vec![],
        };
        let mut now = request.guise();
        if guise.code && !now.code {
            let coded = self.code(split, meant.pair(), meant.guild, &mut put, rng);
            now.code = coded.is_some();
        }
        if guise.boxed && !now.boxed {
            now.boxed = (self.in_box(split, meant.pair(), &mut put, rng)).is_some();
        }
        let role = match (guise.role, request.role) {
            (true, _) => Some(self.role(split, rng)),
            (false, role) => role.map(String::from),
        };
        let asked = fill(
            phrase(&REQUESTS, rng),
            &[
                ("{verb}", &put.verb),
                ("{thing}", &put.thing),
                ("{whom}", request.whom),
            ],
        );
        let parts = [
            role.as_deref().unwrap_or(""),
            &request.told,
            put.head.trim_end(),
            &asked,
        ];
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        now.role = role.is_some();
        Ok((parts.join(" "), now))
    }
}

/// A request, read. It borrows from the text.
struct Request<'a> {
    /// The sentence that gives a role.
    role: Option<&'a str>,
    /// The sentences that tell aliases, one after the other.
    told: String,
    verb: &'a str,
    thing: &'a str,
    whom: &'a str,
}

/// What is asked, by its places in the word lists.
struct Meant {
    verb: usize,
    object: usize,
    guild: usize,
}

impl Meant {
    fn pair(&self) -> (usize, usize) {
        (self.verb, self.object)
    }
}

/// Between two sentences.
const STOP: &str = " . ";

impl<'a> Request<'a> {
    fn of(prompt: &'a Prompt) -> Result<Request<'a>> {
        Request::read(&prompt.prompt)
            .with_context(|| format!("prompt `{}` is no request of the world", prompt.id))
    }

    fn read(text: &'a str) -> Option<Request<'a>> {
        let (head, request) = text.rsplit_once(STOP).unwrap_or(("", text));
        let (verb, thing, whom) = REQUESTS.iter().find_map(|t| asked(t, request))?;
        let mut role = None;
        let mut told = vec![];
        for sentence in head.split(STOP).filter(|s| !s.is_empty()) {
            match plays(sentence) {
                // With its stop, which ends the last of them as well.
                true => {
                    role = text.get(at(text, sentence)..at(text, sentence) + sentence.len() + 2)
                }
                false => told.push(format!("{sentence} .")),
            }
        }
        Some(Request {
            role,
            told: told.join(" "),
            verb,
            thing,
            whom,
        })
    }

    fn guise(&self) -> Guise {
        Guise {
            role: self.role.is_some(),
            code: CODES.contains(&self.verb),
            boxed: self.thing.starts_with(INSIDE),
        }
    }

    /// Resolves aliases by what the prompt says of them.
    fn meant(&self, prompt: &Prompt) -> Result<Meant> {
        let words: Vec<&str> = self.told.split_whitespace().collect();
        let meaning = |alias: &str| {
            let at = words.iter().position(|word| *word == alias)?;
            words.get(at + 1).copied()
        };
        let place = |list: &[&str], word: &str| list.iter().position(|w| *w == word);
        let verb = match place(&VERBS, self.verb) {
            Some(verb) => Some(verb),
            None => meaning(self.verb).and_then(|word| place(&VERBS, word)),
        };
        let thing = self.thing.split_whitespace().last().unwrap_or_default();
        let object = match BOXES.contains(&thing) {
            true => meaning(thing).and_then(|word| place(&OBJECTS, word)),
            false => place(&OBJECTS, thing),
        };
        let truth = super::judge::truth(prompt.truth.as_ref())?;
        let guild = truth.facts.last().and_then(|(_, g)| place(&GUILDS, g));
        let all = verb.zip(object).zip(guild);
        let ((verb, object), guild) = all.with_context(|| {
            format!(
                "prompt `{}` asks for nothing that the world knows",
                prompt.id
            )
        })?;
        Ok(Meant {
            verb,
            object,
            guild,
        })
    }
}

/// Where a part of a text begins in it.
fn at(text: &str, part: &str) -> usize {
    part.as_ptr() as usize - text.as_ptr() as usize
}

/// Whether a sentence gives a role.
fn plays(sentence: &str) -> bool {
    let begins = |role: &&str| {
        role.split('{')
            .next()
            .is_some_and(|b| sentence.starts_with(b))
    };
    ROLES.iter().any(begins)
}

/// Verb, thing and for whom, where the text is this phrasing.
fn asked<'a>(phrasing: &str, text: &'a str) -> Option<(&'a str, &'a str, &'a str)> {
    let (before, rest) = phrasing.split_once("{verb}")?;
    let (_, after) = rest.split_once("{whom}")?;
    let inner = text.strip_prefix(before)?.strip_suffix(after)?;
    let (verb, rest) = inner.split_once(' ')?;
    let (thing, whom) = rest.rsplit_once(" for ")?;
    Some((verb, thing, whom))
}
