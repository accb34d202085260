"""Supervised fine-tuning by TRL's SFTTrainer, as a program of an `exec` node: everything it needs stands in the file PIPE_JOB names.

The same learning as the kind `sft`: all parameters in f32, AdamW, loss over the assistant's tokens and the end of its turn, its
mean over all of a step's tokens, no packing, nothing cut. The order of the conversations is TRL's own.
"""

import json
import os
import shutil

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed
from trl import SFTConfig, SFTTrainer

# ChatML with the assistant's text marked: what is between the tags is learned.
MARKED = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\n' }}"
    "{% if message['role'] == 'assistant' %}{% generation %}{{ message['content'] + '<|im_end|>' }}{% endgeneration %}"
    "{% else %}{{ message['content'] + '<|im_end|>' }}{% endif %}{{ '\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)


class Lines(TrainerCallback):
    """A line of JSON a step, which the node's progress and curve are made of."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "loss" in logs:
            numbers = {name: value for name, value in logs.items() if isinstance(value, float)}
            print(json.dumps({"step": state.global_step, "of": state.max_steps, **numbers}), flush=True)


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def trainer(job, folder):
    """The trainer of a node; what it writes by itself goes to this folder."""
    values = job["values"]
    set_seed(values["seed"])
    torch.set_num_threads(job["threads"])
    start = job["inputs"]["model"]
    tokenizer = AutoTokenizer.from_pretrained(start)
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    plain, marked = tokenizer.chat_template, tokenizer.chat_template
    if "{% generation %}" not in plain:
        tokenizer.chat_template = marked = MARKED
        sample = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
        texts = [tokenizer.apply_chat_template(sample, chat_template=t, tokenize=False) for t in (plain, marked)]
        assert texts[0] == texts[1], "the model's chat template is not ChatML; mark its assistant turns here"
    conversations = [{"messages": row["messages"]} for row in rows(job["inputs"]["conversations"])]
    steps = max(1, round(len(conversations) * values["epochs"] / values["batch"]))
    config = SFTConfig(
        output_dir=folder,
        learning_rate=values["lr"],
        lr_scheduler_type=values["schedule"],
        max_steps=steps,
        per_device_train_batch_size=values["batch"],
        gradient_accumulation_steps=1,
        adam_beta1=0.9,
        adam_beta2=values["beta2"],
        adam_epsilon=1e-8,
        weight_decay=values["weight_decay"],
        max_grad_norm=values["grad_clip"],
        assistant_only_loss=True,
        packing=False,
        max_length=None,
        bf16=False,
        fp16=False,
        gradient_checkpointing=False,
        optim="adamw_torch",
        use_cpu=not torch.cuda.is_available(),
        seed=values["seed"],
        data_seed=values["seed"],
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    return SFTTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(conversations),
        processing_class=tokenizer,
        callbacks=[Lines()],
    )


def main():
    with open(os.environ["PIPE_JOB"], encoding="utf-8") as file:
        job = json.load(file)
    training = trainer(job, "trainer")
    training.train()
    into = job["outputs"]["model"]
    training.model.save_pretrained(into)
    # Tokenizer, template and stop tokens are the ones it began with.
    for name in os.listdir(job["inputs"]["model"]):
        if name != "config.json" and not name.endswith(".safetensors"):
            shutil.copy(os.path.join(job["inputs"]["model"], name), into)


if __name__ == "__main__":
    main()
