"""Keeps the prompts of a file that have at most so many words, and measures what that does to each class.

    short_prompts.py MOST ROWS SHORT METRICS

Standard library only. Rows are passed through as they are, so whatever they hold stays in them.
"""

import json
import math
import sys


def share(name, kept, n):
    """A share with Wilson's interval at 95 %."""
    z, p = 1.959964, kept / n
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    interval = [(middle - half) / (1 + z * z / n), (middle + half) / (1 + z * z / n)]
    return {"name": name, "value": p, "n": n, "interval": interval, "unit": "share"}


def main():
    most, rows, short, metrics = int(sys.argv[1]), *sys.argv[2:]
    seen, kept = {}, {}
    with open(rows, encoding="utf-8") as lines, open(short, "w", encoding="utf-8") as out:
        all_lines = lines.readlines()
        for number, line in enumerate(all_lines, 1):
            row = json.loads(line)
            seen[row["class"]] = seen.get(row["class"], 0) + 1
            if len(row["prompt"].split()) <= most:
                kept[row["class"]] = kept.get(row["class"], 0) + 1
                out.write(line)
            if number % 100 == 0 or number == len(all_lines):
                print(json.dumps({"step": number, "of": len(all_lines), "kept": sum(kept.values())}))
    shares = [share(f"kept/{name}", kept.get(name, 0), n) for name, n in sorted(seen.items())]
    with open(metrics, "w", encoding="utf-8") as out:
        json.dump({"metrics": shares}, out, indent=2)


if __name__ == "__main__":
    main()
