"""Kernels by themselves at the shapes of a 1.5 B model, and PyTorch's attention at the same."""

import array
import ctypes

from card import Skip

# Qwen2.5-1.5B: hidden, heads, key heads, numbers of a head, intermediate, vocabulary, layers.
HIDDEN, HEADS, KV, HEAD, FF, VOCABULARY, LAYERS = 1536, 12, 2, 128, 8960, 151936, 28
WIDTH = (HEADS + 2 * KV) * HEAD
ONE_F32, ONE_BF16 = 0x3F800000, 0x3C003C00  # 1.0; twice 0.0078.


def pointer(memory):
    return ctypes.c_uint64(memory.at.value)


def ints(*values):
    return [ctypes.c_int(v) for v in values]


def attention(card):
    for length in (4096, 8192, 16384):
        tiles = array.array("I", [n for first in range(0, length, 64) for n in (0, length, first)][: 3 * (length // 64)])
        # The longest first: what is left at the end is short.
        tiles = array.array("I", [n for t in range(len(tiles) // 3 - 1, -1, -1) for n in tiles[3 * t : 3 * t + 3]])
        qkv, dqkv = (card.memory(length * WIDTH * 2, ONE_BF16) for _ in range(2))
        out, dout = (card.memory(length * HEADS * HEAD * 2, ONE_BF16) for _ in range(2))
        lse, delta = (card.memory(length * HEADS * 4, ONE_F32) for _ in range(2))
        of_tiles = card.memory(len(tiles) * 4)
        of_tiles.write(tiles.tobytes())
        sizes = [*ints(length, HEADS, KV), ctypes.c_float(HEAD**-0.5)]
        forward = [pointer(m) for m in (qkv, of_tiles, out, lse)] + sizes
        back = [pointer(m) for m in (qkv, dout, lse, delta, of_tiles, dqkv)] + sizes
        tiles = length // 64

        def run_forward():
            card.launch("flash_forward", (tiles, HEADS, 1), forward)

        def run_backward():
            card.launch("flash_delta", (length, HEADS, 1), [pointer(m) for m in (out, dout, delta)] + ints(length, HEADS))
            card.launch("flash_backward_queries", (tiles, HEADS, 1), back)
            card.launch("flash_backward_keys", (tiles, KV, 1), back)

        forward_ms, backward_ms = card.milliseconds(run_forward), card.milliseconds(run_backward)
        # Half of T x T, two products forward and five backward.
        flop = length * length / 2 * HEADS * HEAD * 2
        yield {
            "ok": True,
            "tokens": length,
            "forward_ms": round(forward_ms, 3),
            "backward_ms": round(backward_ms, 3),
            "forward_tflops": round(2 * flop / forward_ms / 1e9, 1),
            "backward_tflops": round(5 * flop / backward_ms / 1e9, 1),
        }


def rows(card):
    tokens, chunk = 4096, 2048
    bf16, f32 = lambda n: card.memory(n * 2, ONE_BF16), lambda n: card.memory(n * 4, ONE_F32)
    eps = ctypes.c_float(1e-6)

    def timed(name, bytes_moved, counts, arguments):
        ms = card.milliseconds(lambda: card.launch(name, counts, arguments))
        return {"ok": True, "kernel": name, "ms": round(ms, 4), "gb_per_s": round(bytes_moved / ms / 1e6)}

    x, w, y, r = f32(tokens * HIDDEN), f32(HIDDEN), bf16(tokens * HIDDEN), f32(tokens)
    yield timed("rms_norm", tokens * HIDDEN * 6, (tokens, 1, 1), [*map(pointer, (x, w, y, r)), *ints(HIDDEN), eps])
    dy, dx, part = f32(tokens * HIDDEN), f32(tokens * HIDDEN), f32(tokens // 16 * HIDDEN)
    arguments = [*map(pointer, (x, w, r, dy, dx, part)), *ints(tokens, HIDDEN, 16)]
    yield timed("rms_norm_backward", tokens * HIDDEN * 16, (tokens, 1, 1), arguments)
    qkv, bias = bf16(tokens * WIDTH), f32(WIDTH)
    cos, sin, places = f32(tokens * HEAD // 2), f32(tokens * HEAD // 2), card.memory(tokens * 4, 7)
    null = ctypes.c_uint64(0)
    arguments = [pointer(qkv), pointer(bias), null, null, null, *map(pointer, (cos, sin, places)), *ints(HEADS, KV), eps]
    yield timed("turn_heads", tokens * WIDTH * 4, (tokens, HEADS + 2 * KV, 1), arguments)
    gates, act = bf16(tokens * 2 * FF), bf16(tokens * FF)
    yield timed("swiglu", tokens * FF * 6, (tokens, 1, 1), [pointer(gates), pointer(act), *ints(FF)])
    yield timed("swiglu_backward", tokens * FF * 12, (tokens, 1, 1), [*map(pointer, (gates, act, act)), *ints(FF)])
    del x, y, dy, dx, part, qkv, gates, act
    z, dz, targets = f32(chunk * VOCABULARY), bf16(chunk * VOCABULARY), card.memory(chunk * 4, 5)
    lse, entropy, logp, greedy, slopes = (f32(chunk) for _ in range(5))
    one = ctypes.c_float(1.0)
    arguments = [pointer(z), pointer(targets), one, *map(pointer, (lse, entropy, logp, greedy)), *ints(VOCABULARY)]
    yield timed("logit_stats", chunk * VOCABULARY * 4, (chunk, 1, 1), arguments)
    arguments = [pointer(z), pointer(dz), pointer(targets), one, *map(pointer, (lse, entropy, slopes, slopes)), *ints(VOCABULARY)]
    yield timed("logit_gradient", chunk * VOCABULARY * 6, (chunk, VOCABULARY, 1), arguments)
    del z, dz
    n = 1 << 28
    weights, gradients, first, second, shadow = f32(n), f32(n), f32(n), f32(n), bf16(n)
    count, parts = ctypes.c_longlong(n), f32(2 * (n // 16384))
    yield timed("square_parts", n * 4, (n, 1, 1), [pointer(gradients), count, pointer(parts)])
    rates = [ctypes.c_float(v) for v in (0.9, 0.1, 0.999, 0.001, 1.0, 1e-8, 1e-6, 1.0)]
    arguments = [*map(pointer, (weights, shadow, gradients, first, second)), count, null, ctypes.c_double(1.0), *rates]
    yield timed("adamw", n * 30, (n, 1, 1), arguments)


def decode(card):
    context, page = 1024, 256
    splits = context // page
    for width in (256, 64, 8, 1):
        table = array.array("I", range(width * splits))
        pages, places = card.memory(len(table) * 4), card.memory(width * 4, context - 1)
        pages.write(table.tobytes())
        keys, values = (card.memory(width * splits * KV * page * HEAD * 2, ONE_BF16) for _ in range(2))
        qkv, out = card.memory(width * WIDTH * 2, ONE_BF16), card.memory(width * HEADS * HEAD * 2)
        parts, stats = card.memory(width * HEADS * splits * HEAD * 4), card.memory(width * HEADS * splits * 8)
        first = [*map(pointer, (qkv, keys, values, pages, places, parts, stats)), *ints(splits, HEADS, KV), ctypes.c_float(HEAD**-0.5)]
        second = [*map(pointer, (parts, stats, places, out)), *ints(splits, HEADS)]

        def attend():
            card.launch("decode_pages", (width, KV, splits), first)
            card.launch("decode_merge", (width, HEADS, 1), second)

        attend_ms = card.milliseconds(attend)
        z, lse, greedy = card.memory(width * VOCABULARY * 4, ONE_F32), card.memory(width * 4, 0x414EE4F0), card.memory(width * 4, 0)
        units, tokens, logp = card.memory(width * 8, 0x3FE00000), card.memory(width * 4), card.memory(width * 4)
        arguments = [*map(pointer, (z, lse, greedy, units)), ctypes.c_float(1.0), pointer(tokens), pointer(logp), *ints(VOCABULARY)]
        draw_ms = card.milliseconds(lambda: card.launch("draw", (width, 1, 1), arguments))
        moved = width * context * 2 * KV * HEAD * 2
        yield {
            "ok": True,
            "rows": width,
            "context": context,
            "attention_us_a_layer": round(attend_ms * 1e3, 1),
            "attention_ms_a_token": round(attend_ms * LAYERS, 3),
            "cache_gb_per_s": round(moved / attend_ms / 1e6),
            "draw_us": round(draw_ms * 1e3, 1),
        }


def pytorch(card):
    try:
        import torch
    except ImportError as error:
        raise Skip(f"no torch: {error}") from error
    if not torch.cuda.is_available():
        raise Skip("torch sees no GPU")
    from torch.nn.functional import scaled_dot_product_attention

    for length in (4096, 8192, 16384):
        q = torch.randn(1, HEADS, length, HEAD, device="cuda", dtype=torch.bfloat16, requires_grad=True)
        k, v = (torch.randn(1, HEADS, length, HEAD, device="cuda", dtype=torch.bfloat16, requires_grad=True) for _ in range(2))
        times = {"forward_ms": [], "backward_ms": []}
        for _ in range(6):
            marks = [torch.cuda.Event(enable_timing=True) for _ in range(3)]
            marks[0].record()
            out = scaled_dot_product_attention(q, k, v, is_causal=True)
            marks[1].record()
            out.backward(out.detach())
            marks[2].record()
            torch.cuda.synchronize()
            times["forward_ms"].append(marks[0].elapsed_time(marks[1]))
            times["backward_ms"].append(marks[1].elapsed_time(marks[2]))
        medians = {key: round(sorted(all[1:])[2], 3) for key, all in times.items()}
        yield {"ok": True, "tokens": length, **medians, "torch": torch.__version__}


ITEMS = {f.__name__: f for f in (attention, rows, decode, pytorch)}
