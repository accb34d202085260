"""What a shared store costs: requests and bytes, latency, throughput. Owns what is measured; prints tables."""

import importlib.machinery
import importlib.util
import json
import os
import shutil
import statistics
import time

import toys
from lab import Machine

LATENCIES = (0, 20, 50, 100)  # Milliseconds a request.
ROUNDS = 5
PAIRS = 5
MIB = 1 << 20


def all_of(lab, root, options):
    """The figure of the last line: a plan of the large graph at 20 ms, all hits."""
    study(lab, root)
    plan_ms = plans(lab, options.nodes)
    throughput(lab, options.mib)
    return plan_ms


def small_forms(root):
    """What bench/digests sets for each recipe."""
    loader = importlib.machinery.SourceFileLoader("digests", str(root / "bench/digests"))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("digests", loader))
    loader.exec_module(module)
    return module.SMALL


def study(lab, root):
    """The default study and an ablation of it, small: who makes it, who plans it elsewhere, who compares the two without any weights."""
    sets = [word for value in small_forms(root)["tars.toml"] for word in ("--set", value)]
    recipes = [root / "recipes/tars.toml", root / "recipes/ablations/no-reasoning.toml"]
    ada, bob, cleo = lab.fresh("ada", "bob", "cleo")
    rows = []

    def counted(who, what, *words, patience=900):
        lab.proxy.set()
        ended = who.pipe(*words, patience=patience)
        who.expect(ended, 0, *([1] if words[0] == "diff" else []))  # Something differs.
        got = lab.proxy.counted()
        rows.append([what, got["requests"], shown_verbs(got), size(got["up"]), size(got["down"]), f"{ended.seconds:.1f} s"])
        return ended

    counted(ada, "the study is run and pushed", "run", recipes[0], *sets)
    counted(ada, "an ablation is run and pushed", "run", recipes[1], *sets)
    counted(bob, "a plan by a second machine", "plan", recipes[0], *sets)
    counted(bob, "the same plan again", "plan", recipes[0], *sets)
    counted(bob, "a run by it: all hits", "run", recipes[0], *sets)
    counted(cleo, "a diff by a third", "diff", recipes[0], recipes[1], *sets)
    counted(cleo, "a table by it", "table", recipes[0], *sets)
    kept = sum(path.stat().st_size for path in (ada.store / "objects").glob("*/*"))
    there = sum(n for name, n in lab.names("objects/").items())
    table(f"{lab.server.name}: the default study in small form and an ablation ({size(kept)} of artifacts, {size(there)} at the remote)",
          ["", "requests", "by verb", "sent", "received", "took"], rows)  # fmt: skip
    print(f"weights in the third machine's store: {weights(cleo)} files")


def weights(machine):
    """Blobs that begin as a safetensors file does."""
    found = 0
    for path in (machine.store / "objects").glob("*/*"):
        with path.open("rb") as file:
            head = file.read(9)
        found += len(head) == 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < path.stat().st_size
    return found


def plans(lab, n):
    (ada,) = lab.fresh("ada")
    recipe, other = ada.home / "large.toml", ada.home / "other.toml"
    recipe.write_text(toys.large(n))
    other.write_text(toys.large(n, "u"))
    ada.ok("run", "-q", recipe, remote=False, patience=1800)
    lab.proxy.set()
    pushed = ada.ok("push", patience=1800)
    got = lab.proxy.counted()
    print(f"\n{n} records pushed in {pushed.seconds:.1f} s: {got['requests']} requests ({shown_verbs(got)}), {size(got['up'])} sent")
    rows, figure = [], None
    local = statistics.median(ada.ok("plan", recipe, remote=False).seconds for _ in range(ROUNDS))
    for latency in LATENCIES:
        row = [f"{latency} ms"]
        for what in (recipe, other):
            times, requests = [], 0
            for _ in range(ROUNDS):
                bob = Machine(lab, "bob")
                if not bob.config.exists():
                    bob.name_key()
                    bob.ok("keys", "trust", lab.lines["ada"])
                shutil.rmtree(bob.store, ignore_errors=True)
                lab.proxy.set(latency=latency / 1000)
                ended = bob.ok("plan", what)
                hits = ended.out.count(" hit")
                times.append(ended.seconds)
                requests = lab.proxy.counted()
            row += [f"{statistics.median(times) * 1e3:.0f} ms", str(requests["requests"]), size(requests["down"])]
            if what == recipe and latency == 20:
                figure = round(statistics.median(times) * 1e3)
        rows.append(row)
    lab.proxy.set()
    table(f"{lab.server.name}: `plan` of {n} nodes by a machine that has none of them (without a remote, where all is there: {local * 1e3:.0f} ms)",
          ["latency", "all hits", "requests", "received", "all missing", "requests", "received"], rows)  # fmt: skip
    return figure


def throughput(lab, mib):
    """One large file, past the proxy: a push and a pull beside a plain copy of the same bytes to and from the same server, in pairs."""
    (ada,) = lab.fresh("ada")
    recipe = ada.home / "heavy.toml"
    text = "".join(chr(97 + i * 7 % 26) for i in range(1023)) + "\n"
    lines = [f'[node.heavy]\nkind = "toy-write"\ntext = {json.dumps(text)}\nrepeat = {mib * 1024}\n', '[node.after]\nkind = "toy-join"\nin = { a = "heavy" }\n']
    recipe.write_text("\n".join(lines))
    ada.ok("run", recipe, "--only", "heavy", remote=False, patience=600)
    blob = max((ada.store / "objects").glob("*/*"), key=lambda path: path.stat().st_size)
    kept = lab.parent / "heavy-store"
    ada.store.rename(kept)
    blob, copy = kept / blob.relative_to(ada.store), lab.parent / "copy"
    straight = {name: f"http://127.0.0.1:{lab.server.port}" for name in ("AWS_ENDPOINT", "AWS_ENDPOINT_URL")}
    times = {name: [] for name in ("push", "upload", "pull", "download", "copy")}

    def timed(name, what, *words):
        began = time.monotonic()
        what(*words)
        times[name].append(time.monotonic() - began)

    for _ in range(PAIRS):
        ada, bob = lab.fresh("ada", "bob")
        shutil.copytree(kept, ada.store, copy_function=os.link, dirs_exist_ok=True)
        recipe = ada.home / "heavy.toml"
        recipe.write_text("\n".join(lines))
        ada.env = bob.env = straight
        timed("push", lambda: ada.ok("push", patience=600))
        timed("upload", lab.server.client.upload_file, str(blob), "lab", "plain")
        timed("pull", lambda: bob.ok("pull", recipe, "--only", "heavy", patience=600))
        timed("download", lab.server.client.download_file, "lab", "plain", str(copy))
        timed("copy", shutil.copy, blob, copy)
        lab.server.clear(lab.prefix())
        lab.server.remove("plain")
    speed = lambda name: f"{mib / statistics.median(times[name]):.0f} MiB/s"
    ratio = lambda ours, plain: f"{statistics.median(p / o for o, p in zip(times[ours], times[plain])):.2f}"
    rows = [["push", speed("push"), "boto3's upload", speed("upload"), ratio("push", "upload")],
            ["pull", speed("pull"), "boto3's download", speed("download"), ratio("pull", "download")],
            ["", "", "a copy of the file", speed("copy"), ""]]  # fmt: skip
    table(f"{lab.server.name}: {mib} MiB in one file, whole processes, medians of {PAIRS} pairs", ["", "pipe", "", "plain", "pipe to plain"], rows)


def shown_verbs(got):
    return " ".join(f"{n} {verb}" for verb, n in got.items() if verb not in ("requests", "up", "down"))


def size(n):
    for unit in ("B", "KiB", "MiB", "GiB"):
        if n < 1024 or unit == "GiB":
            return f"{n:.0f} {unit}" if unit == "B" or n >= 10 else f"{n:.1f} {unit}"
        n /= 1024


def table(title, heads, rows):
    widths = [max(len(str(row[i])) for row in [heads, *rows]) for i in range(len(heads))]
    print(f"\n{title}")
    for row in [heads, *rows]:
        print("  " + "  ".join(str(cell).ljust(width) for cell, width in zip(row, widths)).rstrip(), flush=True)
