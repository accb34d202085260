//! What many tests begin with: a small world as the text of a recipe, a prompt, a response to it. A test says what it wants otherwise.

use pipe::base::rows::{CompletedPrompt, Completion, Prompt, PromptClass};

/// A model of the built-in world that knows nothing, as `model`, and prompts, as `prompts`: so many a class for RL and for evaluation.
pub fn world(rl: usize, eval: usize) -> String {
    format!(
        r#"
[node.model]
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 32
[node.prompts]
kind = "world-prompts"
sft = 4
rl = {rl}
validation = 3
eval = {eval}
"#
    )
}

pub fn prompt(id: &str, class: PromptClass, text: &str) -> Prompt {
    Prompt {
        id: id.into(),
        class,
        prompt: text.into(),
        source: "test".into(),
        category: String::new(),
        difficulty: 0,
        labels: Default::default(),
        truth: None,
        attacked: None,
    }
}

/// A sample of the prompt that came to an end by itself, one token long.
pub fn completion(
    prompt: impl Into<CompletedPrompt>,
    sample: u32,
    response: impl Into<String>,
) -> Completion {
    let prompt = prompt.into();
    Completion {
        id: format!("{}#{sample}", prompt.prompt_id),
        sample,
        prompt,
        response: response.into(),
        begun: None,
        tokens: 1,
        finished: true,
        withheld: None,
        logps: None,
        token_ids: None,
        served: None,
    }
}
