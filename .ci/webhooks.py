"""The scenarios of `.ci/webhooks`. The receivers are the judges: they know what arrived, and how often."""

import base64
import collections
import http.server
import json
import os
import pathlib
import signal
import sys
import threading
import time

from support import SHARED, Checks, Process, Server, ask, config, folder, holds, is_open, need_free, same, stop_all

MOCK, CANARY = 18900, 18901
VERIFIER, RECEIVER = 9460, 9461
REAL = pathlib.Path(os.environ["REAL"])
SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
CANARY_SECRET = "whsec_" + base64.b64encode(b"CANARY-of-a-webhook-secret-01234").decode()
EXTRA = """
[webhooks]
timeout_s = 2
pauses_s = [1, 1, 1, 1, 1, 2, 2, 2, 2]

[integrations.mock]
client_id = "fixture"
client_secret = "CLIENT_SECRET_CANARY"
"""


class World:
    def __init__(self):
        need_free(MOCK, CANARY, 18902, VERIFIER, RECEIVER)
        self.work = folder()
        command = [sys.executable, SHARED / "security/harness/mock_upstream.py"]
        self.mock = Process("mock upstream", command, self.work / "mock.log")
        self.mock.until(lambda: is_open(MOCK), "open port", 10)
        ask("POST", f"http://127.0.0.1:{MOCK}/__set", {"delay_ms": 0})

    def server(self, name, extra=EXTRA, doors=(MOCK, VERIFIER, RECEIVER)):
        """A server with a key and a connection, stopped."""
        work = self.work / name
        work.mkdir()
        server = Server(work, config([f"127.0.0.1:{door}" for door in doors], log="info", extra=extra))
        _, server.first = server.key("first", "tenant_a")
        server.bring("mock", "tenant_a", {"access_token": "UPTOKEN_A", "refresh_token": "REFRESH_CANARY_A"})
        return server

    def verifier(self, name, fail_first=0):
        """The receiver that checks every delivery with two published libraries; what it saw so far."""
        log = self.work / f"{name}.jsonl"
        command = ["node", REAL / "webhooks/verify.mjs", VERIFIER, SECRET, fail_first]
        process = Process("verifier", command, self.work / f"{name}.log", cwd=REAL / "webhooks", out=log)
        process.until(lambda: "ready" in log.read_text(), "line `ready`", 20)
        return process, lambda: [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]


def subscribe(server, url, secret=SECRET, events=("execution.completed", "execution.failed"), status=201):
    body = {"url": url, "events": list(events), "secret": secret}
    answer = server.call("POST", "/v1/webhooks", body, server.first)
    same(answer.status, status, answer.text)
    return answer.json


def submit(server, title):
    answer = server.call("POST", "/v1/tools/mock-create/invoke?async=true", {"title": title}, server.first)
    same(answer.status, 202, answer.text)
    return answer.json["execution_id"]


def deliveries(server, webhook, status=None):
    found, offset = [], 0
    while True:
        query = f"?limit=100&offset={offset}" + (f"&status={status}" if status else "")
        page = server.call("GET", f"/v1/webhooks/{webhook['id']}/deliveries{query}", key=server.first)
        same(page.status, 200, page.text)
        found += page.json["items"]
        offset += 100
        if not page.json["has_more"]:
            return found


def until(is_so, what, seconds=60):
    end = time.monotonic() + seconds
    while not (found := is_so()):
        holds(time.monotonic() < end, f"{what}: not after {seconds} s")
        time.sleep(0.05)
    return found


def good(seen):
    """Those that both verifiers took, with their run: {id: run}."""
    for one in seen:
        same((one["standardwebhooks"], one["svix"]), ("ok", "ok"), f"verifiers on {one}")
    return [one for one in seen if one["code"] == 204]


def run_of(one):
    """The run that a message is about: what the verifier shows of its body holds its beginning."""
    body = one["body"]
    at = body.index('"execution_id":"') + len('"execution_id":"')
    return body[at:body.index('"', at)]


def verified(w):
    """Two published verifiers take every delivery, the first ones after failures, under one id each."""
    server = w.server("verified").start()
    process, seen = w.verifier("verified", fail_first=6)
    webhook = subscribe(server, f"http://127.0.0.1:{VERIFIER}/hook")
    runs = [submit(server, f"v-{n}") for n in range(4)]
    until(lambda: len(good(seen())) >= 4, "four deliveries")
    attempts = collections.Counter(one["id"] for one in seen())
    same(len(attempts), 4, "ids")
    same(sum(attempts.values()), 10, "requests: six failures, four deliveries")
    same({run_of(one) for one in good(seen())}, set(runs), "runs that were told of")
    until(lambda: len(deliveries(server, webhook, "delivered")) == 4, "four deliveries that are listed")
    same({one["id"] for one in deliveries(server, webhook)}, set(attempts), "listed ids")
    # By hand, under its own id; and a test.
    again = deliveries(server, webhook)[0]["id"]
    path = f"/v1/webhooks/{webhook['id']}/deliveries/{again}/replay"
    same(server.call("POST", path, {}, server.first).status, 202)
    until(lambda: sum(one["id"] == again for one in good(seen())) == 2, "the one that was sent again")
    same(server.call("POST", f"/v1/webhooks/{webhook['id']}/test", {}, server.first).status, 202)
    until(lambda: any("webhook.test" in one["body"] for one in good(seen())), "a test")
    # The secret is replaced by another and back: both sign, so the receiver's one does all the time.
    rotation = f"/v1/webhooks/{webhook['id']}/rotate"
    for body in ({"overlap": 600}, {"overlap": 600, "secret": SECRET}):
        same(server.call("POST", rotation, body, server.first).status, 201)
        count = len(good(seen()))
        submit(server, "rotated")
        until(lambda: len(good(seen())) > count, "a delivery while the secret changes")
    # The command line shows the same.
    listed = json.loads(server.cli("webhooks", "list", "--owner", "tenant_a", "--json"))
    same([one["id"] for one in listed["items"]], [webhook["id"]], "skill webhooks list")
    sent = json.loads(server.cli("webhooks", "test", webhook["id"], "--owner", "tenant_a", "--json"))
    until(lambda: any(one["id"] == sent["id"] for one in good(seen())), "a test by command")
    process.stop()
    same(server.stop(), 0, "exit code")


def kills(w):
    """kill -9 again and again: every run that ended is told of, under one id however often."""
    rounds, each = (40, 40) if os.environ.get("DURABLE") == "full" else (8, 25)
    server = w.server("kills").start()
    process, seen = w.verifier("kills", fail_first=5)
    webhook = subscribe(server, f"http://127.0.0.1:{VERIFIER}/hook")
    runs = []
    for turn in range(rounds):
        for n in range(each):
            try:
                runs.append(submit(server, f"k-{turn}-{n}"))
            except (OSError, AssertionError):
                break
        time.sleep(0.01 * (turn % 5))
        server.stop(signal.SIGKILL)
        server.start()

    def told():
        """The ids of the messages that arrived, by run."""
        ids = collections.defaultdict(set)
        for one in good(seen()):
            ids[run_of(one)].add(one["id"])
        return ids

    until(lambda: set(runs) <= set(told()), f"{len(runs)} runs that are told of", 180)
    ids = told()
    same({run: len(found) for run, found in ids.items() if len(found) != 1}, {}, "ids of one run's messages")
    arrived = collections.Counter(one["id"] for one in good(seen()))
    twice = sum(count - 1 for count in arrived.values())
    # Only where a kill fell between an answer and its record, of at most four messages under way.
    holds(twice <= rounds * 4, f"{twice} repeats over {rounds} kills")
    until(lambda: not deliveries(server, webhook, "waiting"), "nothing waits")
    same(deliveries(server, webhook, "dead"), [], "dead messages")
    print(f"     {len(runs)} runs, {rounds} kills: {len(arrived)} messages, {twice} of them twice")
    process.stop()
    same(server.stop(), 0, "exit code")


def agents(w):
    """What an agent does, and the callback of a trigger: both verifiers take it, failures first, over a kill -9."""
    server = w.server("agents").start()
    process, seen = w.verifier("agents", fail_first=4)
    hook = f"http://127.0.0.1:{VERIFIER}/hook"
    body = {"agent_id": "default", "url": hook, "events": ["skill.completed", "conversation.created"], "secret": SECRET}
    webhook = server.call("POST", "/api/agent-webhooks", body, server.first)
    same(webhook.status, 201, webhook.text)
    # One that is made for one skill takes its input bare.
    several = {"skills": ["mock/v1/create", "github/v1/list-prs"], "secret": SECRET}
    trigger = server.call("POST", "/api/triggers", several, server.first)
    same(trigger.status, 201, trigger.text)
    runs = []
    for n in range(4):
        order = {"category": "mock", "skill": "create", "input": {"title": f"a-{n}"}, "callback_url": hook}
        answer = server.call("POST", f"/webhooks/{trigger.json['token']}", order)
        same(answer.status, 202, answer.text)
        runs.append(answer.json["job_id"].replace("job_", "exec_"))
        if n == 1:
            server.stop(signal.SIGKILL)
            server.start()
    told = lambda event: [run_of(one) for one in {one["id"]: one for one in good(seen())}.values() if event in one["body"]]
    # The end of each run twice: to the subscriber, and to its callback.
    until(lambda: len(told('"event":"skill.completed"')) >= 8, "eight ends of runs", 120)
    same(collections.Counter(told('"event":"skill.completed"')), collections.Counter(runs * 2), "runs that were told of")
    until(lambda: len(told('"event":"conversation.created"')) >= 4, "four conversations")
    same(server.call("POST", f"/api/agent-webhooks/{webhook.json['id']}/test", {}, server.first).status, 202)
    until(lambda: any("webhook.test" in one["body"] for one in good(seen())), "a test")
    process.stop()
    same(server.stop(), 0, "exit code")


class Receiver:
    """A receiver that behaves as the path says, and keeps what came."""

    def __init__(self):
        seen = self.seen = []

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                seen.append((time.monotonic(), self.path, dict(self.headers), body))
                getattr(self, self.path.strip("/").split("/")[0])()

            def good(self):
                self.send_response(204)
                self.end_headers()

            def slow(self):
                time.sleep(8)
                self.close_connection = True

            def gone(self):
                self.send_response(410)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def away(self):
                self.send_response(307)
                self.send_header("Location", f"http://127.0.0.1:{CANARY}/")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def later(self):
                self.send_response(503)
                self.send_header("Retry-After", "4")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def endless(self):
                self.send_response(200)
                self.end_headers()
                self.close_connection = True
                sent = 0
                try:
                    while sent < 64 << 20:
                        sent += self.connection.send(b"x" * 65536)
                except OSError:
                    pass
                seen.append((time.monotonic(), "/sent", {}, str(sent).encode()))

            def log_message(self, *_):
                pass

        class Threads(http.server.ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 256

        self.http = Threads(("127.0.0.1", RECEIVER), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()

    def at(self, path):
        return [one for one in self.seen if one[1] == path]

    def stop(self):
        self.http.shutdown()
        self.http.server_close()


def url(path):
    return f"http://127.0.0.1:{RECEIVER}{path}"


def hostile(w):
    """T94: slow, endless, gone, elsewhere; and nobody else waits for them."""
    server = w.server("hostile").start()
    receiver = Receiver()
    try:
        hooks = {name: subscribe(server, url(f"/{name}"), CANARY_SECRET) for name in ("gone", "away", "later", "endless")}
        slow = [subscribe(server, url(f"/slow/{n}"), CANARY_SECRET) for n in range(6)]
        runs = [submit(server, f"h-{n}") for n in range(2)]
        until(lambda: receiver.at("/gone") and receiver.at("/away") and receiver.at("/sent"), "first attempts")
        until(lambda: deliveries(server, hooks["gone"], "dead"), "a message to who is gone")
        shown = server.call("GET", f"/v1/webhooks/{hooks['gone']['id']}", key=server.first).json
        same((shown["status"], shown["disabled_reason"]), ("disabled", "the receiver answered 410 Gone"), "410")
        # Slow ones are known by then. A good one is served at once, whatever they do.
        time.sleep(3)
        nice = subscribe(server, url("/good"), CANARY_SECRET)
        waits = []
        for n in range(10):
            before, begun = len(receiver.at("/good")), time.monotonic()
            same(server.call("POST", f"/v1/webhooks/{nice['id']}/test", {}, server.first).status, 202)
            until(lambda: len(receiver.at("/good")) > before, "a delivery to who is good", 10)
            waits.append(time.monotonic() - begun)
        holds(max(waits) < 1, f"a good receiver waited {max(waits):.2f} s")
        # An endless answer counts as taken, and is not read to its end.
        until(lambda: len(deliveries(server, hooks["endless"], "delivered")) >= len(runs), "endless answers")
        most = max(int(body) for _, _, _, body in receiver.at("/sent"))
        holds(most < 16 << 20, f"{most} bytes of an endless answer were taken")
        # Retry-After is a floor, though the pause is a second.
        until(lambda: len(receiver.at("/later")) > len(runs), "a second attempt", 20)
        first = collections.defaultdict(list)
        for at, _, headers, _ in receiver.at("/later"):
            first[headers["webhook-id"]].append(at)
        gaps = [times[1] - times[0] for times in first.values() if len(times) > 1]
        holds(gaps and min(gaps) >= 3.9, f"Retry-After: 4, tried again after {gaps}")
        # Redirects lead nowhere.
        error = deliveries(server, hooks["away"])[0]["error"]
        holds("redirects are not followed" in error, error)
        same(ask("GET", f"http://127.0.0.1:{MOCK}/__ledger").json.get("canary", []), [], "the canary")
        # Dead in the end, and listed.
        until(lambda: deliveries(server, hooks["away"], "dead"), "a dead message", 90)
        dead = deliveries(server, hooks["away"], "dead")[0]
        same((dead["attempts"], dead["response_status"]), (10, 307), "a dead message")
        same(server.call("GET", "/healthz").status, 200)
        text = server.log.read_text()
        holds(CANARY_SECRET not in text and "CANARY-of-a-webhook" not in text, "a secret in the log")
        data = b"".join(path.read_bytes() for path in server.data.rglob("*") if path.is_file())
        holds(CANARY_SECRET.encode() not in data, "a secret in the data directory")
        for webhook in slow:
            same(server.call("DELETE", f"/v1/webhooks/{webhook['id']}", key=server.first).status, 204)
        begun = time.monotonic()
        same(server.stop(), 0, "exit code")
        holds(time.monotonic() - begun < 10, "it waited for slow receivers")
    finally:
        receiver.stop()


FORBIDDEN = [
    "http://127.0.0.1:{canary}/", "https://127.0.0.1:{canary}/", "https://localhost:{canary}/", "https://[::1]:{canary}/",
    "https://[::ffff:127.0.0.1]/", "https://[::ffff:7f00:1]/", "https://[64:ff9b::7f00:1]/", "https://[2002:7f00:1::]/",
    "https://0x7f.1/", "https://2130706433/", "https://0177.0.0.1/", "https://127.1/", "https://0/", "https://0.0.0.0/",
    "https://169.254.169.254/latest/meta-data/", "https://[fe80::1]/", "https://[fd00::1]/", "https://10.0.0.1/",
    "https://172.16.0.1/", "https://192.168.1.1/", "https://100.64.0.1/", "https://198.18.0.1/", "https://224.0.0.1/",
    "https://255.255.255.255/", "https://api.localhost/", "https://LOCALHOST./", "https://user:pass@example.com/",
    "https://127.0.0.1@10.0.0.1/", "http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com/",
    "https://exa mple.com/", "https://example.com\\@127.0.0.1/", "//example.com/", "https:///example.com/", "https://",
    "https://example.com:0/", "javascript:alert(1)", "http://127.0.0.1:{receiver}@127.0.0.1:{canary}/",
    "http://127.1:{receiver}/", "http://localhost:{receiver}/",
]


def forbidden(w):
    """T90: no subscription points inside, and one that does after all is not called."""
    server = w.server("forbidden").start()
    for text in FORBIDDEN:
        place = text.format(canary=CANARY, receiver=RECEIVER)
        body = {"url": place, "events": ["execution.completed"]}
        answer = server.call("POST", "/v1/webhooks", body, server.first)
        same((answer.status, answer.json["error"]["code"]), (400, "INVALID_REQUEST"), place)
        holds("url" in answer.json["error"]["details"], answer.text)
    webhook = subscribe(server, url("/good"))
    same(server.stop(), 0, "exit code")
    # The operator closes the door behind it: what was right once is checked at every connect.
    receiver = Receiver()
    try:
        server.config.write_text(config([f"127.0.0.1:{MOCK}"], log="info", extra=EXTRA))
        server.start()
        submit(server, "closed")
        failed = until(lambda: [one for one in deliveries(server, webhook) if one["error"]], "an attempt")[0]
        same(failed["error"], "the receiver cannot be reached: the URL must begin with https://", "the reason")
        time.sleep(3)
        same(receiver.seen, [], "what arrived behind a closed door")
        same(server.stop(), 0, "exit code")
    finally:
        receiver.stop()


SCENARIOS = [
    ("verified by two libraries, failures first", verified),
    ("agents and callbacks, verified by both", agents),
    ("hostile receivers (T94)", hostile),
    ("forbidden places (T90)", forbidden),
    ("kill -9", kills),
]


def main():
    words = [word.lower() for word in sys.argv[1:]]
    world, checks = World(), Checks()
    for name, scenario in SCENARIOS:
        if not words or any(word in name.lower() for word in words):
            checks.run(name, scenario, world)
            if checks.failed and checks.failed[-1] == name:
                for left in ("skill serve", "verifier"):
                    stop_all(left)
    world.mock.stop()
    checks.close()


if __name__ == "__main__":
    main()
