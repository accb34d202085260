"""The other side of the benchmarks: PyTorch, transformers and TRL under the same line protocol as `bench/side`.

`peer.py WHAT WORK`: runs in the virtual environment that `common.py` sets up, started by the scripts beside it. The
first line out says what stands ready; every line in names a unit and is answered by a line of JSON.
"""

import json
import os
import sys
import time

# Libraries print as they like; the protocol keeps the real standard output to itself.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import torch
import torch.nn.functional as F
from torch import nn

LR, BETAS, EPS, DECAY, CLIP = 1e-4, (0.9, 0.999), 1e-8, 0.01, 1.0


def answer(**fields):
    print(json.dumps(fields), file=ANSWERS, flush=True)


def asked():
    """The next unit that is asked for; None once nobody asks any more."""
    return sys.stdin.readline().strip() or None


def ids(rows, length, vocabulary):
    """Ids below 5 are left out: the tokenizer has its special tokens there."""
    generator = torch.Generator().manual_seed(2)
    return torch.randint(5, vocabulary, (rows, length), generator=generator)


# --- train: a decoder in plain PyTorch ------------------------------------------------------------------------------


class Block(nn.Module):
    """A layer for every projection, as transformers has it: joined ones were not faster."""

    def __init__(self, d, heads, ff, eps):
        super().__init__()
        self.heads = heads
        self.norm_in, self.norm_post = nn.RMSNorm(d, eps), nn.RMSNorm(d, eps)
        self.q, self.k, self.v, self.o = (linear(d, d) for _ in range(4))
        self.gate, self.up, self.down = linear(d, ff), linear(d, ff), linear(ff, d)

    def forward(self, h, cos, sin):
        b, t, d = h.shape
        x = self.norm_in(h)
        # [B, T, d] -> [B, heads, T, head_dim]
        q, k, v = (layer(x).view(b, t, self.heads, -1).transpose(1, 2) for layer in (self.q, self.k, self.v))
        mixed = F.scaled_dot_product_attention(turn(q, cos, sin), turn(k, cos, sin), v, is_causal=True)
        h = h + self.o(mixed.transpose(1, 2).reshape(b, t, d))
        x = self.norm_post(h)
        return h + self.down(F.silu(self.gate(x)) * self.up(x))


def linear(inner, outer):
    return nn.Linear(inner, outer, bias=False)


def turn(x, cos, sin):
    a, b = x.chunk(2, -1)
    return torch.cat([a * cos - b * sin, b * cos + a * sin], -1)


class Decoder(nn.Module):
    def __init__(self, config, length):
        super().__init__()
        d, v, heads = config["hidden_size"], config["vocab_size"], config["num_attention_heads"]
        eps, ff = config["rms_norm_eps"], config["intermediate_size"]
        self.embed = nn.Embedding(v, d)
        self.blocks = nn.ModuleList(Block(d, heads, ff, eps) for _ in range(config["num_hidden_layers"]))
        self.norm, self.head = nn.RMSNorm(d, eps), linear(d, v)
        for p in self.parameters():
            if p.dim() > 1:
                nn.init.normal_(p, std=config["initializer_range"])
        half = d // heads // 2
        angles = torch.arange(length)[:, None] / config["rope_theta"] ** (torch.arange(half) / half)
        self.register_buffer("cos", angles.cos())
        self.register_buffer("sin", angles.sin())

    def forward(self, x):
        """Mean loss of every next token. The last row predicts nothing and does not reach the head."""
        h = self.embed(x)
        for block in self.blocks:
            h = block(h, self.cos, self.sin)
        logits = self.head(self.norm(h[:, :-1]))
        return F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten())


def train(work, *options):
    torch.manual_seed(1)
    config = work["config"]
    model = Decoder(config, work["length"])
    x = ids(work["sequences"], work["length"], config["vocab_size"])
    optimizer = torch.optim.AdamW(model.parameters(), LR, BETAS, EPS, DECAY, fused=True)
    forward = torch.compile(model, dynamic=False) if "--compile" in options else model
    answer(parameters=sum(p.numel() for p in model.parameters()))
    while unit := asked():
        if unit.startswith("peak"):
            peak(int(unit.split()[1]))
            continue
        start = time.perf_counter()
        loss = forward(x)
        forwarded = time.perf_counter()
        loss.backward()
        back = time.perf_counter()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad()
        end = time.perf_counter()
        answer(seconds=end - start, forward=forwarded - start, backward=back - forwarded, update=end - back, loss=loss.item())


def peak(n):
    a, b = torch.ones(n, n), torch.ones(n, n)
    c = a @ b
    start = time.perf_counter()
    torch.mm(a, b, out=c)
    answer(seconds=time.perf_counter() - start, flop=2 * n**3)


# --- gpu: a step of transformers' model in eager bf16 ------------------------------------------------------------------


def gpu(work):
    """Masters, moments and gradients in f32 and products in bf16, as ours; on the processor to be tried. One sequence a row."""
    device = torch.device(work["device"])
    with device:
        model = causal_lm(work["config"])
    x = ids(work["sequences"], work["length"], work["config"]["vocab_size"]).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), LR, BETAS, EPS, DECAY, fused=True)
    wait = torch.cuda.synchronize if device.type == "cuda" else lambda: None
    answer(parameters=model.num_parameters())
    while unit := asked():
        if unit.startswith("peak"):
            n = int(unit.split()[1])
            a, b = (torch.randn(n, n, dtype=torch.bfloat16, device=device) for _ in range(2))
            c = a @ b
            wait()
            start = time.perf_counter()
            for _ in range(10):
                torch.mm(a, b, out=c)
            wait()
            answer(seconds=time.perf_counter() - start, flop=10 * 2 * n**3)
        elif unit == "memory":
            answer(taken=torch.cuda.max_memory_reserved() if device.type == "cuda" else None)
        else:
            try:
                start = time.perf_counter()
                with torch.autocast(device.type, dtype=torch.bfloat16):
                    logits = model(input_ids=x, use_cache=False).logits[:, :-1]
                    loss = F.cross_entropy(logits.flatten(0, 1), x[:, 1:].flatten())
                loss.backward()
                torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
                optimizer.step()
                optimizer.zero_grad()
                wait()
                answer(seconds=time.perf_counter() - start, loss=loss.item())
            except torch.cuda.OutOfMemoryError:
                answer(out_of_memory=True)


# --- rollout: transformers' generate ---------------------------------------------------------------------------------


def causal_lm(config):
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(1)
    config = dict(config)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(config.pop("model_type"), **config), dtype=torch.float32)
    model.generation_config.pad_token_id = 0
    return model


def rollout(work):
    model = causal_lm(work["config"]).eval()
    x = ids(work["rows"], work["prompt"], work["config"]["vocab_size"])
    mask = torch.ones_like(x)
    answer(parameters=model.num_parameters())
    while asked():
        start = time.perf_counter()
        out = model.generate(x, attention_mask=mask, max_new_tokens=work["new"], do_sample=True, temperature=1.0, top_k=0, top_p=1.0)
        seconds = time.perf_counter() - start
        assert out.shape == (work["rows"], work["prompt"] + work["new"]), "every row runs to the limit"
        answer(seconds=seconds)


# --- attack: candidates of a GCG step ----------------------------------------------------------------------------------


def attack(work):
    from transformers import DynamicCache

    model = causal_lm(work["config"]).eval()
    vocabulary, width = work["config"]["vocab_size"], work["width"]
    row = ids(1, work["before"] + work["suffix"] + work["after"] + work["target"], vocabulary)[0]
    places = torch.arange(width) * work["suffix"] // width + work["before"]
    target, n = row[-work["target"] :], work["target"]
    # The last token of a target predicts nothing.
    tokens = torch.randint(5, vocabulary, (width, 1), generator=torch.Generator().manual_seed(3))
    candidates = row[:-1].repeat(width, 1).scatter_(1, places[:, None], tokens)

    def losses(logits):
        want = target.expand(len(logits), -1)
        return F.cross_entropy(logits.transpose(1, 2), want, reduction="none").mean(1)

    def whole(rows):
        return [losses(model(input_ids=part, use_cache=False, logits_to_keep=n).logits) for part in candidates.split(rows)]

    prefix = model(input_ids=row[None, : work["before"]], use_cache=True).past_key_values

    def cached(rows):
        out = []
        for part in candidates[:, work["before"] :].split(rows):
            # A cache grows in place: every part begins with one of its own.
            cache = DynamicCache()
            for i, layer in enumerate(prefix.layers):
                cache.update(*(x.expand(len(part), -1, -1, -1) for x in (layer.keys, layer.values)), i)
            out.append(losses(model(input_ids=part, past_key_values=cache, use_cache=True, logits_to_keep=n).logits))
        return out

    def seconds(run, rows):
        start = time.perf_counter()
        assert torch.cat(run(rows)).shape == (width,), "every candidate has a loss"
        return time.perf_counter() - start

    ways = {"whole": whole, "cached": cached}
    with torch.inference_mode():
        assert torch.allclose(torch.cat(whole(64)), torch.cat(cached(64)), rtol=1e-4), "both ways give the same losses"
        # As many rows at once as are fastest here.
        sizes = [size for size in (16, 32, 64, 128, 256, 512) if size <= width]
        best = {how: min(sizes, key=lambda rows: min(seconds(run, rows) for _ in range(3))) for how, run in ways.items()}
        answer(parameters=model.num_parameters(), rows=best)
        while unit := asked():
            answer(seconds=seconds(ways[unit], best[unit]))


# --- grpo, dpo: TRL's trainers, one optimizer step at a time ---------------------------------------------------------


def tokenizer(vocabulary, eos):
    """One word an id. A step's texts are made of these words, so that both sides see the same lengths."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = {f"w{i}": i for i in range(5, vocabulary)} | {"<pad>": 0, "<unk>": 1, "<eos>": eos}
    words |= {f"<{i}>": i for i in range(2, 5) if i != eos}
    inner = Tokenizer(WordLevel(words, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, pad_token="<pad>", unk_token="<unk>", eos_token="<eos>")


def text(row):
    return " ".join(f"w{i}" for i in row)


def trainer_options(work, batch):
    """What TRL's two trainers get alike: f32, nothing recomputed, nothing written."""
    return dict(
        output_dir=os.path.join(os.environ["HF_HOME"], "trl"),
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        per_device_train_batch_size=batch,
        gradient_accumulation_steps=1,
        max_steps=10**9,
        learning_rate=LR,
        lr_scheduler_type="constant",
        weight_decay=DECAY,
        max_grad_norm=CLIP,
        beta=work["beta"],
        optim="adamw_torch_fused",
        dataloader_pin_memory=False,
        logging_strategy="no",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )


def drive(trainer, parts):
    """Takes an optimizer step whenever one is asked for. `parts` has the seconds of named parts of the step."""
    from transformers import TrainerCallback

    class Asked(TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            if asked() is None:
                ANSWERS.flush()
                os._exit(0)
            parts.clear()
            self.start = time.perf_counter()

        def on_step_end(self, args, state, control, **_):
            answer(seconds=time.perf_counter() - self.start, **parts)

    trainer.add_callback(Asked())
    answer(parameters=trainer.model.num_parameters())
    trainer.train()


def grpo(work):
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import GRPOConfig, GRPOTrainer

    vocabulary = work["config"]["vocab_size"]
    # Our rows all run to the limit. So do these: the end of a text is an id that the model does not have.
    words = tokenizer(vocabulary, eos=vocabulary)
    prompts = [text(row) for row in ids(16 * work["prompts"], work["prompt"], vocabulary).tolist()]
    options = GRPOConfig(
        **trainer_options(work, work["prompts"] * work["group"]),
        num_generations=work["group"],
        max_completion_length=work["new"],
        temperature=1.0,
        loss_type="dapo",
        scale_rewards="group",
        use_bias_correction_kl=False,
    )

    def even(completion_ids, **_):
        return [sum(i % 2 == 0 for i in row) / len(row) for row in completion_ids]

    # The trainer makes its reference from the folder that the model came from.
    folder = os.path.join(os.environ["HF_HOME"], "grpo-model")
    causal_lm(work["config"]).save_pretrained(folder)
    trainer = GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32),
        even,
        args=options,
        train_dataset=Dataset.from_list([{"prompt": prompt} for prompt in prompts]),
        processing_class=words,
    )
    parts = {}
    generate = trainer._generate_single_turn

    def timed(*args, **kwargs):
        start = time.perf_counter()
        out = generate(*args, **kwargs)
        parts["rollout"] = time.perf_counter() - start
        assert all(len(row) == work["new"] for row in out[0]), "every row runs to the limit"
        return out

    trainer._generate_single_turn = timed
    drive(trainer, parts)


def dpo(work):
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    vocabulary = work["config"]["vocab_size"]
    words = tokenizer(vocabulary, eos=2)
    prompts = ids(work["pairs"], work["prompt"], vocabulary).tolist()
    # TRL ends every completion with the end of text.
    completions = ids(2 * work["pairs"], work["new"] - 1, vocabulary).tolist()
    rows = [
        {"prompt": text(prompt), "chosen": " " + text(chosen) + " <eos>", "rejected": " " + text(rejected) + " <eos>"}
        for prompt, chosen, rejected in zip(prompts, completions[::2], completions[1::2])
    ]
    trainer = DPOTrainer(
        causal_lm(work["config"]),
        ref_model=causal_lm(work["config"]),
        args=DPOConfig(**trainer_options(work, work["pairs"]), loss_type="sigmoid", max_length=None),
        train_dataset=Dataset.from_list(rows),
        processing_class=words,
    )
    drive(trainer, {})


if __name__ == "__main__":
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    what, work = sys.argv[1], json.loads(sys.argv[2])
    {"train": train, "gpu": gpu, "rollout": rollout, "attack": attack, "grpo": grpo, "dpo": dpo}[what](work, *sys.argv[3:])
