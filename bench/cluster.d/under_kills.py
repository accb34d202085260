"""Real studies on a cluster, while workers, attendants, engines and the cluster itself die at random moments; then the same on this machine.

Owns which recipes, in which form, and when what dies. How a cluster is shaken is its site's.
"""

import collections
import contextlib
import importlib.machinery
import importlib.util
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import common
import studies

INTERRUPTED = 130
AGAIN_ASKED = "asked again"
# So often the same command is given again to a run that ended otherwise than well.
AGAIN = 12
# More than one node can be struck.
RETRIES = "60"
# Who dies, in a shuffled order and then again: each is waited for when it is its turn, since the worker of a short node lives for a part of its job only.
ROUND = ["worker", "worker", "attendant", "attendant", "engine", "site"]
# So long one looks at what goes on between two strikes, and while somebody is looked for who is to die.
LOOK, HUNT = 0.3, 0.02


def go(site, pipe, folder, options):
    lab = Lab(site, pipe, folder, options)
    steps = [(recipe, sets(recipe, options)) for recipe in recipes(options)]
    started, ended = time.monotonic(), []
    for number, (recipe, values) in enumerate(steps, 1):
        began = time.monotonic()
        # Spread over all of them: much of a study is done once, and all could strike its longest node.
        lab.left = options.kills * number // len(steps) - sum(lab.tally[what] for what in lab.tally if what != AGAIN_ASKED)
        ended.append(lab.run(recipe, values))
        common.say(f"{recipe.name}: status {ended[-1]}, {time.monotonic() - began:.0f} s")
    seconds = time.monotonic() - started
    local, began = Path(options.local or folder / "local").resolve(), time.monotonic()
    alone = [[pipe, "run", recipe, *values, "--store", local, "-q"] for recipe, values in steps]
    here = [subprocess.run(words, stdin=subprocess.DEVNULL, cwd=folder).returncode for words in alone]
    local_seconds = time.monotonic() - began
    told = judge(lab, pipe, local)
    kills = dict(lab.tally)
    # What does not get to its end on one machine either proves nothing of a cluster; what ends otherwise there is lost.
    both = [recipe.name for (recipe, _), there, own in zip(steps, ended, here) if there and own]
    other = [recipe.name for (recipe, _), there, own in zip(steps, ended, here) if bool(there) != bool(own)]
    for words, names in (("failed in both places", both), ("ended otherwise there", other)):
        if names:
            common.say(f"{words}: {', '.join(names)}")
    told["lost"] += len(other)
    whole = {"recipes": len(steps), "fail_in_both": len(both), **told, "kills": kills, "seconds": round(seconds), "local_seconds": round(local_seconds)}
    common.finish({"cases": 1, **whole})
    bad = told["lost"] or told["digests_differ"] or told["executed_twice"] or both
    return 1 if bad else 0


def recipes(options):
    found = [path for given in options.study for path in (sorted(given.glob("*.toml")) if given.is_dir() else [given])]
    return [path.resolve() for path in found]


def sets(recipe, options):
    """The words that make a recipe small, as `bench/digests` has them, and those that were given."""
    values = list(options.set)
    if options.small:
        name = str(recipe.relative_to(common.ROOT / "recipes"))
        values = [*small()[name], *values]
    return [word for value in values for word in ("--set", value)]


def small():
    path = common.ROOT / "bench" / "digests"
    loader = importlib.machinery.SourceFileLoader("small_forms", str(path))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("small_forms", loader))
    sys.dont_write_bytecode = True
    loader.exec_module(module)
    return module.SMALL


class Lab:
    """One store, and whoever dies while it fills."""

    def __init__(self, site, pipe, folder, options):
        self.site, self.pipe, self.folder, self.options = site, pipe, folder, options
        profiles = folder / "profiles"
        profiles.mkdir(exist_ok=True)
        (profiles / "lab.toml").write_text(site.profile())
        self.environment = {**site.environment(), "PIPE_PROFILES": str(profiles)}
        self.store = site.place(folder)
        self.rng, self.left, self.tally = random.Random(options.seed), options.kills, collections.Counter()
        self.turns = []
        self.started = time.monotonic()
        self.rest()

    def rest(self):
        self.due = time.monotonic() + self.options.every * self.rng.uniform(0.5, 1.5)

    def engine(self, recipe, values):
        with (self.folder / "study.txt").open("a") as log:
            log.write(f"\n== {recipe.name}, {time.monotonic() - self.started:.0f} s\n")
            log.flush()
            words = [self.pipe, "run", recipe, *values, "--store", self.store, "--on", "lab", "--retries", RETRIES]
            quiet = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log, "cwd": self.folder}
            return subprocess.Popen(words, env=self.environment, start_new_session=True, **quiet)

    def run(self, recipe, values):
        """To the end. One that was interrupted, as where a scheduler cancelled what it had forgotten, is asked for again; so is one in which somebody
        was killed: who kills a worker without a checkpoint may have had a reason, and its node fails."""
        running, again, before = self.engine(recipe, values), 0, self.left
        while True:
            time.sleep(HUNT if self.left and time.monotonic() > self.due else LOOK)
            if running.poll() is not None:
                if running.returncode == 0 or again >= AGAIN:
                    return running.returncode
                if running.returncode != INTERRUPTED and self.left == before:
                    common.say(f"{recipe.name} ended with status {running.returncode}; see {self.folder / 'study.txt'}")
                    return running.returncode
                again += 1
                self.tally[AGAIN_ASKED] += 1
                running, before = self.engine(recipe, values), self.left
            if self.left and time.monotonic() > self.due:
                what = self.strike(running)
                if what == "engine":
                    running = self.engine(recipe, values)

    def strike(self, running):
        if not self.turns:
            self.turns = self.rng.sample(ROUND, len(ROUND))
        what = self.turns[-1]
        if what == "engine":
            studies.end(running)
        elif what == "site":
            what = self.site.shake(self.rng)
        elif not self.kill(what):
            return None
        self.turns.pop()
        self.left -= 1
        self.tally[what] += 1
        common.say(f"{time.monotonic() - self.started:7.0f} s  killed: {what}")
        self.rest()
        return what

    def kill(self, what):
        """A worker, or whoever attends to one; whether there was any."""
        alive = list(filter(None, map(studies.alive, (self.store / "attempts").glob("*/worker.json"))))
        if not alive:
            return False
        worker = self.rng.choice(alive)
        with contextlib.suppress(OSError):
            victim = worker if what == "worker" else studies.parent(worker)
            # Whose parent has gone is somebody else's child.
            if what == "worker" or "attend" in studies.words(victim):
                os.kill(victim, signal.SIGKILL)
                return True
        return False


def judge(lab, pipe, local):
    """Keys hold what made a node: the same ones must be there, with the same bytes, and none committed by two."""
    by_key = lambda store: {record["key"]: (record["made_by"]["node"], studies.digests(record)) for record in studies.records_of(pipe, store)}
    here, there = by_key(lab.store), by_key(local)
    lost = sorted(there[key][0] for key in set(there) - set(here))
    differ = sorted(there[key][0] for key in set(there) & set(here) if there[key][1] != here[key][1])
    # A node below one that came out otherwise has another key, and is lost in this sense too.
    for told, names in (("differ", differ), ("lost", lost)):
        if names:
            common.say(f"{told}: {', '.join(names)}")
    committed = collections.Counter(event["key"] for event in studies.events(lab.store, "committed"))
    attempts = {state["state"]["attempt"] for state in studies.events(lab.store, "state") if state["state"]["is"] == "running"}
    retried = collections.Counter(event["class"] for event in studies.events(lab.store, "retry"))
    verified = subprocess.run([pipe, "verify", "--store", lab.store], capture_output=True, text=True)
    if verified.returncode != 0:
        common.say(f"the store is not sound: {verified.stdout[-500:]}")
    return {
        "nodes": len(there),
        "lost": len(lost) + (verified.returncode != 0),
        "executed_twice": sum(times > 1 for times in committed.values()),
        "digests_differ": len(differ),
        "attempts": len(attempts),
        "retries": dict(retried),
    }
