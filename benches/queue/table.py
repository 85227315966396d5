"""Prints the tables of a run: table.py RESULTS.jsonl. Medians of the rounds; the goals beside them."""

import json
import statistics
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]
print(f"\nload before each measurement: {min(r['loadavg'] for r in rows)} to {max(r['loadavg'] for r in rows)}\n")


def median(name, **wanted):
    found = [row[name] for row in rows if all(row.get(key) == value for key, value in wanted.items()) and row.get(name) is not None]
    return statistics.median(found) if found else float("nan")


def bull(mode, what, name="jobs_per_s", **more):
    return median(name, queue="bullmq", mode=mode, what=what, **more)


print("| queue | submits/s, 32 | submits/s, 256 | drained/s | p50 / p99 ms at 100/s |")
print("|---|---|---|---|---|")
for mode in ("everysec", "always"):
    print(f"| BullMQ, {mode} | {bull(mode, 'enqueue'):.0f} | | {bull(mode, 'drain'):.0f} | "
          f"{bull(mode, 'latency', 'p50_ms', rate=100):.1f} / {bull(mode, 'latency', 'p99_ms', rate=100):.1f} |")


def ours(queue, what, width=None):
    wanted = {"queue": queue, "what": what} | ({"width": width} if width else {})
    return median("jobs_per_s", **wanted)


def http(width):
    return median("rps", queue="http", width=width)


print(f"| skill, in process | {ours('skill', 'enqueue', 32):.0f} | {ours('skill', 'enqueue', 256):.0f} | {ours('skill', 'drain'):.0f} | "
      f"{median('p50_ms', queue='skill', what='latency'):.1f} / {median('p99_ms', queue='skill', what='latency'):.1f} |")
print(f"| skill, over HTTP | {http(32):.0f} | {http(256):.0f} | | |")
print(f"| the store alone | {ours('store', 'enqueue', 32):.0f} | {ours('store', 'enqueue', 256):.0f} | {ours('store', 'claim and finish'):.0f} | |")
for batch in (10, 100, 1000):
    insert, cycle = (median("jobs_per_s", store="sqlite", what=what, batch=batch) for what in ("insert", "insert+claim+complete"))
    print(f"| `sqlite_limits`, FULL, {batch} in a commit: inserts, whole cycles | {insert:.0f} | {insert:.0f} | {cycle:.0f} | |")

limits = median("jobs_per_s", store="sqlite", what="insert", batch=100)
print("\n| goal | figure |\n|---|---|")
print(f"| 32 producers ≥ 1.5 × BullMQ always | {ours('skill', 'enqueue', 32) / bull('always', 'enqueue'):.2f} × |")
print(f"| 256 producers ≥ 0.6 × `sqlite_limits` at 100 in a commit | {ours('skill', 'enqueue', 256) / limits:.2f} ×, "
      f"the store alone {ours('store', 'enqueue', 256) / limits:.2f} × |")
print(f"| drain of {median('jobs', queue='skill', what='drain'):.0f} ≥ 2 × BullMQ everysec | "
      f"{ours('skill', 'drain') / bull('everysec', 'drain'):.2f} ×, {median('cpu_us', queue='skill', what='drain'):.0f} µs of CPU each |")
print(f"| submit to done, p50 ≤ 8 ms | {median('p50_ms', queue='skill', what='latency'):.1f} ms |")

history = max((row.get("history", 0) for row in rows), default=0)
if history:
    print(f"\n| beside {history} runs, goal ≤ 20 % slower | without | with | slower by |\n|---|---|---|---|")
    for what, width in (("enqueue", 32), ("enqueue", 256), ("claim and finish", None)):
        more = {"width": width} if width else {}
        found = [median("jobs_per_s", queue="beside", what=what, history=h, **more) for h in (0, history)]
        print(f"| {what} {width or ''} | {found[0]:.0f}/s | {found[1]:.0f}/s | {(found[0] / found[1] - 1) * 100:.0f} % |")
    for what in ("all", "success", "namespace", "action"):
        found = [median("us", queue="beside", what=f"list {what}", history=h) for h in (0, history)]
        print(f"| list {what} | {found[0]:.0f} µs | {found[1]:.0f} µs | {(found[1] / found[0] - 1) * 100:.0f} % |")
