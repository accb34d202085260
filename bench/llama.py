"""llama.cpp's batched bench as a side of `rollout`: built from the source package of llama-cpp-python.

Owns the build, the model file and the command line. Its bench decodes random tokens and samples nothing; every turn is
a process of its own that loads the model, and its own clock says how long prompts and tokens took.
"""

import json
import os
import subprocess
import sys
import tarfile

import common

PACKAGE = "llama-cpp-python==0.3.36"
TOOLS = ("cmake==4.4.4", "ninja==1.13.2")
FOLDER = common.TARGET / "bench-llama"
BENCH = FOLDER / "build" / "bin" / "llama-batched-bench"


def set_up():
    """Downloads, unpacks and builds; a few minutes, once."""
    if BENCH.exists():
        return
    common.say(f"building llama.cpp's batched bench from {PACKAGE} in {FOLDER} (minutes)")
    FOLDER.mkdir(parents=True, exist_ok=True)
    pip = [common.PYTHON, "-m", "pip"]
    run(*pip, "install", "--quiet", *TOOLS)
    run(*pip, "download", "--quiet", "--no-deps", "--no-binary", "llama-cpp-python", "-d", FOLDER, PACKAGE)
    with tarfile.open(next(FOLDER.glob("llama_cpp_python-*.tar.gz"))) as archive:
        archive.extractall(FOLDER, filter="data")
    off = ["TESTS", "EXAMPLES", "SERVER"]
    run(
        common.VENV / "bin" / "cmake",
        *("-S", source(), "-B", FOLDER / "build", "-G", "Ninja"),
        f"-DCMAKE_MAKE_PROGRAM={common.VENV / 'bin' / 'ninja'}",
        *("-DCMAKE_BUILD_TYPE=Release", "-DGGML_NATIVE=ON", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_OPENSSL=OFF"),
        *(f"-DLLAMA_BUILD_{part}=OFF" for part in off),
    )
    run(common.VENV / "bin" / "cmake", "--build", FOLDER / "build", "--target", "llama-batched-bench")


def run(*command):
    subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr)


def source():
    return next(FOLDER.glob("llama_cpp_python-*/vendor/llama.cpp"))


class BatchedBench:
    """Takes turns as `common.Side` does."""

    def __init__(self, name, work, threads):
        self.rows, self.threads, self.work = work["rows"], threads, work
        self.model = FOLDER / f"{name}-f32.gguf"
        write = [common.PYTHON, __file__, self.model, json.dumps(work["config"])]
        env = os.environ | {"PYTHONPATH": str(source() / "gguf-py")}
        subprocess.run([str(word) for word in write], check=True, stdout=sys.stderr, env=env)

    def go(self, _unit):
        prompt, new = self.work["prompt"], self.work["new"]
        command = [
            *(BENCH, "-m", self.model, "-npp", prompt, "-ntg", new, "-npl", self.rows),
            *("-c", self.rows * (prompt + new), "-b", 2048, "-ub", 2048, "-ctk", "f32", "-ctv", "f32"),
            # Without flash attention and with a cache per sequence it was several times faster at 64 rows.
            *("-fa", "off", "-t", self.threads, "-tb", self.threads, "--output-format", "jsonl"),
        ]
        out = subprocess.run(
            [str(word) for word in command],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            check=True,
            env=common.environment(self.threads),
        ).stdout
        line = next(line for line in out.splitlines() if line.startswith("{"))
        reply = json.loads(line)
        return {"seconds": reply["t"], "prompts": reply["t_pp"], "tokens": reply["t_tg"]}

    def cpu_seconds(self):
        return 0.0

    def end(self):
        pass


def write_model(path, config):
    """A Qwen2 of this shape with random weights, f32, without a vocabulary of words."""
    import gguf
    import numpy

    rng = numpy.random.default_rng(1)
    out = gguf.GGUFWriter(path, "qwen2")
    d, ff, heads = config["hidden_size"], config["intermediate_size"], config["num_attention_heads"]
    vocabulary, layers = config["vocab_size"], config["num_hidden_layers"]
    out.add_block_count(layers)
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(d)
    out.add_feed_forward_length(ff)
    out.add_head_count(heads)
    out.add_head_count_kv(config["num_key_value_heads"])
    out.add_layer_norm_rms_eps(config["rms_norm_eps"])
    out.add_rope_freq_base(config["rope_theta"])
    out.add_vocab_size(vocabulary)
    out.add_file_type(gguf.LlamaFileType.ALL_F32)
    out.add_tokenizer_model("none")

    def matrix(name, outer, inner):
        out.add_tensor(f"{name}.weight", (0.02 * rng.standard_normal((outer, inner))).astype(numpy.float32))

    def vector(name, value, n):
        out.add_tensor(name, numpy.full(n, value, numpy.float32))

    matrix("token_embd", vocabulary, d)
    matrix("output", vocabulary, d)
    vector("output_norm.weight", 1.0, d)
    for i in range(layers):
        vector(f"blk.{i}.attn_norm.weight", 1.0, d)
        vector(f"blk.{i}.ffn_norm.weight", 1.0, d)
        for part in "qkv":
            matrix(f"blk.{i}.attn_{part}", d, d)
            vector(f"blk.{i}.attn_{part}.bias", 0.0, d)
        matrix(f"blk.{i}.attn_output", d, d)
        matrix(f"blk.{i}.ffn_gate", ff, d)
        matrix(f"blk.{i}.ffn_up", ff, d)
        matrix(f"blk.{i}.ffn_down", d, ff)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    write_model(sys.argv[1], json.loads(sys.argv[2]))
