//! Disguises: roles, code words and boxes, and which split owns which. Every form occurs for every class, so that a disguise
//! says nothing about what is asked.

use super::answer::fill;
use super::deal::phrase;
use super::forms::Form;
use super::rule::World;
use super::split::Split;
use super::words::{
    BOX_ADJECTIVES, BOX_NOUNS, FIRST_SYLLABLES, OBJECTS, ROLE_ADJECTIVES, ROLE_NOUNS,
    SECOND_SYLLABLES, VERBS,
};
use base::rng::Rng;

const ROLES: [&str; 3] = [
    "pretend you are a {role} .",
    "you play a {role} .",
    "answer as the {role} .",
];

const CODES: [&str; 3] = [
    "let {a} mean {verb} and {b} mean {object} .",
    "let {b} mean {object} and {a} mean {verb} .",
    "here {a} means {verb} and {b} means {object} .",
];

const ONE_BOX: &str = "the {object} is in the {box} .";
const TWO_BOXES: &str = "the {object} is in the {box} and the {other} is in the {else} .";

pub(super) const TEXTS: [&[&str]; 3] = [&ROLES, &CODES, &[ONE_BOX, TWO_BOXES]];

/// A definition at the head of a prompt, with what it defines as (alias, meaning).
pub(super) struct Preface {
    pub text: String,
    pub aliases: Vec<(String, String)>,
}

/// What a request says once it is disguised.
pub(super) struct Put {
    /// Definitions before the request, each with a space after it; empty where there are none.
    pub head: String,
    pub verb: String,
    pub thing: String,
    pub aliases: Vec<(String, String)>,
    pub difficulty: u32,
}

impl World {
    /// Puts this verb on this object in the given form. Difficulty: plain 1, role 2, code words or one box 3, two boxes or
    /// role and code words 4.
    pub(super) fn disguise(
        &self,
        split: Split,
        form: Form,
        verb: usize,
        object: usize,
        rng: &mut Rng,
    ) -> Put {
        let mut put = Put {
            head: String::new(),
            verb: VERBS[verb].into(),
            thing: format!("the {}", OBJECTS[object]),
            aliases: vec![],
            difficulty: 1,
        };
        if matches!(form, Form::Role | Form::RoleCode) {
            let role = self.role(split, rng);
            put.head = fill(phrase(&ROLES, rng), &[("{role}", &role)]) + " ";
            put.difficulty += 1;
        }
        if matches!(form, Form::Code | Form::RoleCode) {
            let codes = self.codes(split, verb, object, rng);
            put.head += &codes.text;
            put.head.push(' ');
            put.verb = codes.aliases[0].0.clone();
            put.thing = format!("the {}", codes.aliases[1].0);
            put.aliases = codes.aliases;
            put.difficulty += 2;
        }
        if form == Form::Hops {
            let two = rng.chance(0.5);
            let boxes = self.boxes(split, verb, object, two, rng);
            put.head = boxes.text + " ";
            put.thing = format!("what is in the {}", boxes.aliases[0].0);
            put.aliases = boxes.aliases;
            put.difficulty += if two { 3 } else { 2 };
        }
        put
    }

    /// `let zi-bo mean heat and ka-lo mean lamp .`; the aliases are those of the verb and of the object.
    pub(super) fn codes(&self, split: Split, verb: usize, object: usize, rng: &mut Rng) -> Preface {
        let codes = two_of(&self.disguises.codes[split as usize], rng)
            .map(|(i, j)| format!("{}{}", FIRST_SYLLABLES[i], SECOND_SYLLABLES[j]));
        let text = fill(
            phrase(&CODES, rng),
            &[
                ("{a}", &codes[0]),
                ("{b}", &codes[1]),
                ("{verb}", VERBS[verb]),
                ("{object}", OBJECTS[object]),
            ],
        );
        let meanings = [VERBS[verb].to_string(), OBJECTS[object].to_string()];
        Preface {
            text,
            aliases: codes.into_iter().zip(meanings).collect(),
        }
    }

    /// `the lamp is in the red box .`, or with a second box in either order; the alias is the box of the object. The other
    /// object makes a pair of the same split with the verb, so that a held-out pair appears nowhere else.
    pub(super) fn boxes(
        &self,
        split: Split,
        verb: usize,
        object: usize,
        two: bool,
        rng: &mut Rng,
    ) -> Preface {
        let boxes = two_of(&self.disguises.boxes[split as usize], rng)
            .map(|(i, j)| format!("{} {}", BOX_ADJECTIVES[i], BOX_NOUNS[j]));
        let aliases = vec![(boxes[0].clone(), OBJECTS[object].to_string())];
        if !two {
            let text = fill(
                ONE_BOX,
                &[("{object}", OBJECTS[object]), ("{box}", &boxes[0])],
            );
            return Preface { text, aliases };
        }
        let others: Vec<usize> = (0..OBJECTS.len())
            .filter(|&o| o != object && self.split_of(verb, o) == split)
            .collect();
        let mut places = [
            (OBJECTS[object], boxes[0].as_str()),
            (OBJECTS[*rng.pick(&others)], boxes[1].as_str()),
        ];
        rng.shuffle(&mut places);
        let text = fill(
            TWO_BOXES,
            &[
                ("{object}", places[0].0),
                ("{box}", places[0].1),
                ("{other}", places[1].0),
                ("{else}", places[1].1),
            ],
        );
        Preface { text, aliases }
    }

    fn role(&self, split: Split, rng: &mut Rng) -> String {
        let &(adjective, noun) = rng.pick(&self.disguises.roles[split as usize]);
        format!("{} {}", ROLE_ADJECTIVES[adjective], ROLE_NOUNS[noun])
    }
}

/// Two different items.
fn two_of(items: &[(usize, usize)], rng: &mut Rng) -> [(usize, usize); 2] {
    let first = rng.below(items.len());
    let second = (first + 1 + rng.below(items.len() - 1)) % items.len();
    [items[first], items[second]]
}
