"""Checks a store from outside: does every record name files that are there with the bytes of their digests?

Owns what must hold after any accident. Shares no code with `pipe`; knows the store's layout as ARCHITECTURE.md gives it.
"""

import json
import struct

import blake3

MISSING = "its object is missing"


def records(store):
    """By key: the record, or a text that says what is wrong with the file."""
    found = {}
    for path in sorted((store / "actions").glob("*/*.json")):
        try:
            record = json.loads(path.read_bytes())
            found[path.stem] = record if isinstance(record, dict) else "is no table"
        except (ValueError, UnicodeDecodeError) as error:
            found[path.stem] = f"is unreadable: {error}"
    return found


def broken(store, logs=True, due=None):
    """Everything that is wrong with records and objects, as sentences; none in a sound store. `logs`: those of records count as well.
    `due`: the keys whose files have to be there, all where it is not given; what others name may have been swept."""
    wrong = []
    for key, record in records(store).items():
        for what in flaws(store, key, record, logs):
            if due is None or key in due or not what.endswith(MISSING):
                wrong.append(f"record {key[:12]} {what}")
    for path in sorted((store / "objects").glob("*/*")):
        try:
            right = blake3.digest(path.read_bytes()) == path.name
        except FileNotFoundError:  # Moved away between listing and reading.
            continue
        if not right:
            wrong.append(f"object {path.name[:12]} has other bytes than its name says")
    return wrong


def flaws(store, key, record, logs):
    if isinstance(record, str):
        return [record]
    try:
        return list(_flaws(store, key, record, logs))
    except (KeyError, TypeError, AttributeError, ValueError, struct.error) as error:
        return [f"has not the shape of a record: {error!r}"]


def _flaws(store, key, record, logs):
    if record["key"] != key:
        yield f"is about {record['key'][:12]}"
    if blake3.derived("pipe action v1", record["manifest"].encode()) != key:
        yield "has a manifest of another key"
    for name, artifact in record["outputs"].items():
        if artifact["digest"] != tree_digest(artifact["files"]):
            yield f"output `{name}`: the digest is not that of its list of files"
        for blob in artifact["files"]:
            yield from flaw(store, f"{name}/{blob['path']}", blob)
    for blob in record["logs"] if logs else []:
        yield from flaw(store, f"log {blob['path']}", blob)


def flaw(store, shown, blob):
    digest = blob["digest"]
    try:
        data = (store / "objects" / digest[:2] / digest).read_bytes()
    except OSError:
        yield f"{shown}: {MISSING}"
        return
    if len(data) != blob["size"] or blake3.digest(data) != digest:
        yield f"{shown}: its object has other bytes"


def tree_digest(files):
    """Of a folder: over paths, exec bits, sizes and digests, in the order of the record."""
    text = b""
    for blob in files:
        path = blob["path"].encode()
        text += struct.pack("<Q", len(path)) + path + bytes([blob["exec"]])
        text += struct.pack("<Q", blob["size"]) + blob["digest"].encode()
    return blake3.derived("pipe tree v1", text)


def outputs(record):
    """Digest by output."""
    return {name: artifact["digest"] for name, artifact in record["outputs"].items()}
