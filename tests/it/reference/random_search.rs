//! Random search by the log-probability of the first token, against transformers: every prompt encoded anew, every score, what is
//! accepted and what comes next.

use super::{Parity, ids};
use crate::study::{attack, reference};
use pipe::learn::attack::frame::Frame;
use pipe::learn::attack::score::{Options, Scorer, Wanted};
use pipe::learn::attack::search;
use pipe::learn::checkpoint;
use pipe::learn::tokenizer::Tokenizer;
use serde_json::Value;

#[test]
fn random_search_takes_the_same_way() {
    let Some(set) = attack(&["random_search.json"]) else {
        return;
    };
    let json = std::fs::read_to_string(set.join("random_search.json")).expect("golden JSON");
    let golden: Value = serde_json::from_str(&json).expect("golden JSON is valid");
    let text = |name: &str| golden[name].as_str().expect("a text");
    let folder = format!("models/{}", text("model"));
    let Some(models) = reference(&[&folder]) else {
        return;
    };
    let weights = checkpoint::load(&models.join(&folder)).expect("a checkpoint");
    let tokenizer = Tokenizer::load(&models.join(folder)).expect("a tokenizer");
    let bot = text("bot");
    let prefill = (!bot.is_empty()).then_some(bot);
    let content = format!("{} ", text("behavior"));
    let frame = Frame::new(&tokenizer, &content, prefill).expect("a chat is divided");
    let (target, largest) = (ids(&golden["target_ids"]), golden["largest"].as_u64());
    let largest = largest.expect("a number") as usize;
    let mut scorer = Scorer::new(&weights).expect("a language model");
    let mut scores = Parity::new("random search: log-probability (absolute)", 1e-4);
    let mut exact = Parity::new("random search: prompts and choices", f64::MIN_POSITIVE);

    let steps = golden["steps"].as_array().expect("steps");
    let (mut tokens, mut best) = (ids(&steps[0]["tokens"]), f64::NEG_INFINITY);
    let mut best_tokens = tokens.clone();
    for (i, step) in steps.iter().enumerate() {
        let case = format!("step {i}");
        exact.same(&tokens, &ids(&step["tokens"]), &case);
        let suffix = tokenizer.decode(&tokens, false).expect("a text");
        exact.same(
            Some(&*frame.message(&suffix)),
            step["content"].as_str(),
            &case,
        );
        let prompt = frame.sent(&suffix).expect("it renders");
        exact.same(&prompt, &ids(&step["prompt_ids"]), &case);
        let options = Options {
            tokens: 64,
            stop: &|| false,
        };
        let found = scorer.score(
            std::slice::from_ref(&prompt),
            Wanted::First(&target),
            options,
        );
        let score = found.expect("a score")[0].best();
        let number = |name: &str| step[name].as_f64().expect("a number");
        scores.check((score - number("logprob")).abs(), &case);
        let accepted = score > best;
        exact.same(Some(accepted), step["accepted"].as_bool(), &case);
        if accepted {
            (best, best_tokens) = (score, tokens.clone());
            scorer.rebase(&prompt).expect("a base");
        }
        scores.check((best - number("best")).abs(), &case);
        let (at, new) = (step["next"]["at"].as_u64(), ids(&step["next"]["new"]));
        exact.same(search::change(largest, best.exp()), new.len(), &case);
        tokens = search::laid_over(&best_tokens, at.expect("a place") as usize, &new);
    }
    let change = golden["change"].as_array().expect("a table");
    for pair in change {
        let probability = pair[0].as_f64().expect("a probability");
        let ours = search::change(largest, probability) as u64;
        exact.same(Some(ours), pair[1].as_u64(), &format!("p = {probability}"));
    }
    scores.report();
    exact.report();
}
