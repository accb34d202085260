"""What happens to the shared store of bench/remote, case by case. Owns what is done; what must hold afterwards is in lab.py.

Every case begins before an empty place of the remote. A name is `KIND` or `KIND:WHICH`.
"""

import json
import os
import signal
import time
from pathlib import Path

import closure
import servers
from lab import Accident, Lost, Torn

HOUR = 3600
# What a run says once of a remote that is of no use.
MOST_LINES = 3


# Processes that die.


def kill_push(lab, which):
    """SIGKILL of a machine at a place of its run or push; what is there then is whole, and the next push brings the rest."""
    ada, bob = lab.fresh("ada", "bob")
    ada.expect(ada.run(env={"PIPE_FAULT": f"{which}=kill"}), 0, 1, -signal.SIGKILL)
    lab.remote_sound()
    bob.whole(bob.run())
    ada.whole(ada.run())
    ada.ok("push")
    lab.all_there()
    lab.remote_sound()


def kill_pull(lab, which):
    """SIGKILL of a machine that takes over records and bytes."""
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    bob.expect(bob.run(more=True, env={"PIPE_FAULT": f"{which}=kill"}), 0, 1, -signal.SIGKILL)
    bob.sound()
    bob.whole(bob.run(more=True), more=True)
    lab.remote_sound()


def moments(lab, which):
    """SIGKILL at moments of a run that pushes and pulls, until one ends."""
    import random

    rng = random.Random(f"moments {which}")
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    for _ in range(12):
        process = bob.start("run", bob.recipe(more=True))
        time.sleep(rng.uniform(0, 1.5 * lab.seconds))
        if process.poll() is None:
            process.kill()
        if bob.end(process).status == 0:
            break
        bob.sound()
        lab.remote_sound()
    bob.whole(bob.run(more=True), more=True)
    bob.ok("push")
    lab.all_there(more=True)
    lab.remote_sound()


def race(lab, _which):
    """Two machines make the same at the same time: one record a key at the remote, and both have what they made."""
    ada, bob = lab.fresh("ada", "bob")
    running = [(machine, machine.start("run", machine.recipe())) for machine in (ada, bob)]
    for machine, process in running:
        ended = machine.end(process)
        machine.whole(ended)
        # On a machine that is busy the remote may have been too slow for one of them.
        if left_alone(ended):
            machine.ok("push")
    lab.all_there()
    lab.remote_sound()
    cleo = third(lab)
    cleo.whole(cleo.run())
    none_executed(cleo, but=() if lab.server.atomic else made_twice(ada, bob))


def left_alone(ended):
    """Whether a run gave the remote up before all that it made was there."""
    said = ended.out + ended.err
    return any(words in said for words in ("left alone", "`pipe push` sends what is missing"))


def made_twice(*machines):
    """Nodes that all of them executed: where conditional writes are not atomic, those of which either record may stand."""
    made = [set(machine.executed()) for machine in machines]
    return set.intersection(*made)


def third(lab, name="cleo"):
    """One more machine, who trusts the others and is trusted by nobody."""
    from lab import Machine

    machine = Machine(lab, name)
    for line in lab.lines.values():
        machine.ok("keys", "trust", line)
    return machine


def another(lab, name):
    """One more, who has a key and gives what he makes."""
    machine = third(lab, name)
    machine.name_key()
    return machine


def none_executed(machine, but=()):
    again = {node: n for node, n in machine.executed().items() if node not in but}
    if again:
        raise Accident(f"{machine.name} executed what was at the remote: {again}")


# The network.


def cut_upload(lab, which):
    """Connections break off after so many bytes of what is sent."""
    ada, bob = lab.fresh("ada", "bob")
    lab.proxy.set(how="cut-up", after=int(which), verb="put")
    ada.whole(ada.run())
    lab.proxy.set()
    lab.remote_sound(injected=lab.published() if int(which) == 0 else ())
    bob.whole(bob.run())
    ada.ok("push")
    lab.all_there()
    lab.remote_sound()


def lost_answer(lab, which):
    """What was sent arrives, the answer does not: for some of the requests."""
    ada, bob = lab.fresh("ada", "bob")
    lab.proxy.set(how="lost", verb="put", path=which)
    ada.whole(ada.run())
    lab.proxy.set()
    lab.remote_sound()
    bob.whole(bob.run())
    ada.ok("push")
    lab.all_there()
    lab.remote_sound()


def cut_download(lab, which):
    """Connections break off after so many bytes of what is sent back."""
    folder, _, after = which.partition("#")
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    lab.proxy.set(how="cut-down", after=int(after), verb="get", path=folder)
    bob.whole(bob.run(more=True), more=True)
    lab.proxy.set()
    bob.ok("push")
    lab.remote_sound()


def flip_on_the_way(lab, which):
    """One bit of what is sent back is another."""
    folder, _, after = which.partition("#")
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    lab.proxy.set(how="flip", after=int(after), verb="get", path=folder)
    bob.whole(bob.run(more=True), more=True)
    lab.proxy.set()
    lab.remote_sound()


def stall(lab, which):
    """Answers never come: a run goes on after two seconds, with one line."""
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    verb, _, path = which.partition("#")
    lab.proxy.set(how="stall", verb=verb, path=path)
    ended = bob.run()
    bob.whole(ended)
    one_line(ended)
    # Two seconds; and two at the end of a run that has something to give and can ask for what is there.
    gives = verb == "put" or path == "objects"
    on_time(lab, ended, again=lambda n: another(lab, f"again{n}").run(), more=4.0 if gives else 2.0)


def offline(lab, which):
    """Nobody is there, or a name that does not answer."""
    (ada,) = lab.fresh("ada")
    lab.proxy.set(how="refuse")
    if which == "gone":
        lab.proxy.gone()
    try:
        ended = ada.run()
        ada.whole(ended)
        on_time(lab, ended, again=lambda n: another(lab, f"again{n}").run(), more=2.0)
        one_line(ended)
    finally:
        if which == "gone":
            lab.proxy.back()
    lab.proxy.set()
    ada.ok("push")
    lab.all_there()
    lab.remote_sound()


def slow(lab, which):
    """Bytes come slowly, or every request takes its time; nothing that is there is believed less for it."""
    how, _, much = which.partition("#")
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    lab.proxy.set(**{how: float(much)})
    bob.whole(bob.run(more=True), more=True)
    lab.proxy.set()
    bob.ok("push")
    lab.all_there(more=True)
    lab.remote_sound()


def full(lab, _which):
    """The remote takes nothing more in the middle of a run."""
    ada, bob = lab.fresh("ada", "bob")
    lab.proxy.set(how="full")
    ended = ada.run()
    ada.whole(ended)
    one_line(ended)
    lab.proxy.set()
    lab.remote_sound()
    bob.whole(bob.run())
    ada.ok("push")
    lab.all_there()
    lab.remote_sound()


def on_time(lab, ended, again, more):
    """The study's own time and what the remote may cost. A machine that is busy with something else gets another try, a remote that costs more does not."""
    times = []
    for n in range(3):
        most = 1.5 * lab.seconds + 0.5 + more
        times.append(ended.seconds)
        if ended.seconds <= most:
            return
        lab.seconds = lab.alone()
        ended = again(n)
    shown = ", ".join(f"{seconds:.1f}" for seconds in times)
    raise Accident(f"the runs took {shown} s where {most:.1f} s are most (without a remote {lab.seconds:.1f} s): {ended.last()}")


def one_line(ended):
    """That the remote is of no use is said, and said shortly."""
    said = [line for line in ended.err.splitlines() if "remote" in line or "s3://" in line]
    if not 0 < len(said) <= MOST_LINES:
        raise Accident(f"{len(said)} lines about a remote that is of no use: {' / '.join(said[:5])}")


# What somebody put there.


def wrong_record(lab, which):
    """Something else lies under a record's name: it is named, the node is made here, and the run goes on."""
    where, _, what = which.partition("#")
    ada, bob = lab.fresh("ada", "bob")
    node = "j2"
    if where == "before":
        lab.write(lab.record_name(node), content(lab, what, None))
        ada.whole(ada.run())
        # What is torn is replaced by whoever has the record.
        lab.remote_sound()
        bob.whole(bob.run())
        none_executed(bob)
        return
    ada.whole(ada.run())
    lab.write(lab.record_name(node), content(lab, what, lab.read(lab.record_name(node))))
    lab.drop_index()
    bob.whole(bob.run(more=True), more=True)
    if what not in ("empty", "half"):
        said(bob, node)
    if not bob.executed().get(node) and what != "spaces":
        raise Torn(f"`{node}` was taken from a record that is not its own ({what})")


def content(lab, what, text):
    if what == "empty":
        return b""
    if what == "half":
        return text[: len(text) // 2] if text else b'{\n  "key": "'
    if what == "garbage":
        return bytes(range(256)) * 20
    if what == "huge":
        return b'{"key": "' + b"0" * (70 << 20)
    if what == "other":
        return lab.read(lab.record_name("j1"))
    at = len(text) // 3
    if what == "flipped":
        return text[:at] + bytes([text[at] ^ 1]) + text[at + 1 :]
    assert what == "resealed"
    return reseal(text, lambda record: record["outputs"]["out"]["files"][0].update(size=1))


def reseal(text, change):
    """A record that somebody changed and sealed anew."""
    import blake3

    record = json.loads(text)
    record.pop("seal")
    change(record)
    open_ = json.dumps(record, indent=2, ensure_ascii=False)
    seal = blake3.digest(open_.encode())
    return (open_.removesuffix("\n}") + f',\n  "seal": "{seal}"\n}}').encode()


def said(machine, node):
    """The refusal names the record."""
    key = machine.lab.key_of(node)[:12]
    texts = [path.read_text() for path in machine.home.glob("err-*")] + [path.read_text() for path in machine.home.glob("out-*")]
    journals = [path.read_text() for path in (machine.store / "runs").glob("*/events.jsonl")]
    if not any(key in text for text in texts + journals):
        raise Accident(f"{machine.name} does not name the record {key} that it refuses")


def wrong_blob(lab, which):
    """A blob is not what its name says: it is noticed on arrival, and the node that made it runs here."""
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    name = lab.blob_name("j2")
    data = lab.read(name)
    if which == "gone":
        lab.remove(name)
    elif which == "empty":
        lab.write(name, b"")
    elif which == "short":
        lab.write(name, data[:-1])
    elif which == "long":
        lab.write(name, data + b"!")
    else:
        lab.write(name, data[:1] + bytes([data[1] ^ 4]) + data[2:])
    bob.whole(bob.run(more=True), more=True)
    # What is asked for by range is what it was, whatever comes behind it.
    if which != "long" and not bob.executed().get("j2"):
        raise Torn("`j2` was not made again though its bytes were not there")
    # Whoever made it again brings it back, and so does whoever has it and looks.
    bob.ok("push")
    lab.remote_sound()
    lab.write(name, {"gone": data[:-2], "empty": b"", "short": data[:-1], "long": data + b"!"}.get(which, data[:1] + bytes([data[1] ^ 4]) + data[2:]))
    ada.ok("push", *(["--verify"] if which == "flipped" else []))
    lab.remote_sound()


def wrong_index(lab, which):
    """The packed index is a hint: whatever it says, records are looked at."""
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    ada.ok("push")
    for name in lab.names("index/"):
        data = lab.read(name)
        if which == "empty":
            lab.write(name, b"")
        elif which == "half":
            lab.write(name, data[: len(data) // 2])
        elif which == "garbage":
            lab.write(name, bytes(range(256)) * 30)
        else:
            at = len(data) // 2
            lab.write(name, data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
    bob.whole(bob.run(more=True), more=True)
    lab.remote_sound()


# Who signed.


def stranger(lab, which):
    """Somebody whom nobody trusts fills the remote: his records are refused by name, and the nodes run here."""
    eve, bob = lab.fresh("eve", "bob", trust=False)
    eve.whole(eve.run())
    if which == "unsigned":
        for name in lab.names("sigs/"):
            lab.remove(name)
        lab.drop_index()
    elif which == "moved":
        # A signature that eve took from another record.
        mine, others = (lab.names(f"sigs/{lab.key_of(node)[:2]}/{lab.key_of(node)}/") for node in ("j2", "j1"))
        bob.ok("keys", "trust", lab.lines["eve"])
        # A name says which text is signed, so the other's bytes come under the name of this one.
        for name in mine:
            lab.write(name, lab.read(next(iter(others))))
        lab.drop_index()
    ended = bob.run()
    bob.whole(ended)
    due = {"j2"} if which == "moved" else {lab.node[key] for key in lab.reference} - {"f0"}
    missed = [node for node in due if not bob.executed().get(node)]
    if missed:
        raise Torn(f"taken from a stranger: {', '.join(missed)}")
    if which != "moved":
        told = bob.pipe("plan", bob.recipe()).err + ended.err + ended.out
        if "pipe keys" not in told:
            raise Accident(f"who is refused and what to do about it is not said: {ended.last()}")
    if which == "foreign":
        # Once she is trusted the same records are taken.
        cleo = third(lab)
        cleo.whole(cleo.run())
        none_executed(cleo)


def poison(lab, _which):
    """Somebody with write rights but without a key that is trusted changes a record and all that belongs to it."""
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    name = lab.record_name("w1")
    data = b"poisoned"
    digest = __import__("blake3").digest(data)
    lab.write(f"objects/{digest[:2]}/{digest}", data)

    def change(record):
        files = record["outputs"]["out"]["files"]
        files[0].update(digest=digest, size=len(data))
        record["outputs"]["out"]["digest"] = closure.tree_digest(files)

    lab.write(name, reseal(lab.read(name), change))
    lab.drop_index()
    bob.whole(bob.run(more=True), more=True)
    if not bob.executed().get("w1"):
        raise Torn("a changed record was believed")


def rotated(lab, _which):
    """A new key: what the old one signed is still taken."""
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    ada.ok("keys", "new", "--replace", "--name", "ada")
    bob.whole(bob.run())
    none_executed(bob)
    ada.store = ada.home / "second"
    before = ada.executed()
    ada.seen = {}
    ada.whole(ada.run())
    if ada.executed() != before:
        raise Accident("ada does not take what her former key signed")


def read_only(lab, _which):
    """Somebody who may only read: he takes what is there, makes the rest, and nothing fails."""
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    bob.who = servers.READER
    ended = bob.run(more=True)
    bob.whole(ended, more=True)
    none_executed(bob, but={node for node in bob.executed() if node.startswith("v")} | {"s2"})
    one_line(ended)
    lab.remote_sound()


# Clocks, and room.


def clock(lab, which):
    """A machine whose clock is an hour off, or a day."""
    ada, bob = lab.fresh("ada", "bob")
    ada.env["PIPE_CLOCK_SHIFT"] = which
    ada.whole(ada.run())
    lab.all_there()
    bob.whole(bob.run(more=True), more=True)
    none_executed(bob, but={node for node in bob.executed() if node.startswith("v")} | {"s2"})
    lab.remote_sound()


def swept_young(lab, _which):
    """Room is made right after a push: nothing is old enough."""
    (ada,) = lab.fresh("ada")
    ada.whole(ada.run())
    lab.remote_sound()
    blobs = lab.names("objects/")
    for shift in ("0", str(-HOUR), str(HOUR)):
        ada.ok("gc", "--remote", "--apply", env={"PIPE_CLOCK_SHIFT": shift})
    lab.remote_sound()
    if lab.names("objects/") != blobs:
        raise Lost("a blob that is minutes old was removed")


def swept_lock(lab, _which):
    """Somebody else makes room: one at a time."""
    (ada,) = lab.fresh("ada")
    ada.whole(ada.run())
    lab.write("gc/lock", b'{"who": "bob", "since_ms": 0, "nonce": "x"}')
    ended = ada.pipe("gc", "--remote", "--apply")
    ada.expect(ended, 3)
    if "bob" not in ended.err or "--take-over" not in ended.err:
        raise Accident(f"who makes room is not said: {ended.last()}")
    ada.ok("gc", "--remote", "--apply", "--take-over")
    if "gc/lock" in lab.names():
        raise Accident("the lock stays behind")


MONTHS = 200  # Days after which nothing is recent or young any more.


def aged(lab, recent="j2"):
    """A remote of which one record is recent, and all else old."""
    ada, bob = lab.fresh("ada", "bob")
    ada.whole(ada.run())
    lab.age("objects", MONTHS)
    lab.age("actions", MONTHS)
    lab.age(lab.record_name(recent), 3)
    return ada, bob


def kept(lab, node="j2"):
    """What a recent record names and was made from is at the remote."""
    due, there = [node], lab.names("objects/")
    inputs = {}
    for text in lab.published().values():
        record = json.loads(text)
        own = [artifact["digest"] for artifact in record["outputs"].values()]
        inputs[record["provenance"]["node"]] = (own, [line.split()[-1] for line in record["manifest"].splitlines() if line.startswith("input ")])
    seen = set()
    while due:
        name = due.pop()
        if name in seen:
            continue
        seen.add(name)
        due += [other for other, (own, _) in inputs.items() if set(own) & set(inputs[name][1])]
        if lab.blob_name(name) not in there:
            raise Lost(f"the bytes of `{name}` are gone, and `{node}`, which is recent, needs them")


def kill_gc(lab, which):
    """SIGKILL of a maintainer at a place of his work: what is recent has its bytes, the next goes on, and a push brings the rest back."""
    ada, bob = aged(lab)
    ada.expect(ada.pipe("gc", "--remote", "--apply", env={"PIPE_FAULT": f"{which}=kill"}), 0, -signal.SIGKILL)
    kept(lab)
    if "gc/lock" in lab.names():
        ended = bob.pipe("gc", "--remote", "--apply")
        bob.expect(ended, 3)
    bob.ok("gc", "--remote", "--apply", "--take-over")
    kept(lab)
    bob.whole(bob.run(more=True), more=True)
    ada.ok("push")
    lab.all_there()
    lab.remote_sound()


def gc_race(lab, which):
    """Somebody makes room while somebody else takes and gives."""
    ada, bob = aged(lab)
    run = bob.start("run", bob.recipe(more=True))
    time.sleep(int(which) * 0.05)
    while run.poll() is None:
        ada.ok("gc", "--remote", "--apply")
        kept(lab)
    bob.whole(bob.end(run), more=True)
    for machine in (ada, bob):
        machine.ok("push")
    lab.all_there(more=True)
    lab.remote_sound()


# Leases.


LASTS = 3.0
TICKS = 60


def leased(lab, _which):
    """Two machines want what takes long at the same time: one makes it, the other waits and takes it. Where both may get the lease, both may make it."""
    ada, bob = lab.fresh("ada", "bob")
    recipes = [long_node(machine) for machine in (ada, bob)]
    processes = [machine.start("run", recipe) for machine, recipe in zip((ada, bob), recipes)]
    for machine, process in zip((ada, bob), processes):
        machine.expect(machine.end(process), 0)
        machine.sound()
    lab.remote_sound()
    ticks = made(ada) + made(bob)
    if ticks == TICKS:
        same_record(ada, bob)
        given_up(lab)
    elif lab.server.atomic or not TICKS < ticks <= 2 * TICKS:
        raise Accident(f"{ticks} ticks were made where {TICKS} are the node")


def leased_paused(lab, _which):
    """Whoever makes it is halted, engine and worker, for longer than its lease lasts: the other goes on, and it stops when it wakes up."""
    ada, bob = lab.fresh("ada", "bob")
    recipes = [long_node(machine) for machine in (ada, bob)]
    first = ada.start("run", recipes[0])
    until(lambda: made(ada) >= 4)
    halted = [first.pid, *children(first.pid)]
    for pid in halted:
        os.kill(pid, signal.SIGSTOP)
    at = made(ada)
    try:
        bob.expect(bob.pipe("run", recipes[1]), 0)
    finally:
        for pid in reversed(halted):
            os.kill(pid, signal.SIGCONT)
    ended = ada.end(first)
    ada.expect(ended, 0)
    for machine in (ada, bob):
        machine.sound()
    lab.remote_sound()
    ticks = made(ada) + made(bob)
    # Where a renewal may undo that it was taken over, either may go on.
    if not lab.server.atomic and made(bob) != TICKS:
        if not TICKS <= ticks <= 2 * TICKS:
            raise Accident(f"{ticks} ticks were made where {TICKS} are the node")
        return
    if made(bob) != TICKS:
        raise Accident(f"bob made {made(bob)} of {TICKS} ticks")
    # Seen within a third of the lease, said to the worker within a second.
    most = at + (LASTS / 3 + 2.5) / 0.05
    if made(ada) > min(most, TICKS - 1):
        raise Accident(f"ada went on for {made(ada) - at} ticks after she woke up")
    if "another run has it" not in ended.out + ended.err:
        raise Accident(f"why it stopped is not said: {ended.last()}")
    same_record(ada, bob)
    given_up(lab)


def leased_dead(lab, which):
    """Whoever makes it dies: the other takes over when the lease has lasted, and a torn lease is in nobody's way."""
    ada, bob = lab.fresh("ada", "bob")
    ada.has_host()
    recipes = [long_node(machine) for machine in (ada, bob)]
    first = ada.start("run", recipes[0])
    until(lambda: made(ada) >= 4)
    first.kill()
    first.wait()
    until(lambda: not made_lately(ada))
    if which == "torn":
        for name in lab.names("leases/"):
            lab.write(name, b"")
    began = time.monotonic()
    bob.expect(bob.pipe("run", recipes[1]), 0)
    bob.sound()
    seconds = time.monotonic() - began
    # Not before it has lasted; that he waits no longer than need be is held by the patience with every command, on a machine that may be busy.
    if seconds < (0.1 if which else LASTS) + TICKS * 0.05:
        raise Accident(f"bob took {seconds:.1f} s")
    ada.expect(ada.pipe("run", recipes[0]), 0)
    same_record(ada, bob)
    given_up(lab)
    lab.remote_sound()


def long_node(machine):
    """A recipe of some seconds of ticks, which are leased for some seconds."""
    machine.store.mkdir(parents=True, exist_ok=True)
    if not (machine.store / "format").exists():
        machine.ok("run", machine.recipe(), "--only", "w1", remote=False)
    (machine.store / "settings.toml").write_text(f"[remote]\nlease = {{ from = 0, lasts = {LASTS} }}\n")
    path = machine.home / "long.toml"
    path.write_text(f'[node.slow]\nkind = "toy-slow"\nticks = {TICKS}\nseed = 5\ntick_ms = 50\ncount = "{machine.home / "ticks"}"\n')
    return path


def made(machine):
    path = machine.home / "ticks"
    return path.read_text().count("\n") if path.exists() else 0


def made_lately(machine):
    before = made(machine)
    time.sleep(0.3)
    return made(machine) != before


def until(holds, patience=30):
    end = time.monotonic() + patience
    while not holds():
        if time.monotonic() > end:
            raise Accident("it never came")
        time.sleep(0.02)


def children(pid):
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(path.parent.name))
    return found


def slow_key(machine):
    records = closure.records(machine.store)
    return next(key for key, record in records.items() if record["kind"] == "toy-slow" and f"ticks = {TICKS}" in record["manifest"])


def same_record(*machines):
    texts = {(machine.store / "actions" / key[:2] / f"{key}.json").read_text() for machine in machines for key in (slow_key(machine),)}
    if len(texts) != 1:
        raise Accident("they have other records of one node")


def given_up(lab):
    """Nobody holds a lease any more. In a folder the one with the highest number counts, and the one before it stays."""
    names = lab.names("leases/")
    last = {}
    for name in names if not lab.server.network else ():
        key, _, number = name.rpartition("/")
        last[key] = max(last.get(key, 0), int(number))
    counts = [f"{key}/{number}" for key, number in last.items()] or list(names)
    for name in counts:
        if not json.loads(lab.read(name))["released"]:
            raise Accident(f"{name} is still held")


ALL = {
    "leased": leased,
    "leased-paused": leased_paused,
    "leased-dead": leased_dead,
    "kill-push": kill_push,
    "kill-pull": kill_pull,
    "moments": moments,
    "race": race,
    "cut-upload": cut_upload,
    "lost-answer": lost_answer,
    "cut-download": cut_download,
    "flip-on-the-way": flip_on_the_way,
    "stall": stall,
    "offline": offline,
    "slow": slow,
    "full": full,
    "wrong-record": wrong_record,
    "wrong-blob": wrong_blob,
    "wrong-index": wrong_index,
    "stranger": stranger,
    "poison": poison,
    "rotated": rotated,
    "read-only": read_only,
    "clock": clock,
    "swept-young": swept_young,
    "swept-lock": swept_lock,
    "kill-gc": kill_gc,
    "gc-race": gc_race,
}

# What needs something between a machine and the remote, or two identities of one server.
NETWORK = ("cut-upload", "lost-answer", "cut-download", "flip-on-the-way", "stall", "offline", "slow", "full", "read-only")
# What needs a remote whose contents can be made old.
OLD = ("kill-gc", "gc-race")


def names(lab, struck, short):
    """All cases. `struck`: places by the kind of run that passes them."""
    wrong = ("empty", "half", "garbage", "huge", "other", "flipped", "resealed")
    known = {
        "leased": range(1 if short else 3),
        "leased-paused": ("",),
        "leased-dead": ("", "torn"),
        "moments": range(2 if short else 12),
        "race": range(1 if short else 8),
        "cut-upload": (0, 1, 100, 900) if not short else (0, 100),
        "lost-answer": ("", "actions", "objects", "sigs", "index"),
        "cut-download": [f"{f}#{n}" for f in ("actions", "objects", "index", "list-type") for n in ((0,) if short else (0, 5, 200))],
        "flip-on-the-way": [f"{f}#{n}" for f in ("actions", "objects", "index", "list-type") for n in ((5,) if short else (0, 5, 200))],
        "stall": ("", "get#", "put#", "get#objects", "get#index"),
        "offline": ("refuse", "gone"),
        "slow": ("latency#0.1", "latency#0.5", "rate#20000"),
        "full": ("",),
        "wrong-record": [f"before#{w}" for w in ("empty", "half", "garbage")] + [f"after#{w}" for w in wrong],
        "wrong-blob": ("gone", "empty", "short", "long", "flipped"),
        "wrong-index": ("empty", "half", "garbage", "flipped"),
        "stranger": ("foreign", "unsigned", "moved"),
        "poison": ("",),
        "rotated": ("",),
        "read-only": ("",) if lab.server.name == "seaweedfs" else (),
        "clock": (str(HOUR), str(-HOUR), str(24 * HOUR)),
        "swept-young": ("",),
        "swept-lock": ("",),
        "kill-gc": [f"{place}#{i}" for place, n in (("remote-locked", 1), ("remote-remove", 3), ("remote-removed", 3), ("remote-swept", 1)) for i in range(1, n + 1)],
        "gc-race": range(1 if short else 6),
        **struck,
    }
    for kind in OLD if lab.server.network else NETWORK:
        known[kind] = ()
    return [f"{kind}:{which}" for kind in ALL for which in known.get(kind, ())]
