"""What of the tests of kernels is repeated on a GPU: the card itself, the modules' code, every launch's bytes."""

import array
import ctypes
import json
import time

from card import FOLDER, Skip

SIZES = {"f32": ("f", 4), "bf16": ("H", 2), "u32": ("I", 4), "f64": ("d", 8)}
# How far a buffer may be from the CPU's, over its largest number.
NEAR = {"f32": 2e-5, "bf16": 1.6e-2, "f64": 1e-12}


def driver(card):
    name, version, total = ctypes.create_string_buffer(256), ctypes.c_int(), ctypes.c_size_t()
    card.check("cuDeviceGetName", name, 256, card.device)
    card.check("cuDriverGetVersion", ctypes.byref(version))
    card.check("cuDeviceTotalMem_v2", ctypes.byref(total), card.device)
    capability = f"{card.attribute(75)}.{card.attribute(76)}"
    yield {
        "ok": True,
        "card": name.value.decode(),
        "compute_capability": capability,
        "cuda_of_driver": version.value / 1000,
        "memory_gib": round(total.value / 2**30, 1),
        "multiprocessors": card.attribute(16),
    }


def modules(card):
    if not (FOLDER / "cases").exists():
        raise Skip(f"no {FOLDER}: bench/gpu --prepare makes it where there is no GPU")
    for path in sorted(FOLDER.glob("*.ptx")):
        begun = time.monotonic()
        kernels = sorted(line.split("(")[0].split()[-1] for line in path.read_text().splitlines() if line.startswith(".visible .entry"))
        registers = {}
        for name in kernels:
            value = ctypes.c_int()
            card.check("cuFuncGetAttribute", ctypes.byref(value), 4, card.kernel(path.stem, name))
            registers[name] = value.value
        yield {"ok": True, "variant": path.stem, "kernels": len(kernels), "registers_max": max(registers.values()), "seconds": round(time.monotonic() - begun, 2)}


class Case:
    """A launch of the tests: what it read, and what the CPU gave."""

    def __init__(self, path):
        self.__dict__.update(json.loads(path.read_text()))
        data = path.with_suffix(".bin").read_bytes()
        sizes = [SIZES[b["kind"]][1] * b["len"] for b in self.buffers]
        cuts = [0]
        for size in sizes * 2:
            cuts.append(cuts[-1] + size)
        parts = [data[a:b] for a, b in zip(cuts, cuts[1:])]
        self.name = f"{self.variant}/{self.kernel} {path.stem}"
        self.before, self.after = parts[: len(sizes)], parts[len(sizes) :]

    def run(self, card):
        memories = []
        for data in self.before:
            memory = card.memory(len(data))
            memory.write(data)
            memories.append(memory)
        types = {"i32": ctypes.c_int, "i64": ctypes.c_longlong, "f32": ctypes.c_float, "f64": ctypes.c_double}
        arguments = []
        for argument in self.arguments:
            (kind, value), = argument.items()
            if kind == "buffer":
                arguments.append(ctypes.c_uint64(memories[value].at.value))
            elif kind == "null":
                arguments.append(ctypes.c_uint64(0))
            else:
                arguments.append(types[kind](value))
        card.run(card.kernel(self.variant, self.kernel), self.grid, self.threads, arguments)
        card.wait()
        return [memory.read() for memory in memories]

    def off(self, got):
        """The largest difference of a buffer, over its largest number and what is allowed; infinite where a number is none on one side only, or integers differ."""
        worst = 0.0
        for buffer, own, theirs in zip(self.buffers, got, self.after):
            if own == theirs:
                continue
            kind = buffer["kind"]
            if kind == "u32":
                return float("inf")
            a, b = numbers(kind, own), numbers(kind, theirs)
            largest = max((abs(y) for y in b if y == y and abs(y) != float("inf")), default=0.0)
            for x, y in zip(a, b):
                if x == y or (x != x and y != y):
                    continue
                difference = abs(x - y) / max(largest, 1e-30)
                if not difference < float("inf"):
                    return float("inf")
                worst = max(worst, difference / NEAR[kind])
        return worst


def numbers(kind, data):
    values = array.array(SIZES[kind][0], data)
    if kind != "bf16":
        return values
    return array.array("f", array.array("I", [v << 16 for v in values]).tobytes())


def every_case():
    """Those whose variant has PTX: the tests have heads of more widths."""
    paths = sorted((FOLDER / "cases").glob("*.json"))
    if not paths:
        raise Skip(f"no launches in {FOLDER / 'cases'}: bench/gpu --prepare keeps them")
    variants = {path.stem for path in FOLDER.glob("*.ptx")}
    return (case for case in map(Case, paths) if case.variant in variants)


def cases(card):
    worst, of, wrong, count = 0.0, "", [], 0
    for case in every_case():
        off = case.off(case.run(card))
        count += 1
        if off > worst:
            worst, of = off, case.name
        if not off <= 1.0:
            wrong.append({"launch": case.name, "off": off if off < float("inf") else None})
    yield {"ok": not wrong, "launches": count, "worst_of_allowed": worst if worst < float("inf") else None, "worst_is": of, "wrong": wrong[:20]}


def repeats(card):
    same = {case.name: case.run(card) == case.run(card) for case in every_case()}
    other = [name for name, equal in same.items() if not equal]
    yield {"ok": not other, "launches": len(same), "other_bytes": other[:20]}


ITEMS = {f.__name__: f for f in (driver, modules, cases, repeats)}
