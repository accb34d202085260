//! What artifacts are.

/// What an artifact is. A port accepts exactly one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// `rows.jsonl`: prompts with id, class, text.
    Prompts,
    /// `rows.jsonl`: conversations (messages) to train on.
    Conversations,
    /// `rows.jsonl`: chosen and rejected answers.
    Pairs,
    /// `rows.jsonl`: prompts with the responses a model gave.
    Completions,
    /// `rows.jsonl`: per-sample scores behind metrics.
    Scores,
    /// A Hugging Face model folder.
    Model,
    /// A Hugging Face folder of a sequence classifier with one label.
    RewardModel,
    /// A PEFT adapter folder.
    Adapter,
    /// `metrics.json`: named values with n and interval.
    Metrics,
}

impl Type {
    pub const ALL: [Type; 9] = [
        Type::Prompts,
        Type::Conversations,
        Type::Pairs,
        Type::Completions,
        Type::Scores,
        Type::Model,
        Type::RewardModel,
        Type::Adapter,
        Type::Metrics,
    ];

    pub fn word(self) -> &'static str {
        match self {
            Type::Prompts => "prompts",
            Type::Conversations => "conversations",
            Type::Pairs => "pairs",
            Type::Completions => "completions",
            Type::Scores => "scores",
            Type::Model => "model",
            Type::RewardModel => "reward-model",
            Type::Adapter => "adapter",
            Type::Metrics => "metrics",
        }
    }
}
