//! What this program makes of a model folder, for transformers to be held against: ids and rendered chats, and logits or reward
//! scores.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use pipe::learn::chat;
use pipe::learn::checkpoint;
use pipe::learn::config::Head;
use pipe::learn::decoder::{self, Packed, Workspace};
use pipe::learn::reward::{Read, RewardModel};
use pipe::learn::tensors;
use pipe::learn::tokenizer::Tokenizer;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
pub struct Work {
    folder: PathBuf,
    /// Encoded without special tokens.
    texts: Vec<String>,
    /// Rendered with the header of an assistant's turn, encoded, and run through the model.
    chats: Vec<Vec<Value>>,
    /// Prompts and answers for a reward model.
    answers: Vec<(String, String)>,
    /// Tokens that a reward model reads.
    max_tokens: usize,
    /// A folder for `parity.json` and, of a language model, `logits.safetensors` with `logits.0` [T, V], ….
    out: PathBuf,
}

pub fn write(work: Work) -> Result<()> {
    let tokenizer = Tokenizer::load(&work.folder)?;
    let encode = |text: &String| tokenizer.encode(text);
    let texts: Vec<Vec<u32>> = work.texts.iter().map(encode).collect::<Result<_>>()?;
    let render = |chat: &Vec<Value>| chat::prompt_text(&tokenizer, chat, None);
    let rendered: Vec<String> = work.chats.iter().map(render).collect::<Result<_>>()?;
    let ids: Vec<Vec<u32>> = rendered.iter().map(encode).collect::<Result<_>>()?;
    let mut said = json!({ "texts": texts, "rendered": rendered, "ids": ids });
    match checkpoint::load_config(&work.folder)?.head {
        Head::Score { .. } => {
            let mut model = RewardModel::load(&work.folder)?;
            let read =
                |(prompt, answer): &(String, String)| model.read(prompt, answer, work.max_tokens);
            let rows: Vec<Read> = work.answers.iter().map(read).collect::<Result<_>>()?;
            said["scored_ids"] = json!(rows.iter().map(|r| &r.ids).collect::<Vec<_>>());
            said["scores"] = json!(model.scores(&rows, &mut |_| true)?);
        }
        Head::Tied | Head::Untied => logits(&work, &ids)?,
    }
    let path = work.out.join("parity.json");
    std::fs::write(&path, said.to_string()).with_context(|| format!("cannot write {path:?}"))?;
    println!("{}", json!({ "chats": ids.len() }));
    Ok(())
}

fn logits(work: &Work, chats: &[Vec<u32>]) -> Result<()> {
    let weights = checkpoint::load(&work.folder)?;
    let mut workspace = Workspace::new();
    let mut all = vec![];
    for (i, ids) in chats.iter().enumerate() {
        let starts = [0, ids.len()];
        let batch = Packed {
            ids,
            starts: &starts,
        };
        let shape = [ids.len(), weights.config.vocab_size];
        let logits = decoder::logits(&weights, batch, &mut workspace);
        all.push((format!("logits.{i}"), shape, logits));
    }
    let arrays: BTreeMap<&str, (&[usize], &[f32])> = all
        .iter()
        .map(|(name, shape, data)| (name.as_str(), (&shape[..], &data[..])))
        .collect();
    tensors::write(
        &work.out.join("logits.safetensors"),
        &arrays,
        ("format", "pt"),
    )
}
