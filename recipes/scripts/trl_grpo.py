"""GRPO by TRL's GRPOTrainer, as a program of an `exec` node: everything it needs stands in the file PIPE_JOB names, and the rewards
come from `pipe serve rewards`, at the address in PIPE_REWARDS.

The same learning as the kind `grpo` with one update a batch: all parameters in f32, AdamW, a group of samples a prompt at temperature
1, advantages within the group, the mean over all of a step's tokens, the KL to the start by k3 in the loss, an entropy bonus. What
differs: random numbers and so the order of prompts and the samples; 1e-4 instead of 1e-6 is added to a group's deviation.
"""

import json
import os
import pathlib
import shutil

import torch
from datasets import Dataset
from served_rewards import ServedRewards
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, set_seed
from trl import GRPOConfig, GRPOTrainer

CLASSES = ["harmful", "harmless", "ambiguous"]


class Lines(TrainerCallback):
    """A line of JSON a step, which the node's progress and curve are made of."""

    def on_log(self, args, state, control, logs=None, **kwargs):
        if logs and "reward" in logs:
            numbers = {name: value for name, value in logs.items() if isinstance(value, float)}
            print(json.dumps({"step": state.global_step, "of": state.max_steps, **numbers}), flush=True)


def rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def reward_of(served, prompts, tokenizer, stops, hear=None):
    """TRL's reward function. `stops`: ids that end a turn; a completion without one ran into the limit."""

    def reward(completion_ids, row, log_metric=None, **_):
        asked = []
        for ids, number in zip(completion_ids, row, strict=True):
            ids = list(ids)
            finished = bool(ids) and ids[-1] in stops
            # Special tokens stay, as the think tags may be some: only the end of the turn is none of the response.
            response = tokenizer.decode(ids[:-1] if finished else ids, skip_special_tokens=False)
            asked.append({**prompts[number], "response": response, "finished": finished})
        rewards = served(asked)
        if hear is not None:
            hear(asked, rewards)
        for name in CLASSES if log_metric else []:
            of_class = [r for a, r in zip(asked, rewards) if a["class"] == name and r is not None]
            if of_class:
                log_metric(f"reward/{name}", sum(of_class) / len(of_class))
        return rewards

    return reward


def stop_ids(model, tokenizer):
    ids = model.generation_config.eos_token_id
    ids = ids if isinstance(ids, list) else [ids]
    return {i for i in [*ids, tokenizer.eos_token_id] if i is not None}


def config(values, folder):
    rollouts = values["batch"] * values["group"]
    # The loss is over all tokens of a step, however it is cut.
    micro = values.get("micro_batch", rollouts)
    return GRPOConfig(
        output_dir=folder,
        learning_rate=values["lr"],
        lr_scheduler_type=values["schedule"],
        max_steps=values["steps"],
        per_device_train_batch_size=micro,
        gradient_accumulation_steps=rollouts // micro,
        num_generations=values["group"],
        num_iterations=1,
        max_completion_length=values["max_new_tokens"],
        temperature=values["temperature"],
        top_p=1.0,
        top_k=0,
        repetition_penalty=1.0,
        beta=values["kl"],
        use_bias_correction_kl=False,
        epsilon=values["clip"],
        entropy_coef=values["entropy_coefficient"],
        loss_type="dapo",
        scale_rewards="group",
        mask_truncated_completions=False,
        adam_beta1=0.9,
        adam_beta2=values["beta2"],
        adam_epsilon=1e-8,
        weight_decay=values["weight_decay"],
        max_grad_norm=values["grad_clip"],
        bf16=torch.cuda.is_available() and values.get("bf16", False),
        fp16=False,
        gradient_checkpointing=values.get("recompute", False),
        use_vllm=values.get("use_vllm", False),
        vllm_mode="colocate",
        optim="adamw_torch",
        use_cpu=not torch.cuda.is_available(),
        seed=values["seed"],
        data_seed=values["seed"],
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="steps",
        save_steps=values.get("save_steps", 25),
        save_total_limit=1,
        report_to="none",
        disable_tqdm=True,
    )


def trainer(job, served, hear=None):
    """The trainer of a node; what it saves to go on from goes to the folder that later attempts find."""
    values = job["values"]
    set_seed(values["seed"])
    torch.set_num_threads(job["threads"])
    start = job["inputs"]["model"]
    tokenizer = AutoTokenizer.from_pretrained(start, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(start, dtype=torch.float32)
    prompts = rows(job["inputs"]["prompts"])
    asked = [{"prompt": [{"role": "user", "content": p["prompt"]}], "row": i} for i, p in enumerate(prompts)]
    return GRPOTrainer(
        model=model,
        reward_funcs=reward_of(served, prompts, tokenizer, stop_ids(model, tokenizer), hear),
        args=config(values, job["resume"] or "trainer"),
        train_dataset=Dataset.from_list(asked),
        processing_class=tokenizer,
        callbacks=[Lines()],
    )


def main():
    with open(os.environ["PIPE_JOB"], encoding="utf-8") as file:
        job = json.load(file)
    # What the node's key says of its rewards has to be what is served.
    served = ServedRewards(os.environ["PIPE_REWARDS"], expect=job["values"]["served"])
    training = trainer(job, served)
    begun = any(pathlib.Path(training.args.output_dir).glob("checkpoint-*"))
    training.train(resume_from_checkpoint=begun or None)
    into = job["outputs"]["model"]
    training.model.save_pretrained(into)
    # Tokenizer, template and stop tokens are the ones it began with.
    for name in os.listdir(job["inputs"]["model"]):
        if name != "config.json" and not name.endswith(".safetensors"):
            shutil.copy(os.path.join(job["inputs"]["model"], name), into)


if __name__ == "__main__":
    main()
