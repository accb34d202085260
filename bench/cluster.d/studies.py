"""Studies that are sent to a cluster, and what must hold of them afterwards.

Knows neither Slurm nor Ray: a site tells its profile, its environment and its machines.
"""

import collections
import contextlib
import json
import os
import signal
import subprocess
import time
from pathlib import Path

TICK_MS = 50
PATIENCE = 900
# A checkpoint is saved every second tick; so many are lost where one dies between two, and one more where it is stopped in the next.
INTERVAL = 3


class Lost(Exception):
    """Something that must not be."""


class Toys:
    """Two long nodes with checkpoints, many short ones, and what joins them."""

    def __init__(self, site, pipe, folder):
        self.site, self.pipe, self.folder = site, pipe, folder
        self.counts = folder / "counts"
        self.counts.mkdir(parents=True)
        self.store = site.place(folder)
        self.engines, self.struck = [], collections.Counter()
        self.lay()
        self.tell(site.profile())

    def lay(self, ticks=None, hours=None):
        """The recipe: long nodes of so many ticks, which ask for so many hours."""
        self.all_ticks = ticks = ticks or self.site.ticks
        long = f'kind = "toy-slow"\nticks = {ticks}\ntick_ms = {TICK_MS}\n'
        long += f"needs = {{ hours = {hours} }}\n" if hours else ""
        nodes = {f"s{i}": f"{long}seed = {i}" for i in range(2)}
        nodes |= {f"w{i}": f'kind = "toy-write"\ntext = "text {i}"' for i in range(6)}
        nodes |= {"j0": 'kind = "toy-join"\nin = { a = "s0", b = "w0" }', "j1": 'kind = "toy-join"\nin = { a = "s1", b = "j0" }'}
        self.nodes = list(nodes)
        text = "".join(f'[node.{name}]\n{body}\ncount = "{self.counts / name}"\n\n' for name, body in nodes.items())
        self.recipe = self.folder / "r.toml"
        self.recipe.write_text(text)

    def tell(self, profile):
        profiles = self.folder / "profiles"
        profiles.mkdir(exist_ok=True)
        (profiles / "lab.toml").write_text(profile)

    def short(self, nodes, jobs):
        """So many short nodes besides, for so few jobs at once that they share some."""
        names = [f"p{i}" for i in range(nodes)]
        each = (f'[node.{n}]\nkind = "toy-write"\ntext = "{n}"\nwait_ms = 200\ncount = "{self.counts / n}"\n\n' for n in names)
        self.recipe.write_text(self.recipe.read_text() + "".join(each))
        self.nodes += names
        profile = self.folder / "profiles" / "lab.toml"
        profile.write_text(f"jobs = {jobs}\n{profile.read_text()}")

    def environment(self):
        return {**self.site.environment(), "PIPE_PROFILES": str(self.folder / "profiles")}

    def start(self, *more, machine=0, on=("--on", "lab")):
        """An engine on a machine of the site; without `on` its nodes run there too."""
        log = (self.folder / f"engine-{len(self.engines)}.txt").open("w")
        words = [*self.site.enter(machine), self.pipe, "run", self.recipe, "--store", self.store, *on, *more]
        engine = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(), start_new_session=True)
        self.engines.append(engine)
        return engine

    def say(self, *words, machine=0):
        """What another verb says: status, output."""
        words = [*self.site.enter(machine), self.pipe, *words]
        said = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment(), timeout=PATIENCE)
        return said.returncode, said.stdout + said.stderr

    def finish(self, engine=None):
        engine = engine or self.engines[-1]
        try:
            engine.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise Lost(f"the run hangs; see {self.folder}") from None
        if engine.returncode != 0:
            text = (self.folder / f"engine-{self.engines.index(engine)}.txt").read_text()
            raise Lost(f"exit status {engine.returncode}: {' / '.join(text.strip().splitlines()[-4:])}")

    def must(self, holds, told):
        if not holds:
            raise Lost(told)

    def ticks(self, node="s0"):
        return lines(self.counts / node)

    def after(self, share, node="s0"):
        """When a long node has done so much of its ticks."""
        ticks = share * self.all_ticks
        self.until(lambda: self.ticks(node) >= ticks, f"{ticks:.0f} ticks of {node}")

    def further(self, share, node="s0"):
        self.after(self.ticks(node) / self.all_ticks + share, node)

    def until(self, what, told, seconds=150):
        until = time.monotonic() + seconds
        while not what():
            if time.monotonic() > until:
                raise Lost(f"no {told} within {seconds} s; see {self.folder}")
            if self.engines and self.engines[-1].poll() not in (None, 0, -9):
                self.finish()
            time.sleep(0.05)

    def node_of(self, attempt):
        try:
            return json.loads((attempt / "attempt.json").read_text())["node"]
        except (OSError, ValueError):
            return ""

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
        return seen(json.loads((self.attempt(node) / "worker.json").read_text()))

    def attendant(self, node):
        """The parent of the worker."""
        return parent(self.worker(node))

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
        again = retries(self.store)
        tried = again + self.struck
        twice, wasted = 0, 0
        for node in self.nodes:
            count = lines(self.counts / node)
            if node.startswith("s"):
                wasted += count - self.all_ticks
                twice += count - self.all_ticks > tried[node] * INTERVAL
            else:
                twice += count > 1 + tried[node]
        differ = sum(here[node] != there[node] for node in here)
        return {"executed_twice": twice, "digests_differ": differ, "wasted_ticks": wasted, "retries": sum(again.values())}

    def classes(self):
        """Of the retries, the classes of failures."""
        return collections.Counter(event["class"] for event in events(self.store, "retry"))

    def outputs(self, store):
        """By node and output; every node has one record."""
        found = {}
        for record in records_of(self.pipe, store):
            node = record["made_by"]["node"]
            if node in found:
                raise Lost(f"two records of `{node}`")
            found[node] = digests(record)
        return found

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
                end(engine)


def end(engine):
    """With whatever entered a machine for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(engine.pid, signal.SIGKILL)
    engine.wait()


def seen(process):
    """The id of a process as it is seen from here, where it may live in a namespace of its own."""
    if process["namespace"] == os.readlink("/proc/self/ns/pid"):
        return process["pid"]
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError, StopIteration):
            if entry.name.isdigit() and os.readlink(entry / "ns/pid") == process["namespace"]:
                line = next(line for line in (entry / "status").read_text().splitlines() if line.startswith("NSpid:"))
                if int(line.split()[-1]) == process["pid"]:
                    return int(entry.name)
    raise ProcessLookupError(f"no process {process['pid']} in {process['namespace']}")


def parent(pid):
    return int(stat(pid)[1])


def alive(path):
    """The id, as it is seen from here, of who has signed as a worker in this file, if it runs: ids are given again."""
    with contextlib.suppress(OSError, ValueError, KeyError):
        worker = json.loads(path.read_text())
        pid = seen(worker)
        state, start = stat(pid)[0], int(stat(pid)[19])
        return pid if start == worker["start"] and state not in "ZX" else None


def words(pid):
    """The command line of a process."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")


def stat(pid):
    """What the kernel says of a process, from its state on."""
    return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()


def events(store, kind):
    """All of a kind, of all runs."""
    for journal in (store / "runs").glob("*/events.jsonl"):
        for line in journal.read_text().splitlines():
            with contextlib.suppress(ValueError):
                event = json.loads(line)["event"] if f'"{kind}"' in line else {}
                if event.get("is") == kind:
                    yield event


def retries(store):
    """By node, how often an attempt of it ended otherwise than well, in all runs together."""
    return collections.Counter(event["node"] for event in events(store, "retry"))


def records_of(pipe, store):
    said = subprocess.run([pipe, "ls", "--json", "--store", store], capture_output=True, text=True, check=True)
    return json.loads(said.stdout)["records"]


def digests(record):
    return {name: output["digest"] for name, output in record["outputs"].items()}


def lines(path):
    try:
        return path.read_text().count("\n")
    except FileNotFoundError:
        return 0
