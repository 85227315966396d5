"""Runs schemathesis over the document of a fresh server, as an owner who has everything: connections to
every service, runs in every state, keys, a webhook. What the server answered is told by operation, and
an operation that never succeeded fails the run.

EXAMPLES says how many inputs each operation gets at most, SEED which ones."""

import json
import os
import pathlib
import subprocess
import sys
import time
import tomllib

from support import HERE, SHARED, Process, Server, config, folder, holds, is_open, need_free, same

MOCK, CANARY, SINK = 18900, 18901, 18902
ADMIN = "admin-secret-of-the-document"
BUNDLED = sorted(HERE.parent.glob("skill-core/integrations/*.toml"))
CREDENTIALS = {"oauth2": {"access_token": "T"}, "bearer": {"token": "T"}, "api_key": {"api_key": "K"},
               "basic": {"username": "u", "password": "p"}}
# Facts that have a form.
FACTS = {"environment": "quickbooks.api.intuit.com", "instance": "acme.my.salesforce.com", "login": "login.salesforce.com",
         "realm_id": "1234567890", "cloud_id": "11111111-2222-3333-4444-555555555555",
         "tenant_id": "11111111-2222-3333-4444-555555555555", "email": "a@example.com", "api_key": "sk_test_1"}


def settings():
    """Nothing else than the mock can be reached: every service's address is overridden."""
    client = 'client_id = "fixture"\nclient_secret = "secret"\n'
    here = "".join(f'[integrations.{path.stem}]\nbase_url = "http://127.0.0.1:{MOCK}"\n{client if asks_a_person(path) else ""}'
                   for path in BUNDLED)
    return config([f"127.0.0.1:{MOCK}", f"127.0.0.1:{SINK}"], log="warn", extra=f"{here}[integrations.mock]\n{client}",
                  admin=ADMIN)


def asks_a_person(path):
    declared = tomllib.loads(path.read_text())
    return "extends" in declared or declared.get("auth", {}).get("scheme") == "oauth2"


def connect(server):
    """Brings a credential of every service in; which ones took it."""
    connected = []
    for path in BUNDLED:
        declared = tomllib.loads(path.read_text())
        auth = declared.get("auth", {})
        scheme = auth.get("scheme", "oauth2")
        if scheme == "none":
            continue
        given = {name: FACTS.get(name, "acme") for name in declared.get("fields", {})}
        given |= CREDENTIALS.get(scheme, {}) if scheme == "oauth2" or not auth.get("fields") else {}
        given |= {name: FACTS.get(name, "K") for name in auth.get("fields", {})}
        try:
            server.bring(path.stem, "tenant_a", given)
            connected.append(path.stem)
        except RuntimeError as problem:
            print(f"     {path.stem} is not connected: {str(problem).strip().splitlines()[-1]}", flush=True)
    return connected


def world(server):
    """Everything that an owner may have; what the hooks need to know of it."""
    key_id, key = server.key("document", "tenant_a", tier="unbounded")
    connections = [server.bring("mockkey", "tenant_a", {"api_key": "UPKEY"}, label) for label in ("one", None)]

    def made(method, path, body, status, member=None):
        answer = server.call(method, path, body, key)
        same(answer.status, status, f"{method} {path}: {answer.text}")
        return answer.json[member] if member else answer

    made("PATCH", f"/v1/connections/{connections[0]}", {"default": True}, 200)
    connections.append(made("POST", "/v1/connect", {"integration": "mock"}, 200, "connection_id"))
    invoke = "/v1/tools/mockkey-create/invoke"
    ended = [made("POST", invoke, {"title": "done"}, 200, "execution_id")]
    ended.append(made("POST", f"{invoke}?async=true", {"title": "queued"}, 202, "execution_id"))
    cancelled = made("POST", f"{invoke}?async=true&delay=3600", {"title": "never"}, 202, "execution_id")
    made("DELETE", f"/v1/executions/{cancelled}", None, 200)
    made("GET", f"/v1/executions/{ended[1]}?wait=30", None, 200)
    later = made("POST", f"{invoke}?async=true&delay=86400", {"title": "later"}, 202, "execution_id")
    sink = f"http://127.0.0.1:{SINK}/hook"
    webhook = made("POST", "/v1/webhooks", {"url": sink, "events": ["execution.failed"]}, 201, "id")
    delivery = made("POST", f"/v1/webhooks/{webhook}/test", None, 202, "id")
    job = made("POST", "/api/mockkey/v1/get-item", {"item": "1"}, 202, "job_id")
    made("GET", f"/v1/executions/{job}?wait=30", None, 200)
    agent = made("POST", "/api/agents", {"id": "document", "name": "document"}, 201, "id")
    memory = made("POST", f"/api/agents/{agent}/memories", {"content": "x"}, 201, "id")
    skills = {"skills": ["mockkey/v1/get-item", "mockkey/v1/create"]}
    token = made("POST", "/api/triggers", skills, 201, "token")
    return {"token": token, "delivery": delivery, "base": server.base, "key": key, "admin": ADMIN, "agent": agent, "memory": memory,
            "conversation": job.replace("job_", "conv_"), "key_id": key_id, "connections": connections, "sink": sink,
            "ended": [*ended, cancelled], "runs": [*ended, cancelled, later], "webhook": webhook}


def check(server, known, name, operations, examples, words):
    """One run of schemathesis over some operations; its exit code, and what was answered."""
    known = {**known, "seen": str(server.folder / f"{name}.json")}
    told = server.folder / f"{name}-world.json"
    told.write_text(json.dumps(known))
    command = [os.environ["SCHEMATHESIS"], "run", f"{server.base}/openapi.json", "--url", server.base,
               "--header", f"Authorization: Bearer {known['key']}", "--header", f"X-Admin-Secret: {ADMIN}", "--checks", "not_a_server_error,status_code_conformance",
               "--max-examples", str(examples), "--seed", os.environ.get("SEED", "1"), "--phases", "examples,coverage,fuzzing",
               "--request-timeout", "40", "--workers", "1", "--continue-on-failure", "--suppress-health-check", "all",
               "--warnings", "off", "--generation-with-security-parameters", "false", *operations, *words]
    env = {**os.environ, "NO_COLOR": "1", "WORLD": str(told), "SCHEMATHESIS_HOOKS": "document_hooks",
           "PYTHONPATH": str(HERE)}
    begun = time.monotonic()
    code = subprocess.run(command, cwd=server.folder, check=False, env=env).returncode
    print(f"-- {name}: {time.monotonic() - begun:.0f} s", flush=True)
    return code, json.loads(pathlib.Path(known["seen"]).read_text())


def missing(document, seen, is_wanted):
    """The successes that the document promises and nobody met, of the operations that are wanted."""
    never, met = [], 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            label = f"{method.upper()} {path}"
            if not is_wanted(path, operation):
                continue
            for status in (status for status in operation["responses"] if status.startswith("2")):
                if status in seen.get(label, {}):
                    met += 1
                else:
                    never.append(f"{label} {status}")
    return met, never


def main():
    need_free(MOCK, CANARY, SINK)
    work = folder()
    mock = Process("mock upstream", [sys.executable, SHARED / "security/harness/mock_upstream.py"], work / "mock.log")
    mock.until(lambda: is_open(MOCK), "open port", 10)
    server = Server(work, settings()).start()
    known = world(server)
    connected = connect(server)
    document = server.call("GET", "/openapi.json").json
    examples = int(os.environ.get("EXAMPLES", "30"))
    # What is one service's endpoint is one route; there are hundreds of them.
    endpoint = "^/v1/(" + "|".join([*(path.stem for path in BUNDLED), "mockkey", "mockq", "mock", "wiremock", "kinto", "idp"]) + ")/[a-z0-9_]+$"
    words = sys.argv[1:]
    first, routes = check(server, known, "routes", ["--exclude-path-regex", endpoint], examples, words)
    second, calls = check(server, known, "endpoints", ["--include-path-regex", endpoint], max(2, examples // 5), words)

    routes["GET /openapi.json"] = {"200": 1}  # It was read before anything else.
    for label, statuses in sorted(routes.items()):
        print(f"   {label:60} {' '.join(f'{status}:{count}' for status, count in sorted(statuses.items()))}")
    total = {}
    for statuses in calls.values():
        for status, count in statuses.items():
            total[status] = total.get(status, 0) + count
    print(f"   {len(calls)} endpoints of {len(connected)} services: {total}")
    called = lambda path, operation: "x-skill" in operation
    met, never = missing(document, routes, lambda path, operation: not called(path, operation))
    print(f"routes: {met} documented successes were met, never: {never}")
    good, bad = missing(document, calls, lambda path, operation: called(path, operation) and path.split("/")[2] in connected)
    print(f"endpoints: {good} succeeded, never: {bad}")

    said = server.log.read_text(errors="replace")
    holds("panicked" not in said, "a panic in the log")
    same(server.call("GET", "/healthz").status, 200, "health afterwards")
    same(server.stop(), 0, "exit code of the server")
    mock.stop()
    if not words:
        same(never, [], "operations that never succeeded")
        holds(len(connected) * 10 >= len(BUNDLED) * 7, f"only {connected} are connected")
        holds(good >= 9 * len(bad), f"{len(bad)} endpoints never succeeded")
    sys.exit(first or second)


if __name__ == "__main__":
    main()
