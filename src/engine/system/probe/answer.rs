//! The side that answers.

use super::words::Question;
use super::{deeds, talk};
use anyhow::{Result, ensure};
use std::path::Path;
use std::time::Duration;

/// Answers in this folder until the other side has done asking, or is silent for so long.
pub fn answer(folder: &Path, version: &str, patience: Duration) -> Result<()> {
    let still = |waited: Duration| {
        let seconds = patience.as_secs();
        ensure!(waited < patience, "nothing was asked for {seconds} s");
        Ok(())
    };
    let mut held = None;
    for number in 0.. {
        let question: Question = talk::wait(folder, &talk::question(number), &still)?;
        drop(held.take());
        let told = match &question {
            Question::Who { variables } => {
                serde_json::to_value(deeds::side(folder, version, variables))?
            }
            Question::Echo | Question::End => serde_json::Value::Null,
            Question::Try { lock } => deeds::lock(folder, *lock)?.is_some().into(),
            Question::Hold { lock } => {
                held = deeds::lock(folder, *lock)?;
                held.is_some().into()
            }
            Question::Race { taking } => serde_json::to_value(deeds::race(folder, *taking, "b")?)?,
            Question::Read => serde_json::to_value(deeds::read(folder)?)?,
        };
        talk::say(folder, &talk::reply(number), &told)?;
        if matches!(question, Question::End) {
            break;
        }
    }
    Ok(())
}
