"""Runs schemathesis over the document of a fresh server, as an owner with a connection and a few runs.
EXAMPLES says how many inputs each operation gets at most, SEED which ones."""

import os
import subprocess
import sys

from support import SHARED, Process, Server, config, folder, is_open, need_free, same

MOCK, CANARY, SINK = 18900, 18901, 18902
# Whoever needs no connection would be called over the network.
BUNDLED = ["httpbin"]


def main():
    need_free(MOCK, CANARY, SINK)
    work = folder()
    mock = Process("mock upstream", [sys.executable, SHARED / "security/harness/mock_upstream.py"], work / "mock.log")
    mock.until(lambda: is_open(MOCK), "open port", 10)
    # Nothing else than the mock can be reached: every service's address is overridden or refused.
    here = "".join(f'[integrations.{name}]\nbase_url = "http://127.0.0.1:{MOCK}"\n' for name in BUNDLED)
    server = Server(work, config([f"127.0.0.1:{MOCK}", f"127.0.0.1:{SINK}"], log="warn", extra=here)).start()
    _, key = server.key("document", "tenant_a", tier="unbounded")
    server.bring("mockkey", "tenant_a", {"api_key": "UPKEY"})
    for n in range(5):
        answer = server.call("POST", f"/v1/tools/mockkey-create/invoke?async={'true' if n % 2 else 'false'}", {"title": f"t{n}"}, key)
        same(answer.status, 202 if n % 2 else 200, answer.text)

    words = [os.environ["SCHEMATHESIS"], "run", f"{server.base}/openapi.json", "--url", server.base,
             "--header", f"Authorization: Bearer {key}", "--checks", "not_a_server_error,status_code_conformance",
             "--max-examples", os.environ.get("EXAMPLES", "15"), "--seed", os.environ.get("SEED", "1"),
             "--phases", "examples,coverage,fuzzing", "--request-timeout", "40", "--workers", "1", "--continue-on-failure",
             "--suppress-health-check", "all", "--max-time", os.environ.get("SECONDS_MOST", "420"),
             # The stream of a run that goes on is as long as the run.
             "--exclude-path-regex", "events$|^/metrics", *sys.argv[1:]]
    done = subprocess.run(words, cwd=work, check=False, env={**os.environ, "NO_COLOR": "1"})
    said = server.log.read_text(errors="replace")
    if "panicked" in said:
        sys.exit("a panic in the log")
    same(server.call("GET", "/healthz").status, 200, "health afterwards")
    same(server.stop(), 0, "exit code of the server")
    mock.stop()
    sys.exit(done.returncode)


if __name__ == "__main__":
    main()
