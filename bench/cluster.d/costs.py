"""What a job costs: a trivial node and many of them, here and on a cluster, and how often the cluster is asked.

Owns the recipes and the clock. How a cluster's calls are counted is its site's.
"""

import statistics
import subprocess
import time

import common

PAIRS = 5


def show(site, pipe, folder, options):
    profiles = folder / "profiles"
    profiles.mkdir(exist_ok=True)
    environment = {**site.environment(), "PIPE_PROFILES": str(profiles)}
    store = site.place(folder)
    with site.counted(folder / "counted", environment) as counts:
        # With what is asked where nothing is said: a query every ten seconds would hide what a job takes.
        said = [line for line in site.profile().splitlines() if not line.startswith("ask_seconds")]
        (profiles / "lab.toml").write_text("\n".join(said) + "\n")
        go = lambda recipe, place, *on: timed([pipe, "run", recipe, "--store", place, "-q", *on], environment)
        one = {"here": [], "there": []}
        for turn in range(PAIRS):
            recipe = written(folder, f"one-{turn}", 1)
            one["here"].append(go(recipe, folder / "local"))
            one["there"].append(go(recipe, store, "--on", "lab"))
        recipe = written(folder, "many", options.nodes)
        here, before = go(recipe, folder / "local"), counts()
        there, after = go(recipe, store, "--on", "lab"), counts()
    asked = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
    common.about_machine(1)
    common.table("one trivial node", [common.Figure(name, values, "s") for name, values in one.items()])
    print(f"{options.nodes} nodes: {here:.1f} s here, {there:.1f} s there; {asked}")
    scaled = {name: round(n * 1000 / options.nodes) for name, n in asked.items()}
    extra = statistics.median(one["there"]) - statistics.median(one["here"])
    common.finish({"nodes": options.nodes, "here_s": round(here, 2), "there_s": round(there, 2), "job_extra_s": round(extra, 2), "asked_per_1000": scaled})
    return 0


def written(folder, name, nodes):
    recipe = folder / f"{name}.toml"
    recipe.write_text("".join(f'[node.{name}-{i}]\nkind = "toy-write"\ntext = "{name} {i}"\n\n' for i in range(nodes)))
    return recipe


def timed(words, environment):
    began = time.monotonic()
    subprocess.run(words, check=True, stdin=subprocess.DEVNULL, env=environment)
    return time.monotonic() - began
