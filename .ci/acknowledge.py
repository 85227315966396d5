"""Starts the server of a folder, has runs acknowledged, and says `ack ID` the moment it knows of one.
usage: acknowledge.py FOLDER KEY COUNT. It runs under strace, which sees both: what the server writes and
what was acknowledged by then."""

import concurrent.futures
import os
import pathlib
import signal
import sys
import time

from support import Server


def main():
    folder, key, count = pathlib.Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    server = Server(folder, (folder / "skill.toml").read_text()).start()

    def one(n):
        headers = {"Idempotency-Key": f"power-{n}"}
        answer = server.call("POST", "/v1/tools/mock-create/invoke?async=true", {"title": f"p-{n}"}, key, headers)
        if answer.status != 202:
            raise RuntimeError(f"{answer.status} {answer.text}")
        os.write(1, f"ack {answer.json['execution_id']}\n".encode())

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        list(pool.map(one, range(count)))
    time.sleep(1)
    server.stop(signal.SIGKILL)


if __name__ == "__main__":
    main()
