"""The first GPU through its driver's own interface, and where what was prepared for it lies."""

import ctypes
import json
import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
FOLDER = TARGET / "gpu"


class Skip(Exception):
    """What an item lacks."""


class Card:
    """The first GPU through its driver's own interface, `libcuda.so.1`."""

    def __init__(self, small):
        """`small`: the program's items are to take a small form."""
        self.small = small
        try:
            self.cuda = ctypes.CDLL("libcuda.so.1")
        except OSError as error:
            raise Skip(f"no driver: {error}") from error
        status = self.cuda.cuInit(0)
        if status:
            raise Skip(f"no GPU: {self.error(status)}")
        self.device = ctypes.c_int()
        self.check("cuDeviceGet", ctypes.byref(self.device), 0)
        context = ctypes.c_void_p()
        self.check("cuDevicePrimaryCtxRetain", ctypes.byref(context), self.device)
        self.check("cuCtxSetCurrent", context)
        self.loaded, self.functions, self.table = {}, {}, None

    def check(self, name, *arguments):
        status = getattr(self.cuda, name)(*arguments)
        if status:
            raise RuntimeError(f"{name}: {self.error(status)}")

    def error(self, status):
        text = ctypes.c_char_p()
        self.cuda.cuGetErrorString(status, ctypes.byref(text))
        return f"{(text.value or b'?').decode()} ({status})"

    def attribute(self, number):
        value = ctypes.c_int()
        self.check("cuDeviceGetAttribute", ctypes.byref(value), number, self.device)
        return value.value

    def module(self, variant):
        if variant not in self.loaded:
            path = FOLDER / f"{variant}.ptx"
            if not path.exists():
                raise Skip(f"no {path}: bench/gpu --prepare makes it where there is no GPU")
            module = ctypes.c_void_p()
            self.check("cuModuleLoadDataEx", ctypes.byref(module), path.read_bytes() + b"\0", 0, None, None)
            self.loaded[variant] = module
        return self.loaded[variant]

    def kernel(self, variant, name):
        if (variant, name) not in self.functions:
            function = ctypes.c_void_p()
            self.check("cuModuleGetFunction", ctypes.byref(function), self.module(variant), name.encode())
            self.functions[variant, name] = function
        return self.functions[variant, name]

    def memory(self, size, fill=None):
        return Memory(self, size, fill)

    def launch(self, kernel, counts, arguments, variant="bf16-128"):
        """For that many of what the kernel counts, by the library's own table of launches, which `--prepare` keeps."""
        if self.table is None:
            path = FOLDER / "cases/table"
            if not path.exists():
                raise Skip(f"no {path}: bench/gpu --prepare makes it where there is no GPU")
            self.table = json.loads(path.read_text())
        how = self.table[kernel]
        grid = [-(-count // a_block) for count, a_block in zip(counts, how["a_block"])]
        self.run(self.kernel(variant, kernel), grid, how["threads"], arguments)

    def run(self, kernel, grid, threads, arguments):
        """Arguments are ctypes values, in the order of the kernel's."""
        pointers = (ctypes.c_void_p * len(arguments))(*[ctypes.cast(ctypes.pointer(a), ctypes.c_void_p) for a in arguments])
        self.check("cuLaunchKernel", kernel, *map(ctypes.c_uint, grid), threads, 1, 1, 0, None, pointers, None)

    def wait(self):
        self.check("cuCtxSynchronize")

    def milliseconds(self, work, rounds=5):
        """Of one call of `work`, the median of some rounds, by the card's clock."""
        begin, end = ctypes.c_void_p(), ctypes.c_void_p()
        self.check("cuEventCreate", ctypes.byref(begin), 0)
        self.check("cuEventCreate", ctypes.byref(end), 0)
        times = []
        for _ in range(rounds + 1):
            self.check("cuEventRecord", begin, None)
            work()
            self.check("cuEventRecord", end, None)
            self.check("cuEventSynchronize", end)
            took = ctypes.c_float()
            self.check("cuEventElapsedTime", ctypes.byref(took), begin, end)
            times.append(took.value)
        return sorted(times[1:])[rounds // 2]


class Memory:
    """Memory of the card, given back with the object."""

    def __init__(self, card, size, fill):
        self.card, self.size, self.at = card, size, ctypes.c_uint64()
        card.check("cuMemAlloc_v2", ctypes.byref(self.at), ctypes.c_size_t(max(size, 16)))
        if fill is not None:
            card.check("cuMemsetD32_v2", self.at, ctypes.c_uint(fill), ctypes.c_size_t(size // 4))

    def write(self, data):
        self.card.check("cuMemcpyHtoD_v2", self.at, bytes(data), ctypes.c_size_t(len(data)))

    def read(self):
        buffer = ctypes.create_string_buffer(self.size)
        self.card.check("cuMemcpyDtoH_v2", buffer, self.at, ctypes.c_size_t(self.size))
        return buffer.raw

    def __del__(self):
        self.card.cuda.cuMemFree_v2(self.at)
