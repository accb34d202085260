"""transformers' generate under the line protocol of the benchmarks: `peer.py MODEL PROMPTS NEW`.

PROMPTS is a JSON file of texts, NEW how many tokens each gets, greedily. The first line out says what stands ready; every line in is
the number of prompts that are padded on the left and generated together; the answer has seconds, peak memory and the texts.
"""

import json
import os
import sys
import time
from pathlib import Path

# Libraries print as they like; the protocol keeps the real standard output to itself.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)
START = time.monotonic()

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    folder, prompts, new = sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), int(sys.argv[3])
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    tokenizer.pad_token = tokenizer.pad_token or tokenizer.eos_token
    turns = [[{"role": "user", "content": prompt}] for prompt in prompts]
    chats = [tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True) for turn in turns]
    answer(parameters=sum(p.numel() for p in model.parameters()), ready_s=time.monotonic() - START)
    for line in sys.stdin:
        # From here on the kernel counts the peak anew.
        Path("/proc/self/clear_refs").write_text("5")
        start, busy = time.monotonic(), time.process_time()
        texts = generate(model, tokenizer, chats, int(line), new)
        seconds, busy = time.monotonic() - start, time.process_time() - busy
        answer(seconds=seconds, cpu_seconds=busy, peak_bytes=peak_bytes(), texts=texts)


@torch.inference_mode()
def generate(model, tokenizer, chats, rows, new):
    """Prompts of like length together, as whoever cares for speed would have them."""
    order = sorted(range(len(chats)), key=lambda i: len(chats[i]))
    texts = [""] * len(chats)
    for first in range(0, len(order), rows):
        places = order[first : first + rows]
        asked = tokenizer([chats[i] for i in places], return_tensors="pt", padding=True, add_special_tokens=False)
        out = model.generate(**asked, max_new_tokens=new, do_sample=False, pad_token_id=tokenizer.pad_token_id)
        said = tokenizer.batch_decode(out[:, asked["input_ids"].shape[1] :], skip_special_tokens=True)
        for place, text in zip(places, said):
            texts[place] = text
    return texts


def peak_bytes():
    status = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in status if line.startswith("VmHWM")).split()[1])


def answer(**fields):
    print(json.dumps(fields), file=ANSWERS, flush=True)


main()
