"""Recipes of toy nodes, the same graphs as ninja files, and the binary that runs them.

Owns their shapes. Toy kinds are those of the tests (`tests/proof/`): milliseconds instead of models.
"""

import shutil

# How wide the large graph is, and how often a node of it joins two.
WIDTH, EVERY = 16, 4


def study(counts, source, more=False):
    """A small study of every toy shape: texts, a source file, nodes with checkpoints, chains and fans; and `more`, if asked for: nodes that take in
    every output of it. Every node but that of the file counts its executions into a file of its name under `counts`. Returns the recipe and the ticks of
    the slow nodes."""
    ticks = {"s0": 6, "s1": 5, "s2": 4}
    nodes = {
        # Long enough to be hashed as a tree.
        "w0": {"kind": "toy-write", "text": "alpha beta", "repeat": 500},
        "w1": {"kind": "toy-write", "text": "gamma"},
        "w2": {"kind": "toy-write", "text": "delta"},
        "f0": {"kind": "toy-source", "from": str(source)},
        **{name: {"kind": "toy-slow", "ticks": n, "seed": n, "tick_ms": 4} for name, n in ticks.items()},
        "j0": {"kind": "toy-join", "in": {"a": "w0", "b": "s0"}},
        "j1": {"kind": "toy-join", "in": {"a": "w1", "b": "w2"}},
        "j2": {"kind": "toy-join", "in": {"a": "j0", "b": "j1"}},
        "j4": {"kind": "toy-join", "in": {"a": "f0", "b": "w1"}},
        "j3": {"kind": "toy-join", "in": {"a": "s1", "b": "j2"}},
    }
    if more:
        for i, (a, b) in enumerate([("w0", "s0"), ("w1", "w2"), ("j0", "j1"), ("s1", "j2"), ("j3", "s2"), ("j4", "f0")]):
            nodes[f"v{i}"] = {"kind": "toy-join", "separator": "+", "in": {"a": a, "b": b}}
    for name, node in nodes.items():
        if node["kind"] != "toy-source":
            node["count"] = str(counts / name)
    return "".join(map(written, nodes.items())), ticks


def written(item):
    name, node = item
    lines = [f"{key} = {value(x)}" for key, x in node.items()]
    return f"[node.{name}]\n" + "\n".join(lines) + "\n\n"


def value(x):
    if isinstance(x, dict):
        return "{ " + ", ".join(f'{k} = "{v}"' for k, v in x.items()) + " }"
    return f'"{x}"' if isinstance(x, str) else str(x)


def edges(n):
    """By node of the large graph: whom it takes in. `WIDTH` chains side by side, and every few nodes a second input from the neighbour."""
    for i in range(n):
        above = [i - WIDTH] if i >= WIDTH else []
        if above and i % EVERY == 0:
            above.append(i - WIDTH + 1)
        yield i, above


def large(n, text="t"):
    """A recipe of n nodes."""
    out = []
    for i, above in edges(n):
        if not above:
            out.append(f'[node.n{i}]\nkind = "toy-write"\ntext = "{text}{i}"\n')
            continue
        ports = ", ".join(f'{port} = "n{up}"' for port, up in zip("ab", above))
        out.append(f'[node.n{i}]\nkind = "toy-join"\nseparator = "{i}"\nin = {{ {ports} }}\n')
    return "\n".join(out)


def ninja(n):
    """The same graph for ninja, every node a copy of a small file `seed`."""
    out = ["rule copy\n  command = cp $first $out\n"]
    for i, above in edges(n):
        names = [f"out/n{up}" for up in above] or ["seed"]
        out.append(f"build out/n{i}: copy {' '.join(names)}\n  first = {names[0]}\n")
    return "\n".join(out)


def taken(pipe, folder):
    """A copy of the binary, so that a build on the way changes nothing."""
    if not pipe.exists():
        raise SystemExit(f"{pipe} is not there; build it first: cargo build --release --example pipe-proof")
    return shutil.copy2(pipe, folder / "pipe")
