"""The scenarios of `.ci/http`. `.ci/http NAME…` runs only those whose name contains one of the words."""

import concurrent.futures
import gzip
import http.client
import json
import pathlib
import resource
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

from support import (LISTEN, PUBLIC, SHARED, Checks, Process, Server, ask, config, exchange, folder, holds,
                     is_open, need_free, same)

MOCK, CANARY, SINK = 18900, 18901, 18902
SECRETS = ["UPTOKEN_A", "UPTOKEN_B", "REFRESH_CANARY_A", "REFRESH_CANARY_B", "CLIENT_SECRET_CANARY"]
EXTRA = f"""
five = 5
[plans.daily]
per_day = 20

[integrations.mock]
client_id = "fixture"
client_secret = "CLIENT_SECRET_CANARY"
"""


class World:
    def __init__(self):
        need_free(MOCK, CANARY, SINK)
        self.work = folder()
        mock = [sys.executable, SHARED / "security/harness/mock_upstream.py"]
        self.mock = Process("mock upstream", mock, self.work / "mock.log")
        self.mock.until(lambda: is_open(MOCK), "open port", 10)
        self.server = Server(self.work, config([f"127.0.0.1:{MOCK}"], extra=EXTRA)).start()
        self.keys = []
        self.key = self.new_key("tenant_a")
        self.other = self.new_key("tenant_b")
        for owner, key in (("A", self.key), ("B", self.other)):
            self.server.bring("mock", f"tenant_{owner.lower()}",
                              {"access_token": f"UPTOKEN_{owner}", "refresh_token": f"REFRESH_CANARY_{owner}"})

    def new_key(self, owner, tier="unbounded"):
        _, key = self.server.key("lasting", owner, tier=tier)
        self.keys.append(key)
        return key

    def tell(self, path, body=None):
        return ask("POST", f"http://127.0.0.1:{MOCK}{path}", body).json

    def ledger(self):
        return ask("GET", f"http://127.0.0.1:{MOCK}/__ledger").json

    def fresh(self, **settings):
        """Empties the upstream's ledger."""
        self.tell("/__reset")
        self.tell("/__set", {"delay_ms": 0, **settings})

    def create(self, title, key=None, idempotency=None, timeout=30):
        headers = {"Idempotency-Key": idempotency} if idempotency else {}
        return self.server.call("POST", "/v1/mock/create", {"params": {"title": title}}, key or self.key, headers, timeout)

    def item(self, key=None, headers=None):
        return self.server.call("POST", "/v1/mock/get_item", {"params": {"item": "1"}}, key or self.key, headers)

    def crash(self):
        self.server.stop(signal.SIGKILL)
        self.server.start()


def together(count, work):
    """Runs `work(n)` that often at the same time."""
    gate = threading.Barrier(count)

    def one(n):
        gate.wait()
        return work(n)

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def operator(world, method, path, body, owner):
    """One request at the operator's door."""
    connection = http.client.HTTPConnection("localhost", timeout=10)
    connection.sock = socket.socket(socket.AF_UNIX)
    connection.sock.connect(str(world.server.data / "skill.sock"))
    connection.request(method, path, json.dumps(body), {"Content-Type": "application/json", "Skill-Owner": owner})
    answer = connection.getresponse()
    text = answer.read()
    connection.close()
    return answer.status, text


def limits_of_a_minute(w):
    """A118: never more than N in 60 seconds, over a crash too; and a call after Retry-After is accepted."""
    w.fresh()
    key = w.new_key("tenant_five", "five")
    answers = [w.server.call("GET", "/v1/connections", key=key) for _ in range(5)]
    same([answer.status for answer in answers], [200] * 5)
    same([answer.header("x-ratelimit-remaining") for answer in answers], ["4", "3", "2", "1", "0"])
    for answer in answers:
        same(answer.header("x-ratelimit-limit"), "5")
        holds(abs(int(answer.header("x-ratelimit-reset")) - time.time()) <= 61, "X-RateLimit-Reset")
        holds(answer.header("ratelimit") and answer.header("ratelimit-policy"), "the IETF fields")
    burst = together(20, lambda _: w.server.call("GET", "/v1/connections", key=key))
    same({answer.status for answer in burst}, {429})
    refused = burst[0]
    same(refused.json["error"], "rate_limit_exceeded")
    wait = int(refused.header("retry-after"))
    same(refused.json["retry_after"], wait)
    holds(1 <= wait <= 60, f"Retry-After {wait}")
    w.crash()
    again = w.server.call("GET", "/v1/connections", key=key)
    same(again.status, 429, "after a crash")
    time.sleep(int(again.header("retry-after")) + 0.1)
    same(w.server.call("GET", "/v1/connections", key=key).status, 200, "after Retry-After")


def limits_of_a_day(w):
    """A117, on one node: of many calls at once exactly as many go through as the plan allows."""
    w.fresh()
    key = w.new_key("tenant_daily")
    status, text = operator(w, "PUT", "/_operator/plan", {"plan": "daily"}, "tenant_daily")
    holds(status < 300, f"{status} {text}")
    time.sleep(1.2)  # a plan is in force within a second
    w.server.bring("mock", "tenant_daily", {"access_token": "UPTOKEN_A", "refresh_token": "REFRESH_CANARY_A"})
    answers = together(60, lambda _: w.item(key))
    good = [answer for answer in answers if answer.status == 200]
    bad = [answer for answer in answers if answer.status != 200]
    same((len(good), len(w.ledger()["mock"])), (20, 20), "calls of a plan of 20")
    same({(answer.status, answer.json["error"]) for answer in bad}, {(429, "daily_limit_reached")})
    page = bad[0].json["action_url"]
    holds(page.startswith(PUBLIC) and ask("GET", page).status == 200, f"action_url {page}")
    holds(0 < int(bad[0].header("retry-after")) <= 86400, "Retry-After")
    w.crash()
    same([w.item(key).status for _ in range(3)], [429] * 3, "after a crash")
    same(len(w.ledger()["mock"]), 20, "calls after a crash")


def wrong_keys_are_limited(w):
    """T05: guessing is limited per address, and a good key from the same address is not slowed down."""
    wrong = [w.server.call("GET", "/v1/connections", key=f"sk_{n:032}AAAAAA").status for n in range(80)]
    holds(set(wrong) <= {401, 429} and 429 in wrong, f"{sorted(set(wrong))}")
    same({w.server.call("GET", "/v1/connections", key=w.key).status for _ in range(20)}, {200})


def one_effect_per_key(w):
    """A119: at the same time, over a crash, and while the first call is under way."""
    w.fresh(delay_ms=700)
    run = f"{time.time_ns():x}"
    answers = together(10, lambda _: w.create("t", idempotency=f"{run}-a"))
    statuses = sorted(answer.status for answer in answers)
    holds(set(statuses) <= {200, 409} and statuses[0] == 200, f"{statuses}")
    same({a.json["error"] for a in answers if a.status == 409}, {"conflict"})
    first = next(answer for answer in answers if answer.status == 200)
    w.crash()
    replay = w.create("t", idempotency=f"{run}-a")
    same((replay.status, replay.json, replay.header("idempotent-replayed")), (200, first.json, "true"), replay.text)
    same(w.create("other", idempotency=f"{run}-a").status, 422)
    same(len(w.ledger()["effects"]), 1, "effects")


def a_crash_while_a_call_is_under_way(w):
    """The effect is never doubled, and what is not known is not called a success."""
    w.fresh(delay_ms=1500)
    run = f"{time.time_ns():x}"
    lost = []

    def call():
        try:
            lost.append(w.create("t", idempotency=run).status)
        except OSError:
            lost.append(None)

    caller = threading.Thread(target=call)
    caller.start()
    time.sleep(0.6)
    w.server.stop(signal.SIGKILL)
    caller.join()
    same(lost, [None], "the answer to a call that was killed")
    w.server.start()
    w.tell("/__set", {"delay_ms": 0})
    again = w.create("t", idempotency=run)
    holds(again.status in (200, 409, 502), f"{again.status} {again.text}")
    holds(len(w.ledger()["effects"]) <= 1, f"{len(w.ledger()['effects'])} effects")
    later = w.create("t", idempotency=run)
    holds(later.status in (200, 409, 502), f"{later.status} {later.text}")
    holds(len(w.ledger()["effects"]) <= 1, f"{len(w.ledger()['effects'])} effects")


def draining(w):
    """A108: every accepted call is answered, nothing new is taken, the program ends with 0."""
    w.fresh(delay_ms=1500)
    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        calls = [pool.submit(w.item) for _ in range(100)]
        end = time.monotonic() + 10
        while len(w.ledger()["mock"]) < 100 and time.monotonic() < end:
            time.sleep(0.02)
        begun = time.monotonic()
        w.server.process.popen.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        try:
            holds(w.server.call("GET", "/healthz").status == 503, "a new connection was served while draining")
        except OSError:
            pass
        statuses = [call.result().status for call in calls]
    same(statuses, [200] * 100, "calls under way")
    same((w.server.stop(), time.monotonic() - begun < 10), (0, True), "the end")
    w.server.start()


def a_flood_of_connections(w):
    """A127, with 256 descriptors for 2,000 idle connections."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(8192, hard), hard))
    pid = w.server.process.pid
    kept = http.client.HTTPConnection(*LISTEN.split(":"), timeout=10)
    kept.request("GET", "/healthz")
    same(kept.getresponse().read() != b"", True)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (256, 256))
    flood = []
    try:
        for _ in range(2000):
            s = socket.socket()
            s.setblocking(False)
            s.connect_ex(("127.0.0.1", int(LISTEN.split(":")[1])))
            flood.append(s)
        time.sleep(1)
        before, begun = cpu(pid), time.monotonic()
        kept.request("GET", "/healthz")
        same(kept.getresponse().read() != b"", True, "health on a connection that was there before")
        time.sleep(2)
        share = (cpu(pid) - before) / (time.monotonic() - begun)
        holds(share < 0.2, f"{share:.0%} of a core goes into refusing")
    finally:
        for s in flood:
            s.close()
        kept.close()
    end = time.monotonic() + 15
    while not w.server.is_ready():
        holds(time.monotonic() < end, "a new connection is not served after the flood")
        time.sleep(0.1)
    w.server.stop()
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    w.server.start()


def cpu(pid):
    """Seconds of processor time that a process has used."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


def many_requests_on_one_connection(w):
    kept = http.client.HTTPConnection(*LISTEN.split(":"), timeout=10)
    port = None
    for _ in range(50):
        kept.request("POST", "/v1/mock/get_item", '{"params":{"item":"1"}}',
                     {"Authorization": f"Bearer {w.key}", "Content-Type": "application/json"})
        answer = kept.getresponse()
        same((answer.status, json.loads(answer.read())["status"]), (200, 200))
        port = port or kept.sock.getsockname()
        same(kept.sock.getsockname(), port, "the connection was not kept")
    kept.close()


def packed_answers(w):
    plain = ask("GET", f"{PUBLIC}/openapi.json")
    packed = ask("GET", f"{PUBLIC}/openapi.json", headers={"Accept-Encoding": "br, gzip;q=0.5"})
    same((plain.header("content-encoding"), packed.header("content-encoding")), (None, "gzip"))
    same(gzip.decompress(packed.body), plain.body)
    holds("accept-encoding" in (packed.header("vary") or "").lower(), "Vary")
    small = ask("GET", f"{PUBLIC}/healthz", headers={"Accept-Encoding": "gzip"})
    same(small.header("content-encoding"), None, "a small answer")
    refused = ask("GET", f"{PUBLIC}/openapi.json", headers={"Accept-Encoding": "gzip;q=0, identity"})
    same(refused.header("content-encoding"), None, "gzip refused by its weight")


def the_second_http(w):
    """HTTP/2 over plain TCP, by curl; the rules on hosts and keys are the same."""
    def curl(*words):
        done = subprocess.run(["curl", "--silent", "--http2-prior-knowledge", "--max-time", "10", "--output", "/dev/null",
                               "--write-out", "%{http_version} %{http_code}", *words],
                              capture_output=True, text=True, check=False)
        return done.stdout

    call = f"{PUBLIC}/v1/mock/get_item"
    body = ["--header", "content-type: application/json", "--data", '{"params":{"item":"1"}}']
    same(curl("--header", f"x-api-key: {w.key}", *body, call), "2 200")
    # Without a body: when an answer comes before a body has been read, a stream ends with NO_ERROR,
    # as RFC 9113 section 8.1 has it, and older versions of curl call that an error.
    same(curl("--request", "POST", call), "2 401")
    same(curl("--header", f"x-api-key: {w.key}", "--header", "host: evil.test", f"{PUBLIC}/v1/connections"), "2 421")
    same(curl("--request", "TRACE", call), "2 405")
    same(curl("--header", f"x-api-key: {w.key}", f"{PUBLIC}/{'x' * 9000}"), "2 414")


def the_operators_door(w):
    """Only the operator's account may open it, and its routes exist nowhere else."""
    mode = (w.server.data / "skill.sock").stat().st_mode & 0o777
    same(mode & 0o077, 0, f"mode {mode:o}")
    status, text = operator(w, "GET", "/_operator/status", {}, "tenant_a")
    same(status, 200, text)
    for headers in ({}, {"Authorization": f"Bearer {w.key}"}, {"Skill-Owner": "tenant_a"}):
        same(ask("GET", f"{PUBLIC}/_operator/status", headers=headers).status, 404)
    spoofed = ask("GET", f"{PUBLIC}/v1/connections", headers={"Authorization": f"Bearer {w.other}", "Skill-Owner": "tenant_a"})
    owners = ask("GET", f"{PUBLIC}/v1/connections", headers={"Authorization": f"Bearer {w.other}"})
    same(spoofed.json, owners.json, "another tenant's connections")


def a_credential_in_anothers_row(w):
    """A124: a sealed credential is bound to its row; moved to another, it opens for nobody."""
    w.server.stop()
    database = next(path for path in w.server.data.iterdir() if path.read_bytes()[:15] == b"SQLite format 3")
    with sqlite3.connect(database) as db:
        rows = dict(db.execute("SELECT c.owner, g.rowid FROM grants g JOIN connections c ON c.id = g.connection_id "
                               "WHERE c.integration = 'mock' AND c.owner IN ('tenant_a', 'tenant_b')").fetchall())
        sealed = {owner: db.execute("SELECT sealed FROM grants WHERE rowid = ?", (row,)).fetchone()[0] for owner, row in rows.items()}
        for owner, other in (("tenant_a", "tenant_b"), ("tenant_b", "tenant_a")):
            db.execute("UPDATE grants SET sealed = ? WHERE rowid = ?", (sealed[other], rows[owner]))
    db.close()
    w.server.start()
    w.fresh()
    for key in (w.key, w.other):
        answer = w.item(key)
        same((answer.status, answer.json["error"]), (500, "internal_error"), answer.text)
    same(w.ledger()["mock"], [], "requests upstream")
    w.server.stop()
    with sqlite3.connect(database) as db:
        for owner, row in rows.items():
            db.execute("UPDATE grants SET sealed = ? WHERE rowid = ?", (sealed[owner], row))
    db.close()
    w.server.start()
    same(w.item().status, 200, "put back")


def another_sealing_key(w):
    """A server with the wrong key says so and does not start; it harms nothing."""
    w.server.stop()
    other = folder() / "other.key"
    other.write_text("1:" + "A" * 43 + "=\n")
    other.chmod(0o600)
    done = subprocess.run([w.server.program, "serve", "--data", w.server.data, "--listen", LISTEN, "--config", w.server.config],
                          env={"PATH": "/usr/bin:/bin", "SKILL_SEAL_KEY_FILE": str(other)},
                          capture_output=True, text=True, timeout=30, check=False)
    holds(done.returncode != 0, "it started")
    said = done.stdout + done.stderr
    holds("key" in said and "panicked" not in said and "AAAA" not in said, said[-600:])
    w.server.start()
    same(w.item().status, 200, "with the right key")


def two_servers_on_one_directory(w):
    done = subprocess.run([w.server.program, "serve", "--data", w.server.data, "--listen", "127.0.0.1:0", "--config", w.server.config],
                          capture_output=True, text=True, timeout=30, check=False)
    holds(done.returncode != 0, "a second server started")
    holds("panicked" not in done.stderr, done.stderr[-600:])
    same(w.item().status, 200, "the first server")


def an_answer_for_every_odd_byte(w):
    """Noise in place of requests: a 4xx or a closed connection, and a server that is well."""
    import random
    dice = random.Random(20)
    seeds = [b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n\r\n",
             b'POST /v1/mock/get_item HTTP/1.1\r\nHost: 127.0.0.1:18080\r\nContent-Length: 23\r\n\r\n{"params":{"item":"1"}}',
             b"POST /v1/connect HTTP/1.1\r\nHost: 127.0.0.1:18080\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"]
    for _ in range(400):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randint(1, 4)):
            at = dice.randrange(len(data))
            data[at:at + dice.randint(0, 2)] = bytes(dice.randrange(256) for _ in range(dice.randint(0, 2)))
        out = exchange(bytes(data), timeout=0.1)
        holds(not out or out.startswith((b"HTTP/1.1 ", b"HTTP/1.0 ")), f"{bytes(data)!r}: {out[:100]!r}")
        holds(b" 500 " not in out[:20], f"{bytes(data)!r}: {out[:100]!r}")
    same(w.server.call("GET", "/healthz").status, 200)


def nothing_secret_is_readable(w):
    """A123: not in the data directory, not in the log, not in the figures; nothing panicked."""
    found = []
    figures = ask("GET", f"{PUBLIC}/metrics").body
    places = [(path.name, path.read_bytes()) for path in [*w.server.data.rglob("*"), w.server.log] if path.is_file()]
    for name, data in [*places, ("/metrics", figures)]:
        found += [f"{name}: {secret[:10]}…" for secret in SECRETS + w.keys if secret.encode() in data]
    same(found, [], "secrets in plain text")
    log = w.server.log.read_text(errors="replace")
    holds("panicked" not in log, "a panic in the log")
    holds("\x1b" not in log, "a raw escape in the log")
    for line in log.splitlines():
        holds(line.startswith(("{", "warning:")), f"no JSON: {line[:200]}")
    same(w.server.stop(), 0, "exit code")


SCENARIOS = [
    ("many requests on one connection", many_requests_on_one_connection),
    ("packed answers", packed_answers),
    ("HTTP/2", the_second_http),
    ("the operator's door", the_operators_door),
    ("noise", an_answer_for_every_odd_byte),
    ("idempotency: one effect per key (A119)", one_effect_per_key),
    ("idempotency: a crash while a call is under way", a_crash_while_a_call_is_under_way),
    ("limits: wrong keys (T05)", wrong_keys_are_limited),
    ("limits: a day (A117)", limits_of_a_day),
    ("limits: a minute (A118)", limits_of_a_minute),
    ("draining (A108)", draining),
    ("a flood of connections (A127)", a_flood_of_connections),
    ("sealed: a credential in another's row (A124)", a_credential_in_anothers_row),
    ("sealed: another key", another_sealing_key),
    ("two servers on one directory", two_servers_on_one_directory),
    ("no secret is readable (A123)", nothing_secret_is_readable),
]


def main():
    words = [word.lower() for word in sys.argv[1:]]
    world, checks = World(), Checks()
    for name, scenario in SCENARIOS:
        if not words or any(word in name.lower() for word in words):
            checks.run(name, scenario, world)
    world.server.stop()
    world.mock.stop()
    checks.close()


if __name__ == "__main__":
    main()
