"""The accidents of bench/torture: what is done to a run, and what must hold afterwards.

Owns the ground they happen on (a store, a recipe, what an undisturbed run gives). Each case derives all its choices from its name.
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
# After these the record is there: only death matters, a full disk does not.
AFTER_THE_RECORD = {"committed", "swept", "hint"}
FULL = re.compile(r"no storage space|no space left|disk is full|quota", re.IGNORECASE)


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
    def __init__(self, pipe, folder, namespace):
        self.pipe, self.parent, self.namespace = pipe, folder, namespace
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
        while os.path.ismount(self.folder / "store"):
            subprocess.run(["umount", "--lazy", self.folder / "store"], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        self.store, self.counts = self.folder / "store", self.folder / "counts"
        self.recipe = self.folder / "study.toml"
        self.counts.mkdir(parents=True)
        self.write_recipe()
        self.strikes, self.litter = 0, ""

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
            CASES[kind](self, which, random.Random(name))
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

    def thrifty(self):
        """Two ticks lie between checkpoints, so a strike costs at most two."""
        for node, ticks in self.ticks.items():
            walked = self.executions(node)
            if walked > ticks + 2 * self.strikes:
                raise Accident(f"node `{node}` of {ticks} ticks walked {walked} in spite of its checkpoints, {self.strikes} strikes")

    def whole(self, logs=True, due=None):
        """After a run that ended well."""
        self.sound(logs, due)
        missing = set(self.reference) - set(closure.records(self.store))
        if missing:
            raise Accident(f"no record of {', '.join(sorted(self.node[key] for key in missing))} after a whole run")
        listed = self.command("ls", "--store", self.store, "--json")
        self.expect(listed, 0)
        shown = {r["key"]: {name: o["digest"] for name, o in r["outputs"].items()} for r in json.loads(listed.out)}
        if any(shown.get(key) != outputs for key, outputs in self.reference.items()):
            raise Lost("`pipe ls` does not list what an undisturbed run gives")
        left = sorted(path.name for path in (self.store / "attempts").iterdir())
        if left:
            nodes = {self.node.get(key) for key in self.node for name in left if name.startswith(key[:12])}
            self.litter = f"left in attempts/ after a whole run: {', '.join(left[:3])} (of {', '.join(sorted(map(str, nodes)))})"
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


# The cases: `ground`, what stands after the colon of the name, and the random choices.


def strike_dead(ground, which, _rng):
    """SIGKILL at a place of the program."""
    ended = ground.run({"PIPE_FAULT": f"{which}=kill"})
    ground.strikes += 1
    if ended.status == 0:
        return ground.whole()  # No process passed there so often.
    ground.expect(ended, -signal.SIGKILL, 1)
    ground.tally["kills"] += 1
    settle(ground)
    ground.sound()
    ground.recover()
    ground.thrifty()
    ground.tally["survivals"] += 1


def strike_full(ground, which, _rng):
    """The disk is full from a place on."""
    ended = ground.run({"PIPE_FAULT": f"{which}=full"})
    ground.strikes += 1
    if ended.status == 0:
        if which.partition("#")[0] not in AFTER_THE_RECORD and which.endswith("#1"):
            raise Accident("the disk was full and nobody says so: exit status 0")
        return ground.whole()
    complain_of_space(ground, ended)
    ground.tally["full_places"] += 1
    ground.sound()
    ground.recover()
    ground.thrifty()


def complain_of_space(ground, ended):
    ground.expect(ended, 3)
    if not FULL.search(ended.err + ended.out):
        raise Accident(f"the disk was full and the error does not say so: {ended.last()}")


def moments(ground, _which, rng):
    """SIGKILL at random moments until the run ends."""
    for _ in range(40):
        before = ground.finished()
        process = ground.start()
        victim = rng.choice(["engine", "engine and workers", "worker"])
        time.sleep(rng.uniform(0, ground.seconds))
        if process.poll() is not None:
            break
        struck = strike(process, victim)
        ended = ground.end(process)
        ground.strikes += 1
        if struck:
            ground.tally["kills"] += 1
            ground.tally["random_kills"] += 1
        ground.expect(ended, 0, 1, -signal.SIGKILL)
        ground.sound()
        ground.unrepeated(before)
        if struck:
            ground.tally["survivals"] += 1
        if ended.status == 0:
            break
    ground.recover()
    ground.thrifty()


def strike(process, victim):
    """Whether there was anyone to kill."""
    if victim == "worker":
        workers = children(process.pid)
        for pid in workers[:1]:
            kill(pid)
        return bool(workers)
    if victim == "engine":
        kill(process.pid)
    else:
        kill_with_workers(process)
    return True


def settle(ground):
    """Orphans of a killed engine save their state and go."""
    time.sleep(0.01)


def pair(ground, _which, rng):
    """Two engines at once on one store; in every other case one of them is killed, and the other has to end well."""
    engines = []
    for _ in range(2):
        engines.append(ground.start())
        time.sleep(rng.choice([0, rng.uniform(0, ground.seconds / 2)]))
    victim = rng.choice(engines) if rng.random() < 0.5 else None
    if victim:
        time.sleep(rng.uniform(0, ground.seconds))
        if victim.poll() is None:
            strike(victim, rng.choice(["engine", "engine and workers"]))
            ground.tally["kills"] += 1
            ground.strikes += 1
    for engine in engines:
        ended = ground.end(engine)
        ground.expect(ended, *((0, -signal.SIGKILL) if engine is victim else (0,)))
    if ground.strikes:
        ground.tally["survivals"] += 1
    ground.whole()
    ground.thrifty()
    if not ground.strikes:
        nodes = {ground.node[key] for key in ground.reference} - {"f0"}  # It counts nothing.
        twice = [node for node in nodes if ground.executions(node) != ground.ticks.get(node, 1)]
        if twice:
            ground.tally["reexecuted"] += len(twice)
            raise Accident(f"two engines executed a node more than once: {', '.join(sorted(twice))}")


def small_disk(ground, _which, rng):
    """A store on a real file system that is too small, in bytes or in files."""
    if not ground.namespace:
        raise Skipped("mounting is not allowed here")
    ground.store.mkdir()
    mount(ground.store, "size=64m")
    ground.expect(ground.run(), 0)
    used = os.statvfs(ground.store)
    pages, files = used.f_blocks - used.f_bfree, used.f_files - used.f_ffree
    ground.clear()
    ground.store.mkdir()
    limit = f"size={rng.randrange(4, pages) * used.f_frsize}" if rng.random() < 0.7 else f"nr_inodes={rng.randrange(8, files)}"
    mount(ground.store, limit)
    ended = ground.run()
    ground.strikes += 1
    if ended.status != 0:
        complain_of_space(ground, ended)
    ground.sound()
    mount(ground.store, "remount,size=64m,nr_inodes=100000")
    ground.recover()
    ground.thrifty()


def mount(place, how):
    subprocess.run(["mount", "-t", "tmpfs", "-o", how, "tmpfs", place], check=True)


def read_only(ground, _which, _rng):
    """A store that cannot be written to, first empty, then whole: said plainly, and what only reads still works."""
    if not ground.namespace:
        raise Skipped("mounting is not allowed here")
    ground.expect(ground.run(), 0)
    shutil.move(ground.store, ground.folder / "whole")
    (ground.folder / "empty").mkdir()
    for store, reads in (("empty", False), ("whole", True)):
        place = ground.folder / "store"
        place.mkdir(exist_ok=True)
        subprocess.run(["mount", "--bind", ground.folder / store, place], check=True)
        subprocess.run(["mount", "-o", "remount,bind,ro", place], check=True)
        ended = ground.run()
        ground.expect(ended, 3)
        if not re.search(r"read-only|not writable|cannot be written", ended.err, re.IGNORECASE):
            raise Accident(f"the store is read-only and the error does not say so: {ended.last()}")
        if reads:
            for words in (["plan", ground.recipe], ["ls"], ["why", ground.recipe, "j0"]):
                ground.expect(ground.command(*words, "--store", place), 0)
        subprocess.run(["umount", place], check=True)


def orphan(ground, which, rng):
    """The engine dies, its worker stands still or hangs: the next run waits for it or ends it, and says so."""
    hangs = rng.random() < 0.5
    process = ground.start(env={"PIPE_FAULT": "checkpoint-synced#1=wait"} if hangs else ())
    await_slow(ground, process)
    kill(process.pid, signal.SIGSTOP)  # It starts no further worker.
    workers = children(process.pid)
    if not hangs:
        for pid in workers:
            kill(pid, signal.SIGSTOP)
    kill(process.pid)
    ground.end(process)
    ground.strikes += 1
    ground.tally["kills"] += 1
    after = ground.start()
    try:
        after.wait(1)
    except subprocess.TimeoutExpired:
        after.files[1].flush()
        said = Path(after.files[1].name).read_text()
        if not re.search(r"held|wait|orphan|another", said, re.IGNORECASE):
            raise Accident(f"the next run waits for an orphan without a word: {said.strip().splitlines()[-2:]}") from None
        for pid in workers:
            kill(pid, signal.SIGCONT)
            if hangs:
                kill(pid)
    finally:
        for pid in workers:
            kill(pid, signal.SIGCONT)
    ground.expect(ground.end(after), 0)
    ground.whole()
    ground.thrifty()
    ground.tally["survivals"] += 1


def await_slow(ground, process):
    """Until a node with checkpoints has begun."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if any(ground.executions(node) >= 2 for node in ground.ticks):
            return
        time.sleep(0.001)
    raise Accident("no slow node began")


def sweep(ground, _which, rng):
    """`pipe gc --apply` again and again while a run goes on, in a store that holds what another recipe left. In every other case the
    engine is killed on the way."""
    if "gc" not in ground.verbs:
        raise Skipped("this binary has no verb `gc`")
    ground.write_recipe(more=True)
    ground.expect(ground.run(), 0)
    ground.write_recipe()
    for key in rng.sample(sorted(ground.reference), 4):
        (ground.store / "actions" / key[:2] / f"{key}.json").unlink()
    process, killed = ground.start(), rng.random() < 0.5
    until = time.monotonic() + rng.uniform(0, ground.seconds)
    while process.poll() is None:
        ground.expect(ground.command("gc", "--apply", "--store", ground.store), 0)
        ground.tally["sweeps"] += 1
        if killed and time.monotonic() > until and process.poll() is None:
            strike(process, rng.choice(["engine", "engine and workers"]))
            ground.tally["kills"] += 1
            ground.strikes += 1
    ended = ground.end(process)
    ground.expect(ended, *((0, -signal.SIGKILL) if killed else (0,)))
    ground.expect(ground.command("gc", "--apply", "--store", ground.store), 0)
    ground.expect(ground.run(), 0)
    ground.whole(due=set(ground.reference))
    ground.expect(ground.command("gc", "--apply", "--store", ground.store), 0)
    before = ground.finished()
    ground.expect(ground.run(), 0)
    ground.unrepeated(before)
    ground.tally["survivals"] += ground.strikes


def flip(ground, _which, rng):
    """A byte of a file of a whole store, or of a killed attempt, is changed, cut or taken away."""
    target = rng.choice(["object", "object", "record", "journal", "checkpoint", "hint"])
    if target == "checkpoint":
        killed_with_checkpoint(ground)
    else:
        ground.expect(ground.run(), 0)
    path = rng.choice(sorted(files(ground.store, target)))
    shown, damaged = damage(path, rng, target)
    is_log = target == "object" and path.name not in output_files(ground)
    heal(ground, shown, rng, logs=not is_log)
    if target in ("record", "journal") and path.exists() and path.read_bytes() == damaged and not ground.noticed:
        ground.tally["unnoticed"] += 1
        raise Accident(f"{shown}: no command names it, and it is still there")
    ground.tally["healed"] += 1


def poison(ground, _which, rng):
    """A byte of an object is changed, and a node that takes it in has to run: it must not work with what is wrong."""
    ground.expect(ground.run(), 0)
    path = rng.choice(sorted(path for path in files(ground.store, "object") if path.name in output_files(ground)))
    shown, _ = damage(path, rng, "object", how="changed")
    ground.write_recipe(more=True)
    ground.reference, kept = ground.known, ground.reference
    try:
        heal(ground, shown, rng, logs=True, verify=False)
        ground.tally["healed"] += 1
    finally:
        ground.reference = kept


def heal(ground, shown, rng, logs, verify=True):
    """Runs over some damage and has the store verified, in this order or the other. In the end all must be as it was."""
    ground.tally["flips"] += 1
    found = verified(ground) if verify and rng.random() < 0.5 else ""
    ended = ground.run()
    found = found or named(ended)
    if ended.status != 0 and not found:
        raise Accident(f"{shown}: the next run ends with {ended.status} and does not name it: {ended.last()}")
    found = found or verified(ground)
    ground.noticed = found
    ground.tally["found"] += bool(found)
    by = f"found by {found}" if found else "noticed by nobody"
    try:
        ground.expect(ground.run(), 0)
        ground.whole(logs)
    except Accident as accident:
        ground.tally["unnoticed"] += not found
        raise type(accident)(f"{shown}, {by}: {accident}") from None


def named(ended):
    """Whether a run says that something was wrong with what is kept."""
    words = r"damaged|missing|unreadable|not readable|corrupt|quarantine|other bytes|cannot be used"
    said = re.search(f".*({words}).*", ended.err + ended.out, re.IGNORECASE)
    return f"the run ({said.group(0).strip()})" if said else ""


def verified(ground):
    """Has everything verified: by `pipe verify`, or where there is no such verb by the checker, which then moves away what is wrong."""
    if "verify" in ground.verbs:
        ended = ground.command("verify", "--all", "--store", ground.store)
        return "`pipe verify`" if ended.status != 0 or named(ended) else ""
    found = ""
    for path in ground.store.glob("objects/*/*"):
        if closure.blake3.digest(path.read_bytes()) != path.name:
            path.unlink()
            found = "the checker"
    for key, record in closure.records(ground.store).items():
        if closure.flaws(ground.store, key, record, True) and key in ground.reference and not found:
            (ground.store / "actions" / key[:2] / f"{key}.json").unlink()
            found = "the checker"
    return found


def output_files(ground):
    """Digests of objects that are outputs, not logs."""
    found = closure.records(ground.store).values()
    return {b["digest"] for record in found for a in record["outputs"].values() for b in a["files"]}


def killed_with_checkpoint(ground):
    process = ground.start()
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if files(ground.store, "checkpoint"):
            kill_with_workers(process)
            process.wait()
            if files(ground.store, "checkpoint"):
                return
            ground.clear()
            return killed_with_checkpoint(ground)
        time.sleep(0.0005)
    raise Skipped("no attempt could be killed between a checkpoint and its end")


def files(store, target):
    if target == "hint":  # All that could be made again from the rest.
        others = {"format", "objects", "actions", "runs", "attempts", "locks", "tmp", "quarantine"}
        found = [path for top in store.iterdir() if top.name not in others for path in [top, *top.rglob("*")]]
    else:
        found = store.glob(PATTERNS[target])
    return [path for path in found if path.is_file() and ".tmp" not in path.parent.name and path.stat().st_size]


PATTERNS = {
    "object": "objects/*/*",
    "record": "actions/*/*.json",
    "journal": "runs/*/events.jsonl",
    "checkpoint": "attempts/*/resume/*/*",
}


def damage(path, rng, target, how=None):
    """Changes the file behind the back of its times; returns what was done, for people, and the new bytes."""
    data = path.read_bytes()
    at = rng.randrange(len(data))
    how = how or rng.choice(["changed", "changed", "cut", "missing", "gone"])
    new = {
        "changed": data[:at] + bytes([data[at] ^ 1 << rng.randrange(8)]) + data[at + 1 :],
        "cut": data[:at],
        "missing": data[:at] + data[at + 1 :],
        "gone": None,
    }[how]
    before = path.stat()
    if new is None:
        path.unlink()
    else:
        path.chmod(0o644)
        path.write_bytes(new)
        path.chmod(before.st_mode)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    return f"{target} {path.parent.name}/{path.name[:24]} {how} at byte {at} of {len(data)}", new


CASES = {
    "kill": strike_dead,
    "full": strike_full,
    "moments": moments,
    "pair": pair,
    "tmpfs": small_disk,
    "readonly": read_only,
    "orphan": orphan,
    "sweep": sweep,
    "flip": flip,
    "poison": poison,
}
SEEDED = [kind for kind in CASES if kind not in ("kill", "full", "readonly")]
