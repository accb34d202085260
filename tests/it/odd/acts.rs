//! A parameter acts, or `check` refuses it: over the table of kinds, and run for real. A case is a node and, under the line, its
//! parameters with other values, one a line (behind `;;` what else is set on both sides): each has to change what the node delivers.

use crate::study::Study;
use pipe::engine::params::ParamSpec;
use pipe::kinds::REGISTRY;
use std::collections::{BTreeMap, BTreeSet};

const BASE: &str = r#"
[node.model]
kind = "world-model"
hidden_size = 16
layers = 2
heads = 2
intermediate_size = 32
[node.prompts]
kind = "world-prompts"
sft = 6
rl = 8
validation = 3
eval = 4
[node.corpus]
kind = "world-corpus"
n = 24
[node.answers]
kind = "generate"
in = { model = "model", prompts = "prompts.rl" }
samples = 4
max_new_tokens = 80
[node.pairs]
kind = "preference-pairs"
in = { completions = "answers" }
reward = { harmful = "1", harmless = "1", ambiguous = "1" }
[node.known]
kind = "world-prompts"
sft = 40
rl = 40
"#;

/// By kind.
const CASES: &[(&str, &str)] = &[
    (
        "world-model",
        r#"
kind = "world-model"
hidden_size = 16
layers = 1
heads = 2
intermediate_size = 32
---
hidden_size = 32
layers = 2
heads = 4
intermediate_size = 48
seed = 1
"#,
    ),
    (
        "world-corpus",
        r#"
kind = "world-corpus"
n = 60
---
world = 1
depth = 1
n = 61
seed = 1
requests = 0.3
facts = 0.6
rules = 0.6
references = 0.6
analyses = 0.6
plain = 0.9
blatant = 0.9
refuse_plain = 0.1
refuse_disguised = 0.9
"#,
    ),
    (
        "world-prompts",
        r#"
kind = "world-prompts"
sft = 4
rl = 6
validation = 3
eval = 4
---
world = 1
depth = 1
seed = 1
plain = 0.9
sft = 5
rl = 7
validation = 4
eval = 5
"#,
    ),
    (
        "teacher",
        r#"
kind = "teacher"
in = { prompts = "prompts.sft" }
samples = 8
---
samples = 7
reasoning = false
drop_duplicates = false ;; style = "terse" ;; samples = 40
seed = 1
error_rate = 0.9
empty_rate = 0.9
style = "terse"
"#,
    ),
    (
        "mix",
        r#"
kind = "mix"
in = { prompts = "prompts.rl" }
total = 6
---
lambda = 0.2
total = 5
ambiguous_share = 0.9
seed = 1
nested = true
"#,
    ),
    (
        "mix-sources",
        r#"
kind = "mix-sources"
in = { prompts = "prompts.rl" }
counts = { "*/harmful" = 3, "*/harmless" = 3 }
---
counts = { "*/harmful" = 2, "*/harmless" = 3 }
seed = 1
nested = true
"#,
    ),
    (
        "filter",
        r#"
kind = "filter"
in = { prompts = "prompts.rl", model = "model" }
---
min_chars = 70
max_chars = 70
min_tokens = 20
max_tokens = 20
counted = "text" ;; max_tokens = 18
matching = ["the"]
not_matching = ["the"]
classes = ["harmful"]
categories = ["plain"]
sources = ["world-rl"]
shuffle = 1
skip = 1
take = 3
"#,
    ),
    (
        "dedup",
        r#"
kind = "dedup"
in = { prompts = "known.rl" }
threshold = 0.5
---
by = "exact" ;; threshold = 0.8
within = "class"
threshold = 0.9
grams = "words"
ngram = 12
"#,
    ),
    (
        "decontaminate",
        r#"
kind = "decontaminate"
in = { prompts = "known.rl", against = "known.sft" }
containment = 0.5
---
by = "exact" ;; containment = 0.9
threshold = 0.4
containment = 1.0
grams = "words"
ngram = 12
"#,
    ),
    (
        "generate",
        r#"
kind = "generate"
in = { model = "model", prompts = "prompts.eval" }
samples = 2
max_new_tokens = 6
---
samples = 3
temperature = 0.5
top_p = 0.5
top_k = 2
max_new_tokens = 5
prefill = "use the"
logprobs = true
seed = 1
system = "you may say no"
"#,
    ),
    (
        "probe",
        r#"
kind = "probe"
in = { model = "model", prompts = "prompts.eval" }
reward = { harmful = "format + safety", harmless = "format + task", ambiguous = "format + task" }
samples = 2
max_new_tokens = 6
---
samples = 3
prompts_per_class = 2
reward = { harmful = "1 + format", harmless = "format", ambiguous = "format" }
safety_snap = 1.0
temperature = 0.5
max_new_tokens = 40
seed = 1
"#,
    ),
    (
        "preference-pairs",
        r#"
kind = "preference-pairs"
in = { completions = "answers" }
reward = { harmful = "safety", harmless = "1 + task", ambiguous = "1 + task" }
---
reward = { harmful = "0 - safety", harmless = "1", ambiguous = "1" }
safety_snap = 1.0
truncated = "drop" ;; reward = { harmful = "safety - 2 * refusal", harmless = "1 - refusal", ambiguous = "1 - refusal" }
"#,
    ),
    (
        "sft",
        r#"
kind = "sft"
in = { model = "model", conversations = "corpus" }
epochs = 1.0
batch = 8
lr = 1e-3
---
lr = 2e-3
epochs = 2.0
batch = 6
schedule = "cosine"
warmup = 0.5
weight_decay = 0.5
beta2 = 0.5
grad_clip = 0.1
max_tokens = 20
seed = 1
lora_rank = 2
lora_alpha = 64.0 ;; lora_rank = 2
lora_targets = ["q"] ;; lora_rank = 2
lora_rank_stabilised = true ;; lora_rank = 2
"#,
    ),
    (
        "grpo",
        r#"
kind = "grpo"
in = { model = "model", prompts = "prompts.rl", validation = "prompts.validation" }
reward = { harmful = "safety", harmless = "1 + task", ambiguous = "1 + task" }
steps = 4
batch = 8
group = 4
updates = 2
lr = 0.05
temperature = 1.0
max_new_tokens = 60
kl_coefficient = 0.1
zero_variance = "drop"
---
reward = { harmful = "2 - safety", harmless = "1", ambiguous = "2" }
safety_snap = 1.0
steps = 3
batch = 7
group = 3
temperature = 1.5
max_new_tokens = 50
truncated = "score" ;; zero_variance = "keep"
zero_variance = "keep"
updates = 1
lr = 0.02
schedule = "cosine"
warmup_steps = 2
weight_decay = 0.5
grad_clip = 0.01
ratio = "sequence"
clip_low = 0.01
clip_high = 0.01
dual_clip = 1.01
delta = 1.01
kl_coefficient = 1.0
kl = "k1"
kl_in = "reward"
kl_times_ratio = true
kl_clamp = 1e-6
log_ratio_clamp = 1e-6
entropy_coefficient = 0.1
aggregation = "sequence-mean"
advantage = "none"
advantage_epsilon = 1.0
validation_samples = 3
seed = 1
lora_rank = 2
lora_alpha = 64.0 ;; lora_rank = 2
lora_targets = ["q"] ;; lora_rank = 2
lora_rank_stabilised = true ;; lora_rank = 2
"#,
    ),
    (
        "dpo",
        r#"
kind = "dpo"
in = { model = "model", pairs = "pairs" }
epochs = 2.0
batch = 2
lr = 1e-2
---
loss = "ipo"
beta = 0.5
label_smoothing = 0.2 ;; loss = "cdpo"
nll_coefficient = 1.0
nll_mean = "token"
lr = 1e-3
epochs = 3.0
batch = 1
schedule = "cosine"
warmup = 0.5
weight_decay = 0.9
grad_clip = 0.01
max_tokens = 24
seed = 1
lora_rank = 2
lora_alpha = 64.0 ;; lora_rank = 2
lora_targets = ["q"] ;; lora_rank = 2
lora_rank_stabilised = true ;; lora_rank = 2
"#,
    ),
    (
        "rerouting",
        r#"
kind = "rerouting"
in = { model = "model", harmful = "answers", retain = "answers" }
layers = [1]
steps = 3
batch = 2
lr = 1e-2
---
layers = [2]
alpha = 1.0
divisor = "tokens"
steps = 4
batch = 3
lr = 1e-3
schedule = "cosine"
weight_decay = 0.9
grad_clip = 0.001
max_tokens = 16
drop_later_blocks = false
rank = 2
lora_alpha = 64.0
initial_sd = 0.1
seed = 1
"#,
    ),
];

/// What a case cannot show in so small a run, and where it is shown.
const ELSEWHERE: &[(&str, &str)] = &[];
