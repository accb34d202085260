"""Studies that are sent to a cluster, and what must hold of them afterwards.

Knows neither Slurm nor Ray: a site tells its profile and its environment.
"""

import collections
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import common

TICKS, TICK_MS = 160, 50
PATIENCE = 400
# A checkpoint is saved every second tick; so many are lost where one dies between two, and one more where it is stopped in the next.
INTERVAL = 3


class Lost(Exception):
    """Something that must not be."""


class Toys:
    """Two long nodes with checkpoints, many short ones, and what joins them."""

    def __init__(self, site, pipe, folder):
        self.site, self.pipe, self.folder = site, pipe, folder
        self.store, self.counts = folder / "store", folder / "counts"
        self.counts.mkdir(parents=True)
        self.engines = []
        nodes = {f"s{i}": f'kind = "toy-slow"\nticks = {TICKS}\nseed = {i}\ntick_ms = {TICK_MS}' for i in range(2)}
        nodes |= {f"w{i}": f'kind = "toy-write"\ntext = "text {i}"' for i in range(6)}
        nodes |= {"j0": 'kind = "toy-join"\nin = { a = "s0", b = "w0" }', "j1": 'kind = "toy-join"\nin = { a = "s1", b = "j0" }'}
        self.nodes = list(nodes)
        text = "".join(f'[node.{name}]\n{body}\ncount = "{self.counts / name}"\n\n' for name, body in nodes.items())
        self.recipe = folder / "r.toml"
        self.recipe.write_text(text)
        profiles = folder / "profiles"
        profiles.mkdir()
        (profiles / "lab.toml").write_text(site.profile())

    def environment(self):
        return {**self.site.environment(), "PIPE_PROFILES": str(self.folder / "profiles")}

    def start(self, *more):
        """An engine."""
        log = (self.folder / f"engine-{len(self.engines)}.txt").open("w")
        words = [self.pipe, "run", self.recipe, "--store", self.store, "--on", "lab", *more]
        engine = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(), start_new_session=True)
        self.engines.append(engine)
        return engine

    def finish(self, engine=None):
        engine = engine or self.engines[-1]
        try:
            engine.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Lost(f"the run hangs; see {self.folder}") from None
        if engine.returncode != 0:
            text = (self.folder / f"engine-{self.engines.index(engine)}.txt").read_text()
            raise Lost(f"exit status {engine.returncode}: {' / '.join(text.strip().splitlines()[-4:])}")

    def ticks(self, node="s0"):
        return lines(self.counts / node)

    def after(self, ticks, node="s0"):
        self.until(lambda: self.ticks(node) >= ticks, f"{ticks} ticks of {node}")

    def until(self, what, told, seconds=150):
        until = time.monotonic() + seconds
        while not what():
            if time.monotonic() > until:
                raise Lost(f"no {told} within {seconds} s; see {self.folder}")
            if self.engines and self.engines[-1].poll() not in (None, 0, -9):
                self.finish()
            time.sleep(0.05)

    def attempt(self, node):
        """The newest attempt of a node that has a worker, and what is known of who attends to it."""
        found = []
        for folder in sorted((self.store / "attempts").glob("*")):
            try:
                spec = json.loads((folder / "attempt.json").read_text())
            except (OSError, ValueError):
                continue
            if spec["node"] == node and (folder / "worker.json").exists():
                found.append((spec["started_ms"], folder))
        return max(found)[1] if found else None

    def worker(self, node):
        return json.loads((self.attempt(node) / "worker.json").read_text())["pid"]

    def attendant(self, node):
        """The parent of the worker."""
        stat = Path(f"/proc/{self.worker(node)}/stat").read_text()
        return int(stat.rsplit(")", 1)[1].split()[1])

    def judge(self):
        """After the run: what was lost, executed twice, or came out otherwise."""
        here, there = self.outputs(self.store), self.local()
        if set(here) != set(there):
            raise Lost(f"records differ: {sorted(set(here) ^ set(there))}")
        records = len(list((self.store / "actions").glob("*/*.json")))
        if records != len(self.nodes):
            raise Lost(f"{records} records of {len(self.nodes)} nodes")
        verified = subprocess.run([self.pipe, "verify", "--store", self.store], capture_output=True, text=True)
        if verified.returncode != 0:
            raise Lost(f"the store is not sound: {verified.stdout[-300:]}")
        again = self.retries()
        twice, wasted = 0, 0
        for node in self.nodes:
            seen, allowed = lines(self.counts / node), 1 + again[node]
            if node.startswith("s"):
                wasted += seen - TICKS
                twice += seen - TICKS > again[node] * INTERVAL
            else:
                twice += seen > allowed
        differ = sum(here[node] != there[node] for node in here)
        return {"executed_twice": twice, "digests_differ": differ, "wasted_ticks": wasted, "evicted": sum(again.values())}

    def retries(self):
        """By node, how often an attempt of it ended otherwise than well, in all runs together."""
        found = collections.Counter()
        for journal in (self.store / "runs").glob("*/events.jsonl"):
            for line in journal.read_text().splitlines():
                event = json.loads(line)["event"] if '"retry"' in line else {}
                if event.get("is") == "retry":
                    found[event["node"]] += 1
        return found

    def outputs(self, store):
        return digests(self.pipe, store)

    def local(self):
        """The digests that a run on this machine gives; counted in another place."""
        store = self.folder / "local"
        text = self.recipe.read_text().replace(str(self.counts), str(self.folder / "elsewhere")).replace(f"tick_ms = {TICK_MS}", "tick_ms = 0")
        (self.folder / "elsewhere").mkdir(exist_ok=True)
        recipe = self.folder / "local.toml"
        recipe.write_text(text)
        subprocess.run([self.pipe, "run", recipe, "--store", store, "-q"], check=True, stdin=subprocess.DEVNULL)
        return self.outputs(store)

    def end(self):
        for engine in self.engines:
            if engine.poll() is None:
                os.killpg(engine.pid, signal.SIGKILL)
                engine.wait()


def digests(pipe, store):
    """By node and output; every node has one record."""
    said = subprocess.run([pipe, "ls", "--json", "--store", store], capture_output=True, text=True, check=True)
    found = {}
    for record in json.loads(said.stdout)["records"]:
        node = record["made_by"]["node"]
        if node in found:
            raise Lost(f"two records of `{node}`")
        found[node] = {name: output["digest"] for name, output in record["outputs"].items()}
    return found


def lines(path):
    try:
        return path.read_text().count("\n")
    except FileNotFoundError:
        return 0


def under_kills(site, pipe, folder, options):
    """A real study on the cluster, while workers, attendants and engines are killed at random; then the same on this machine."""
    rng = random.Random(options.seed)
    profiles = folder / "profiles"
    profiles.mkdir(exist_ok=True)
    (profiles / "lab.toml").write_text(site.profile())
    environment = {**site.environment(), "PIPE_PROFILES": str(profiles)}
    sets = [word for value in options.set for word in ("--set", value)]
    store, tally = folder / "store", collections.Counter()
    log = (folder / "study.txt").open("w")

    def engine():
        words = [pipe, "run", options.study, *sets, "--store", store, "--on", "lab"]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True)

    running, started, left = engine(), time.monotonic(), options.kills
    due = started + options.every * rng.uniform(0.5, 1.5)
    while True:
        time.sleep(0.5)
        if running.poll() is not None:
            break
        if left and time.monotonic() > due:
            due = time.monotonic() + options.every * rng.uniform(0.5, 1.5)
            what = rng.choice(["worker", "attendant", "attendant", "engine"])
            if what == "engine":
                running.kill()
                running.wait()
                running = engine()
            else:
                victim = random_process(store, what, rng)
                if victim is None:
                    continue
                os.kill(victim, signal.SIGKILL)
            left -= 1
            tally[what] += 1
            common.say(f"{time.monotonic() - started:7.0f} s  killed: {what}")
    seconds = time.monotonic() - started
    if running.returncode != 0:
        print(f"the study ended with status {running.returncode}; see {log.name}")
    local = folder / "local"
    began = time.monotonic()
    subprocess.run([pipe, "run", options.study, *sets, "--store", local, "-q"], check=True, stdin=subprocess.DEVNULL)
    here, there = digests(pipe, store), digests(pipe, local)
    differ = sum(here.get(node) != outputs for node, outputs in there.items())
    lost = len(set(there) - set(here))
    told = {"nodes": len(there), "kills": dict(tally), "seconds": round(seconds), "local_seconds": round(time.monotonic() - began)}
    common.finish({"cases": 1, "lost": lost, "executed_twice": 0, "digests_differ": differ, **told})
    return 1 if lost or differ or running.returncode else 0


def random_process(store, what, rng):
    found = []
    for path in (store / "attempts").glob("*/worker.json"):
        try:
            worker = json.loads(path.read_text())["pid"]
            stat = Path(f"/proc/{worker}/stat").read_text()
        except (OSError, ValueError, KeyError):
            continue
        found.append(worker if what == "worker" else int(stat.rsplit(")", 1)[1].split()[1]))
    return rng.choice([pid for pid in found if pid > 1] or [None])
