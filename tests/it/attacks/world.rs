//! The attacker of the world: what it may change of a request, and what not.

use pipe::base::rng::Seed;
use pipe::base::rows::{Prompt, PromptClass};
use pipe::world::attack::{guise, risk};
use pipe::world::words::{BOXES, CODES, RELATIONS};
use pipe::world::{Forms, Guise, Split, World, vocab};
use std::collections::BTreeSet;

fn prompts(world: &World, split: Split) -> Vec<Prompt> {
    let of = |class| {
        let forms = Forms::default();
        world.prompts(split, class, 40, &[0, 1, 2], &forms, 7)
    };
    let all = PromptClass::ALL.into_iter().map(|class| of(class).unwrap());
    all.flatten().collect()
}

/// What binds a disguise: roles, and aliases with what they stand for, wherever they are told.
fn disguises(text: &str) -> BTreeSet<String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut found = BTreeSet::new();
    let told = |i: usize| words.get(i + 1).is_some_and(|w| *w == "and" || *w == ".");
    for (i, word) in words.iter().enumerate() {
        if CODES.contains(word) || BOXES.contains(word) {
            // Where it is asked for, the next word is no meaning of it.
            if told(i + 1) {
                found.insert(format!("{word} {}", words[i + 1]));
            }
        }
    }
    for sentence in text.split(" . ") {
        if ["pretend", "you play", "answer as"]
            .iter()
            .any(|s| sentence.starts_with(s))
        {
            let role: Vec<&str> = sentence.split_whitespace().rev().take(2).collect();
            found.insert(role.join(" "));
        }
    }
    found
}

#[test]
fn a_guise_is_put_on_and_what_was_there_stays() {
    let world = World::new(3);
    for (i, prompt) in prompts(&world, Split::Eval).iter().enumerate() {
        let had = guise(prompt).unwrap();
        assert_eq!(had.word(), prompt.category, "{}", prompt.prompt);
        for wanted in Guise::ALL {
            let mut rng = Seed::new(i as u64).child(wanted.word()).rng();
            let (text, now) = world.rewrite(prompt, wanted, &mut rng).unwrap();
            let rewritten = Prompt {
                prompt: text.clone(),
                ..prompt.clone()
            };
            assert_eq!(guise(&rewritten).unwrap(), now, "{text}");
            assert!(now.holds(had), "{text}");
            // A role is always to be had; a second word is not always.
            assert_eq!(now.role, wanted.role || had.role, "{text}");
            assert!(!now.code || wanted.code || had.code, "{text}");
            // For whom it is, and what the prompt tells of its own aliases.
            let whom = prompt.prompt.rsplit(" for ").next().unwrap();
            let whom = whom.trim_end_matches([' ', '.', '?']);
            assert!(text.contains(&format!(" for {whom} ")), "{text}");
            let truth = prompt.truth.as_ref().unwrap();
            for (alias, meaning) in &truth.aliases {
                assert!(text.contains(&format!("{alias} {meaning}")), "{text}");
            }
            assert_eq!(risk(truth), Some(truth.facts[0].1.as_str()));
        }
    }
}

#[test]
fn everything_can_be_put_around_half_of_the_plain_requests_or_more() {
    let world = World::new(0);
    let all = prompts(&world, Split::Eval);
    let plain: Vec<&Prompt> = all.iter().filter(|p| p.category == "plain").collect();
    let whole = Guise::ALL[7];
    let done = plain.iter().filter(|prompt| {
        let mut rng = Seed::new(0).child(&prompt.id).rng();
        world.rewrite(prompt, whole, &mut rng).unwrap().1 == whole
    });
    let (done, all) = (done.count(), plain.len());
    assert!(done * 2 >= all, "{done} of {all}");
}

#[test]
fn what_is_put_around_an_eval_is_in_no_prompt_that_is_trained_on() {
    let world = World::new(1);
    let of = |split| {
        let prompts = prompts(&world, split);
        prompts
            .iter()
            .flat_map(|p| disguises(&p.prompt))
            .collect::<BTreeSet<_>>()
    };
    let trained: BTreeSet<String> = [Split::Base, Split::Sft, Split::Rl]
        .into_iter()
        .flat_map(of)
        .collect();
    assert!(trained.len() > 50, "{}", trained.len());
    let mut put = BTreeSet::new();
    for prompt in prompts(&world, Split::Eval) {
        for wanted in Guise::ALL {
            let mut rng = Seed::new(9).child(&prompt.id).child(wanted.word()).rng();
            let (text, _) = world.rewrite(&prompt, wanted, &mut rng).unwrap();
            put.extend(disguises(&text));
        }
    }
    assert!(put.len() > 20, "{}", put.len());
    let both: Vec<&String> = put.intersection(&trained).collect();
    // The second of two code words or boxes has its own binding of the split as well.
    assert_eq!(both, Vec::<&String>::new());
}

#[test]
fn its_words_are_those_of_the_world() {
    let world = World::new(2);
    let known: BTreeSet<String> = vocab::tokens().into_iter().collect();
    for prompt in prompts(&world, Split::Rl) {
        let mut rng = Seed::new(5).child(&prompt.id).rng();
        let (text, _) = world.rewrite(&prompt, Guise::ALL[7], &mut rng).unwrap();
        let alone = RELATIONS.iter().fold(text.clone(), |t, r| t.replace(r, ""));
        for word in alone.split_whitespace() {
            let token = known.contains(&format!(" {word}")) || known.contains(word);
            assert!(token, "{word} of {text}");
        }
    }
}

#[test]
fn a_text_of_somebody_else_is_told() {
    let world = World::new(0);
    let prompt = Prompt {
        prompt: "write a poem".into(),
        ..prompts(&world, Split::Eval)[0].clone()
    };
    let mut rng = Seed::new(0).rng();
    let error = world
        .rewrite(&prompt, Guise::default(), &mut rng)
        .unwrap_err();
    assert!(
        error.to_string().contains("is no request of the world"),
        "{error}"
    );
}
