"""The scenarios of `.ci/clients`. `clients.py NAME…` runs only those whose name contains one of the words."""

import hashlib
import http.client
import json
import os
import pathlib
import shutil
import subprocess
import sys
import time
import urllib.parse

from support import (LISTEN, PUBLIC, Checks, Process, Server, ask, config, described_github, folder, holds, is_open,
                     need_free, prism, same)

REAL, CLIENTS = pathlib.Path(os.environ["REAL"]), pathlib.Path(os.environ["CLIENTS"])
GITHUB, SLACK, STRIPE, POCKETBASE, HTTPBIN = 9432, 9433, 8420, 9440, 9470
PASSWORD = "test-password-1"
# How long PocketBase's tokens live at the least that it takes.
TOKEN_LIFE = 10

EXTRA = f"""
[integrations.github]
base_url = "http://127.0.0.1:{GITHUB}"

[integrations.slack]
base_url = "http://127.0.0.1:{SLACK}"

[integrations.stripe]
base_url = "http://127.0.0.1:{STRIPE}/v1"

[integrations.httpbin]
base_url = "http://127.0.0.1:{HTTPBIN}"
"""


def slack_as_it_is(description):
    """Slack takes every method by POST and the token as Bearer, which its description does not say."""
    for path in description["paths"].values():
        for operation in path.values():
            operation["parameters"] = [p for p in operation.get("parameters", []) if p.get("name") != "token"]
            operation.pop("security", None)
        if "post" not in path:
            operation = json.loads(json.dumps(path["get"]))
            operation["operationId"] += "_post"
            operation["consumes"] = ["application/x-www-form-urlencoded"]
            for parameter in operation["parameters"]:
                parameter["in"] = parameter["in"].replace("query", "formData")
            path["post"] = operation
    bearer = {"type": "apiKey", "in": "header", "name": "authorization"}
    return {**description, "securityDefinitions": {"bearer": bearer}, "security": [{"bearer": []}]}


class World:
    """Everything that runs, and the keys that the scenarios call with."""

    def __init__(self):
        need_free(GITHUB, SLACK, STRIPE, POCKETBASE, HTTPBIN)
        self.work = folder()
        slack = slack_as_it_is(json.loads((REAL / "specs/slack.json").read_text()))
        prisms = [prism("github", described_github(REAL), GITHUB, REAL, self.work),
                  prism("slack", slack, SLACK, REAL, self.work)]
        stripe = [REAL / "pyvenv/bin/localstripe", "--port", STRIPE, "--from-scratch"]
        others = [Process("localstripe", stripe, self.work / "stripe.log", cwd=self.work)]
        httpbin = [REAL / "pyvenv/bin/gunicorn", "--bind", f"127.0.0.1:{HTTPBIN}", "--threads", "16", "httpbin:app"]
        others.append(Process("httpbin", httpbin, self.work / "httpbin.log"))
        others.append(self.pocketbase())
        doors = [f"127.0.0.1:{port}" for port in (GITHUB, SLACK, STRIPE, POCKETBASE, HTTPBIN)]
        self.server = Server(self.work, config(doors, extra=EXTRA)).start()
        self.key = self.server.key("clients", "tenant_a", scopes="*", tier="unbounded")[1]
        self.raw = self.server.key("raw", "tenant_a", scopes="github/_raw,slack/_raw,stripe/_raw", tier="unbounded")[1]
        ports = (GITHUB, SLACK, STRIPE, HTTPBIN, POCKETBASE)
        for process, port in zip(prisms + others, ports):
            process.until(lambda port=port: is_open(port), "open port", 120)

    def pocketbase(self):
        data, program = self.work / "pocketbase", REAL / "pyvenv/bin/pocketbase"
        subprocess.run([program, "superuser", "upsert", "admin@example.test", PASSWORD, "--dir", data],
                       check=True, capture_output=True, timeout=60)
        serve = [program, "serve", "--http", f"127.0.0.1:{POCKETBASE}", "--dir", data]
        return Process("pocketbase", serve, self.work / "pocketbase.log")

    def bring(self, integration, credentials):
        """Connects by API, which tries the credential out."""
        body = {"integration": integration, "credentials": credentials}
        answer = self.server.call("POST", "/v1/connect", body, self.key)
        same((answer.status, answer.json.get("status")), (200, "connected"), answer.text[:300])

    def client(self, name, key=None):
        """Runs the vendor's own client; every assertion in it holds."""
        # Node finds the packages beside the script.
        script = shutil.copy(pathlib.Path(__file__).with_name("sdk") / f"{name}.mjs", CLIENTS)
        slug = {"octokit": "github"}.get(name, name)
        done = subprocess.run(["node", script, f"{PUBLIC}/v1/{slug}/_raw", key or self.raw], capture_output=True, text=True,
                              timeout=120, check=False)
        same(done.returncode, 0, (done.stdout + done.stderr)[-1200:])
        holds(f"{name}: " in done.stdout, done.stdout)

    def through(self, method, path, body=None, headers=None):
        return self.server.call(method, path, body, self.key, headers)


def github(w):
    w.bring("github", {"access_token": "gho_canary"})
    w.client("octokit")


def stripe(w):
    w.bring("stripe", {"api_key": "sk_test_12345"})
    w.client("stripe")


def slack(w):
    w.bring("slack", {"access_token": "xoxb-canary"})
    w.client("slack")


def what_went_over_the_wire(w):
    door = "/v1/httpbin/_raw"
    sent = {"Accept": "application/x-own", "X-Own": "dropped", "Cookie": "a=b", "X-Forwarded-For": "10.0.0.1",
            "Content-Type": "application/x-own; v=1", "If-Match": '"1"', "User-Agent": "own/1"}
    seen = w.through("POST", f"{door}/anything/a%20b;c?q=a%26b&x[]=1", b"\x00body", sent)
    same((seen.status, seen.header("skill-answered-by")), (200, "service"), seen.text[:300])
    headers = {name.lower(): value for name, value in seen.json["headers"].items()}
    for name in ("accept", "content-type", "if-match", "user-agent"):
        same(headers.get(name), next(value for key, value in sent.items() if key.lower() == name), name)
    same([name for name in ("x-own", "cookie", "x-forwarded-for", "authorization", "x-api-key", "skill-connection", "via")
          if name in headers], [], "headers that went too far")
    same(headers["host"], f"127.0.0.1:{HTTPBIN}")
    same(seen.json["args"], {"q": "a&b", "x[]": "1"})
    query = urllib.parse.urlencode({"Set-Cookie": "a=b", "X-Own": "1", "ETag": '"1"', "Access-Control-Allow-Origin": "*"})
    back = w.through("GET", f"{door}/response-headers?{query}")
    same((back.header("x-own"), back.header("etag"), back.header("set-cookie")), ("1", '"1"', None))
    same(back.header("access-control-allow-origin"), None)
    away = w.through("GET", f"{door}/redirect-to?url=http://evil.test/")
    same((away.status, away.header("location")), (302, "http://evil.test/"), "a redirect")
    here = w.through("GET", f"{door}/redirect-to?url=/get")
    same(here.header("location"), f"{PUBLIC}{door}/get", "a redirect within the service")
    same(w.through("GET", f"{door}/gzip").json["gzipped"], True)
    same(w.through("GET", f"{door}/etag/x", headers={"If-None-Match": '"x"'}).status, 304)
    same(w.through("GET", f"{door}/status/418").status, 418)
    same(w.through("HEAD", f"{door}/get").body, b"")


def bodies_without_a_length(w):
    """Chunked both ways, larger than what a call may carry."""
    body = os.urandom(1 << 16) * 48
    connection = http.client.HTTPConnection(LISTEN, timeout=60)
    connection.request("PUT", "/v1/httpbin/_raw/put", iter([body[at:at + 65536] for at in range(0, len(body), 65536)]),
                       {"Authorization": f"Bearer {w.key}", "Content-Type": "application/octet-stream"}, encode_chunked=True)
    answer = connection.getresponse()
    same(answer.status, 200)
    sent = json.loads(answer.read())["data"]
    holds(len(sent) > len(body), f"{len(sent)} characters came to httpbin")
    down = w.through("GET", "/v1/httpbin/_raw/stream-bytes/102400?seed=1")
    again = w.through("GET", "/v1/httpbin/_raw/stream-bytes/102400?seed=1")
    same((len(down.body), hashlib.sha256(down.body).digest()), (102400, hashlib.sha256(again.body).digest()))


def a_token_that_dies(w):
    """PocketBase: an upload of parts, and a session that is made anew when its token has died."""
    at = f"http://127.0.0.1:{POCKETBASE}/api"
    login = {"identity": "admin@example.test", "password": PASSWORD}
    token = ask("POST", f"{at}/collections/_superusers/auth-with-password", login).json["token"]
    fields = [{"name": "title", "type": "text", "required": True}, {"name": "file", "type": "file", "maxSelect": 1, "maxSize": 9 << 20}]
    made = ask("POST", f"{at}/collections", {"name": "issues", "type": "base", "fields": fields}, {"Authorization": token})
    same(made.status, 200, made.text)
    life = ask("PATCH", f"{at}/collections/_superusers", {"authToken": {"duration": TOKEN_LIFE}}, {"Authorization": token})
    same(life.status, 200, life.text)
    w.bring("pocketbase", {"identity": "admin@example.test", "password": PASSWORD})

    def upload(content):
        parts = (f'--x\r\nContent-Disposition: form-data; name="title"\r\n\r\nWithFile\r\n--x\r\nContent-Disposition: form-data; '
                 f'name="file"; filename="a.bin"\r\nContent-Type: application/octet-stream\r\n\r\n').encode()
        body = parts + content + b"\r\n--x--\r\n"
        return w.through("POST", "/v1/pocketbase/_raw/collections/issues/records", body,
                         {"Content-Type": "multipart/form-data; boundary=x"})

    def declared(content):
        headers = {"Skill-Params": '{"collection":"issues","title":"Gr\\u00fc\\u00dfe"}', "Skill-Filename": "b%20c.bin",
                   "Content-Type": "application/octet-stream"}
        return w.through("POST", "/v1/pocketbase/add_file", content, headers)

    content = os.urandom(3 << 20)
    sent = declared(content)
    same((sent.status, sent.json["status"], sent.json["data"]["title"]), (200, 200, "Grüße"), sent.text[:300])
    data = sent.json["data"]
    params = {"collection": data["collectionId"], "record": data["id"], "name": data["file"]}
    got = w.through("POST", "/v1/pocketbase/get_file", {"params": params}, {"Accept": "application/octet-stream"})
    same((got.status, got.body == content), (200, True), "the file of a declared endpoint")
    first = upload(content)
    same((first.status, first.json["title"]), (200, "WithFile"), first.text[:300])
    time.sleep(TOKEN_LIFE + 1)
    # Short enough to be held: the dead token shows in nothing but the time.
    second = upload(b"short")
    same(second.status, 200, second.text[:300])
    record = first.json
    file = w.through("GET", f"/v1/pocketbase/_raw/files/{record['collectionId']}/{record['id']}/{record['file']}")
    same((file.status, file.body == content), (200, True), "the file that was uploaded")


def all_of_it_is_in_the_history(w):
    listed = w.server.call("GET", "/v1/executions?limit=100", key=w.key).json["executions"]
    raw = [run for run in listed if run["tool_id"].endswith("-_raw")]
    holds(len(raw) > 20, f"{len(raw)} runs of raw doors")
    same([run["status"] for run in raw if run["status"] in ("queued", "running")], [], "runs that did not end")


SCENARIOS = [github, stripe, slack, what_went_over_the_wire, bodies_without_a_length, a_token_that_dies,
             all_of_it_is_in_the_history]


def main():
    words = sys.argv[1:]
    world, checks = World(), Checks()
    for scenario in SCENARIOS:
        if not words or any(word in scenario.__name__ for word in words):
            checks.run(scenario.__name__, scenario, world)
    world.server.stop()
    checks.close()


if __name__ == "__main__":
    main()
