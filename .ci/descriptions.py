"""The scenarios of `.ci/descriptions`. `descriptions.py NAME…` runs only the integrations of these names."""

import gzip
import json
import os
import pathlib
import subprocess
import sys
import time

import yaml

from forms import Mock
from openapi import openapi, part
from support import HERE, SHARED, Checks, Process, Server, ask, config, folder, holds, is_open, need_free, same

REAL = pathlib.Path(os.environ["REAL"])
HAD = pathlib.Path(os.environ["DESCRIPTIONS"])
SPECS = SHARED / "real/specs"
# The mocks listen from here on, below what the system gives to others.
PORT = 19500
TOKEN = {"access_token": "a-token-for-a-mock"}


def plain(path):
    opened = gzip.open(path) if path.suffix == ".gz" else open(path, "rb")
    with opened as text:
        return json.load(text)


def discovered(name):
    return openapi(plain(HAD / name))


def openai():
    return yaml.load((HAD / "openai.yml").read_text(), Loader=yaml.CSafeLoader)


def slack():
    """Its description has the token as a parameter of each method, as it was before the header."""
    document = plain(SPECS / "slack.json")
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["parameters"] = [one for one in operation["parameters"] if one["name"] != "token"]
    return document


def github():
    """Its description calls every answer plain JSON; what its documentation asks requests to accept
    is the same under the service's own name."""
    document = plain(SPECS / "github.json.gz")
    answers = list(document["components"]["responses"].values())
    for operations in document["paths"].values():
        for operation in operations.values():
            if isinstance(operation, dict):
                answers.extend(operation.get("responses", {}).values())
    for answer in answers:
        content = answer.get("content", {})
        if "application/json" in content:
            content["application/vnd.github+json"] = content["application/json"]
    return document


# Each integration with a description that can be had: where it is, below which path of it the
# integration lies, and what a connection to it takes.
SERVICES = {
    "asana": (lambda: plain(HAD / "asana.json"), "", TOKEN),
    "github": (github, "", TOKEN),
    "gmail": (lambda: discovered("gmail.v1.json"), "/gmail/v1", TOKEN),
    "google-calendar": (lambda: discovered("calendar.v3.json"), "/calendar/v3", TOKEN),
    "google-drive": (lambda: discovered("drive.v3.json"), "/drive/v3", TOKEN),
    "jira": (lambda: plain(HAD / "jira.json"), "/rest/api/3",
             {**TOKEN, "cloud_id": "11223344-a1b2-3b33-c444-def123456789"}),
    "notion": (lambda: plain(SPECS / "notion.json"), "/v1", TOKEN),
    "openai": (openai, "", {"token": "a-key-for-a-mock"}),
    "slack": (slack, "", TOKEN),
    "xero": (lambda: plain(HAD / "xero.json"), "", {**TOKEN, "tenant_id": "70784a63-d24b-46a9-a4db-0e70a274b056"}),
}
# What the newest description that can be had lacks, because it is older than the operation.
NOT_DESCRIBED = {"jira": {"search_issues"}}
# Endpoints that lie elsewhere on the host.
ELSEWHERE = {("google-drive", "upload_file"): "/upload/drive/v3/files"}
GRAPHQL = {"shopify": ("shopify.json.gz", "/graphql.json", {**TOKEN, "shop": "acme"})}
APP = """
extends = "github"
name = "GitHub App"
description = "GitHub, as an installation of an app."
base_url = "{base}"

[auth]
scheme = "jwt"
claims = {{ iss = "{{credential.app_id}}" }}
lifetime_s = 540
backdate_s = 60
fields.app_id = {{ label = "App id", secret = false }}
fields.installation_id = {{ label = "Installation id", secret = false }}
fields.private_key = {{ label = "Private key (PEM)", lines = true }}

[auth.exchange]
url = "{base}/app/installations/{{credential.installation_id}}/access_tokens"
method = "POST"
headers = {{ authorization = "Bearer {{jwt}}", accept = "application/vnd.github+json", user-agent = "skill" }}
keep = {{ access_token = "/token" }}
expires = "/expires_at"
expires_unit = "time"

[verify]
endpoint = "list_installation_repos"
account = ""

[endpoints.list_installation_repos]
summary = "List the repositories that the installation may work with"
docs = "https://docs.github.com/rest/apps/installations#list-repositories-accessible-to-the-app-installation"
method = "GET"
path = "/installation/repositories"
example = {{ }}
"""
# How an app gets its token, and what it calls.
OPERATIONS_OF_APPS = [("POST", "/app/installations/{id}/access_tokens"), ("GET", "/installation/repositories")]


class World:
    """The server, with every integration turned to the port of its mock."""

    def __init__(self, names):
        self.work = folder()
        self.ports = {name: PORT + at for at, name in enumerate(names)}
        need_free(*self.ports.values())
        own = self.work / "integrations"
        own.mkdir()
        (own / "rclone.toml").write_text((HERE / "integrations/rclone.toml").read_text())
        lines = ["[integrations]", f'directory = "{own}"']
        for name, port in self.ports.items():
            prefix = "/v1" if name == "stripe" else SERVICES[name][1] if name in SERVICES else ""
            base = f"http://127.0.0.1:{port}{prefix}"
            if name == "github":
                (own / "github-app.toml").write_text(APP.format(base=base))
            lines += [f"[integrations.{name}]", f'base_url = "{base}"']
        doors = [f"127.0.0.1:{port}" for port in self.ports.values()]
        settings = config(doors, log="warn", extra="\n".join(lines))
        settings = "\n".join(line for line in settings.splitlines() if not line.startswith("integrations.directory"))
        self.server = Server(self.work, settings).start()
        self.key_id, self.key = self.server.key("descriptions", "tenant_a", tier="unbounded")

    def get(self, path):
        answer = self.server.call("GET", path, key=self.key)
        same(answer.status, 200, path)
        return answer.json

    def mock(self, name, document):
        path = self.work / f"{name}.json"
        path.write_text(json.dumps(document))
        command = ["node", REAL / "node_modules/.bin/prism", "mock", "--cors=false",
                   "-h", "127.0.0.1", "-p", self.ports[name], path]
        log = self.work / f"{name}.log"
        return Process("Prism", command, log).until(lambda: is_open(self.ports[name]), "open port", 120)

    def endpoints(self, name):
        """What is told of each endpoint; the skills of the same name have no path."""
        for endpoint in self.get(f"/v1/skills/{name}")["endpoints"]:
            manual = self.get(f"/v1/skills/{name}/{endpoint['name']}")
            if "path" in manual:
                yield endpoint, manual

    def call_all(self, name, lacking=()):
        """Calls every endpoint with its example; what did not work, by endpoint."""
        bad, called = {}, 0
        for endpoint, manual in self.endpoints(name):
            if not manual["examples"]:
                bad[endpoint["name"]] = "it has no example"
                continue
            if endpoint["name"].replace("-", "_") in lacking:
                continue
            params = manual["examples"][0]["params"]
            body, headers = {"params": params}, {}
            if manual["takes_file"]:
                # The file is the body, and its parameters stand in a header.
                body, headers = b"%PDF-1.7", {"Skill-Params": json.dumps(params), "Content-Type": "application/pdf"}
            answer = self.server.call("POST", f"/v1/{name}/{endpoint['name']}", body, self.key, headers)
            status = answer.json.get("status") if answer.status == 200 else answer.status
            called += 1
            if not isinstance(status, int) or status >= 400:
                time.sleep(0.05)
                log = self.work / f"{name}.log"
                log = log.read_text() if log.exists() else ""
                why = [line.strip() for line in log.splitlines() if "iolation" in line][-2:]
                bad[endpoint["name"]] = f"{json.dumps(params)} -> {answer.text[:300]} {why}"
        return called, bad

    def proven(self, name, called, bad, lacking):
        for endpoint, what in bad.items():
            print(f"     {name}/{endpoint}: {what}", flush=True)
        holds(not bad, f"{len(bad)} of {called} calls were refused: {', '.join(bad)}")
        said = self.get(f"/v1/skills/{name}")["verified"]
        same(said, "described" if lacking else "mocked", f"what {name} says of itself")
        print(f"     {called} endpoints", flush=True)


def described(w, name):
    load, prefix, credentials = SERVICES[name]
    lacking = NOT_DESCRIBED.get(name, set())
    operations = {}
    for endpoint, manual in w.endpoints(name):
        called = endpoint["name"].replace("-", "_")
        path = ELSEWHERE.get((name, called), prefix + manual["path"].replace("...", ""))
        operations[called] = (manual["method"], path)
    used = sorted(set(operations.values())) + (OPERATIONS_OF_APPS if name == "github" else [])
    document, missing = part(load(), used)
    same({own for own, pair in operations.items() if pair in missing}, lacking, "operations that are not described")
    prism = w.mock(name, document)
    w.server.bring(name, "tenant_a", credentials)
    called, bad = w.call_all(name, lacking)
    w.proven(name, called, bad, lacking)
    if name == "github":
        as_an_app(w)
    prism.stop()


def as_an_app(w):
    """An app signs a token with its key, exchanges it for one of an installation, and calls with that."""
    key = subprocess.run(["openssl", "genrsa", "-traditional", "2048"], capture_output=True, text=True, check=True)
    log = w.work / "github.log"
    before = log.read_text().count("/access_tokens")
    credentials = {"app_id": "1234", "installation_id": "5678", "private_key": key.stdout}
    w.server.bring("github-app", "tenant_a", credentials)
    answer = w.server.call("POST", "/v1/github-app/get_repo", {"params": {"repo": "acme/webapp"}}, w.key)
    same((answer.status, answer.json.get("status")), (200, 200), answer.text[:300])
    holds(log.read_text().count("/access_tokens") > before, "no installation token was asked for")


def schema(w, name):
    """GraphQL: every document and its variables are held to the schema."""
    file, _, credentials = GRAPHQL[name]
    port = w.ports[name]
    command = ["node", pathlib.Path(__file__).with_name("graphql.mjs"), HAD / file, port]
    log = w.work / f"{name}.log"
    env = {"MODULES": str(HAD / "node_modules")}
    mock = Process("GraphQL", command, log, env).until(lambda: is_open(port), "open port", 60)
    refused = ask("POST", f"http://127.0.0.1:{port}/graphql.json", {"query": "{ nothing }"}, {"x-shopify-access-token": "x"})
    same(refused.status, 400, "the mock takes anything")
    w.server.bring(name, "tenant_a", credentials)
    called, bad = w.call_all(name)
    w.proven(name, called, bad, ())
    mock.stop()


# What localstripe has of it, in an order in which everything is there when it is asked for; and the
# parameters that it lacks.
STRIPE = {
    "get_balance": (), "create_customer": (), "get_customer": (), "update_customer": (), "list_customers": (),
    "create_product": (), "list_products": (), "create_payment_intent": (), "get_payment_intent": (),
    "list_payment_intents": ("customer",), "list_subscriptions": (), "list_invoices": ("status",),
    "list_charges": (), "list_balance_transactions": ("type",),
    "cancel_payment_intent": ("cancellation_reason",), "delete_customer": (),
}


def stripe(w, name):
    """Every example is held to Stripe's description; then those that localstripe has are called there,
    with the ids of what the calls before them made."""
    document = plain(SPECS / "stripe.json")
    strict = Mock(document, w.ports[name])
    refused = ask("POST", f"http://127.0.0.1:{w.ports[name]}/v1/customers", "metadata=x&nothing=1",
                  {"authorization": "Bearer x", "content-type": "application/x-www-form-urlencoded"})
    same(refused.status, 400, "the mock takes anything")
    w.server.bring(name, "tenant_a", {"api_key": "sk_test_12345"})
    called, bad = w.call_all(name)
    w.proven(name, called, bad, ())
    strict.stop()
    a_stateful_stripe(w, name)


def a_stateful_stripe(w, name):
    port = w.ports[name]
    command = [REAL / "pyvenv/bin/localstripe", "--port", port, "--from-scratch"]
    stripe = Process("localstripe", command, w.work / "localstripe.log").until(lambda: is_open(port), "open port")
    examples = {}
    for endpoint in w.get("/v1/skills/stripe")["endpoints"]:
        manual = w.get(f"/v1/skills/stripe/{endpoint['name']}")
        examples[endpoint["name"].replace("-", "_")] = manual["examples"][0]["params"]
    made, bad = {}, {}

    def real(value):
        if isinstance(value, dict):
            return {key: real(one) for key, one in value.items()}
        if isinstance(value, list):
            return [real(one) for one in value]
        return made.get(value.split("_")[0], value) if isinstance(value, str) else value

    for endpoint, lacking in STRIPE.items():
        params = {key: one for key, one in real(examples[endpoint]).items() if key not in lacking}
        answer = w.server.call("POST", f"/v1/stripe/{endpoint}", {"params": params}, w.key)
        status = answer.json.get("status") if answer.status == 200 else answer.status
        if not isinstance(status, int) or status >= 400:
            bad[endpoint] = f"{json.dumps(params)} -> {answer.text[:300]}"
            continue
        data = answer.json["data"]
        listed = data.get("data", []) if isinstance(data.get("data"), list) else []
        for one in [data, *listed]:
            if "_" in str(one.get("id")):
                made.setdefault(one["id"].split("_")[0], one["id"])
    w.proven(name, len(STRIPE), bad, ())
    stripe.stop()


def files_behind_a_password(w, name):
    """rclone: Basic, real files, a job that goes on after its answer."""
    port, files, copy = w.ports[name], w.work / "files", w.work / "copy"
    (files / "plans").mkdir(parents=True)
    (files / "plans/a.md").write_text("a")
    command = ["rclone", "rcd", "--rc-addr", f"127.0.0.1:{port}", "--rc-user", "ada", "--rc-pass", "let me in"]
    rclone = Process("rclone", command, w.work / "rclone.log").until(lambda: is_open(port), "open port")
    try:
        w.server.bring(name, "tenant_a", {"username": "ada", "password": "wrong"})
        raise AssertionError("a wrong password is taken")
    except RuntimeError as refused:
        holds("let me in" not in str(refused) and "wrong" not in str(refused), "the refusal repeats the password")
    w.server.bring(name, "tenant_a", {"username": "ada", "password": "let me in"})

    def good(endpoint, **params):
        answer = w.server.call("POST", f"/v1/rclone/{endpoint}", {"params": params}, w.key)
        same((answer.status, answer.json.get("status")), (200, 200), f"{endpoint}: {answer.text[:300]}")
        # This version does not say that its answers are JSON.
        data = answer.json["data"]
        return json.loads(data) if isinstance(data, str) else data

    same([one["Path"] for one in good("list_files", fs=str(files), remote="plans")["list"]], ["plans/a.md"])
    good("make_folder", fs=str(files), remote="empty")
    holds((files / "empty").is_dir(), "no folder was made")
    job = good("copy_folder", **{"from": str(files), "to": str(copy)})["jobid"]
    end = time.monotonic() + 20
    while not (state := good("get_job", job=job))["finished"]:
        holds(time.monotonic() < end, f"the job does not end: {state}")
        time.sleep(0.05)
    same((state["success"], (copy / "plans/a.md").read_text()), (True, "a"))
    good("delete_file", fs=str(copy), remote="plans/a.md")
    holds(not (copy / "plans/a.md").exists(), "the file is still there")
    rclone.stop()


def nothing_else_says_so(w):
    """What was not called here says no more than that it was described."""
    for shelf in w.get("/v1/skills")["integrations"]:
        name = shelf["slug"]
        if shelf["verified"] == "mocked":
            holds(name in KINDS or name == "github-app", f"{name} says that it is mocked")


KINDS = {**dict.fromkeys(SERVICES, described), **dict.fromkeys(GRAPHQL, schema),
         "stripe": stripe, "rclone": files_behind_a_password}


def main():
    wanted = sys.argv[1:]
    names = [name for name in KINDS if not wanted or name in wanted]
    begun = time.monotonic()
    world, checks = World(names), Checks()
    for name in names:
        checks.run(name, KINDS[name], world, name)
    if not wanted:
        checks.run("nothing else says so", nothing_else_says_so, world)
    world.server.stop()
    print(f"{time.monotonic() - begun:.0f} s")
    checks.close()


if __name__ == "__main__":
    main()
