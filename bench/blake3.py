"""BLAKE3 in plain Python, so that a store can be checked by something that shares no code with `pipe`.

Slow (some 100 KB a second): for small files. Owns the `hash` and `derive_key` modes; `python3 bench/blake3.py` checks itself.
"""

import functools
import struct

IV = (0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19)
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
DERIVE_KEY_CONTEXT, DERIVE_KEY_MATERIAL = 32, 64
CHUNK, BLOCK, MASK = 1024, 64, 0xFFFFFFFF
# What a round mixes: columns, then diagonals.
LANES = ((0, 4, 8, 12), (1, 5, 9, 13), (2, 6, 10, 14), (3, 7, 11, 15), (0, 5, 10, 15), (1, 6, 11, 12), (2, 7, 8, 13), (3, 4, 9, 14))


@functools.lru_cache(maxsize=4096)
def digest(data):
    """Hexadecimal digest of some bytes."""
    return hexadecimal(tree(data, IV, 0))


@functools.lru_cache(maxsize=4096)
def derived(context, material):
    """Hexadecimal digest in the mode `derive_key`."""
    key = tree(context.encode(), IV, DERIVE_KEY_CONTEXT)
    return hexadecimal(tree(material, key, DERIVE_KEY_MATERIAL))


def hexadecimal(words):
    return struct.pack("<8I", *words).hex()


def tree(data, key, flags):
    """The chaining value of the root."""
    return node(data, 0, key, flags, ROOT)


def node(data, first, key, flags, root):
    """Of the subtree that begins with chunk `first`; the left one has the largest power of two of chunks that leaves some over."""
    if len(data) <= CHUNK:
        return chunk(data, first, key, flags, root)
    chunks = (len(data) + CHUNK - 1) // CHUNK
    left = 1 << ((chunks - 1).bit_length() - 1)
    cut = left * CHUNK
    words = node(data[:cut], first, key, flags, 0) + node(data[cut:], first + left, key, flags, 0)
    return compress(key, words, 0, BLOCK, flags | PARENT | root)


def chunk(data, index, key, flags, root):
    value = key
    blocks = max(1, (len(data) + BLOCK - 1) // BLOCK)
    for i in range(blocks):
        block = data[i * BLOCK : (i + 1) * BLOCK]
        marks = flags | (CHUNK_START if i == 0 else 0) | (CHUNK_END | root if i == blocks - 1 else 0)
        words = struct.unpack("<16I", block.ljust(BLOCK, b"\0"))
        value = compress(value, words, index, len(block), marks)
    return value


def compress(value, words, counter, length, flags):
    state = [*value, *IV[:4], counter & MASK, counter >> 32, length, flags]
    for turn in range(7):
        for i, (a, b, c, d) in enumerate(LANES):
            mix(state, a, b, c, d, words[2 * i], words[2 * i + 1])
        if turn < 6:
            words = [words[p] for p in PERMUTATION]
    return tuple(state[i] ^ state[i + 8] for i in range(8))


def mix(state, a, b, c, d, x, y):
    for word, first, second in ((x, 16, 12), (y, 8, 7)):
        state[a] = (state[a] + state[b] + word) & MASK
        state[d] = rotate(state[d] ^ state[a], first)
        state[c] = (state[c] + state[d]) & MASK
        state[b] = rotate(state[b] ^ state[c], second)


def rotate(x, n):
    return (x >> n | x << (32 - n)) & MASK


if __name__ == "__main__":
    assert digest(b"") == "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    print("the digest of nothing is right")
