"""`pipe` with the feature `cuda` on the GPU: a training step beside PyTorch's, a step of GRPO, sampling, the tests of the device, a kill.

What runs lies under target/gpu/program, where `bench/gpu --prepare` puts it: `pipe`, `side` (bench/side), `it` (tests/it), the golden
files of `reference` and `attack`. A model's weights and tokens are random; steps, rows and lengths are counted as in bench/README.md.
"""

import argparse
import importlib.machinery
import json
import os
import signal
import site
import statistics
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path

from card import FOLDER, ROOT, Skip

sys.path.insert(0, str(ROOT / "bench"))

import common

PROGRAM = FOLDER / "program"
GIB = 2**30
QWEN = common.config("qwen2", 151936, 1536, 28, 12, 8960, kv_heads=2, tied=True) | {"max_position_embeddings": 32768}
FULL = {
    "config": QWEN,
    "lengths": (4096, 8192, 16384),
    "rows": (256, 64, 8, 1),
    "rollout": {"prompt": 128, "new": 128},
    # 32 x 8 rollouts of 1,024 tokens.
    "grpo": {"prompts": 32, "group": 8, "prompt": 128, "new": 896, "beta": 0.001},
    "matrix": 8192,
    "study": [],
    "tests": ["device::"],
    "patience": 150,
}
# For a machine whose GPU is none: the same way, in minutes on one core.
SMALL = {
    "config": common.config("qwen2", 512, 128, 2, 4, 256, kv_heads=2, tied=True),
    "lengths": (64, 128),
    "rows": (8, 1),
    "rollout": {"prompt": 16, "new": 8},
    "grpo": {"prompts": 2, "group": 2, "prompt": 16, "new": 16, "beta": 0.001},
    "matrix": 64,
    "study": ["aliases.n=40", "corpus.n=60", "base-knowledge.n=4", "prompts.sft=8", "prompts.rl=8", "mix.total=8", "base.epochs=1", "sft.epochs=1",
              "rl.batch=4", "rl.max_new_tokens=8", "prompts.validation=2"],
    "tests": ["device::goldens"],
    "patience": 600,
}  # fmt: skip
# Steps of TARS-1.5B's RL (recipes/paper/tars-1.5b.toml), each as large as the step of GRPO here where answers have so many tokens.
TARS_STEPS = 186
GOAL = {"vs_torch": 1.0, "of_peak": 0.35, "tars_hours": 5.0}


def there(name):
    """A program that was prepared."""
    packed = FOLDER / "program.tar.xz"
    if not PROGRAM.exists() and packed.exists():
        with tarfile.open(packed) as archive:
            archive.extractall(PROGRAM, filter="data")
    path = PROGRAM / name
    if not path.exists():
        raise Skip(f"no {path}: bench/cuda builds it, and bench/gpu --prepare puts it there")
    return path


def environment():
    """With CUDA's libraries by the names that the program asks for, as PyTorch's packages bring them, and all of the machine's cores."""
    env = common.environment(os.cpu_count())
    del env["CUDA_VISIBLE_DEVICES"]
    folders = [site.getusersitepackages(), *site.getsitepackages()]
    found = [str(lib) for folder in folders for lib in sorted(Path(folder).glob("nvidia/*/lib"))]
    env["LD_LIBRARY_PATH"] = os.pathsep.join([*filter(None, [os.environ.get("LD_LIBRARY_PATH")]), *found])
    if os.environ.get("CUDA_VISIBLE_DEVICES"):
        env["CUDA_VISIBLE_DEVICES"] = os.environ["CUDA_VISIBLE_DEVICES"]
    return env


def ours(sizes, what, work):
    work = {"config": sizes["config"], "device": "cuda:0", **work}
    return common.Side(f"gpu pipe {what}", [there("side"), what, json.dumps(work)], env=environment())


def torch(card, what, work):
    """The other side; None where there is no PyTorch that sees the GPU, which a small form does not ask for."""
    device = "cpu" if card.small else "cuda"
    asked = "import torch, transformers, sys; sys.exit(sys.argv[1] == 'cuda' and not torch.cuda.is_available())"
    if subprocess.run([sys.executable, "-c", asked, device], env=environment(), stderr=subprocess.DEVNULL).returncode:
        return None
    work = {"config": sizes_of(card)["config"], "device": device, **work}
    return common.Side(f"gpu peer {what}", [sys.executable, ROOT / "bench/peer.py", what, json.dumps(work)], env=environment())


def sizes_of(card):
    return SMALL if card.small else FULL


def seconds(side, unit="go", rounds=3, warm=1):
    """Of one unit, by the wall's clock over several: what a unit leaves on the card's queue is the next one's."""
    for _ in range(warm):
        side.go(unit)
    times = []
    for _ in range(rounds):
        begun = time.monotonic()
        side.go(unit)
        times.append(time.monotonic() - begun)
    return statistics.median(times)


def gib(of):
    return None if of is None else round(of / GIB, 2)


def training(card):
    """All weights of a 1.5 B model in bf16 products, nothing recomputed, one sequence."""
    sizes = sizes_of(card)
    for length in sizes["lengths"]:
        work = {"sequences": 1, "length": length}
        us = ours(sizes, "train", work)
        took = seconds(us)
        memory = us.go("memory")
        us.end()
        parameters, ledger = us.about["parameters"], us.about["ledger"]
        flops = 6 * parameters * length / took
        line = {"ok": True, "tokens": length, "step_s": round(took, 4), "tokens_per_s": round(length / took), "tflops": round(flops / 1e12, 1)}
        line |= {"taken_gib": gib(memory["taken"]), "ledger_gib": gib(ledger)}
        try:
            line |= beside_torch(card, work, length, took, flops, parameters)
        except (SystemExit, OSError) as error:  # Ours is measured, whatever the other side does.
            line |= {"torch": f"failed: {str(error)[-300:]}"}
        yield line


def beside_torch(card, work, length, took, flops, parameters):
    them = torch(card, "gpu", work)
    if them is None:
        return {"torch": "not there"}
    assert them.about["parameters"] == parameters, "both sides train the same model"
    sizes = sizes_of(card)
    peaks = [them.go(f"peak {sizes['matrix']}") for _ in range(3)]
    peak = statistics.median(one["flop"] / one["seconds"] for one in peaks)
    line = {"peak_tflops": round(peak / 1e12, 1), "of_peak": round(flops / peak, 3), "meets_of_peak": flops / peak >= GOAL["of_peak"]}
    first = them.go("go")
    if first.get("out_of_memory"):
        them.end()
        return line | {"torch": "out of memory"}
    theirs = seconds(them)
    memory = them.go("memory")["taken"]
    them.end()
    ratio = theirs / took
    line |= {"torch_step_s": round(theirs, 4), "torch_taken_gib": gib(memory), "torch_of_peak": round(flops * took / theirs / peak, 3)}
    return line | {"vs_torch": round(ratio, 3), "meets_vs_torch": ratio >= GOAL["vs_torch"]}


def step(card):
    """A step of GRPO with its reference: rollouts, advantages, gradient, update."""
    sizes = sizes_of(card)
    work = sizes["grpo"]
    us = ours(sizes, "grpo", {**work, "recompute": True})
    us.go("go")
    begun = time.monotonic()
    reply = us.go("go")
    took = time.monotonic() - begun
    memory = us.go("memory")
    us.end()
    rows = work["prompts"] * work["group"]
    hours = took * TARS_STEPS / 3600
    yield {
        "ok": True,
        "rows": rows,
        "tokens_a_row": work["prompt"] + work["new"],
        "step_s": round(took, 2),
        "rollout_s": round(reply["rollout"], 2),
        "new_tokens_per_s": round(rows * work["new"] / reply["rollout"]),
        "taken_gib": gib(memory["taken"]),
        "hours_of_186_steps": round(hours, 2),
        "meets_tars_hours": hours <= GOAL["tars_hours"],
    }


def sampling(card):
    """Prompts of their own, to the limit; the prompts' computation is included."""
    sizes = sizes_of(card)
    work = sizes["rollout"]
    us = ours(sizes, "rollout", {**work, "rows": max(sizes["rows"])})
    for rows in sizes["rows"]:
        took = seconds(us, f"rows {rows}", rounds=2)
        yield {"ok": True, "rows": rows, "new_tokens": work["new"], "new_tokens_per_s": round(rows * work["new"] / took)}
    yield {"ok": True, "taken_gib": gib(us.go("memory")["taken"])}
    us.end()


def models(card):
    """The tests of the device on this GPU: whole models against golden files and against the processor."""
    sizes = sizes_of(card)
    env = environment() | {
        "PIPE_REFERENCE_DIR": str(there("reference")),
        "PIPE_ATTACK_DIR": str(there("attack")),
        "CARGO_MANIFEST_DIR": str(ROOT),
    }
    begun, passed, failed = time.monotonic(), 0, []
    command = [str(there("it")), *sizes["tests"], "--test-threads=1"]
    process = subprocess.Popen(command, cwd=ROOT, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
    limit = threading.Timer(sizes["patience"], os.killpg, (process.pid, signal.SIGKILL))
    limit.start()
    for line in process.stdout:
        words = line.split()
        if line.startswith("test ") and words[-1:] == ["ok"]:
            passed += 1
        elif line.startswith("test ") and words[-1:] == ["FAILED"]:
            failed.append(words[1])
    status = process.wait()
    limit.cancel()
    whole = status in (0, 101)
    yield {
        "ok": passed > 0 and not failed and (status == 0 or status == -signal.SIGKILL),
        "passed": passed,
        "failed": failed,
        "all_were_run": whole,
        "status": status,
        "seconds": round(time.monotonic() - begun, 1),
    }


def resume(card):
    """A small study up to its RL, on the GPU: twice the same bytes, and the same where the RL is killed on the way."""
    digests = importlib.machinery.SourceFileLoader("digests", str(ROOT / "bench/digests")).load_module()
    sizes = sizes_of(card)
    sets = [*digests.TARS, *sizes["study"], "*.device=cuda:0", "rl.checkpoint_every=1"]
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        found = {}
        for name in ("once", "again", "killed"):
            options = argparse.Namespace(pipe=there("pipe"), store=folder / name, root=ROOT, threads=2, set_file=None)
            runner = digests.Runner(options, folder, "")
            runner.ground.mkdir(exist_ok=True)
            runner.env = {**environment(), **{k: v for k, v in runner.env.items() if k not in ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")}}
            words = [*runner.sets(sets), "--only", "rl"]
            if name == "killed":
                checkpoints = kill(runner, words, [*runner.sets(sets), "--only", "sft"], sizes)
            begun = time.monotonic()
            found[name], failed = runner.run(ROOT / "recipes/tars.toml", words)
            if failed:
                yield {"ok": False, "run": name, "failed": failed}
                return
            yield {"ok": True, "run": name, "seconds": round(time.monotonic() - begun, 1)}
    differs = [f"{name}: {node}" for name in ("again", "killed") for node, about in found["once"].items() if about != found[name].get(node)]
    yield {"ok": not differs and checkpoints > 0, "nodes": len(found["once"]), "checkpoints_at_the_kill": checkpoints, "differs": differs}


def kill(runner, words, before, sizes):
    """Ends a run with SIGKILL where its RL has a checkpoint; returns how many there are."""
    runner.run(ROOT / "recipes/tars.toml", before)
    command = [str(w) for w in (runner.pipe, "run", ROOT / "recipes/tars.toml", *words, "--store", runner.store, "--threads", "2", "--jobs", "2")]
    quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    process = subprocess.Popen(command, env=runner.env, cwd=runner.ground, start_new_session=True, **quiet)
    count = lambda: len(list(runner.store.glob("attempts/*/resume/*/checkpoint.json")))  # noqa: E731
    deadline = time.monotonic() + sizes["patience"]
    while time.monotonic() < deadline and process.poll() is None and not count():
        time.sleep(0.002)
    workers = subprocess.run(["pgrep", "-f", str(runner.store)], capture_output=True, text=True).stdout.split()
    for pid in [process.pid, *map(int, workers)]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    process.wait()
    return count()


ITEMS = {f.__name__: f for f in (training, step, sampling, models, resume)}
