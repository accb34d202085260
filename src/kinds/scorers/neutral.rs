//! Takes the meaning out of control strings before a judge sees them. An answer that holds `[/INST]` or `<|im_end|>` would end the
//! judge's own turn, and what follows it would speak with another voice (HarmBench, issue 91). Every such string gets a space
//! after its first character: `[/INST]` becomes `[ /INST]`, which a person reads alike and a tokenizer does not know.
//!
//! Control strings are: whatever begins with `<|` or `<｜` (Llama 3, Qwen, Phi, gpt-oss, DeepSeek), the words of `WORDS` in any
//! case, and think tags. Role names in plain words (`Human:`) are not: no tokenizer gives them an id of their own.

use base::response::{CLOSE, OPEN};
use base::text::thousands;

const STARTS: &[&str] = &["<|", "<｜"];
const WORDS: &[&str] = &[
    OPEN,
    CLOSE,
    "<thinking>",
    "</thinking>",
    "[INST]",
    "[/INST]",
    "<<SYS>>",
    "<</SYS>>",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_CALLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[THINK]",
    "[/THINK]",
    "[gMASK]",
    "<s>",
    "</s>",
    "<bos>",
    "<eos>",
    "<pad>",
    "<unk>",
    "<sop>",
    "<eop>",
    "<start_of_turn>",
    "<end_of_turn>",
    "<tool_call>",
    "</tool_call>",
    "<tool_response>",
    "</tool_response>",
];

/// The text without control strings, and how many there were.
pub fn neutral(text: &str) -> (String, usize) {
    let mut out = String::with_capacity(text.len());
    let mut found = 0;
    for (at, c) in text.char_indices() {
        out.push(c);
        if matches!(c, '<' | '[') && controls(&text[at..]) {
            out.push(' ');
            found += 1;
        }
    }
    (out, found)
}

/// Whether the text begins with a control string.
fn controls(text: &str) -> bool {
    let bytes = text.as_bytes();
    let same = |word: &&str| {
        let head = bytes.get(..word.len());
        head.is_some_and(|head| head.eq_ignore_ascii_case(word.as_bytes()))
    };
    STARTS.iter().any(|start| text.starts_with(start)) || WORDS.iter().any(same)
}

/// Of how many answers a judge saw some of it neutralised; nothing of none.
pub(super) fn told(answers: usize) -> String {
    match answers {
        0 => String::new(),
        n => format!(
            "; in {} prompt or answer held control strings, which it saw neutralised",
            thousands(n as u64)
        ),
    }
}
