"""The scenarios of `.ci/durable`: the queue of a live server, and everything that may happen to it.

The upstream's ledger is the judge: it knows what was really done, and how often."""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import resource
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time

from support import (HERE, LISTEN, PUBLIC, SHARED, Checks, Process, Server, ask, config, folder, holds, is_open,
                     need_free, same, stop_all)

MOCK, CANARY, SINK = 18900, 18901, 18902
OLDER = HERE / "older"
HARNESS = SHARED / "security/harness"
FULL = os.environ.get("DURABLE") == "full"
FINAL = {"success", "error", "cancelled"}
FAKETIME = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1"
EXTRA = """
[integrations.mock]
client_id = "fixture"
client_secret = "CLIENT_SECRET_CANARY"
"""


class World:
    """The upstream, and a server of its own for each scenario."""

    def __init__(self):
        need_free(MOCK, CANARY, SINK, int(LISTEN.split(":")[1]))
        self.work = folder()
        self.start_mock()

    def start_mock(self):
        command = [sys.executable, HARNESS / "mock_upstream.py"]
        self.mock = Process("mock upstream", command, self.work / "mock.log")
        self.mock.until(lambda: is_open(MOCK), "open port", 10)

    def tell(self, path, body=None):
        return ask("POST", f"http://127.0.0.1:{MOCK}{path}", body).json

    def ledger(self):
        return ask("GET", f"http://127.0.0.1:{MOCK}/__ledger").json

    def fresh(self, **settings):
        # A request that waits there since the last scenario would count in this one.
        self.mock.stop()
        self.start_mock()
        self.tell("/__reset")
        self.tell("/__set", {"delay_ms": 0, **settings})

    def server(self, name, data=None, env=None, log="warn"):
        """A server that has keys and a connection, stopped."""
        work = self.work / name
        work.mkdir()
        text = config([f"127.0.0.1:{MOCK}"], log=log, extra=EXTRA)
        server = Server(work, text, env=env)
        server.data = data or server.data
        _, server.first = server.key("first", "tenant_a", tier="unbounded")
        _, server.second = server.key("second", "tenant_a", tier="unbounded")
        _, server.other = server.key("other", "tenant_b", tier="unbounded")
        for owner in "AB":
            server.bring("mock", f"tenant_{owner.lower()}",
                         {"access_token": f"UPTOKEN_{owner}", "refresh_token": f"REFRESH_CANARY_{owner}"})
        return server


def invoke(server, body, tool="mock-create", query="", key=None, idempotency=None, headers=None, timeout=45):
    headers = dict(headers or {})
    if idempotency:
        headers["Idempotency-Key"] = idempotency
    return server.call("POST", f"/v1/tools/{tool}/invoke{query}", body, key or server.first, headers, timeout)


def submit(server, title, idempotency=None, timeout=45):
    return invoke(server, {"title": title}, query="?async=true", idempotency=idempotency, timeout=timeout)


def look(server, run, wait=None):
    answer = server.call("GET", f"/v1/executions/{run}" + (f"?wait={wait}" if wait else ""), key=server.first,
                         timeout=330)
    holds(answer.status != 404, f"{run} is lost")
    same(answer.status, 200, f"{run}: {answer.text}")
    return answer.json


def end_of(server, runs, seconds=120):
    """How each run ended; fails when one does not."""
    left, ends = set(runs), {}
    until = time.monotonic() + seconds
    while left:
        for run in list(left):
            state = look(server, run)["status"]
            if state in FINAL:
                ends[run] = state
                left.discard(run)
        holds(time.monotonic() < until or not left, f"{len(left)} runs do not end, {sorted(left)[:3]}")
        if left:
            time.sleep(0.2)
    return ends


def titles(ledger):
    """How often the upstream was asked for each title, and under which keys."""
    asked = {}
    for one in ledger["mock"]:
        if one["target"] == "/create":
            keys = [value for name, value in one["headers"] if name.lower() == "idempotency-key"]
            asked.setdefault(json.loads(one["body"])["title"], []).append(keys)
    return asked


def one_effect_each(world, wanted):
    ledger = world.ledger()
    asked = titles(ledger)
    same(sorted(asked), sorted(wanted), "what the upstream was asked for")
    for title, keys in asked.items():
        holds(len({tuple(key) for key in keys}) == 1 and len(keys[0]) == 1, f"{title} went out under {keys}")
    same(len(ledger["effects"]), len(set(wanted)), "effects")


def kills(w):
    """A101: kill -9 at any moment."""
    n, count = (10_000, 300) if FULL else (2_000, 30)
    server = w.server("kills", log="error")
    done = kill9(server_command(server), server.first, n, count, deadline=900 if FULL else 300)
    print(done.stdout.strip(), flush=True)
    same(done.returncode, 0, f"kill9.py: {done.stdout[-900:]} {done.stderr[-900:]}")


def server_command(server):
    words = [server.program, "serve", "--data", server.data, "--listen", LISTEN, "--config", server.config]
    return shlex.join(map(str, words))


def kill9(command, key, n, count, deadline, high=2.0, tool="mock-create"):
    """Runs the harness in a session of its own, so that nothing that it starts is left."""
    words = [sys.executable, HARNESS / "kill9.py", "--cmd", command, "--key", key, "--tool", tool,
             "--n", n, "--kills", count, "--clients", 16, "--deadline", deadline, "--hi", high]
    process = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        out, err = process.communicate(timeout=3 * deadline + count * high)
    finally:
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    return subprocess.CompletedProcess(words, process.returncode, out, err)


def controls(w):
    """The same test fails a queue in memory, one that acknowledges first, and one with a key per attempt."""
    w.fresh()
    for mode in ("good", "memqueue", "ackfirst", "newkey"):
        base = folder()
        words = [sys.executable, HARNESS / "toy_queue.py", LISTEN.split(":")[1], MOCK, base / "toy.db", mode]
        done = kill9(shlex.join(map(str, words)), "K", 600, 25, deadline=25, high=0.5)
        expected = 0 if mode == "good" else 1
        same(done.returncode, expected, f"toy_queue {mode}: {done.stdout[-600:]} {done.stderr[-600:]}")


def power_cuts(w):
    """A102: what a power cut may leave of the disk holds every run that was acknowledged."""
    sys.path.insert(0, str(HARNESS))
    import crash_images  # noqa: PLC0415 - it belongs to the harness
    count = 1_000 if FULL else 100
    server = w.server("power", log="error")
    before = [event for path in sorted(server.data.rglob("*")) if path.is_file()
              for event in (("c", str(path)), ("w", str(path), 0, path.read_bytes()), ("sync", str(path)))]
    modes = {path.relative_to(server.data): path.stat().st_mode for path in server.data.rglob("*") if path.is_file()}
    trace = server.folder / "trace"
    w.fresh()
    words = [sys.executable, HERE / "acknowledge.py", server.folder, server.first, 500]
    # Its standard output is what the tool reads; nobody else needs it.
    shown = os.dup(1)
    with open(server.folder / "acks", "wb") as acks:
        os.dup2(acks.fileno(), 1)
    try:
        code = crash_images.trace(str(trace), list(map(str, words)))
    finally:
        os.dup2(shown, 1)
    same(code, 0, "acknowledge.py")
    events = before + crash_images.events(str(trace), str(server.data))
    acks, syncs = (sum(event[0] == kind for event in events) for kind in ("ack", "sync"))
    holds(acks >= 500 and syncs > 20, f"the trace shows {acks} acks and {syncs} syncs")
    import random  # noqa: PLC0415
    dice, lost, shut, longest = random.Random(7), [], [], 0.0
    for number in range(count):
        cut = len(events) if number == 0 else dice.randrange(len(before) + 1, len(events) + 1)
        mode = dice.choice(["none", "random", "random", "all"])
        files, acked = crash_images.image(events, cut, dice, mode)
        place = w.work / f"image-{number}"
        place.mkdir()
        image = Server(place, server.config.read_text())
        for name, content in files.items():
            at = pathlib.Path(name).relative_to(server.data)
            if at.suffix == ".sock":
                continue
            path = image.data / at
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(modes.get(at, 0o600) & 0o777)
        image.data.chmod(0o700)
        begun = time.monotonic()
        try:
            image.start()
        except RuntimeError as problem:
            shut.append(f"{number} ({mode}, {cut}): {str(problem)[-300:]}")
            continue
        longest = max(longest, time.monotonic() - begun)
        image.first = server.first
        there = listed(image)
        gone = {ack.split()[1] for ack in acked} - there
        if gone:
            lost.append(f"{number} ({mode}, {cut}): {len(gone)} of {len(acked)}")
        image.stop(signal.SIGKILL)
        shutil.rmtree(image.folder)
    print(f"     {count} images of {len(events) - len(before)} events, {syncs} syncs, {acks} acknowledged; start at most {longest:.2f} s")
    same((lost, shut), ([], []), "images that lost a run, images that do not open")


def listed(server):
    """The names of all runs."""
    found, offset = set(), 0
    while True:
        page = server.call("GET", f"/v1/executions?limit=100&offset={offset}", key=server.first)
        same(page.status, 200, page.text)
        found |= {run["id"] for run in page.json["executions"]}
        offset += 100
        if not page.json["has_more"]:
            return found


def full_disk(w):
    """A103: a full disk is an answer; reads go on, and all is well again without a restart."""
    disk = w.work / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,mode=0700", "tmpfs", disk], check=True)
    try:
        server = w.server("full", data=disk / "data").start()
        w.fresh()
        known = [submit(server, f"before-{n}").json["execution_id"] for n in range(20)]
        ballast = disk / "ballast"
        with open(ballast, "wb", buffering=0) as fill:
            try:
                while True:
                    fill.write(b"\0" * 4096)
            except OSError:
                pass
        refused, until = [], time.monotonic() + 60
        while len(refused) < 5:
            holds(time.monotonic() < until, "writes never failed")
            answer = submit(server, f"full-{len(known)}", timeout=20)
            if answer.status == 202:
                known.append(answer.json["execution_id"])
            else:
                refused.append(answer)
        for answer in refused:
            same((answer.status, answer.json["error"]["code"], answer.json["error"]["retryable"]),
                 (503, "INTERNAL_ERROR", True), answer.text)
            holds(answer.header("retry-after"), "Retry-After")
            holds("/" not in answer.json["error"]["message"], answer.text)
        same(look(server, known[0])["id"], known[0], "a read on a full disk")
        same(server.call("GET", "/v1/tools", key=server.first).status, 200, "the catalogue on a full disk")
        ballast.unlink()
        until = time.monotonic() + 15
        while (answer := submit(server, "after")).status != 202:
            holds(time.monotonic() < until, f"no recovery: {answer.status} {answer.text}")
            time.sleep(0.2)
        known.append(answer.json["execution_id"])
        end_of(server, known)
        same(len(w.ledger()["effects"]), len(titles(w.ledger())), "effects")
        holds("panicked" not in server.log.read_text(), "a panic")
        same(server.stop(), 0, "exit code")
    finally:
        subprocess.run(["umount", "--lazy", disk], check=False)


def broken_disk(w):
    """A104: after the first failed fsync nothing is acknowledged until the process has been restarted."""
    server = w.server("broken")
    w.fresh()
    plain = server.program
    wrapper = server.folder / "failing"
    trace = server.folder / "failing.trace"
    wrapper.write_text(f'#!/bin/sh\nexec strace -f -qq -o {trace} -e trace=fsync,fdatasync '
                       f'-e inject=fsync,fdatasync:error=EIO:when=20+ {plain} "$@"\n')
    wrapper.chmod(0o755)
    server.program = str(wrapper)
    server.start()
    known, statuses = [], []
    for n in range(100):
        try:
            answer = submit(server, f"job-{n}", timeout=10)
        except OSError:
            statuses.append(0)
            continue
        statuses.append(answer.status)
        if answer.status == 202:
            known.append(answer.json["execution_id"])
        else:
            holds(answer.status == 503, f"{answer.status} {answer.text}")
    text = trace.read_text(errors="replace")
    holds("EIO" in text, "no fsync was made to fail")
    bad = next((n for n, status in enumerate(statuses) if status != 202), len(statuses))
    holds(bad < len(statuses), "every submission was acknowledged although fsync fails")
    same([status for status in statuses[bad:] if status == 202], [], f"acknowledged after an fsync that failed: {statuses}")
    # Whoever is traced lives on without its tracer.
    for pid in descendants(server.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    server.stop(signal.SIGKILL)
    server.program = plain
    until = time.monotonic() + 10
    while is_open(int(LISTEN.split(":")[1])):
        holds(time.monotonic() < until, "the traced server does not go")
        time.sleep(0.05)
    server.start()
    end_of(server, known)
    server.stop()


def descendants(pid):
    """Every process below this one, the youngest first."""
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True).stdout.split()
    return [below for child in map(int, found) for below in (*descendants(child), child)]


def stopping(w):
    """A108: what was accepted is answered, what is queued stays, and the program ends with 0."""
    server = w.server("stopping").start()
    w.fresh(delay_ms=1000)
    with concurrent.futures.ThreadPoolExecutor(150) as pool:
        calls = [pool.submit(invoke, server, {"item": f"{n}"}, "mock-get-item") for n in range(100)]
        until = time.monotonic() + 10
        while len(w.ledger()["mock"]) < 100 and time.monotonic() < until:
            time.sleep(0.02)
        queued = [submit(server, f"queued-{n}") for n in range(50)]
        same({answer.status for answer in queued}, {202}, "submissions")
        begun = time.monotonic()
        server.process.popen.send_signal(signal.SIGTERM)
        statuses = [call.result().status for call in calls]
    same(statuses, [200] * 100, "calls under way")
    same(server.process.popen.wait(40), 0, "exit code")
    server.stop()
    holds(time.monotonic() - begun < 32, "it took longer than its drain time")
    w.tell("/__set", {"delay_ms": 0})
    server.start()
    ends = end_of(server, [answer.json["execution_id"] for answer in queued])
    same(set(ends.values()), {"success"}, "queued runs")
    one_effect_each(w, [f"queued-{n}" for n in range(50)])
    # The second signal ends it now, whatever is under way.
    w.tell("/__set", {"delay_ms": 20_000})
    answer = submit(server, "slow")
    time.sleep(0.5)
    server.process.popen.send_signal(signal.SIGTERM)
    time.sleep(0.5)
    begun = time.monotonic()
    server.process.popen.send_signal(signal.SIGTERM)
    server.process.popen.wait(10)
    holds(time.monotonic() - begun < 3, "a second signal did not end it")
    server.stop()
    w.tell("/__set", {"delay_ms": 0})
    server.start()
    same(end_of(server, [answer.json["execution_id"]]), {answer.json["execution_id"]: "success"}, "the slow run")
    server.stop()


def recovery(w):
    """5,000 runs that were interrupted: the server is ready again within five seconds."""
    count = 5_000 if FULL else 1_000
    server = w.server("recovery").start()
    w.fresh(delay_ms=30_000)
    with concurrent.futures.ThreadPoolExecutor(32) as pool:
        runs = [answer.json["execution_id"] for answer in pool.map(lambda n: submit(server, f"r-{n}"), range(count))]
    server.stop(signal.SIGKILL)
    w.tell("/__set", {"delay_ms": 0})
    begun = time.monotonic()
    server.start()
    took = time.monotonic() - begun
    holds(took < 5, f"ready after {took:.1f} s")
    ends = end_of(server, runs, 180)
    same({state: list(ends.values()).count(state) for state in ends.values()}, {"success": count}, "ends")
    one_effect_each(w, [f"r-{n}" for n in range(count)])
    print(f"     ready after {took:.2f} s with {count} interrupted runs")
    server.stop()


def repeats(w):
    """A119: one key is one run, whoever asks, however it is spelled, and over a crash."""
    server = w.server("repeats").start()
    w.fresh()
    first = invoke(server, {"title": "t", "tags": ["a"]}, idempotency="k1")
    same(first.status, 200, first.text)
    run = first.json["execution_id"]

    def again(body='{"tags":["a"],"title":"t"}', key=None, headers=None, query=""):
        headers = {"Content-Type": "application/json", **({"Idempotency-Key": '"k1"'} if headers is None else headers)}
        answer = server.call("POST", f"/v1/tools/mock-create/invoke{query}", body, key or server.first, headers)
        same((answer.status, answer.header("idempotent-replayed")), (202 if "async" in query else 200, "true"), answer.text)
        same(answer.json["execution_id"], run)

    again()
    again(headers={"Idempotency-Key": "k1"})
    again(headers={"X-Idempotency-Key": "k1"})
    again(key=server.second)
    again(query="?async=true")
    same(invoke(server, {"title": "other"}, idempotency="k1").status, 422, "another body")
    same(invoke(server, {"title": "other"}, idempotency="k1", query="?async=true").status, 422, "another body, queued")
    same(len(w.ledger()["effects"]), 1, "effects")
    # Another tenant, another action: independent.
    theirs = invoke(server, {"title": "t", "tags": ["a"]}, idempotency="k1", key=server.other)
    holds(theirs.status == 200 and theirs.json["execution_id"] != run, theirs.text)
    other = invoke(server, {"item": "1"}, tool="mock-get-item", idempotency="k1")
    holds(other.status == 200 and other.json["execution_id"] != run, other.text)
    # A refusal is not recorded.
    same(invoke(server, {}, idempotency="k2").status, 400)
    same(invoke(server, {"title": "t"}, idempotency="k2").status, 200)
    # While it runs.
    w.tell("/__reset")
    w.tell("/__set", {"delay_ms": 1500})
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(invoke, server, {"title": "slow"}, idempotency="k3") for _ in range(10)]
        answers = [call.result() for call in calls]
    good = {answer.json["execution_id"] for answer in answers if answer.status == 200}
    same((len(good), {answer.status for answer in answers} <= {200, 409}), (1, True), "ten at once")
    same(len(w.ledger()["effects"]), 1, "effects of ten at once")
    # Ten at once into the queue are one run, each time with 202.
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        calls = [pool.submit(submit, server, "queued", "k4") for _ in range(10)]
        answers = [call.result() for call in calls]
    same({answer.status for answer in answers}, {202}, "ten at once, queued")
    same(len({answer.json["execution_id"] for answer in answers}), 1, "runs of ten at once, queued")
    # Over a crash, before and after the end.
    server.stop(signal.SIGKILL)
    w.tell("/__set", {"delay_ms": 0})
    server.start()
    again()
    late = submit(server, "queued", "k4")
    same((late.status, late.json["execution_id"]), (202, answers[0].json["execution_id"]), "after a crash")
    end_of(server, [late.json["execution_id"]])
    same(len(w.ledger()["effects"]), 2, "effects after a crash")
    server.stop()


def a_call_in_flight(w):
    """A crash while a call that must not be repeated is under way: it is not repeated, and not called a success."""
    server = w.server("flight").start()
    w.fresh()
    runs = [invoke(server, {"mode": "hang", "note": f"n{n}"}, tool="mock-behave-post", query="?async=true").json["execution_id"] for n in range(5)]
    until = time.monotonic() + 10
    while len(w.ledger()["mock"]) < 5:
        holds(time.monotonic() < until, "they were not sent")
        time.sleep(0.05)
    server.stop(signal.SIGKILL)
    server.start()
    ends = end_of(server, runs, 90)
    same(set(ends.values()), {"error"}, "ends")
    for run in runs:
        error = look(server, run)["error"]
        holds("outcome_unknown" in json.dumps(error), f"{error}")
    same(len(w.ledger()["mock"]), 5, "requests")
    server.stop()


def herd(w):
    """A121: an upstream that was down finds an orderly crowd, and everybody is served."""
    count, down = (5_000, 60) if FULL else (500, 12)
    server = w.server("herd").start()
    w.mock.stop()
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        runs = [answer.json["execution_id"] for answer in pool.map(lambda n: submit(server, f"h-{n}"), range(count))]
    time.sleep(down)
    w.start_mock()
    begun = time.time()
    ends = end_of(server, runs, 420)
    same({state: list(ends.values()).count(state) for state in set(ends.values())}, {"success": count}, "ends")
    one_effect_each(w, [f"h-{n}" for n in range(count)])
    seconds = {}
    for one in w.ledger()["mock"]:
        seconds[int(one["t"] - begun)] = seconds.get(int(one["t"] - begun), 0) + 1
    print(f"     served within {max(seconds)} s; the fullest second had {max(seconds.values())} of {count}")
    server.stop()


def clocks(w):
    """A122: the time of day jumps; nothing runs twice, nothing waits for ever, what has ended has ended."""
    offset = w.work / "offset"
    offset.write_text("+0\n")
    fake = {"LD_PRELOAD": FAKETIME, "FAKETIME_TIMESTAMP_FILE": str(offset), "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    server = w.server("clocks")
    temporary = server.key("brief", "tenant_a", expires_in=3600)[1]
    server.env = fake
    server.start()
    w.fresh(delay_ms=2500)
    same(server.call("GET", "/v1/tools", key=temporary).status, 200, "a key that lives an hour")
    minute = server.key("minute", "tenant_minute", tier="standard")[1]
    running = [submit(server, f"running-{n}").json["execution_id"] for n in range(20)]
    plain = [invoke(server, {"mode": "ok", "note": f"{n}"}, tool="mock-behave-post", query="?async=true").json["execution_id"] for n in range(10)]
    time.sleep(0.7)
    for turn, jump in enumerate(("+30d", "-2h", "+0", "+30d")):
        offset.write_text(jump + "\n")
        time.sleep(1.5)
        running += [submit(server, f"{turn}-{n}").json["execution_id"] for n in range(5)]
        time.sleep(1.5)
    expired = server.call("GET", "/v1/tools", key=temporary)
    same(expired.status, 401, "a key that lived an hour, 30 days later")
    ends = end_of(server, running, 120)
    same({state: list(ends.values()).count(state) for state in set(ends.values())}, {"success": len(running)}, "ends")
    ends = end_of(server, plain, 120)
    same(set(ends.values()), {"success"}, "ends of what must not be repeated")
    ledger = w.ledger()
    posts = [one for one in ledger["mock"] if one["target"] == "/behave/ok"]
    same(len(posts), len(plain), "requests that must not be repeated")
    asked = titles(ledger)
    same({title: len(keys) for title, keys in asked.items() if len(keys) != 1}, {}, "requests of one run")
    # The clock goes back: what has expired stays so, and a limit blocks no longer than its window.
    burst = [server.call("GET", "/v1/quotas", key=minute).status for _ in range(110)]
    holds(burst.count(200) <= 100 and 429 in burst, f"a minute of 100: {burst.count(200)}")
    offset.write_text("-2h\n")
    same(server.call("GET", "/v1/tools", key=temporary).status, 401, "an expired key after the clock went back")
    until = time.monotonic() + 125
    while (answer := server.call("GET", "/v1/quotas", key=minute)).status == 429:
        holds(time.monotonic() < until, "a limit blocks longer than two windows after the clock went back")
        time.sleep(1)
    same(answer.status, 200)
    late = submit(server, "late")
    same(end_of(server, [late.json["execution_id"]]), {late.json["execution_id"]: "success"}, "after it all")
    server.stop()
    server.env = {}
    server.start()
    for run in running:
        same(look(server, run)["status"], "success", "after a start with the right time")
    server.stop()


def frozen(w):
    """A107, with one process: stopped for longer than its lease, it goes on without doing anything twice."""
    server = w.server("frozen").start()
    w.fresh(delay_ms=1000)
    runs = [submit(server, f"f-{n}").json["execution_id"] for n in range(20)]
    plain = [invoke(server, {"mode": "ok", "note": f"{n}"}, tool="mock-behave-post", query="?async=true").json["execution_id"] for n in range(10)]
    time.sleep(0.3)
    os.kill(server.process.pid, signal.SIGSTOP)
    time.sleep(95 if FULL else 35)
    os.kill(server.process.pid, signal.SIGCONT)
    ends = end_of(server, runs + plain, 120)
    same({ends[run] for run in runs}, {"success"}, "ends of what may be repeated")
    holds({ends[run] for run in plain} <= {"success", "error"}, "ends")
    one_effect_each(w, [f"f-{n}" for n in range(20)])
    posts = [one for one in w.ledger()["mock"] if one["target"] == "/behave/ok"]
    same(len(posts), len({one["body"] for one in posts}), "requests that must not be repeated")
    server.stop()


def cancelling(w):
    """T134: once "cancelled" was answered, a run never ends otherwise, over a crash too."""
    server = w.server("cancelling").start()
    w.fresh(delay_ms=300)
    runs = [submit(server, f"c-{n}").json["execution_id"] for n in range(120)]
    answered = {}
    lock = threading.Lock()

    def cancel(run):
        try:
            answer = server.call("DELETE", f"/v1/executions/{run}", key=server.first, timeout=10)
        except OSError:
            return
        with lock:
            answered[run] = answer.status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = pool.map(cancel, runs)
        time.sleep(0.4)
        server.stop(signal.SIGKILL)
        list(done)
    server.start()
    ends = end_of(server, runs)
    cancelled = [run for run, status in answered.items() if status == 200]
    holds(cancelled, "nothing was cancelled")
    same({ends[run] for run in cancelled}, {"cancelled"}, "ends of what was cancelled")
    refused = [run for run, status in answered.items() if status == 400]
    holds(all(ends[run] in ("success", "error") for run in refused), "a run that was said to have ended")
    print(f"     {len(cancelled)} cancelled, {len(refused)} too late, {len(runs) - len(answered)} without an answer")
    server.stop()


def taken_along(w):
    """A120: a run over which the process dies again and again ends in an error, and no other one suffers."""
    server = w.server("poison").start()
    w.fresh()
    poison = invoke(server, {"mode": "hang"}, tool="mock-behave", query="?async=true").json["execution_id"]
    good, deaths = [], 0
    until = time.monotonic() + 90
    while look(server, poison)["status"] not in FINAL:
        holds(time.monotonic() < until, f"it goes on after {deaths} deaths")
        good += [submit(server, f"good-{deaths}-{n}").json["execution_id"] for n in range(15)]
        if sum(one["target"] == "/behave/hang" for one in w.ledger()["mock"]) > deaths:
            end_of(server, good)
            server.stop(signal.SIGKILL)
            deaths += 1
            server.start()
    run = look(server, poison)
    same(run["status"], "error", f"{run}")
    holds(run["error"]["message"], "a reason")
    holds(deaths == 6, f"five crashes are forgiven: {deaths}")
    same(set(end_of(server, good).values()), {"success"}, "the others")
    asked = titles(w.ledger())
    same((len(asked), {len(keys) for keys in asked.values()}), (len(good), {1}), "requests of the others")
    print(f"     {deaths} deaths, {len(good)} others; it ends with: {run['error']['message']}")
    server.stop()


def upgrade(w):
    """A109: a directory of an older program goes on; the older program then refuses it in one line."""
    w.fresh()
    known = json.loads((OLDER / "known.json").read_text())
    place = w.work / "upgrade"
    server = Server(place_for(place), config([f"127.0.0.1:{MOCK}"], log="info", extra=EXTRA))
    write_older(server.data)
    server.first = known["key"]
    server.start()
    # What it knew is there: runs, the answer kept under a key, the connection, and a call that was cut.
    there = listed(server)
    same(set(known["runs"]) - there, set(), "runs of before")
    for run, state in known["runs"].items():
        same(look(server, run)["status"], state, run)
    again = server.call("POST", "/v1/mock/create", {"params": {"title": "kept"}}, known["key"],
                        {"Idempotency-Key": "kept"})
    same((again.status, again.header("idempotent-replayed")), (200, "true"), again.text)
    same(w.ledger()["effects"], {}, "effects of a replay")
    # And runs go on.
    runs = [submit(server, f"new-{n}").json["execution_id"] for n in range(20)]
    same(set(end_of(server, runs).values()), {"success"}, "runs after it")
    one_effect_each(w, [f"new-{n}" for n in range(20)])
    said = server.log.read_text(errors="replace")
    copy = server.data / "skill.db.schema-1"
    holds(copy.name in said, "the log names the copy")
    same(schema_of(copy), 1, "schema of the copy")
    same(server.stop(), 0, "exit code")
    # The program before this one: one that knows fewer schemas than the file has seen.
    database, present = server.data / "skill.db", schema_of(server.data / "skill.db")
    with contextlib.closing(sqlite3.connect(database)) as db:
        db.execute(f"PRAGMA user_version = {present + 1}")
    before = database.read_bytes()
    command = [server.program, "serve", "--data", server.data, "--listen", LISTEN, "--config", server.config]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=30, check=False)
    said = [line for line in done.stderr.splitlines() if "schema" in line]
    holds(done.returncode not in (0, 101) and "panicked" not in done.stderr, f"{done.returncode} {done.stderr[-600:]}")
    holds(len(said) == 1 and f"schema {present + 1}" in said[0] and f"knows {present}" in said[0] and str(copy) in said[0],
          f"one line with both schemas and the copy: {done.stderr[-600:]}")
    same(database.read_bytes(), before, "the file that was refused")
    # Put back, the copy is what it was.
    for path in server.data.glob("skill.db*"):
        if path != copy:
            path.unlink()
    copy.rename(database)
    server.start()
    for run, state in known["runs"].items():
        same(look(server, run)["status"], state, f"{run} of the copy")
    server.stop()


def place_for(path):
    path.mkdir()
    return path


def write_older(data):
    """The directory that a program of schema 1 left when it was killed in a call; see older/make.py."""
    data.mkdir(mode=0o700)
    for path in (OLDER / "data").iterdir():
        target = data / path.name
        if path.suffix == ".sql":
            target = data / f"{path.stem}.db"
            with contextlib.closing(sqlite3.connect(target)) as db:
                db.executescript(path.read_text())
                db.execute("PRAGMA user_version = 1")
        else:
            target.write_bytes(path.read_bytes())
        target.chmod(0o600)


def schema_of(path):
    with contextlib.closing(sqlite3.connect(path)) as db:
        return db.execute("PRAGMA user_version").fetchone()[0]


SCENARIOS = [
    ("idempotency keys (A119)", repeats),
    ("stopping (A108)", stopping),
    ("cancelling", cancelling),
    ("a run that takes the process along (A120)", taken_along),
    ("upgrade and roll back (A109)", upgrade),
    ("a crash while a call is under way", a_call_in_flight),
    ("recovery", recovery),
    ("a full disk (A103)", full_disk),
    ("fsync fails (A104)", broken_disk),
    ("clock jumps (A122)", clocks),
    ("frozen for longer than a lease (A107)", frozen),
    ("an upstream that was down (A121)", herd),
    ("power cuts (A102)", power_cuts),
    ("controls of kill -9", controls),
    ("kill -9 (A101)", kills),
]


def main():
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    words = [word.lower() for word in sys.argv[1:]]
    world, checks = World(), Checks()
    for name, scenario in SCENARIOS:
        if not words or any(word in name.lower() for word in words):
            checks.run(name, scenario, world)
            if checks.failed and checks.failed[-1] == name:
                # What it left running would be in the way of the next one.
                stop_all("skill serve")
    world.mock.stop()
    checks.close()


if __name__ == "__main__":
    main()
