//! A parameter acts, or `check` refuses it: over the table of kinds, and run for real. A case is a node and, under the line, its
//! parameters with other values, one a line (behind `;;` what else is set on both sides): each has to change what the node delivers.

use crate::study::{Ran, Study};
use pipe::base::params::{Default, ParamSpec, Ty};
use pipe::base::value::{self, Value};
use pipe::kinds::REGISTRY;
use pipe::recipe::{self, Loaded, Overrides};
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
[node.lessons]
kind = "world-corpus"
n = 200
requests = 1.0
[node.taught]
kind = "sft"
in = { model = "model", conversations = "lessons" }
epochs = 12.0
batch = 8
lr = 2e-2
[node.answers]
kind = "generate"
in = { model = "taught", prompts = "prompts.rl" }
samples = 4
max_new_tokens = 80
[node.cut]
kind = "generate"
in = { model = "taught", prompts = "prompts.rl" }
samples = 4
max_new_tokens = 8
[node.pairs]
kind = "preference-pairs"
in = { completions = "answers" }
reward = { harmful = "refusal + safety", harmless = "task - refusal", ambiguous = "task - refusal" }
[node.inside]
kind = "states"
in = { model = "taught", prompts = "known.rl" }
[node.other-inside]
kind = "states"
in = { model = "model", prompts = "known.rl" }
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
initial_std = 0.1
common_std = 0.1
rope_theta = 50.0
seed = 1
"#,
    ),
    (
        "world-corpus",
        r#"
kind = "world-corpus"
n = 400
---
world = 1
depth = 1
n = 401
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
deeper = 3
---
world = 1
depth = 1
seed = 1
plain = 0.9
sft = 5
rl = 7
validation = 4
eval = 5
deeper = 4
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
style = "mixed"
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
matching = ["^.{70}"]
not_matching = ["^.{70}"]
classes = ["harmful"]
categories = ["plain"]
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
threshold = 0.4
containment = 1.0
grams = "words"
ngram = 12
"#,
    ),
    (
        "augment",
        r#"
kind = "augment"
in = { prompts = "prompts.eval" }
n = 4
---
n = 5
sigma = 0.9
scramble = false
capitals = false
noise = false ;; sigma = 0.9
seed = 1
"#,
    ),
    (
        "rainbow",
        r#"
kind = "rainbow"
in = { prompts = "prompts.sft", target = "taught" }
iterations = 60
target.max_tokens = 80
---
risks = ["scorch", "dent"]
styles = ["role"]
iterations = 12
archives = 2
similarity = 0.1 ;; smoothing = "method4"
rounds = 2
seed = 1
target.temperature = 1.0
target.max_tokens = 3
"#,
    ),
    (
        "pair",
        r#"
kind = "pair"
in = { prompts = "prompts.eval", target = "taught" }
streams = 2
steps = 2
target.max_tokens = 80
---
streams = 3
steps = 1
cutoff = 1
seed = 1
target.temperature = 1.0
target.max_tokens = 3
"#,
    ),
    (
        "pap",
        r#"
kind = "pap"
in = { prompts = "prompts.eval" }
---
top = 3
techniques = ["role+code+box"]
seed = 1
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
prefill_slot = "answer" ;; prefill = "use the"
prefill_from = "world"
attack = "prefill" ;; prefill = "use the"
logprobs = true
seed = 1
system = "then use the"
"#,
    ),
    (
        "probe",
        r#"
kind = "probe"
in = { model = "taught", prompts = "prompts.eval" }
reward = { harmful = "refusal + safety", harmless = "refusal + task", ambiguous = "refusal + task" }
samples = 2
max_new_tokens = 40
---
samples = 3
prompts_per_class = 2
reward = { harmful = "1 + format", harmless = "format", ambiguous = "format" }
safety_snap = 1.0
temperature = 0.5
max_new_tokens = 3
seed = 1
"#,
    ),
    (
        "gcg",
        r#"
kind = "gcg"
in = { model = "model", prompts = "prompts.eval" }
steps = 3
width = 8
---
search = "random"
steps = 2
width = 7
topk = 3
replace = 2
positions = "random"
init = " the the the"
length = 5
allow = "vocabulary" ;; topk = 2000
filter = "none" ;; topk = 2000
loss = "mellowmax"
keep = "last" ;; width = 1 ;; steps = 6
buffer = 3 ;; keep = "buffer"
target = "sorry"
slot = "reasoning"
prefill = "use the"
check = "refusal"
stop_loss = 100.0
patience = 1 ;; width = 1 ;; steps = 6
cases = 2
seed = 1
"#,
    ),
    (
        "autodan",
        r#"
kind = "autodan"
in = { model = "model", prompts = "prompts.validation" }
population = 6
steps = 3
points = 1
check = "none"
---
population = 5
steps = 2
elites = 0.5
crossover = 0.0
points = 2
mutation = 1.0
sentences_every = 2 ;; mutation = 0.0
between = " . "
target = "sorry"
slot = "answer"
prefill = "use the"
check = "refusal" ;; in = { model = "taught", prompts = "prompts.validation" }
stop_loss = 100.0
patience = 1 ;; crossover = 0.0 ;; mutation = 0.0
cases = 2
seed = 1
"#,
    ),
    (
        "states",
        r#"
kind = "states"
in = { model = "model", prompts = "prompts.eval" }
---
layers = [1]
position = "mean"
prefill = "use the"
"#,
    ),
    (
        "separation",
        r#"
kind = "separation"
in = { states = "inside" }
positive = ["harmful", "plain"]
negative = ["ambiguous", "code", "box"]
folds = 2
shuffles = 2
neighbours = 4
seeds = 2
---
label = "category"
positive = ["harmful", "harmless"]
negative = ["harmless"]
layer = 1
against_layer = 1 ;; in = { states = "inside", against = "other-inside" }
folds = 3
probe_c = 0.1
scale = false
shuffles = 3
neighbours = 5
min_dist = 0.5
metric = "cosine"
seeds = 3
svm_c = 0.01
balanced = true ;; positive = ["harmful", "harmless"]
seed = 1
"#,
    ),
    (
        "preference-pairs",
        r#"
kind = "preference-pairs"
in = { completions = "answers" }
reward = { harmful = "refusal + safety", harmless = "task - refusal", ambiguous = "task - refusal" }
---
reward = { harmful = "safety - refusal", harmless = "refusal - task", ambiguous = "task" }
safety_snap = 1.0
truncated = "drop" ;; in = { completions = "cut" }
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
warmup_ratio = 0.5
weight_decay = 0.5
beta2 = 0.5
grad_clip = 0.1
max_tokens = 36
seed = 1
lora.rank = 2
lora.alpha = 64.0 ;; lora.rank = 2
lora.targets = ["q_proj"] ;; lora.rank = 2
lora.rank_stabilised = true ;; lora.rank = 2
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
kl.coefficient = 0.1
zero_variance = "drop"
---
reward = { harmful = "2 - safety", harmless = "1", ambiguous = "2" }
safety_snap = 1.0
steps = 3
batch = 7
group = 3
temperature = 1.5
max_new_tokens = 50
truncated = "score" ;; seed = 5
zero_variance = "keep"
updates = 1
lr = 0.02
schedule = "cosine"
warmup_ratio = 0.5
weight_decay = 0.5
beta2 = 0.5
grad_clip = 0.01
ratio = "sequence"
clip.low = 0.01
clip.high = 0.01
clip.dual = 1.01
clip.delta = 1.01
kl.coefficient = 1.0
kl.estimator = "k1"
kl.applied_to = "reward"
kl.times_ratio = true
kl.clamp = 1e-6
log_ratio_clamp = 1e-6
entropy_coefficient = 0.1
aggregation = "sequence-mean"
advantage = "none"
advantage_epsilon = 1.0
validation_samples = 3 ;; in = { model = "taught", prompts = "prompts.rl", validation = "prompts.validation" }
seed = 1
lora.rank = 2
lora.alpha = 64.0 ;; lora.rank = 2
lora.targets = ["q_proj"] ;; lora.rank = 2
lora.rank_stabilised = true ;; lora.rank = 2
"#,
    ),
    (
        "dpo",
        r#"
kind = "dpo"
in = { model = "model", pairs = "pairs" }
epochs = 2.0
batch = 2
lr = 3e-3
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
warmup_ratio = 0.5
weight_decay = 0.9
beta2 = 0.5
grad_clip = 0.01
max_tokens = 36
seed = 1
lora.rank = 2
lora.alpha = 64.0 ;; lora.rank = 2
lora.targets = ["q_proj"] ;; lora.rank = 2
lora.rank_stabilised = true ;; lora.rank = 2
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
divisor = "tokens" ;; layers = [1, 2]
steps = 4
batch = 3
lr = 1e-3
schedule = "cosine"
warmup_ratio = 0.5
weight_decay = 0.9
beta2 = 0.5
grad_clip = 0.001
max_tokens = 34
drop_later_blocks = false
lora.rank = 2
lora.alpha = 64.0
lora.initial_sd = 0.1
seed = 1
"#,
    ),
];

/// What no case here shows: kind, parameter (`*`: all), and why.
const ELSEWHERE: &[(&str, &str, &str)] = &[
    (
        "world-knowledge",
        "*",
        "answers of a trained model: world.rs",
    ),
    ("local-model", "*", "a path: its content is the output"),
    ("local-adapter", "*", "a path: its content is the output"),
    (
        "local-reward-model",
        "*",
        "a path: its content is the output",
    ),
    ("dataset", "*", "columns and shards of files: data/"),
    ("prompts-file", "*", "columns of a file: prompts_file.rs"),
    (
        "completions-file",
        "*",
        "columns of a file: judges/agree.rs",
    ),
    ("import", "*", "layouts of other programs: import/"),
    (
        "exec",
        "*",
        "all of it is handed to the program: exec_kind/",
    ),
    ("evaluate", "*", "who judges, and what it is sent: judges/"),
    ("agreement", "*", "what is compared: judges/agree.rs"),
    ("lengths", "*", "what is counted: measures.rs"),
    ("autodan", "synonyms", "texts of a file: attacks/autodan.rs"),
    ("autodan", "targets", "texts of a file: attacks/gcg.rs"),
    (
        "autodan",
        "check_every",
        "of a trained model: attacks/autodan.rs",
    ),
    (
        "autodan",
        "check_tokens",
        "of a trained model: attacks/gcg.rs",
    ),
    ("gcg", "targets", "texts of a file: attacks/gcg.rs"),
    ("generate", "targets", "texts of a file: prefill.rs"),
    ("gcg", "check_every", "of a trained model: attacks/gcg.rs"),
    ("gcg", "check_tokens", "of a trained model: attacks/gcg.rs"),
    (
        "filter",
        "sources",
        "names that the rows have: prepare/picked.rs",
    ),
    (
        "filter",
        "labels",
        "names that the rows have: prepare/picked.rs",
    ),
    ("dedup", "by", "texts that are equal: prepare/alike.rs"),
    (
        "dedup",
        "recall",
        "what is found by chance: prepare/alike.rs",
    ),
    (
        "dedup",
        "permutations",
        "what is found by chance: prepare/alike.rs",
    ),
    ("dedup", "seed", "what is found by chance: prepare/alike.rs"),
    (
        "decontaminate",
        "by",
        "texts that are equal: prepare/overlaps.rs",
    ),
    ("teacher", "from", "who is asked: teacher.rs"),
    (
        "teacher",
        "drop_unfinished",
        "traces of a model: teacher.rs",
    ),
    ("teacher", "temperature", "sent to an endpoint: teacher.rs"),
    ("teacher", "top_p", "sent to an endpoint: teacher.rs"),
    (
        "teacher",
        "max_new_tokens",
        "sent to an endpoint: teacher.rs",
    ),
    ("grpo", "sampler", "rollouts of a server: served.rs"),
    (
        "grpo",
        "unscorable",
        "judges without a score: judges/nodes.rs",
    ),
    (
        "augment",
        "drop_other_letters",
        "letters that no prompt of the world has: attacks/augment.rs",
    ),
    (
        "pap",
        "world",
        "it is that of the prompts: attacks/world.rs",
    ),
    (
        "pair",
        "world",
        "it is that of the prompts: attacks/world.rs",
    ),
    (
        "pair",
        "keep_last",
        "what an attacker is kept: reference/text_attacks.rs",
    ),
    ("pair", "retries", "what cannot be read: attacks/pair.rs"),
    ("pair", "begin", "how a model begins: attacks/pair.rs"),
    (
        "rainbow",
        "world",
        "it is that of the prompts: attacks/world.rs",
    ),
    (
        "rainbow",
        "start",
        "what an archive begins with: attacks/rainbow.rs",
    ),
    (
        "rainbow",
        "smoothing",
        "of short texts without four words in a row in common: reference/text_attacks.rs",
    ),
    (
        "rainbow",
        "temperature",
        "which cell is tried: reference/text_attacks.rs",
    ),
    ("*", "mutator.from", "who is asked: attacks/"),
    ("*", "mutator.model", "sent to an endpoint: attacks/"),
    ("*", "mutator.extra_body", "sent to an endpoint: attacks/"),
    ("*", "mutator.temperature", "how a model writes: attacks/"),
    ("*", "mutator.max_tokens", "how a model writes: attacks/"),
    ("*", "mutator.template", "what a model is told: attacks/"),
    ("*", "target.from", "who is asked: attacks/"),
    ("*", "target.model", "sent to an endpoint: attacks/"),
    ("*", "target.extra_body", "sent to an endpoint: attacks/"),
    ("*", "judge.from", "who is asked: attacks/"),
    ("*", "judge.extra_body", "sent to an endpoint: attacks/"),
    ("*", "judge.temperature", "how a model writes: attacks/"),
    ("*", "attacker.from", "who is asked: attacks/"),
    ("*", "attacker.model", "sent to an endpoint: attacks/"),
    ("*", "attacker.extra_body", "sent to an endpoint: attacks/"),
    ("*", "attacker.temperature", "how a model writes: attacks/"),
    ("*", "attacker.max_tokens", "how a model writes: attacks/"),
    ("*", "attacker.template", "what a model is told: attacks/"),
    ("*", "endpoint.model", "sent to an endpoint: services/"),
    ("*", "endpoint.api", "how an endpoint is asked: services/"),
    ("*", "system", "see `generate`"),
    ("*", "endpoint.extra_body", "sent to an endpoint: services/"),
    (
        "*",
        "endpoint.rejected",
        "what an endpoint rejects: services/",
    ),
    ("*", "moderation.model", "sent to a service: judges/"),
    ("*", "judge.model", "sent to a service: judges/"),
    ("*", "judge.template", "sent to a service: judges/"),
    ("*", "judge.max_tokens", "sent to a service: judges/"),
    ("*", "score.model", "sent to a service: judges/"),
    ("*", "score.transform", "what a service sends: judges/"),
    (
        "*",
        "reward_model.squash",
        "numbers of a reward model: reward_model/",
    ),
    (
        "*",
        "reward_model.max_tokens",
        "what a reward model reads: reward_model/",
    ),
];

/// Parameters that can do nothing beside what else the node says; `*`: all of a block that have a condition.
const IDLE: &[(&str, &str)] = &[
    ("endpoint.*", GENERATE),
    ("attacker.*", PAP),
    ("target.*", PAIR),
    ("target.*", RAINBOW),
    ("mutator.*", RAINBOW),
    ("judge.*", RAINBOW),
    ("start", RAINBOW),
    ("target.temperature", REASONING),
    ("judge.*", PAIR),
    ("begin", PAIR),
    ("top", NAMED),
    ("world", PERSUADED),
    ("drop_other_letters", LOWER),
    ("save_every", SERVED),
    ("sample_rows", SERVED),
    ("sample_rows", SAMPLED),
    ("rollouts.*", GRPO),
    ("device", SERVED),
    ("device", TEACHER),
    ("device", PAP),
    ("device", EVALUATE),
    ("numerics", SERVED),
    ("numerics", TEACHER),
    ("numerics", PAP),
    ("numerics", EVALUATE),
    ("guard.sampler_gap", GRPO),
    ("guard.entropy", UNWATCHED),
    ("attack", GENERATE),
    ("prefill_slot", GENERATE),
    ("prefill", BEGUN),
    ("targets", GENERATE),
    ("top_p", GREEDY),
    ("top_k", GREEDY),
    ("system", TEACHER),
    ("temperature", TEACHER),
    ("max_new_tokens", TEACHER),
    ("drop_unfinished", TEACHER),
    ("error_rate", TEACHING_MODEL),
    ("empty_rate", TEACHING_MODEL),
    ("style", TEACHING_MODEL),
    ("reward_model.*", EVALUATE),
    ("moderation.*", EVALUATE),
    ("judge.*", EVALUATE),
    ("score.*", EVALUATE),
    ("score_threshold", EVALUATE),
    ("counted", FILTER),
    ("safety_snap", PROBE),
    ("threshold", DEDUP),
    ("recall", DEDUP),
    ("permutations", DEDUP),
    ("grams", DEDUP),
    ("ngram", DEDUP),
    ("containment", DECONTAMINATE),
    ("ambiguous_share", MIX),
    ("high", IMPORT),
    ("filter", IMPORT),
    ("label_column", PROMPTS_FILE),
    ("class_column", COMPLETIONS_FILE),
    ("refused", COMPLETIONS_FILE),
    ("answered", COMPLETIONS_FILE),
    ("steps", CONTROL),
    ("width", CONTROL),
    ("topk", CONTROL),
    ("replace", CONTROL),
    ("positions", CONTROL),
    ("init", CONTROL),
    ("loss", CONTROL),
    ("keep", CONTROL),
    ("buffer", CONTROL),
    ("check", CONTROL),
    ("check_every", CONTROL),
    ("check_tokens", CONTROL),
    ("stop_loss", CONTROL),
    ("patience", CONTROL),
    ("mutation", SEEDED),
    ("sentences_every", SEEDED),
    ("length", SUFFIXED),
    ("filter", SUFFIXED),
    ("kl.estimator", GRPO),
    ("kl.applied_to", GRPO),
    ("kl.times_ratio", GRPO),
    ("kl.clamp", GRPO),
    ("clip.low", GRPO),
    ("clip.high", GRPO),
    ("clip.dual", GRPO),
    ("clip.delta", GRPO),
    ("log_ratio_clamp", GRPO),
    ("ratio", GRPO),
    ("advantage_epsilon", GRPO),
    ("validation_samples", GRPO),
    ("nll_mean", DPO),
    ("refused_label", AGREEMENT),
    ("answered_label", AGREEMENT),
    ("plain", QUESTIONS),
    ("against_layer", SEPARATION),
    ("blatant", CORPUS),
    ("refuse_plain", CORPUS),
    ("refuse_disguised", CORPUS),
];

/// Of which a kind says more where they stand alone.
const INCOMPLETE: &[&str] = &[
    "attacker.key_header",
    "attacker.budget_dollars",
    "attacker.batch",
    "mutator.key_header",
    "mutator.budget_dollars",
    "mutator.batch",
    "target.key_header",
    "target.budget_dollars",
    "target.batch",
    "endpoint.key_header",
    "endpoint.budget_dollars",
    "judge.key_header",
    "judge.budget_dollars",
    "judge.batch",
    "moderation.key_header",
    "moderation.budget_dollars",
    "moderation.server",
    "moderation.omit",
    "score.key_header",
    "score.budget_dollars",
    "score.server",
    "score.omit",
];

const GENERATE: &str =
    "kind = \"generate\"\nin = { model = \"model\", prompts = \"prompts.eval\" }\n";
const PAP: &str = "kind = \"pap\"\nin = { prompts = \"prompts.eval\" }\n";
const PAIR: &str = "kind = \"pair\"\nin = { prompts = \"prompts.eval\", target = \"model\" }\n";
const RAINBOW: &str =
    "kind = \"rainbow\"\nin = { prompts = \"prompts.sft\", target = \"model\" }\n";
const REASONING: &str = "kind = \"pair\"\nin = { prompts = \"prompts.eval\" }\n\
     target.from = \"endpoint\"\ntarget.model = \"m\"\ntarget.url = \"http://h/v1\"\ntarget.server = \"openai-reasoning\"\n";
const NAMED: &str =
    "kind = \"pap\"\nin = { prompts = \"prompts.eval\" }\ntechniques = [\"role\"]\n";
const PERSUADED: &str = "kind = \"pap\"\nin = { prompts = \"prompts.eval\", attacker = \"model\" }\n\
     attacker.from = \"model\"\n";
const LOWER: &str = "kind = \"augment\"\nin = { prompts = \"prompts.eval\" }\ncapitals = false\n";
const BEGUN: &str = "kind = \"generate\"\nin = { model = \"model\", prompts = \"prompts.eval\" }\nprefill_from = \"world\"\n";
const SERVED: &str = "kind = \"generate\"\nin = { prompts = \"prompts.eval\" }\n\
     endpoint = { model = \"m\", url = \"http://h/v1\" }\n";
const GREEDY: &str = "kind = \"generate\"\nin = { model = \"model\", prompts = \"prompts.eval\" }\ntemperature = 0.0\n";
const TEACHER: &str = "kind = \"teacher\"\nin = { prompts = \"prompts.sft\" }\n";
const TEACHING_MODEL: &str =
    "kind = \"teacher\"\nin = { prompts = \"prompts.sft\", model = \"model\" }\nfrom = \"model\"\n";
const EVALUATE: &str = "kind = \"evaluate\"\nin = { completions = \"answers\" }\n";
const FILTER: &str = "kind = \"filter\"\nin = { prompts = \"prompts.rl\" }\n";
const PROBE: &str = "kind = \"probe\"\nin = { model = \"model\", prompts = \"prompts.eval\" }\n\
     reward = { harmful = \"format\", harmless = \"format\", ambiguous = \"format\" }\n";
const CONTROL: &str =
    "kind = \"gcg\"\nin = { model = \"model\", prompts = \"prompts.eval\" }\nsearch = \"none\"\n";
const SEEDED: &str = "kind = \"autodan\"\nin = { model = \"model\", prompts = \"prompts.eval\", seeds = \"prompts.rl\" }\n";
const SUFFIXED: &str = "kind = \"gcg\"\nin = { model = \"model\", prompts = \"prompts.eval\" }\nsearch = \"random\"\ninit = \" the\"\n";
const DEDUP: &str = "kind = \"dedup\"\nin = { prompts = \"prompts.rl\" }\nby = \"exact\"\n";
const DECONTAMINATE: &str = "kind = \"decontaminate\"\nin = { prompts = \"prompts.rl\", against = \"prompts.eval\" }\nby = \"near\"\n";
const MIX: &str = "kind = \"mix\"\nin = { prompts = \"prompts.rl\" }\ntotal = 6\nlambda = 1.0\n";
const IMPORT: &str = "kind = \"import\"\npath = \"results\"\nlayout = \"harmbench\"\n";
const PROMPTS_FILE: &str = "kind = \"prompts-file\"\npath = \"p.csv\"\n";
const COMPLETIONS_FILE: &str = "kind = \"completions-file\"\npath = \"p.csv\"\n";
const GRPO: &str = "kind = \"grpo\"\nin = { model = \"model\", prompts = \"prompts.rl\" }\nsteps = 1\n\
     reward = { harmful = \"format\", harmless = \"format\", ambiguous = \"format\" }\n\
     kl.coefficient = 0.0\nadvantage = \"none\"\n";
const UNWATCHED: &str = "kind = \"grpo\"\nin = { model = \"model\", prompts = \"prompts.rl\" }\nsteps = 1\n\
     reward = { harmful = \"format\", harmless = \"format\", ambiguous = \"format\" }\nguard.entropy_steps = 0\n";
const SAMPLED: &str = "kind = \"grpo\"\nin = { model = \"model\", prompts = \"prompts.rl\" }\nsteps = 1\n\
     reward = { harmful = \"format\", harmless = \"format\", ambiguous = \"format\" }\n\
     sampler = \"served\"\nrollouts.url = \"http://h\"\n";
const DPO: &str =
    "kind = \"dpo\"\nin = { model = \"model\", pairs = \"pairs\" }\nnll_coefficient = 0.0\n";
const AGREEMENT: &str =
    "kind = \"agreement\"\nin = { a = \"judged.scores\", b = \"judged.scores\" }\n";
const SEPARATION: &str = "kind = \"separation\"\nin = { states = \"inside\" }\n";
const CORPUS: &str = "kind = \"world-corpus\"\nn = 24\nrequests = 0.0\n";
const QUESTIONS: &str = "kind = \"world-corpus\"\nn = 24\nrequests = 0.0\nanalyses = 0.0\n";

/// Whatever a kind is checked with beside `BASE`.
const MORE: &str = "[node.judged]\nkind = \"evaluate\"\nin = { completions = \"answers\" }\n";

/// Whether a name of `IDLE` means this parameter; one that has a line of its own has it for a reason.
fn means(name: &str, spec: &ParamSpec) -> bool {
    let alone = || IDLE.iter().any(|(name, _)| *name == spec.name);
    match name.strip_suffix(".*") {
        Some(block) => {
            spec.acts.is_some() && spec.block.is_some_and(|b| b.name == block) && !alone()
        }
        None => spec.name == name,
    }
}

fn specs(kind: &str) -> Vec<ParamSpec> {
    let kind = REGISTRY.get(kind).unwrap();
    (kind.params)()
        .into_iter()
        .chain(kind.own_execution())
        .collect()
}

/// Another value of a parameter than its default, as it is written.
fn another(spec: &ParamSpec) -> String {
    let words = |words: &[&str], but: &str| {
        let other = words.iter().find(|w| format!("\"{w}\"") != but);
        format!("\"{}\"", other.unwrap())
    };
    let default = match &spec.default {
        Default::Value(value) => value.canon(),
        _ => String::new(),
    };
    let bounds = spec.bounds.map(|b| (b.low, b.high.min(b.low + 1.0)));
    match (&spec.ty, bounds) {
        (Ty::Bool, _) => (default != "true").to_string(),
        // On-policy a bound below 1 acts.
        (Ty::Float, _) if spec.name == "clip.delta" => "1.5".into(),
        (Ty::Float, _) if spec.name == "score_threshold" => "0.7".into(),
        (Ty::Int, Some((low, _))) => format!("{}", low as i64 + 5),
        (Ty::Float, Some((low, high))) => format!("{:?}", low + (high - low) * 0.37),
        (Ty::Choice(all), _) => words(all, &default),
        (Ty::Pattern(pattern), _) => format!("\"{}\"", pattern.examples[1]),
        (Ty::List(_), _) if spec.name == "lora.targets" => "[\"q_proj\"]".into(),
        (Ty::List(_), _) => "[\"other\"]".into(),
        (Ty::Str, _) if spec.field() == "extra_body" => "'{\"top_k\": 4}'".into(),
        (Ty::Str, _) if spec.field() == "url" => "\"http://h/v1\"".into(),
        _ => "\"other\"".into(),
    }
}

fn checked(text: &str) -> Result<Vec<Loaded>, String> {
    let cwd = std::env::temp_dir();
    let overrides = Overrides {
        cwd,
        ..Overrides::default()
    };
    recipe::from_text("acts.toml", text, &overrides, &REGISTRY).map_err(|d| d.render(false))
}

#[test]
fn what_can_do_nothing_is_refused_and_its_default_is_not() {
    let mut seen = 0;
    for (name, body) in IDLE {
        let kind = body.split('"').nth(1).unwrap();
        let before = seen;
        for spec in specs(kind).iter().filter(|spec| means(name, spec)) {
            let name = spec.name;
            seen += 1;
            let node = |value: &str| format!("{BASE}{MORE}[node.x]\n{body}{name} = {value}\n");
            let refused = checked(&node(&another(spec)));
            let told = refused
                .err()
                .unwrap_or_else(|| panic!("{kind} took {name}"));
            assert!(told.contains(&format!("`{name}` acts only ")), "{told}");
            assert_eq!(told.matches(": here it does nothing").count(), 1, "{told}");
            // A kind may have something to say besides of what it is asked with: no key for the header, no prices for the budget.
            if !INCOMPLETE.contains(&name) {
                assert_eq!(told.matches("error: ").count(), 1, "{told}");
            }
            if let Default::Value(value) = &spec.default {
                let default = node(&value.canon());
                assert!(checked(&default).is_ok(), "{kind} refuses {name} as it is");
            }
        }
        assert!(seen > before, "{kind} has no {name}");
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn every_condition_has_a_case_that_it_refuses() {
    let shown: BTreeSet<&str> = IDLE.iter().map(|(name, _)| *name).collect();
    for kind in REGISTRY.iter() {
        for spec in specs(kind.name).iter().filter(|s| s.acts.is_some()) {
            let seed = spec.name == "seed";
            assert!(
                seed || shown.iter().any(|name| means(name, spec)),
                "{} {}",
                kind.name,
                spec.name
            );
        }
    }
}

#[test]
fn a_seed_that_nothing_is_drawn_by_is_a_warning() {
    let loaded = checked(&format!("{BASE}[node.x]\n{GREEDY}seed = 4\n")).unwrap();
    let told = loaded[0].warnings.render(false);
    assert!(
        told.contains("`seed` acts only where `temperature` is above 0"),
        "{told}"
    );
}

/// At a node where it does nothing stands what the file says, and nothing where it says nothing.
#[test]
fn what_is_set_for_every_node_changes_only_those_where_it_acts() {
    let text = format!(
        "[vars]\nlot = 7\n{BASE}[node.greedy]\n{GREEDY}seed = \"${{lot}}\"\n\
         [node.silent]\n{GREEDY}"
    );
    let read = |sets: &[&str]| {
        let overrides = Overrides {
            sets: sets.iter().map(|s| s.to_string()).collect(),
            cwd: std::env::temp_dir(),
            ..Overrides::default()
        };
        let loaded = recipe::from_text("acts.toml", &text, &overrides, &REGISTRY);
        loaded
            .unwrap_or_else(|d| panic!("{}", d.render(false)))
            .remove(0)
    };
    let params = |loaded: &Loaded, node: &str| {
        let id = loaded.graph.find(node).unwrap();
        (*loaded.graph.node(id).params).clone()
    };
    let plain = read(&[]);
    let seed = |loaded: &Loaded, node: &str| params(loaded, node)["seed"].clone();
    for sets in [&["*.seed=3"][..], &["*.seed=5", "*.seed=3"]] {
        let set = read(sets);
        for node in ["greedy", "silent"] {
            assert_eq!(params(&set, node), params(&plain, node), "{node} {sets:?}");
        }
        assert_eq!(seed(&set, "answers"), Value::Int(3));
        assert_eq!(seed(&set, "model"), Value::Int(3), "it acts at every kind");
    }
    // Also where it is what a node has by itself, or where the file has no word for nothing.
    assert_eq!(seed(&read(&["*.seed=0"]), "greedy"), Value::Int(7));
    let named = read(&["*.attack=begun"]);
    assert!(!params(&named, "answers").contains_key("attack"));
    // What one node is told by name counts there.
    assert_eq!(
        seed(&read(&["*.seed=3", "greedy.seed=4"]), "greedy"),
        Value::Int(4)
    );
}

#[test]
fn what_is_set_for_every_node_and_acts_at_none_is_told() {
    let told = |text: &str, sets: &[&str]| {
        let overrides = Overrides {
            sets: sets.iter().map(|s| s.to_string()).collect(),
            cwd: std::env::temp_dir(),
            ..Overrides::default()
        };
        let loaded = recipe::from_text("acts.toml", text, &overrides, &REGISTRY);
        let loaded = loaded.unwrap_or_else(|d| panic!("{}", d.render(false)));
        loaded[0].warnings.render(false)
    };
    let silent = format!("{BASE}[node.silent]\n{GREEDY}");
    let nowhere = "`attack` does nothing at any node that has it";
    let said = told(&silent, &["*.attack=begun"]);
    assert_eq!(said.matches("warning: ").count(), 1, "{said}");
    assert!(said.contains(nowhere) && said.contains("--set"), "{said}");
    // It acts at one of them, or under one choice of an axis.
    assert_eq!(told(&silent, &["*.seed=3"]), "");
    let field = format!("{BASE}[node.x]\n{GRPO}");
    let said = told(&field, &["*.kl.estimator=k1", "*.guard.grad_norm=9"]);
    assert_eq!(said.matches("warning: ").count(), 1, "{said}");
    assert!(
        said.contains("`kl.estimator` does nothing at any node that has it"),
        "{said}"
    );
    assert_eq!(
        told(&field, &["*.kl.estimator=k1", "*.kl.coefficient=0.25"]),
        ""
    );
}

#[test]
fn what_is_set_for_every_node_may_be_a_field_of_a_block() {
    let text = format!("{BASE}[node.x]\n{GRPO}");
    let read = |set: &str| {
        let overrides = Overrides {
            sets: vec![set.into()],
            cwd: std::env::temp_dir(),
            ..Overrides::default()
        };
        let loaded = recipe::from_text("acts.toml", &text, &overrides, &REGISTRY);
        loaded.map_err(|d| d.render(false))
    };
    let of_x = |set: &str, param: &str| {
        let loaded = read(set).unwrap_or_else(|d| panic!("{d}")).remove(0);
        let node = loaded.graph.node(loaded.graph.find("x").unwrap());
        let said = value::at(&node.params, param).or(value::at(&node.exec, param));
        said.cloned()
    };
    // `guard` has a field that does nothing there, and that nobody set.
    for (set, param, value) in [
        ("*.guard.grad_norm=9", "guard.grad_norm", Value::Float(9.0)),
        ("*.guard.entropy=0.5", "guard.entropy", Value::Float(0.5)),
        // The file says `kl` itself.
        (
            "*.kl.coefficient=0.25",
            "kl.coefficient",
            Value::Float(0.25),
        ),
    ] {
        assert_eq!(of_x(set, param), Some(value), "{set}");
    }
    for (set, path) in [
        ("*.guard.loss=9", "guard.loss"),
        ("*.gard.entropy=9", "gard"),
    ] {
        let told = read(set).err().expect("nobody has it");
        let said = format!("no node has a parameter `{path}`");
        assert_eq!(told.matches("error: ").count(), 1, "{told}");
        assert!(told.contains(&said), "{told}");
    }
}

#[test]
fn what_acts_in_one_choice_of_the_axes_is_meant() {
    let rl = GRPO.replace("kl.coefficient = 0.0\n", "");
    let swept = |values: &str, more: &str| {
        format!(
            "{BASE}[node.x]\n{rl}{more}kl.coefficient = 0.1\n[matrix]\nx.kl.coefficient = {values}\n"
        )
    };
    assert_eq!(
        checked(&swept("[0.0, 0.1]", "kl.estimator = \"k1\"\n"))
            .unwrap()
            .len(),
        2
    );
    let told = checked(&swept("[0.0]", "kl.estimator = \"k1\"\n"))
        .err()
        .unwrap();
    assert!(
        told.contains("`kl.estimator` acts only where `kl.coefficient` is above 0"),
        "{told}"
    );
}

#[test]
fn every_identity_parameter_has_a_case_or_a_reason() {
    let mut missing = vec![];
    for kind in REGISTRY.iter() {
        let body = CASES.iter().find(|(name, _)| *name == kind.name);
        let varied: BTreeSet<&str> = body
            .map(|(_, body)| variations(body).iter().map(|v| v.0).collect())
            .unwrap_or_default();
        for spec in (kind.params)() {
            let fits = |what: &str, name: &str| what == "*" || what == name;
            let told = ELSEWHERE
                .iter()
                .any(|(k, p, why)| fits(k, kind.name) && fits(p, spec.name) && !why.is_empty());
            if !told && !varied.contains(spec.name) {
                missing.push(format!("{} {}", kind.name, spec.name));
            }
        }
    }
    assert_eq!(missing, Vec::<String>::new());
}

/// Of a case: the parameter, and what is set: first it, then what is set on both sides.
fn variations(body: &'static str) -> Vec<(&'static str, Vec<&'static str>)> {
    let (_, below) = body.split_once("---\n").unwrap();
    let each = below.lines().map(|line| {
        let sets: Vec<&str> = line.split(" ;; ").collect();
        (sets[0].split(" = ").next().unwrap(), sets)
    });
    each.collect()
}

#[test]
fn every_parameter_of_a_case_changes_what_the_node_delivers() {
    let study = Study::new();
    for (kind, body) in CASES {
        let (own, _) = body.split_once("---\n").unwrap();
        let mut recipe = format!("{BASE}[node.x]\n{own}");
        let mut pairs = vec![];
        for (i, (name, sets)) in variations(body).into_iter().enumerate() {
            let key = |line: &str| line.split(" = ").next().unwrap().to_string();
            let mut node = |node: String, sets: &[&str]| {
                let said: BTreeSet<String> = sets.iter().map(|s| key(s)).collect();
                let kept = own.lines().filter(|l| !said.contains(&key(l)));
                let lines: Vec<&str> = kept.chain(sets.iter().copied()).collect();
                recipe += &format!("\n[node.{node}]\n{}\n", lines.join("\n"));
            };
            node(format!("v{i}"), &sets);
            let beside = match sets.len() {
                1 => "x".to_string(),
                _ => {
                    node(format!("r{i}"), &sets[1..]);
                    format!("r{i}")
                }
            };
            pairs.push((name, format!("v{i}"), beside));
        }
        let ran = study.run(&recipe);
        let same: Vec<&str> = pairs
            .iter()
            .filter(|(_, varied, beside)| files(&ran, varied) == files(&ran, beside))
            .map(|(name, _, _)| *name)
            .collect();
        assert_eq!(same, Vec::<&str>::new(), "{kind}: these change nothing");
    }
}

/// What a node delivers; the times in TensorBoard's files are nobody's result.
fn files(ran: &Ran, node: &str) -> BTreeMap<String, String> {
    let outputs = ran.record(node).outputs;
    let each = outputs.iter().flat_map(|(name, artifact)| {
        let files = artifact.files.iter();
        files.map(move |f| (format!("{name}/{}", f.path), f.digest.to_string()))
    });
    each.filter(|(path, _)| !path.contains("tfevents"))
        .collect()
}
