"""The accidents of bench/torture that happen to files: a byte that is not what it was.

Owns what is damaged and how it is told whether anybody noticed.
"""

import os
import re
import time

import closure
from ground import PATIENCE, Accident, Skipped, kill_with_workers

def flip(ground, _which, rng):
    """A byte of a file of a whole store, or of a killed attempt, is changed, cut or taken away."""
    target = rng.choice(["object", "object", "record", "journal", "checkpoint", "hint"])
    if target == "checkpoint":
        killed_with_checkpoint(ground)
    else:
        ground.expect(ground.run(), 0)
    path = rng.choice(sorted(files(ground.store, target)))
    shown, damaged = harm(path, rng, target)
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
    shown, _ = harm(path, rng, "object", how="changed")
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


def harm(path, rng, target, how=None):
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
