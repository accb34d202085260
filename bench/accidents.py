"""The accidents of bench/torture that happen to processes and disks. Those that happen to files are in damage.py.

Owns what is done; what must hold is in ground.py. Each case derives all its choices from its name.
"""

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import damage
from ground import PATIENCE, Accident, Skipped, children, kill, kill_with_workers

# After these the record is there: only death matters, a full disk does not.
AFTER_THE_RECORD = {"committed", "swept", "hint"}
FULL = re.compile(r"no storage space|no space left|disk is full|quota", re.IGNORECASE)

# The cases: `ground`, what stands after the colon of the name, and the random choices.


def strike_dead(ground, which, _rng):
    """SIGKILL at a place of the program, of every process that passes there so often: of a node that is tried again, once more."""
    deaths = ground.folder / "deaths"
    ended = ground.run({"PIPE_FAULT": f"{which}=kill", "PIPE_FAULT_DEATHS": str(deaths)})
    if not deaths.exists():
        ground.expect(ended, 0)
        return ground.whole()  # No process passed there so often.
    died = deaths.read_text().splitlines()
    ground.note_deaths(died)
    ground.expect(ended, -signal.SIGKILL, 0, 1)
    ground.tally["kills"] += len(died)
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


def orphan(ground, _which, rng):
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
        await_word(after)
    finally:
        for pid in workers:
            kill(pid, signal.SIGCONT)
            if hangs:
                kill(pid)
    ground.expect(ground.end(after), 0)
    ground.whole()
    ground.thrifty()
    ground.tally["survivals"] += 1


def await_word(process):
    """Until a run has ended or says that it waits for somebody."""
    said, deadline = Path(process.files[1].name), time.monotonic() + PATIENCE / 4
    while process.poll() is None and not re.search(r"held|wait|orphan|another run", said.read_text(), re.IGNORECASE):
        if time.monotonic() > deadline:
            raise Accident(f"the next run waits for an orphan without a word: {said.read_text().strip().splitlines()[-2:]}")
        time.sleep(0.01)


def await_slow(ground, process):
    """Until a node with checkpoints has begun."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if any(ground.executions(node) >= 2 for node in ground.ticks):
            return
        time.sleep(0.001)
    raise Accident("no slow node began")


def late(ground, _which, _rng):
    """Somebody still has an output open for writing when it is committed, and writes to it afterwards: a process that got away from its
    worker's group."""
    process = ground.start()
    while not (workers := children(process.pid)):
        time.sleep(0.0005)
    kill(process.pid, signal.SIGSTOP)
    deadline = time.monotonic() + PATIENCE
    while any(alive(pid) for pid in workers) and time.monotonic() < deadline:
        time.sleep(0.001)
    writers = [path.open("r+b") for path in ground.store.glob("attempts/*/out/*/*")]
    kill(process.pid, signal.SIGCONT)
    ended = ground.end(process)
    for file in writers:
        with file:
            file.write(b"?")
    ground.expect(ended, *((0, 1) if writers else (0,)))
    if ended.status == 1 and not re.search(r"open|writ", ended.err):
        raise Accident(f"the run refuses an output that is still open and does not say so: {ended.last()}")
    ground.sound()
    ground.recover()


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


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
        collect(ground)
        if killed and time.monotonic() > until and process.poll() is None:
            strike(process, rng.choice(["engine", "engine and workers"]))
            ground.tally["kills"] += 1
            ground.strikes += 1
    ended = ground.end(process)
    ground.expect(ended, *((0, -signal.SIGKILL) if killed else (0,)))
    collect(ground)
    ground.expect(ground.run(), 0)
    ground.whole(due=set(ground.reference))
    collect(ground)
    before = ground.finished()
    ground.expect(ground.run(), 0)
    ground.unrepeated(before)
    ground.tally["survivals"] += ground.strikes


def collect(ground):
    """Removes all that nothing protects; it may say that the store is in use."""
    ended = ground.command("gc", "--apply", "--cap", "none", "--runs", "1", "--store", ground.store)
    if ended.status != 0 and "in use" not in ended.err:
        raise Accident(f"`pipe gc` ends with {ended.status}: {ended.last()}")
    ground.tally["sweeps"] += 1


CASES = {
    "kill": strike_dead,
    "full": strike_full,
    "moments": moments,
    "pair": pair,
    "tmpfs": small_disk,
    "readonly": read_only,
    "orphan": orphan,
    "late": late,
    "sweep": sweep,
    "flip": damage.flip,
    "poison": damage.poison,
}
SEEDED = [kind for kind in CASES if kind not in ("kill", "full", "readonly", "late")]
