"""The scenarios of `.ci/real`. `real.py NAME…` runs only those whose name contains one of the words."""

import base64
import concurrent.futures
import json
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import urllib.parse

from browser import Browser
from support import PUBLIC, Checks, Process, Server, ask, config, folder, holds, is_open, need_free, same

REAL = pathlib.Path(os.environ["REAL"])
IDP, KINTO, HTTPBIN, WIREMOCK = 9400, 9410, 9470, 9480
CALLBACK = f"{PUBLIC}/oauth/callback"
BACK = f"http://127.0.0.1:{HTTPBIN}/anything/back"
# How long the OAuth server's access tokens live, and a little more.
TOKEN_LIFE = 5
DEAD = TOKEN_LIFE + 1.2
CANARY = "canary-4Zq8Vt1mX0bYcD7sPq2L"

EXTRA = f"""
[connect]
return_urls = ["{BACK}"]

[integrations.kinto]
client_id = "skill-client"
client_secret = "skill-secret"

[integrations.idle]
client_id = "skill-client"
client_secret = "skill-secret"

[integrations.idp]
client_id = "skill-client-post"
client_secret = "skill-secret"

[integrations.httpbin]
base_url = "http://127.0.0.1:{HTTPBIN}"
"""


class World:
    """Everything that runs, and the key that the scenarios call with."""

    def __init__(self):
        need_free(IDP, KINTO, HTTPBIN, WIREMOCK)
        self.work = folder()
        self.idp = self.start_idp()
        kinto = [REAL / "pyvenv/bin/kinto", "start", "--ini", REAL / "upstream/kinto.ini", "--port", KINTO]
        self.kinto = Process("kinto", kinto, self.work / "kinto.log")
        httpbin = [REAL / "pyvenv/bin/gunicorn", "--bind", f"127.0.0.1:{HTTPBIN}", "--threads", "16", "httpbin:app"]
        self.httpbin = Process("httpbin", httpbin, self.work / "httpbin.log")
        jar = next((REAL / "node_modules/wiremock").rglob("*.jar"))
        java = ["java", "-Xmx256m", "-jar", jar, "--bind-address", "127.0.0.1", "--port", WIREMOCK,
                "--root-dir", self.work / "wiremock", "--disable-banner"]
        self.wiremock = Process("wiremock", java, self.work / "wiremock.log")
        doors = [f"127.0.0.1:{port}" for port in (IDP, KINTO, HTTPBIN, WIREMOCK)]
        self.server = Server(self.work, config(doors, extra=EXTRA)).start()
        self.key_id, self.key = self.server.key("real", "tenant_a", tier="unbounded")
        self.kinto.until(lambda: is_open(KINTO), "open port")
        self.httpbin.until(lambda: is_open(HTTPBIN), "open port")
        self.wiremock.until(lambda: is_open(WIREMOCK), "open port")
        self.connections = {}

    def start_idp(self):
        """The OAuth server keeps everything in memory: each start is one that knows no grant."""
        self.idp_log = self.work / f"idp-{time.monotonic_ns()}.log"
        command = ["node", REAL / "oauth/auth-server.mjs", IDP]
        # Node finds the packages beside the script.
        env = {"REDIRECTS": CALLBACK, "LOG": "1", "ACCESS_TTL": str(TOKEN_LIFE)}
        return Process("OAuth server", command, self.idp_log, env, REAL / "oauth").until(
            lambda: "ready" in self.idp_log.read_text(), "line `ready`")

    def refreshes(self):
        """How often the OAuth server gave new tokens for a refresh token."""
        return self.said("refresh_token.consumed")

    def codes(self):
        """How often it gave tokens for a code: it does not say so, but every grant is one or the other."""
        return self.said("grant.success") - self.refreshes()

    def said(self, event):
        return sum(line.startswith(event) for line in self.idp_log.read_text().splitlines())

    def errors(self):
        return [line for line in self.idp_log.read_text().splitlines() if line.startswith(("grant.error", "server_error"))]

    def call(self, integration, endpoint, params=None, **options):
        return self.server.call("POST", f"/v1/{integration}/{endpoint}", {"params": params or {}}, self.key, **options)

    def good(self, integration, endpoint, params=None, status=200):
        """A call whose upstream answered with `status`; its data."""
        answer = self.call(integration, endpoint, params)
        same(answer.status, 200, f"{integration}/{endpoint}: {answer.text[:300]}")
        same(answer.json["status"], status, f"{integration}/{endpoint}: {answer.text[:300]}")
        return answer.json.get("data", answer.json.get("error"))

    def begin(self, integration, **more):
        begun = self.server.call("POST", "/v1/connect", {"integration": integration, **more}, self.key)
        same(begun.status, 200, f"POST /v1/connect: {begun.text}")
        return begun.json["oauth_url"], begun.json["connection_id"]

    def status(self, connection):
        return self.server.call("GET", f"/v1/connect/{connection}", key=self.key).json["status"]

    def leave(self, link):
        """A browser that opened the link and pressed the button, about to leave for the provider."""
        browser = Browser()
        same(browser.send("GET", link).status, 200, "the page of the link")
        same(browser.press().status, 303, f"pressing the button: {browser.answer.text[:200]}")
        return browser

    def come_back(self, link):
        """A browser that said yes at the provider, and the address it was sent back to."""
        browser = self.leave(link)
        return browser, browser.follow(until=CALLBACK)

    def connect(self, integration):
        link, connection = self.begin(integration)
        browser, back = self.come_back(link)
        page = browser.send("GET", back)
        same(page.status, 200, f"the callback page: {page.text[:300]}")
        same(self.status(connection), "connected")
        self.connections[integration] = connection
        return connection

    def stop(self):
        for process in (self.wiremock, self.httpbin, self.kinto, self.idp):
            process.stop()


# ---- OAuth, against a certified server

def connect_create_list_refresh(w):
    connection = w.connect("kinto")
    same(w.codes(), 1, "codes exchanged")
    w.good("kinto", "create_record", {"collection": "tasks", "data": {"title": "Bug report", "done": False}}, 201)
    listed = w.good("kinto", "list_records", {"collection": "tasks", "limit": 10, "sort": ["title", "-last_modified"]})
    same([record["title"] for record in listed["data"]], ["Bug report"])
    before = w.refreshes()
    time.sleep(DEAD)
    w.good("kinto", "create_record", {"collection": "tasks", "data": {"title": "Another"}}, 201)
    same(w.refreshes() - before, 1, "refreshes after the token died")
    same(len(w.good("kinto", "list_records", {"collection": "tasks"})["data"]), 2, "records")
    same(w.refreshes() - before, 1, "refreshes while the new token lives")
    same(w.errors(), [], "errors at the OAuth server")
    shown = w.server.call("GET", f"/v1/connections/{connection}", key=w.key).json
    same((shown["integration"], shown["status"]), ("kinto", "connected"))


def fifty_calls_on_a_dead_token(w):
    w.connections.get("idp") or w.connect("idp")
    w.good("idp", "userinfo")
    before = w.refreshes()
    time.sleep(DEAD)
    gate = threading.Barrier(50)

    def one(_):
        gate.wait()
        answer = w.call("idp", "userinfo")
        return answer.status, answer.json.get("status"), answer.text

    begun = time.monotonic()
    with concurrent.futures.ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(one, range(50)))
    took = time.monotonic() - begun
    holds(took < TOKEN_LIFE - 1, f"fifty calls took {took:.1f} s: the next token may be dead too")
    bad = [text for status, upstream, text in answers if (status, upstream) != (200, 200)]
    same(bad, [], "calls that did not work")
    same(w.refreshes() - before, 1, "refreshes")
    same(w.errors(), [], "errors at the OAuth server")


def the_request_to_the_provider(w):
    """A114, and what an authorization request must and must not carry."""
    link, _ = w.begin("kinto", label="pkce")
    browser = w.leave(link)
    cookies = [value for name, value in browser.answer.headers if name.lower() == "set-cookie"]
    same(len(cookies), 1, "cookies")
    for part in ("skill-connect=", "HttpOnly", "SameSite=Lax"):
        holds(part.lower() in cookies[0].lower(), f"the cookie has no {part}: {cookies[0]}")
    to = urllib.parse.urlsplit(browser.answer.header("location"))
    asked = dict(urllib.parse.parse_qsl(to.query, strict_parsing=True))
    same(f"{to.scheme}://{to.netloc}{to.path}", f"http://127.0.0.1:{IDP}/auth")
    same(asked["redirect_uri"], CALLBACK)
    same((asked["response_type"], asked["code_challenge_method"], asked["client_id"]), ("code", "S256", "skill-client"))
    same(len(asked["code_challenge"]), 43, "length of the challenge")
    holds(len(asked["state"]) >= 22, "a state of 128 bits or more")
    same("code_verifier" in asked or "client_secret" in asked, False, "secrets in the address")


def state_belongs_to_a_browser(w):
    """A112: a callback opened in another browser connects nothing and spends no code."""
    link, connection = w.begin("kinto", label="browser")
    owner, back = w.come_back(link)
    codes = w.codes()
    for stranger in (Browser(), w.leave(w.begin("kinto", label="stranger")[0])):
        stranger.url = None
        same(stranger.send("GET", back).status, 400, "a stranger's callback")
        same(stranger.answer.header("location"), None)
    same(w.status(connection), "pending")
    same(w.codes() - codes, 0, "codes exchanged for a stranger")
    same(w.errors(), [], "codes sent for a stranger")
    # Whoever started it may still finish, or has to begin again; it never ends half connected.
    finished = owner.send("GET", back).status
    same((finished, w.status(connection)) in ((200, "connected"), (400, "pending"), (400, "error")), True,
         f"the owner's callback afterwards: {finished} {w.status(connection)}")


def state_and_links_work_once(w):
    """A113."""
    link, connection = w.begin("kinto", label="once")
    browser, back = w.come_back(link)
    same(browser.send("GET", back).status, 200)
    codes = w.codes()
    same(browser.send("GET", back).status, 400, "the same callback again")
    same(browser.send("GET", f"{back}&x=1").status, 400, "the same callback with one more parameter")
    same(Browser().send("GET", link).status, 404, "the page of a used link")
    again = Browser()
    same(again.send("POST", link, "", {"Content-Type": "application/x-www-form-urlencoded"}).status, 404, "pressing it again")
    same(w.codes() - codes, 0, "codes exchanged again")
    same(w.status(connection), "connected")
    same(w.errors(), [], "codes sent again")


def the_issuer_is_compared(w):
    """A115: RFC 9207."""
    for label, change in (("wrong", lambda q: {**q, "iss": "http://127.0.0.1:9999"}),
                          ("missing", lambda q: {k: v for k, v in q.items() if k != "iss"}),
                          ("almost", lambda q: {**q, "iss": q["iss"] + "/"})):
        link, connection = w.begin("kinto", label=f"iss-{label}")
        browser, back = w.come_back(link)
        at = urllib.parse.urlsplit(back)
        query = dict(urllib.parse.parse_qsl(at.query))
        same(query["iss"], f"http://127.0.0.1:{IDP}")
        codes = w.codes()
        page = browser.send("GET", f"{CALLBACK}?{urllib.parse.urlencode(change(query))}")
        same(page.status, 400, f"callback with a {label} issuer")
        holds("9999" not in page.text, "the page repeats the foreign issuer")
        same(w.codes() - codes, 0, "codes exchanged")
        holds(w.status(connection) != "connected", "connected all the same")
    same(w.errors(), [], "codes sent")


def host_moves_nothing(w):
    """A116."""
    body = json.dumps({"integration": "kinto", "label": "host"})
    head = {"Authorization": f"Bearer {w.key}", "Content-Type": "application/json"}
    same(ask("POST", f"{PUBLIC}/v1/connect", body, {**head, "Host": "evil.test"}).status, 421)
    forwarded = {"X-Forwarded-Host": "evil.test", "X-Forwarded-Proto": "https", "Forwarded": "host=evil.test"}
    begun = ask("POST", f"{PUBLIC}/v1/connect", body, {**head, **forwarded})
    link = begun.json["oauth_url"]
    holds(link.startswith(f"{PUBLIC}/connect/"), link)
    browser = Browser()
    browser.send("GET", link, headers=forwarded)
    form = browser.form()
    holds("evil" not in form["action"], form["action"])
    left = browser.send("POST", form["action"] or link, urllib.parse.urlencode(form["fields"]),
                        {"Content-Type": "application/x-www-form-urlencoded", **forwarded})
    asked = urllib.parse.parse_qs(urllib.parse.urlsplit(left.header("location")).query)
    same(asked["redirect_uri"], [CALLBACK])
    moved = Browser().send("GET", link, headers={"Host": "evil.test"})
    holds(moved.status == 421 or (moved.header("location") or "").startswith(PUBLIC), f"{moved.status} {moved.headers}")


def the_person_says_no(w):
    link, connection = w.begin("kinto", label="no")
    browser = w.leave(link)
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(browser.answer.header("location")).query)["state"][0]
    query = {"error": "access_denied", "error_description": "<script>alert(1)</script>", "state": state,
             "iss": f"http://127.0.0.1:{IDP}"}
    page = browser.send("GET", f"{CALLBACK}?{urllib.parse.urlencode(query)}")
    holds(page.status < 500 and "<script>alert" not in page.text, f"{page.status} {page.text[:200]}")
    same(w.status(connection), "error")


def the_way_back(w):
    """A return address of the allow list is where the person ends."""
    link, connection = w.begin("kinto", label="return", return_url=BACK)
    browser, back = w.come_back(link)
    browser.send("GET", back)
    holds(browser.answer.status in (200, 302, 303), f"{browser.answer.status}")
    to = browser.answer.header("location") or ""
    holds(to.startswith(BACK) or BACK in browser.answer.text, f"{to} {browser.answer.text[:300]}")
    holds("code=" not in to and "state=" not in to, f"{to} carries the code on")
    same(w.status(connection), "connected")


def in_a_browser(w):
    link, connection = w.begin("kinto", label="chromium")
    shot = w.work / "connect.png"
    done = subprocess.run(["node", pathlib.Path(__file__).with_name("connect.mjs"), link, shot],
                          capture_output=True, text=True, timeout=90, check=False)
    same(done.returncode, 0, done.stderr[-600:])
    seen = json.loads(done.stdout)
    same(seen["complaints"], [], "complaints of the browser")
    same(w.status(connection), "connected")
    for page in (seen["before"], seen["after"]):
        holds(page["title"] and page["lang"], f"title and language: {page}")
        same(page["overflow"], False, "wider than a telephone")
    holds("Kinto" in seen["before"]["text"], f"the page does not name the service: {seen['before']['text']}")
    holds("tenant_a" in seen["before"]["text"], f"the page does not name the owner: {seen['before']['text']}")
    same(seen["before"]["buttons"], 1, "buttons")


def set_up(w):
    """`skill setup` from nothing to a call: a client that the provider does not know is refused, one that it
    knows is kept, a person says yes, and a call shows whose account it is."""
    program, owner = w.server.program, "tenant_setup"
    common = ["--data", str(w.server.data), "--config", str(w.server.config), "--json"]
    secret = w.work / "client.secret"
    words = [program, "setup", "idp", "--client-id", "skill-client", "--client-secret-file", str(secret),
             "--owner", owner, "--no-browser", *common]
    secret.write_text("not-the-secret\n")
    refused = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    same(refused.returncode, 1, f"a wrong secret: {refused.stdout}{refused.stderr}")
    holds("does not know this client" in refused.stderr, refused.stderr)
    secret.write_text("skill-secret\n")
    begun = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        lines = [json.loads(begun.stdout.readline()) for _ in range(3)]
        same(lines[0]["redirect_url"], CALLBACK, "the redirect URL")
        same(lines[0]["scopes"], ["openid", "offline_access"], "the scopes")
        same(lines[1]["client"], "known", "what the provider says of the client")
        browser, back = w.come_back(lines[2]["oauth_url"])
        same(browser.send("GET", back).status, 200, "the callback page")
        out, err = begun.communicate(timeout=60)
    finally:
        begun.kill()
    same(begun.returncode, 0, err)
    last = json.loads(out.strip().splitlines()[-1])
    same((last["status"], last["call"]), (200, "idp/userinfo"), "the call")
    holds(last["account"], "it does not say whose account it is")
    holds("skill-secret" not in out + err + json.dumps(lines), "the secret was shown")


def the_provider_is_away_and_forgets(w):
    """Away: 502, the connection stays. Back without memory: token_expired, and reconnecting restores
    the connection under its id."""
    connection = w.connections.get("idp") or w.connect("idp")
    w.idp.stop()
    time.sleep(DEAD)
    away = w.call("idp", "userinfo")
    same((away.status, away.json["error"]), (502, "upstream_unavailable"), away.text)
    same(w.status(connection), "connected")
    w.idp = w.start_idp()
    gone = w.call("idp", "userinfo")
    same((gone.status, gone.json["error"]), (401, "token_expired"), gone.text)
    again = w.call("idp", "userinfo")
    same((again.status, again.json["error"]), (401, "token_expired"), again.text)
    browser, back = w.come_back(gone.json["action_url"])
    same(browser.send("GET", back).status, 200)
    same(w.status(connection), "connected", "the connection after reconnecting")
    same(w.good("idp", "userinfo")["sub"], "alice")
    listed = w.server.call("GET", "/v1/connections", key=w.key).json["items"]
    same([item["id"] for item in listed if item["integration"] == "idp"], [connection], "connections to the provider")


def a_grant_that_rests(w):
    """It is renewed by itself, with a token that rotates each time, and works afterwards; a kill -9
    in between loses nothing. Mended, it keeps its id; removed, it is revoked at the service."""
    earlier = w.errors()
    link, connection = w.begin("idle")
    browser, back = w.come_back(link)
    same(browser.send("GET", back).status, 200)
    before = w.refreshes()
    end = time.monotonic() + 30
    while w.refreshes() - before < 2 and time.monotonic() < end:
        time.sleep(0.2)
    holds(w.refreshes() - before >= 2, "nobody renewed a grant that rests")
    w.server.stop(signal.SIGKILL)
    w.server.start()
    seen, end = w.refreshes(), time.monotonic() + 15
    while w.refreshes() == seen and time.monotonic() < end:
        time.sleep(0.2)
    holds(w.refreshes() > seen, "nobody renewed it after the crash")
    same(w.errors(), earlier, "errors at the OAuth server")
    same(w.good("idle", "userinfo")["sub"], "alice")
    link, again = w.begin("idle", connection=connection)
    same(again, connection, "the id of a connection that is mended")
    browser, back = w.come_back(link)
    same(browser.send("GET", back).status, 200)
    same(w.good("idle", "userinfo")["sub"], "alice")
    revoked = w.said("grant.revoked")
    gone = w.server.call("DELETE", f"/v1/connections/{connection}", key=w.key)
    same(gone.status, 204, gone.text)
    same(w.said("grant.revoked") - revoked, 1, "grants revoked at the service")


# ---- a program that has no browser

def a_program_is_logged_in(w):
    """RFC 8628: codes, a person at the page, and the program that asks until it is told."""
    def post(path, body, key=None):
        return w.server.call("POST", f"/auth/device/{path}", body, key)

    begun = post("code", {"name": "laptop", "scopes": ["httpbin"]}).json
    holds(len(begun["device_code"]) == 40 and begun["user_code"][4] == "-", f"{begun}")
    ask = {"device_code": begun["device_code"]}
    same(post("token", ask).json["error"], "authorization_pending")
    same(post("token", ask).json["error"], "slow_down")
    person = Browser()
    page = person.send("GET", begun["verification_uri"])
    same((page.status, list(person.form()["fields"])), (200, ["user_code"]))
    page = person.send("GET", begun["verification_uri_complete"])
    holds("laptop" in page.text and begun["user_code"] in page.text, page.text[:600])
    fields = urllib.parse.urlencode({"api_key": w.key, "answer": "Log it in"})
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    done = person.send("POST", begun["verification_uri_complete"], fields, kind)
    holds(done.status == 200 and w.key not in done.text, done.text[:300])
    told = post("token", ask).json
    same((told["status"], told["user"]["owner"]), ("complete", "tenant_a"))
    called = w.server.call("POST", "/v1/httpbin/get", {"params": {"q": "x"}}, told["full_key"])
    same(called.json["status"], 200, called.text)
    same(w.server.call("GET", "/api-keys", key=told["full_key"]).status, 403, "what it did not ask for")
    same((post("token", ask).status, post("token", ask).json["error"]), (400, "expired_token"))


# ---- httpbin: what went over the wire

def every_place_of_a_parameter(w):
    lists = {"repeat": ["a", "b&c"], "comma": ["x", "y"], "brackets": ["1", "2"]}
    got = w.good("httpbin", "get", {"q": "a b&c=d+e/ü?#", **lists})
    same(got["args"], {"q": "a b&c=d+e/ü?#", "repeat": ["a", "b&c"], "comma": "x,y", "brackets[]": ["1", "2"]})
    sent = {"text": "ü \" \\ \n", "number": 1.5, "tags": ["a", "b"]}
    for endpoint in ("post", "patch"):
        got = w.good("httpbin", endpoint, sent)
        same(got["json"], sent, endpoint)
        same(got["headers"]["Content-Type"].split(";")[0], "application/json", endpoint)
    form = w.good("httpbin", "post_form", {"text": "a b&c=d", "number": 2})
    same((form["form"], form["json"]), ({"text": "a b&c=d", "number": "2"}, None))
    same(form["headers"]["Content-Type"], "application/x-www-form-urlencoded")
    same(w.good("httpbin", "put", {"document": {"any": ["thing", None, 12]}})["json"], {"any": ["thing", None, 12]})
    same(w.good("httpbin", "delete", {"text": "x"})["args"], {"text": "x"})
    headers = w.good("httpbin", "headers", {"trace": "t-1"})["headers"]
    same(headers["X-Trace"], "t-1")
    same([name for name in headers if name.lower() in ("authorization", "cookie", "x-forwarded-for", "referer")], [])
    path = w.good("httpbin", "anything", {"path": "a/b c/ü%2F", "q": "1"})
    # httpbin shows the path decoded once, spaces apart.
    same(urllib.parse.urlsplit(path["url"]).path, "/anything/a/b%20c/ü%2F")


def every_kind_of_answer(w):
    for status in (200, 201, 202, 400, 403, 404, 409, 418, 422):
        answer = w.call("httpbin", "status", {"code": status})
        same((answer.status, answer.json["status"]), (200, status), answer.text)
        same("error" in answer.json, status >= 400, f"status {status}: {answer.text}")
    same(w.good("httpbin", "status", {"code": 204}, 204), None, "an empty answer")
    moved = w.call("httpbin", "redirect_to", {"url": f"http://127.0.0.1:{WIREMOCK}/fault/none", "status": 307})
    same((moved.status, moved.json["status"], moved.header("location")), (200, 307, None))
    same(w.good("httpbin", "gzip")["gzipped"], True)
    binary = w.call("httpbin", "bytes", {"count": 4096, "seed": 7}).json
    same((len(base64.b64decode(binary["data"])), binary["encoding"], binary["content_type"]),
         (4096, "base64", "application/octet-stream"))
    same(len(w.good("httpbin", "uuid")["uuid"]), 36)
    begun = time.monotonic()
    w.good("httpbin", "delay", {"seconds": 1})
    holds(time.monotonic() - begun < 3, "a delay of one second took three")
    refused = w.call("httpbin", "status", {"code": 100})
    same((refused.status, refused.json["error"]), (400, "bad_request"))


# ---- WireMock: connections that break

def mapping(method, name, **response):
    return {"request": {"method": method, "urlPath": f"/fault/{name}"}, "response": response}


def tell(path, body=None, method="POST"):
    answer = ask(method, f"http://127.0.0.1:{WIREMOCK}/__admin/{path}", body)
    holds(answer.status < 300, f"WireMock: {answer.status} {answer.text[:200]}")
    return answer.json if answer.body else {}


def seen(method, fault):
    return tell("requests/count", {"method": method, "urlPath": f"/fault/{fault}"})["count"]


def prepare_faults(w):
    w.server.bring("wiremock", "tenant_a", {"token": CANARY})
    for method in ("GET", "POST"):
        for fault in ("EMPTY_RESPONSE", "MALFORMED_RESPONSE_CHUNK", "CONNECTION_RESET_BY_PEER", "RANDOM_DATA_THEN_CLOSE"):
            tell("mappings", mapping(method, fault, status=200, fault=fault))
        dribble = {"numberOfChunks": 20, "totalDuration": 10000}
        tell("mappings", mapping(method, "dribble", status=200, jsonBody={"slow": "x" * 200},
                                 headers={"Content-Type": "application/json"}, chunkedDribbleDelay=dribble))
        busy = mapping(method, "busy", status=503, headers={"Retry-After": "1"}, jsonBody={"m": "busy"})
        ready = mapping(method, "busy", status=200, jsonBody={"m": "ready"}, headers={"Content-Type": "application/json"})
        tell("mappings", {**busy, "scenarioName": f"busy-{method}", "requiredScenarioState": "Started", "newScenarioState": "ready"})
        tell("mappings", {**ready, "scenarioName": f"busy-{method}", "requiredScenarioState": "ready"})


def a_broken_connection(w, fault):
    answer = w.call("wiremock", "read", {"fault": fault})
    same(answer.status, 502, f"GET: {answer.text[:200]}")
    holds(answer.json["error"] in ("upstream_unavailable", "upstream_error"), answer.text)
    holds(1 <= seen("GET", fault) <= 2, f"GET was sent {seen('GET', fault)} times")
    answer = w.call("wiremock", "write", {"fault": fault})
    same(answer.status, 502, f"POST: {answer.text[:200]}")
    # An answer that began and broke off says at least that the request arrived.
    holds(answer.json["error"] in ("outcome_unknown", "upstream_error"), answer.text)
    same(seen("POST", fault), 1, "POSTs sent")
    for text in (answer.text,):
        holds("127.0.0.1" not in text and CANARY not in text, f"the message says too much: {text}")


def a_dribbling_answer(w):
    for method, endpoint in (("GET", "read_quickly"), ("POST", "write_quickly")):
        begun = time.monotonic()
        answer = w.call("wiremock", endpoint, {"fault": "dribble"})
        took = time.monotonic() - begun
        same((answer.status, answer.json["error"]), (504, "upstream_timeout"), f"{method}: {answer.text}")
        holds(1.8 < took < 4, f"{method} took {took:.1f} s of two")
        holds(seen(method, "dribble") == 1, f"{method} was sent {seen(method, 'dribble')} times")
    holds("outcome_unknown" in answer.text, f"POST does not say that the outcome is unknown: {answer.text}")


def busy_then_ready(w):
    begun = time.monotonic()
    same(w.good("wiremock", "read", {"fault": "busy"}), {"m": "ready"}, "GET")
    holds(time.monotonic() - begun >= 1, "Retry-After was not kept")
    same(seen("GET", "busy"), 2, "GETs sent")
    answer = w.call("wiremock", "write", {"fault": "busy"})
    holds(answer.json["status"] in (200, 503) and seen("POST", "busy") <= 2, f"POST: {answer.text}")


def nothing_is_left(w):
    """What a service says of its limit is held to: the next call is not sent, and one later is."""
    headers = {"Content-Type": "application/json", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "3"}
    tell("mappings", mapping("GET", "used-up", status=200, jsonBody={}, headers=headers))
    w.good("wiremock", "read", {"fault": "used-up"})
    held = w.call("wiremock", "read", {"fault": "used-up"})
    same((held.status, held.json["error"]), (429, "rate_limit_exceeded"), held.text)
    holds(1 <= int(held.header("retry-after")) <= 3, held.header("retry-after"))
    same(seen("GET", "used-up"), 1, "requests sent")
    time.sleep(int(held.header("retry-after")))
    w.good("wiremock", "read", {"fault": "used-up"})
    same(seen("GET", "used-up"), 2, "requests sent")
    time.sleep(3)


# ---- kill -9

def kill_and_restart(w):
    """What was made before stays, and credentials are never in plain text on the disk."""
    w.connections.get("kinto") or w.connect("kinto")
    w.good("idp", "userinfo")
    stop = threading.Event()

    def work(_):
        done = 0
        while not stop.is_set():
            try:
                done += w.call("httpbin", "get", {"q": "x"}, timeout=5).status == 200
            except OSError:
                return done
        return done

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        runs = [pool.submit(work, n) for n in range(8)]
        time.sleep(1.5)
        w.server.stop(signal.SIGKILL)
        stop.set()
        holds(sum(run.result() for run in runs) > 0, "nothing was under way")
    w.server.start()
    time.sleep(DEAD)
    before = w.refreshes()
    same(w.good("idp", "userinfo")["sub"], "alice", "the grant after the crash")
    same(w.refreshes() - before, 1, "refreshes after the crash")
    for integration, connection in w.connections.items():
        same(w.status(connection), "connected", integration)
    same(w.server.call("GET", "/v1/connections", key="sk_nothing").status, 401)
    same(w.server.call("GET", "/v1/connections", key=w.key).status, 200, "the key after the crash")


def nothing_secret_is_readable(w):
    """In the data directory and in the log at its most talkative level."""
    found = []
    for path in [*w.server.data.rglob("*"), w.server.log]:
        data = path.read_bytes() if path.is_file() else b""
        found += [f"{path.name}: {secret[:9]}…" for secret in (CANARY, w.key, "skill-secret") if secret.encode() in data]
    same(found, [], "secrets in plain text")
    log = w.server.log.read_text(errors="replace")
    holds("panicked" not in log, "a panic in the log")
    for name in ("code_verifier=", "refresh_token=", "Bearer "):
        holds(name not in log, f"{name!r} in the log")
    for path in [w.server.data, *w.server.data.rglob("*")]:
        mode = path.stat().st_mode & 0o777
        holds(mode & 0o077 == 0, f"{path.name} is open to others: {mode:o}")


def ends_in_order(w):
    same(w.server.stop(), 0, "exit code")


FAULTS = ("EMPTY_RESPONSE", "MALFORMED_RESPONSE_CHUNK", "CONNECTION_RESET_BY_PEER", "RANDOM_DATA_THEN_CLOSE")
SCENARIOS = [
    ("OAuth: connect, create, list, refresh once", connect_create_list_refresh),
    ("OAuth: fifty calls on a dead token, one refresh", fifty_calls_on_a_dead_token),
    ("OAuth: the request to the provider (A114)", the_request_to_the_provider),
    ("OAuth: a state belongs to a browser (A112)", state_belongs_to_a_browser),
    ("OAuth: states and links work once (A113)", state_and_links_work_once),
    ("OAuth: the issuer is compared (A115)", the_issuer_is_compared),
    ("OAuth: the Host header moves nothing (A116)", host_moves_nothing),
    ("OAuth: the person says no", the_person_says_no),
    ("OAuth: the way back", the_way_back),
    ("OAuth: one click in a browser", in_a_browser),
    ("OAuth: set up from the command line", set_up),
    ("OAuth: the provider is away, then forgets", the_provider_is_away_and_forgets),
    ("OAuth: a grant that rests", a_grant_that_rests),
    ("login: a program that has no browser", a_program_is_logged_in),
    ("httpbin: every place of a parameter", every_place_of_a_parameter),
    ("httpbin: every kind of answer", every_kind_of_answer),
    ("WireMock: told what to break", prepare_faults),
    *[(f"WireMock: {fault}", a_broken_connection, fault) for fault in FAULTS],
    ("WireMock: an answer that dribbles", a_dribbling_answer),
    ("WireMock: busy, then ready", busy_then_ready),
    ("WireMock: nothing is left", nothing_is_left),
    ("kill -9: keys, connections and grants survive", kill_and_restart),
    ("no secret is readable", nothing_secret_is_readable),
    ("SIGTERM ends in order", ends_in_order),
]


def main():
    words = [word.lower() for word in sys.argv[1:]]
    chosen = [s for s in SCENARIOS if not words or any(word in s[0].lower() for word in words)]
    world, checks = World(), Checks()
    for name, scenario, *more in chosen:
        checks.run(name, scenario, world, *more)
    world.stop()
    checks.close()


if __name__ == "__main__":
    main()
