"""Larger replies, the same turns: sizes.py KIT OUT ROUNDS SECS CONNS SIZES PID KEY, lists with commas.

The kit asks the references for a size by a query parameter. Ours is asked by the integration of this benchmark, whose
endpoint declares that parameter: it stands in the body, which the references pass on and nobody reads.
"""

import json
import sys

kit, out, rounds, secs, conns, sizes, pid, key = sys.argv[1:]
sys.path.insert(0, f"{kit}/scripts")
from kit import RUN, Server, append, load  # noqa: E402

UP = "127.0.0.1:9100"
REFERENCES = {
    "nginx": (["nginx", "-p", f"{RUN}/../", "-c", "conf/nginx.conf", "-g", "daemon off;"], 9101, 201),
    "rust_wrap": ([f"{RUN}/min_proxy", "127.0.0.1:9103", f"http://{UP}", "wrap"], 9103, 200),
}

servers = [Server("mock", [f"{RUN}/mock_upstream", UP], 9100)]
try:
    targets = {}
    for name, (command, port, status) in REFERENCES.items():
        server = Server(name, command, port)
        servers.append(server)
        targets[name] = (f"http://127.0.0.1:{port}/v1/github/create_issue", server.pids, status)
    targets["skill"] = ("http://127.0.0.1:18080/v1/bench/create_issue", [int(pid)], 200)
    for size in sizes.split(","):
        params = {"title": "Bug report", "body": "Steps to reproduce...", "labels": ["bug"], "size": size}
        common = {
            "method": "POST",
            "header": [f"Authorization: Bearer {key}"],
            "body": json.dumps({"params": params}, separators=(",", ":")),
            "expect": '"number":7',
            "secs": secs,
            "warmup": 1,
        }
        for count in map(int, conns.split(",")):
            for turn in range(int(rounds)):
                for name, (url, pids, status) in targets.items():
                    row = load(f"{url}?size={size}", pids, conns=count, status=status, label=name, **common)
                    append(out, {**row, "kind": "run", "target": name, "size": size, "conns": count, "round": turn})
finally:
    for server in servers:
        server.stop()
