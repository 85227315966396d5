"""Made what lies in `data` and `known.json`: the directory of a program of schema 1, killed while a call was
under way. It ran once, with the program as of the commit "Ask a scheme whether a person has to agree":

    SKILL=…/skill python3 .ci/older/make.py

The sealing key and the API key open nothing else than this."""

import contextlib
import http.client
import json
import pathlib
import shutil
import signal
import sqlite3
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

from support import SHARED, Process, Server, config, folder, is_open, same  # noqa: E402

MOCK = 18900


def main():
    work = folder()
    mock = Process("mock upstream", [sys.executable, SHARED / "security/harness/mock_upstream.py"], work / "mock.log")
    mock.until(lambda: is_open(MOCK), "open port", 10)
    client = '[integrations.mock]\nclient_id = "fixture"\nclient_secret = "CLIENT_SECRET_CANARY"\n'
    server = Server(work, config([f"127.0.0.1:{MOCK}"], log="warn", extra=client))
    _, key = server.key("first", "tenant_a", tier="unbounded")
    server.bring("mock", "tenant_a", {"access_token": "UPTOKEN_A", "refresh_token": "REFRESH_CANARY_A"})
    server.start()

    def create(title, idempotency):
        answer = server.call("POST", "/v1/mock/create", {"params": {"title": title}}, key, {"Idempotency-Key": idempotency})
        same(answer.status, 200, answer.text)

    create("kept", "kept")
    for n in range(3):
        create(f"other {n}", f"other-{n}")
    def cut():
        with contextlib.suppress(OSError, http.client.HTTPException):
            server.call("POST", "/v1/mock/behave_post", {"params": {"mode": "hang"}}, key, {"Idempotency-Key": "cut"})

    threading.Thread(target=cut, daemon=True).start()
    time.sleep(1)
    server.stop(signal.SIGKILL)
    data = HERE / "data"
    shutil.rmtree(data, ignore_errors=True)
    data.mkdir()
    with sqlite3.connect(server.data / "skill.db") as db:
        lines = [line for line in db.iterdump() if "sqlite_sequence" not in line]
        states = dict(db.execute("SELECT id, state FROM executions").fetchall())
    (data / "skill.sql").write_text("\n".join(lines) + "\n")
    for path in server.data.iterdir():
        if path.is_file() and not path.name.startswith("skill.db"):
            shutil.copy(path, data / path.name)
    # What was cut ends as unknown at the next start.
    ends = {run: {"running": "error"}.get(state, state) for run, state in states.items()}
    (HERE / "known.json").write_text(json.dumps({"key": key, "runs": ends}, indent=1) + "\n")


if __name__ == "__main__":
    main()
