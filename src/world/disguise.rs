//! Disguises: requests in roles, with code words, about what is in boxes. Every form occurs for every class, so that a disguise says
//! nothing about what is asked. Code words and boxes come in twos: which of both is asked for decides.

use super::alias::Stands;
use super::answer::{alias_sentence, fill};
use super::deal::phrase;
use super::forms::Form;
use super::rule::World;
use super::split::Split;
use super::words::{OBJECTS, VERBS};
use base::rng::Rng;

pub(super) const ROLES: [&str; 3] = [
    "pretend you are a {role} .",
    "you play a {role} .",
    "answer as the {role} .",
];

const HEADS: [&str; 2] = ["here {aliases} .", "suppose {aliases} ."];

/// Between two that are listed.
pub(super) const AND: &str = " and ";
/// Before the box of an object that is asked for.
pub(super) const INSIDE: &str = "what is in";

pub(super) const TEXTS: [&[&str]; 3] = [&ROLES, &HEADS, &["{} and", "{} what is in the a"]];

/// `here zibo carve and sura load .`, in random order.
pub(super) fn preface(aliases: &[(String, String)], rng: &mut Rng) -> String {
    let mut sentences: Vec<String> = aliases
        .iter()
        .map(|(alias, meaning)| alias_sentence(alias, meaning))
        .collect();
    rng.shuffle(&mut sentences);
    fill(phrase(&HEADS, rng), &[("{aliases}", &sentences.join(AND))])
}

/// What a request says once it is disguised.
pub(super) struct Put {
    /// Definitions before the request, each with a space after it; empty where there are none.
    pub head: String,
    pub verb: String,
    pub thing: String,
    /// Of what is asked for.
    pub aliases: Vec<(String, String)>,
}

impl World {
    /// Puts this pair in the given form; none where the split has no second verb or object to go with it. Both make a pair of the same
    /// split with the other word, so that a held-out pair appears nowhere else. With the second verb the rule would decide the
    /// other way, with the second object the help would be another.
    pub(super) fn disguise(
        &self,
        split: Split,
        form: Form,
        (verb, object): (usize, usize),
        guild: usize,
        rng: &mut Rng,
    ) -> Option<Put> {
        let mut put = Put {
            head: String::new(),
            verb: VERBS[verb].into(),
            thing: format!("the {}", OBJECTS[object]),
            aliases: vec![],
        };
        if matches!(form, Form::Role | Form::RoleCode) {
            put.head = self.role(split, rng) + " ";
        }
        if matches!(form, Form::Code | Form::RoleCode) {
            self.code(split, (verb, object), guild, &mut put, rng)?;
        }
        if form == Form::Box {
            self.in_box(split, (verb, object), &mut put, rng)?;
        }
        Some(put)
    }

    /// `you play a brave wizard .`
    pub(super) fn role(&self, split: Split, rng: &mut Rng) -> String {
        let role = self.disguises.role(split, rng);
        fill(phrase(&ROLES, rng), &[("{role}", &role)])
    }

    /// Puts a code word for the verb.
    pub(super) fn code(
        &self,
        split: Split,
        (verb, object): (usize, usize),
        guild: usize,
        put: &mut Put,
        rng: &mut Rng,
    ) -> Option<()> {
        // As scary as the verb that is asked for: beside it, a verb of the other sort would tell what it does.
        let others = (0..VERBS.len())
            .filter(|&v| self.split_of(v, object) == split && self.opposed(v, verb, guild));
        put.verb = self.bound(split, Stands::Code, (verb, others.collect()), put, rng)?;
        Some(())
    }

    /// Asks for what is in a box, for the object.
    pub(super) fn in_box(
        &self,
        split: Split,
        (verb, object): (usize, usize),
        put: &mut Put,
        rng: &mut Rng,
    ) -> Option<()> {
        let category = |object: usize| self.category_of[object];
        let others = (0..OBJECTS.len())
            .filter(|&o| self.split_of(verb, o) == split && category(o) != category(object));
        let alias = self.bound(split, Stands::Box, (object, others.collect()), put, rng)?;
        put.thing = format!("{INSIDE} {alias}");
        Some(())
    }

    /// The alias of a word, which the head now tells beside that of one of the others.
    fn bound(
        &self,
        split: Split,
        stands: Stands,
        (word, others): (usize, Vec<usize>),
        put: &mut Put,
        rng: &mut Rng,
    ) -> Option<String> {
        if others.is_empty() {
            return None;
        }
        let two = [word, *rng.pick(&others)];
        let aliases = (self.disguises).bind(split, stands, &two, stands.aliases().len(), rng)?;
        put.head += &preface(&aliases, rng);
        put.head.push(' ');
        put.aliases = aliases[..1].to_vec();
        Some(aliases[0].0.clone())
    }
}
