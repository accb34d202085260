"""A laboratory of machines that share a store: each has a store, a folder of settings and keys, and meets the object store through the proxy.

Owns how a command is called and what must hold after it; knows no fault. What is at the remote is read past the proxy and checked by code that shares
nothing with `pipe` (closure.py, blake3.py).
"""

import collections
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import blake3  # noqa: E402
import closure  # noqa: E402
import servers  # noqa: E402
import toys  # noqa: E402

# A study of milliseconds that takes so long hangs.
PATIENCE = 60


class Accident(Exception):
    """Something that must not be."""


class Torn(Accident):
    """Something was believed that is not what was made."""


class Lost(Accident):
    """Something that was committed is gone."""


class Ended:
    def __init__(self, status, out, err, seconds):
        self.status, self.out, self.err, self.seconds = status, out, err, seconds

    def last(self):
        return " / ".join((self.err + self.out).strip().splitlines()[-4:])


class Machine:
    """Somebody's computer."""

    def __init__(self, lab, name):
        self.lab, self.name = lab, name
        self.home = lab.folder / name
        self.store, self.config = self.home / "store", self.home / "config"
        self.counts = self.home / "counts"
        self.counts.mkdir(parents=True, exist_ok=True)
        self.env, self.who = {}, servers.WRITER
        self.before = []
        self.seen = {}

    def start(self, *words, env=(), remote=True):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "PIPE_"))}
        environment.update(PIPE_CONFIG=str(self.config), PIPE_STORE=str(self.store), NO_COLOR="1")
        if remote:
            environment.update(self.lab.address(self.who))
        environment.update(self.env)
        environment.update(env)
        files = [(self.home / f"{stream}-{time.monotonic_ns()}").open("w+") for stream in ("out", "err")]
        process = subprocess.Popen(
            [*self.before, self.lab.pipe, *map(str, words)], stdin=subprocess.DEVNULL, stdout=files[0], stderr=files[1], env=environment, cwd=self.home
        )
        process.files, process.began = files, time.monotonic()
        self.lab.processes.append(process)
        return process

    def end(self, process, patience=PATIENCE):
        try:
            status = process.wait(patience)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Accident(f"{self.name}: `{' '.join(map(str, process.args[1:]))}` is not done after {patience} s") from None
        seconds = time.monotonic() - process.began
        texts = []
        for file in process.files:
            file.seek(0)
            texts.append(file.read())
            file.close()
        return Ended(status, *texts, seconds)

    def pipe(self, *words, env=(), remote=True, patience=PATIENCE):
        return self.end(self.start(*words, env=env, remote=remote), patience)

    def ok(self, *words, **options):
        ended = self.pipe(*words, **options)
        self.expect(ended, 0)
        return ended

    def expect(self, ended, *statuses):
        if ended.status not in statuses:
            raise Accident(f"{self.name}: exit status {ended.status} where {' or '.join(map(str, statuses))} was due: {ended.last()}")

    def recipe(self, more=False):
        """The small study, every node counting its executions on this machine."""
        path = self.home / ("more.toml" if more else "study.toml")
        path.write_text(toys.study(self.counts, self.lab.source, more)[0])
        return path

    def run(self, more=False, env=(), remote=True, patience=PATIENCE):
        return self.pipe("run", self.recipe(more), env=env, remote=remote, patience=patience)

    def executed(self):
        """How many times each node was executed here."""
        return {path.name: path.read_text().count("\n") for path in sorted(self.counts.iterdir())}

    def keys(self):
        return {path.stem for path in (self.store / "actions").glob("*/*.json")}

    # What must hold.

    def sound(self):
        """Whatever is recorded here is what an undisturbed run gives, and what is here of it is whole."""
        marked = {path.stem for path in (self.store / "actions").glob("*/*.evicted")}
        wrong = closure.broken(self.store, logs=False, due=self.keys() - marked)
        if wrong:
            raise Torn(f"{self.name}: {'; '.join(wrong[:3])}")
        for key, record in closure.records(self.store).items():
            known = self.lab.known.get(key)
            if known is not None and known != closure.outputs(record):
                raise Torn(f"{self.name}: `{self.lab.node.get(key, '?')}` has other outputs than in an undisturbed run")
        lost = set(self.seen) - self.keys()
        if lost:
            raise Lost(f"{self.name}: records are gone: {', '.join(sorted(self.lab.node.get(key, key[:12]) for key in lost))}")
        self.seen = dict.fromkeys(self.keys())

    def whole(self, ended, more=False):
        """After a run that was to go on whatever happened at the remote."""
        self.expect(ended, 0)
        self.sound()
        due = self.lab.known if more else self.lab.reference
        missing = set(due) - self.keys()
        if missing:
            raise Accident(f"{self.name}: no record of {', '.join(sorted(self.lab.node[key] for key in missing))} after a whole run")

    def has_host(self):
        """From now on a host of its own: nobody elsewhere sees whether its processes live."""
        named = f'hostname {self.name}-host; exec "$@"'
        self.before = ["unshare", "--uts", "sh", "-c", named, "sh"]

    def name_key(self):
        self.ok("keys", "new", "--name", self.name)
        return json.loads(self.ok("keys", "show", "--json").out)["line"]


class Lab:
    def __init__(self, pipe, folder, server, proxy):
        self.pipe, self.parent, self.server, self.proxy = pipe, folder, server, proxy
        self.number, self.processes = 0, []
        self.folder = folder / "0"
        self.source = folder / "source.txt"
        self.source.write_text("epsilon\n")
        self.known, self.node = {}, {}
        self.undisturbed()

    def undisturbed(self):
        """What the studies give where there is no remote: the measure of everything else."""
        self.seconds = self.alone()
        alone = Machine(self, "alone")
        alone.expect(alone.run(remote=False), 0)
        self.reference = {key: closure.outputs(r) for key, r in closure.records(alone.store).items()}
        alone.expect(alone.run(more=True, remote=False), 0)
        records = closure.records(alone.store)
        self.known = {key: closure.outputs(r) for key, r in records.items()}
        self.node = {key: r["provenance"]["node"] for key, r in records.items()}

    def alone(self):
        """How long the study takes now where there is no remote."""
        machine = Machine(self, f"alone-{time.monotonic_ns()}")
        ended = machine.run(remote=False)
        machine.expect(ended, 0)
        return ended.seconds

    def fresh(self, *names, trust=True):
        """New machines before an empty place of the remote; each trusts the others, unless that is the case."""
        self.end_processes()
        shutil.rmtree(self.folder, ignore_errors=True)
        self.number += 1
        self.folder = self.parent / str(self.number)
        self.proxy.set()
        if not self.server.network:
            (self.server.folder / self.prefix()).mkdir(parents=True)
        machines = [Machine(self, name) for name in names]
        lines = {machine.name: machine.name_key() for machine in machines}
        for machine in machines if trust else []:
            for name, line in lines.items():
                if name != machine.name:
                    machine.ok("keys", "trust", line)
        self.lines = lines
        return machines

    def prefix(self):
        return f"team/{self.number}"

    def address(self, who):
        if not self.server.network:
            return {"PIPE_REMOTE": str(self.server.folder / self.prefix())}
        return {
            "PIPE_REMOTE": f"s3://{servers.BUCKET}/{self.prefix()}",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.proxy.port}",
            "AWS_ENDPOINT": f"http://127.0.0.1:{self.proxy.port}",
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": who[0],
            "AWS_SECRET_ACCESS_KEY": who[1],
        }

    def end_processes(self):
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                process.wait()
        self.processes = []

    # What lies at the remote.

    def names(self, folder=""):
        prefix = f"{self.prefix()}/"
        found = self.server.names(prefix + folder)
        return {name.removeprefix(prefix): one["Size"] for name, one in found.items()}

    def read(self, name):
        return self.server.read(f"{self.prefix()}/{name}")

    def write(self, name, data):
        self.server.write(f"{self.prefix()}/{name}", data)

    def remove(self, name):
        self.server.remove(f"{self.prefix()}/{name}")

    def age(self, name, days):
        self.server.age(f"{self.prefix()}/{name}", days)

    def drop_index(self):
        """So that records are read one by one: the index is a hint, and may be gone."""
        for name in self.names("index/"):
            self.remove(name)

    def published(self):
        """Text by key, of whatever lies under a record's name."""
        return {name.rsplit("/", 1)[1].removesuffix(".json"): self.read(name) for name in self.names("actions/")}

    def key_of(self, node):
        return next(key for key, name in self.node.items() if name == node)

    def record_name(self, node):
        key = self.key_of(node)
        return f"actions/{key[:2]}/{key}.json"

    def blob_name(self, node):
        key = self.key_of(node)
        digest = json.loads(self.read(self.record_name(node)))["outputs"]["out"]["files"][0]["digest"]
        return f"objects/{digest[:2]}/{digest}"

    def remote_sound(self, injected=()):
        """Every record at the remote is whole, its blobs are there with the bytes of their names, somebody signed it. `injected`: what the case put there."""
        names = self.names()
        for key, text in self.published().items():
            if key in injected:
                continue
            node = self.node.get(key, key[:12])
            try:
                record = json.loads(text)
            except ValueError:
                raise Torn(f"the record of `{node}` at the remote is no record: {text[:60]!r}") from None
            if not sealed(text) or record["key"] != key:
                raise Torn(f"the record of `{node}` at the remote is not as it was written")
            blobs = [blob for artifact in record["outputs"].values() for blob in artifact["files"]]
            for blob in blobs + record["logs"]:
                digest = blob["digest"]
                name = f"objects/{digest[:2]}/{digest}"
                if names.get(name) != blob["size"]:
                    raise Torn(f"the record of `{node}` is at the remote, its blob {digest[:12]} is not, or is not whole: {names.get(name)}")
                if blake3.digest(self.read(name)) != digest:
                    raise Torn(f"blob {digest[:12]} of `{node}` has other bytes at the remote")
            if not any(name.startswith(f"sigs/{key[:2]}/{key}/") for name in names):
                raise Torn(f"the record of `{node}` is at the remote, and nobody signed it")
        return names

    def all_there(self, more=False):
        """Every record of the study is at the remote."""
        due = self.known if more else self.reference
        missing = set(due) - set(self.published())
        if missing:
            raise Accident(f"not at the remote: {', '.join(sorted(self.node[key] for key in missing))}")


def sealed(text):
    """Whether the last member is the hash of the text without it."""
    open_, mark, rest = text.decode().rpartition(',\n  "seal": "')
    return bool(mark) and blake3.digest((open_ + "\n}").encode()) == rest.removesuffix('"\n}')


def tally():
    return collections.Counter(cases=0, torn_believed=0, lost=0, accidents=0)
