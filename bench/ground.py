"""Where the accidents of bench/torture happen: a store, a small study, what an undisturbed run gives, and what must hold afterwards.

Knows no accident.
"""

import collections
import copy
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import closure
import toys

# A run of milliseconds that takes so long hangs.
PATIENCE = 40
THREADS = "4"
COUNTED = "cases kills random_kills survivals reexecuted places full_places flips found healed unnoticed lost litter drafts sweeps".split()


class Accident(Exception):
    """Something that must not be."""


class Lost(Accident):
    """The store holds what is wrong."""


class Litter(Accident):
    """Something stays behind that nobody will ever need."""


class Skipped(Exception):
    """This machine or this binary cannot do that."""


class Ended:
    """A command that has ended."""

    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def last(self):
        return " / ".join((self.err + self.out).strip().splitlines()[-3:])


class Ground:
    def __init__(self, pipe, folder, namespace, deeds):
        """`namespace`: mounting is allowed. `deeds`: what a case does, by the first word of its name."""
        self.pipe, self.parent, self.namespace, self.deeds = pipe, folder, namespace, deeds
        self.node = {}
        self.stand(0)
        self.verbs = set(re.findall(r"^  ([a-z]+) ", self.command("--help").out, re.MULTILINE))
        self.undisturbed()

    def undisturbed(self):
        """What the recipe gives if nothing happens: the measure of everything else."""
        self.seconds = PATIENCE
        self.known = self.given(more=True)
        self.reference = self.given()
        assert self.reference.items() <= self.known.items(), "toy nodes give the same bytes every time"
        self.clear()
        trace = self.folder / "trace"
        self.expect(self.run({"PIPE_FAULT_TRACE": str(trace)}), 0)
        passes = collections.Counter(trace.read_text().split())
        self.struck = [(place, n) for place, count in sorted(passes.items()) for n in range(1, count + 1)]

    def stand(self, number):
        """Where cases happen, and what is counted there."""
        self.folder = self.parent / str(number)
        self.tally, self.by_kind, self.processes = dict.fromkeys(COUNTED, 0), {}, []

    def beside(self, number):
        """The same knowledge on a ground of its own."""
        other = copy.copy(self)
        other.stand(number)
        other.tally["places"] = len({place for place, _ in self.struck}) if number == 0 else 0
        return other

    def given(self, more=False):
        """Digests of outputs by key."""
        self.clear()
        self.write_recipe(more)
        started = time.monotonic()
        self.expect(self.run(), 0)
        self.seconds = min(self.seconds, time.monotonic() - started)
        found = closure.records(self.store)
        wrong = closure.broken(self.store)
        if wrong or not found:
            raise SystemExit(f"an undisturbed run leaves a store that is not sound: {wrong}")
        self.node.update((key, record["provenance"]["node"]) for key, record in found.items())
        return {key: closure.outputs(record) for key, record in found.items()}

    def clear(self):
        """A new store, a new recipe file, no executions counted."""
        self.unmount()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.store, self.counts = self.folder / "store", self.folder / "counts"
        self.recipe = self.folder / "study.toml"
        self.counts.mkdir(parents=True)
        self.write_recipe()
        # Strikes that may have met every node; those that met the workers of one, by node.
        self.strikes, self.own_strikes, self.litter = 0, collections.Counter(), ""

    def unmount(self):
        while os.path.ismount(self.folder / "store"):
            subprocess.run(["umount", "--lazy", self.folder / "store"], check=True)

    def write_recipe(self, more=False):
        source = self.parent / "source.txt"
        if not source.exists():
            source.write_text("epsilon\n")
        text, self.ticks = toys.study(self.counts, source, more)
        self.recipe.write_text(text)

    def case(self, name):
        kind, _, which = name.partition(":")
        entry = self.by_kind.setdefault(kind, [0, 0, 0.0])
        entry[0] += 1
        started = time.monotonic()
        self.clear()
        self.tally["cases"] += 1
        try:
            self.deeds[kind](self, which, random.Random(name))
            if self.litter:
                raise Litter(self.litter)
        except Skipped:
            entry[0] -= 1
            self.tally["cases"] -= 1
            raise
        except Accident as accident:
            entry[1] += 1
            self.tally["lost"] += isinstance(accident, Lost)
            self.tally["litter"] += isinstance(accident, Litter)
            raise
        finally:
            self.end_processes()
            entry[2] += time.monotonic() - started

    # Commands.

    def start(self, words=None, env=()):
        words = words or ["run", self.recipe, "--store", self.store, "--threads", THREADS]
        self.folder.mkdir(parents=True, exist_ok=True)
        files = [(self.folder / f"{stream}-{time.monotonic_ns()}").open("w+") for stream in ("out", "err")]
        process = subprocess.Popen(
            [self.pipe, *words], stdin=subprocess.DEVNULL, stdout=files[0], stderr=files[1], env={**os.environ, **dict(env)}
        )
        process.files = files
        self.processes.append(process)
        return process

    def end(self, process, patience=PATIENCE):
        try:
            status = process.wait(patience)
        except subprocess.TimeoutExpired:
            kill_with_workers(process)
            process.wait()
            raise Accident(f"`{' '.join(map(str, process.args[1:]))}` hangs: not done after {patience} s") from None
        texts = []
        for file in process.files:
            file.seek(0)
            texts.append(file.read())
            file.close()
        return Ended(status, *texts)

    def command(self, *words):
        return self.end(self.start(words))

    def run(self, env=()):
        return self.end(self.start(env=env))

    def end_processes(self):
        for process in self.processes:
            if process.poll() is None:
                kill_with_workers(process)
                process.wait()
        self.processes = []

    # What must hold.

    def expect(self, ended, *statuses):
        if ended.status not in statuses:
            wanted = " or ".join(map(str, statuses))
            raise Accident(f"exit status {ended.status} where {wanted} was due: {ended.last()}")

    def sound(self, logs=True, due=None):
        """Whatever happened: what is recorded is whole and right. `due`: the keys whose files have to be there; nothing: all."""
        wrong = closure.broken(self.store, logs, due)
        if wrong:
            raise Lost("; ".join(wrong[:3]))
        for key, record in closure.records(self.store).items():
            if self.known.get(key) != closure.outputs(record):
                raise Lost(f"node `{self.node.get(key, '?')}` has other outputs than in an undisturbed run: {closure.outputs(record)}")

    def finished(self):
        """By node that has a record: how many executions were counted so far. To be taken while nothing runs."""
        recorded = {path.stem for path in (self.store / "actions").glob("*/*.json")}
        return {self.node[key]: self.executions(self.node[key]) for key in recorded if key in self.node}

    def executions(self, node):
        path = self.counts / node
        return path.read_text().count("\n") if path.exists() else 0

    def unrepeated(self, before):
        again = [node for node, n in before.items() if self.executions(node) != n]
        if again:
            self.tally["reexecuted"] += len(again)
            raise Accident(f"finished nodes ran again: {', '.join(again)}")

    def note_deaths(self, folders):
        """A worker dies in the folder of its attempt, which begins with its key; whoever dies elsewhere is the engine."""
        for folder in map(Path, folders):
            nodes = {node for key, node in self.node.items() if folder.parent.name == "attempts" and folder.name.startswith(key[:12])}
            self.own_strikes.update(nodes)
            self.strikes += not nodes

    def thrifty(self):
        """Two ticks lie between checkpoints, so a strike costs at most two."""
        for node, ticks in self.ticks.items():
            walked, strikes = self.executions(node), self.strikes + self.own_strikes[node]
            if walked > ticks + 2 * strikes:
                raise Accident(f"node `{node}` of {ticks} ticks walked {walked} in spite of its checkpoints, {strikes} strikes")

    def whole(self, logs=True, due=None):
        """After a run that ended well."""
        self.sound(logs, due)
        missing = set(self.reference) - set(closure.records(self.store))
        if missing:
            raise Accident(f"no record of {', '.join(sorted(self.node[key] for key in missing))} after a whole run")
        listed = self.command("ls", "--store", self.store, "--json")
        self.expect(listed, 0)
        shown = {r["key"]: {name: o["digest"] for name, o in r["outputs"].items()} for r in json.loads(listed.out)["records"]}
        if any(shown.get(key) != outputs for key, outputs in self.reference.items()):
            raise Lost("`pipe ls` does not list what an undisturbed run gives")
        left = sorted(path.name for path in (self.store / "attempts").iterdir())
        if left:
            nodes = {self.node.get(key) for key in self.node for name in left if name.startswith(key[:12])}
            self.litter = f"left in attempts/ after a whole run: {', '.join(left[:3])} (of {', '.join(sorted(map(str, nodes)))}), {self.strikes + self.own_strikes.total()} strikes"
        self.tally["drafts"] += sum(1 for _ in (self.store / "tmp").iterdir())

    def recover(self):
        """Runs to the end undisturbed, executing nothing that was finished; then once more, executing nothing at all."""
        before = self.finished()
        self.expect(self.run(), 0)
        self.unrepeated(before)
        self.whole()
        before = self.finished()
        self.expect(self.run(), 0)
        self.unrepeated(before)


def children(pid):
    try:
        return [int(word) for task in Path(f"/proc/{pid}/task").iterdir() for word in (task / "children").read_text().split()]
    except OSError:
        return []


def kill(pid, what=signal.SIGKILL):
    try:
        os.kill(pid, what)
    except ProcessLookupError:
        pass


def kill_with_workers(process):
    """The engine first stands still, so that it starts no further worker."""
    if process.poll() is None:
        kill(process.pid, signal.SIGSTOP)
        for pid in children(process.pid):
            kill(pid)
        kill(process.pid)
