"""Prints the table of a run: table.py RESULTS.jsonl READY_MS IDLE_MIB. Medians of the rounds."""

import json
import statistics
import sys

rows = [json.loads(line) for line in open(sys.argv[1])]
runs = [row for row in rows if row.get("kind") == "run" and not row.get("error")]
for row in rows:
    if row.get("error") or row.get("errors"):
        print(f"! {row['target']} {row.get('size')} {row.get('conns')}: {row.get('error') or row.get('first_error')}")

# Later rounds of a target that was slow to warm up, or a busy machine: worth knowing.
busy = max((row.get("others_cores", 0) for row in runs), default=0)
print(f"\nskill: ready in {sys.argv[2]} ms, idle {sys.argv[3]} MiB; strangers used at most {busy} cores meanwhile\n")
print("| reply | connections | target | calls/s | CPU ms/call | ÷ rust_wrap | p50 ms | p99 ms | RSS MiB |")
print("|---|---|---|---|---|---|---|---|---|")


def median(group, name):
    values = [row[name] for row in group if row.get(name) is not None]
    return statistics.median(values) if values else float("nan")


sizes = list(dict.fromkeys(row["size"] for row in runs))
conns = sorted({row["conns"] for row in runs})
targets = list(dict.fromkeys(row["target"] for row in runs))
for size in sizes:
    for count in conns:
        at = [row for row in runs if row["size"] == size and row["conns"] == count]
        base = median([row for row in at if row["target"] == "rust_wrap"], "cpu_s_per_1000")
        for target in targets:
            group = [row for row in at if row["target"] == target]
            if not group:
                continue
            cpu = median(group, "cpu_s_per_1000")
            print(f"| {size} | {count} | {target} | {median(group, 'rps'):.0f} | {cpu:.4f} | {cpu / base:.2f} | "
                  f"{median(group, 'p50_us') / 1000:.2f} | {median(group, 'p99_us') / 1000:.2f} | {median(group, 'rss_mib'):.1f} |")
