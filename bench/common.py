"""What the benchmarks share: the two sides as processes, taking turns with them, and the figures that come of it.

Owns the environment that both sides run in. Knows no model and no library: standard library only.
"""

import argparse
import collections
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
VENV = (TARGET / "bench-venv").resolve()
PYTHON = VENV / "bin" / "python"
LOGS = TARGET / "bench-logs"


def config(family, vocabulary, d, layers, heads, ff, kv_heads=None, tied=False):
    """The shape of a model as the `config.json` that both sides read."""
    return {
        "architectures": [f"{family.capitalize()}ForCausalLM"],
        "model_type": family,
        "hidden_act": "silu",
        "vocab_size": vocabulary,
        "hidden_size": d,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads or heads,
        "head_dim": d // heads,
        "intermediate_size": ff,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
        "max_position_embeddings": 2048,
        "initializer_range": 0.02,
        "tie_word_embeddings": tied,
        "attention_dropout": 0.0,
        "bos_token_id": None,
        "eos_token_id": None,
        "pad_token_id": 0,
    }


def tiny(family):
    """1.0 M parameters."""
    return config(family, 512, 128, 4, 4, 384)


def small(family):
    """6.2 M parameters."""
    return config(family, 2048, 256, 6, 8, 768)


def arguments(doc, rounds):
    parser = argparse.ArgumentParser(description=doc.splitlines()[0], epilog="See bench/README.md.")
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of every side (default %(default)s)")
    parser.add_argument("--threads", type=int, default=2, help="threads of every side (default %(default)s)")
    parser.add_argument("--side", type=program, metavar="PATH", help="our side, which is there already: nothing is built")
    return parser


def before(parser):
    """For those whose units are timed: also two builds of ours against each other."""
    parser.add_argument(
        "--before",
        type=program,
        metavar="PATH",
        help="another build of our side, which takes the libraries' turns: none of them is installed or run",
    )
    return parser


def program(path):
    """Whole, as the sides have another working directory."""
    path = Path(path).resolve()
    if not os.access(path, os.X_OK) or path.is_dir():
        raise argparse.ArgumentTypeError(f"{path} is no program")
    return path


def say(text):
    print(text, file=sys.stderr, flush=True)


def set_up_python():
    """A virtual environment with `requirements.txt` in it; made once, made anew where the requirements changed."""
    wanted = hashlib.sha256((ROOT / "bench" / "requirements.txt").read_bytes()).hexdigest()
    mark = VENV / "requirements.sha256"
    if mark.exists() and mark.read_text() == wanted:
        return
    say(f"installing bench/requirements.txt into {VENV} (about 6 GB, minutes)")
    shutil.rmtree(VENV, ignore_errors=True)
    subprocess.run([sys.executable, "-m", "venv", VENV], check=True)
    pip("install", "-r", ROOT / "bench" / "requirements.txt")
    mark.write_text(wanted)


def pip(verb, *words):
    """pip of the virtual environment; what it says goes to stderr. Ends the script where it fails."""
    done = subprocess.run([PYTHON, "-m", "pip", verb, "--quiet", *words], stdout=sys.stderr)
    if done.returncode != 0:
        raise SystemExit(f"pip {verb} failed: the packages come from PyPI, or from an index that pip's settings name (PIP_INDEX_URL)")


def enter_venv():
    """Starts the calling script again inside the virtual environment, unless it runs there already."""
    if Path(sys.prefix).resolve() == VENV:
        return
    set_up_python()
    sys.stdout.flush()
    os.execve(PYTHON, [str(PYTHON), *sys.argv], environment(os.cpu_count()))


def set_up(options):
    """Our side's path, and what it is compared with is there."""
    if options.before is None:
        set_up_python()
    return options.side or set_up_rust()


def set_up_rust():
    """Builds our side and returns its path."""
    build = ["cargo", "build", "--release", "--bench", "side", "--message-format=json-render-diagnostics"]
    out = subprocess.run(build, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    for line in out.splitlines():
        message = json.loads(line)
        if message.get("target", {}).get("name") == "side" and message.get("executable"):
            return message["executable"]
    raise SystemExit("cargo named no executable for the bench `side`")


def environment(threads):
    """The same for both sides, and for torch what is best for it (README: fairness)."""
    env = dict(os.environ)
    # They pin an old kernel of OpenBLAS on some machines and slow a current one.
    env.pop("OPENBLAS_CORETYPE", None)
    env.pop("OPENBLAS_L2_SIZE", None)
    for name in ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        env[name] = str(threads)
    env.update(
        # Whoever waits sleeps: the side that has its turn has the machine.
        OMP_WAIT_POLICY="passive",
        GOMP_SPINCOUNT="0",
        KMP_BLOCKTIME="0",
        CUDA_VISIBLE_DEVICES="",
        HF_HOME=str(VENV / "hf"),
        HF_HUB_OFFLINE="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        TOKENIZERS_PARALLELISM="false",
        TORCHINDUCTOR_CACHE_DIR=str(VENV / "inductor"),
        PYTHONWARNINGS="ignore",
    )
    return env


class Side:
    """A process that does one unit of work for every line it reads, and times it itself."""

    def __init__(self, name, command, threads=2, env=None):
        LOGS.mkdir(parents=True, exist_ok=True)
        self.name = name
        self.log = LOGS / f"{name.replace(' ', '-')}.log"
        self.process = subprocess.Popen(
            [str(word) for word in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=open(self.log, "w"),
            text=True,
            cwd=ROOT,
            env=env or environment(threads),
        )
        self.about = self.answer()

    def answer(self):
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            tail = "\n".join(self.log.read_text().splitlines()[-15:])
            raise SystemExit(f"{self.name} ended with status {self.process.returncode}:\n{tail}")
        return json.loads(line)

    def go(self, unit):
        self.process.stdin.write(unit + "\n")
        self.process.stdin.flush()
        return self.answer()

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def ours(side, what, work, threads):
    return Side(f"pipe {what}", [side, what, json.dumps(work)], threads)


def theirs(what, work, threads, *options):
    return Side(f"peer {what}", [PYTHON, ROOT / "bench" / "peer.py", what, json.dumps(work), *options], threads)


def with_before(works, side, options):
    """Two builds of our side in turns, for every work; the keys for the last line."""
    keys = {}
    for name, (what, work) in works.items():
        us = ours(side, what, work, options.threads)
        older = Side(f"before {what}", [options.before, what, json.dumps(work)], options.threads)
        assert us.about["parameters"] == older.about["parameters"], "both builds have the same model"
        turns = Turns()
        turns.add("pipe", us)
        turns.add("before", older)
        replies = turns.take(options.rounds)
        us.end()
        older.end()
        ratio = pairs(replies["before"], replies["pipe"])
        figures = [Figure(label, [1e3 * s for s in numbers(list_)], "ms") for label, list_ in replies.items()]
        figures.append(Figure("pipe against before", ratio, "times"))
        others = f"others had {turns.neighbours:.0%} of the machine"
        table(f"{name}: {us.about['parameters'] / 1e6:.2f} M parameters; {others}", figures)
        keys[f"{name}_vs_before"] = median(ratio)
    return keys


class Turns:
    """Sides that take turns, A B C A B C ..., one unit at a time; nothing else of ours runs meanwhile."""

    def __init__(self):
        self.units = []

    def add(self, label, side, unit="go"):
        self.units.append((label, side, unit))

    def take(self, rounds, warm=3):
        """The replies of every label, one a round. The first `warm` rounds are not kept."""
        replies = {label: [] for label, _, _ in self.units}
        sides = {side for _, side, _ in self.units}
        for turn in range(warm + rounds):
            if turn == warm:
                watch = Neighbours(sides)
            for label, side, unit in self.units:
                reply = side.go(unit)
                if turn >= warm:
                    replies[label].append(reply)
        self.neighbours = watch.share()
        return replies


class Neighbours:
    """How much of the machine others had: all its busy time less that of the sides and of this process."""

    def __init__(self, sides):
        self.sides = sides
        self.start = time.monotonic(), self.others()

    def others(self):
        ticks = os.sysconf("SC_CLK_TCK")
        first = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
        user, nice, system, _idle, _iowait, irq, softirq, steal = (int(n) / ticks for n in first[:8])
        own = sum(os.times()[:4]) + sum(side.cpu_seconds() for side in self.sides)
        return user + nice + system + irq + softirq + steal - own

    def share(self):
        wall = (time.monotonic() - self.start[0]) * os.cpu_count()
        return max(0.0, (self.others() - self.start[1]) / wall)


def numbers(replies, key="seconds"):
    return [reply[key] for reply in replies]


def pairs(over, under, key="seconds"):
    """Pair by pair: how many times longer `over` took."""
    return pairs_of(numbers(over, key), numbers(under, key))


def pairs_of(over, under):
    return [a / b for a, b in zip(over, under)]


Figure = collections.namedtuple("Figure", "name values unit")


def table(title, figures):
    """Minimum, median and maximum of every figure."""
    width = max(len(figure.name) for figure in figures)
    print(f"\n{title}")
    print(f"  {'':{width}}  {'min':>10} {'median':>10} {'max':>10}")
    for name, values, unit in figures:
        low, mid, high = min(values), statistics.median(values), max(values)
        print(f"  {name:{width}}  {shown(low):>10} {shown(mid):>10} {shown(high):>10}  {unit}")
    sys.stdout.flush()


def shown(x):
    return f"{x:.0f}" if x >= 1000 else f"{x:.1f}" if x >= 20 else f"{x:.3f}"


def median(values):
    return round(statistics.median(values), 3)


def about_machine(threads):
    names = [l.split(":")[1].strip() for l in Path("/proc/cpuinfo").read_text().splitlines() if l.startswith("model name")]
    load = " ".join(f"{x:.2f}" for x in os.getloadavg())
    print(f"{names[0] if names else 'unknown processor'}, {os.cpu_count()} CPUs, {threads} threads a side, load before {load}")


def finish(keys):
    """The last line."""
    print(json.dumps(keys))
