"""Builds the fixture of ../shared/security/README.md on a fresh server and runs three sets of cases."""

import json
import string
import subprocess
import sys
import time

from support import HERE, LISTEN, PUBLIC, SHARED, Process, Server, config, folder, is_open, need_free, same

SECURITY = SHARED / "security"
MOCK, CANARY, SINK = 18900, 18901, 18902
CLIENT_SECRET = "OAUTH_CLIENT_SECRET_CANARY"
PREFIX = sys.argv[1] if len(sys.argv) > 1 else ""

OAUTH = f"""
authorize_url = "http://127.0.0.1:{MOCK}/oauth/authorize"
token_url = "http://127.0.0.1:{MOCK}/oauth/token"
client_id = "fixture"
client_secret = "{CLIENT_SECRET}"
"""
EXTRA = f"""
[integrations.github]
base_url = "http://127.0.0.1:{MOCK}"
{OAUTH}
[integrations.mock]
{OAUTH}"""


def mistyped(key):
    """The key with one character changed, neither in its prefix nor in its checksum."""
    at = len(key) - 12
    return key[:at] + ("A" if key[at] != "A" else "B") + key[at + 1:]


def grant(owner):
    """The grant of tenant A or B, as the mock's token endpoint knows it."""
    return {"access_token": f"UPTOKEN_{owner}", "refresh_token": f"REFRESH_CANARY_{owner}"}


def fixture(server, mock):
    """Makes every key and connection of the fixture; the variables of the cases."""
    ids, keys = {}, {}

    def key(name, owner, **options):
        ids[name], keys[name] = server.key(name.lower(), owner, tier="unbounded", **options)

    key("KEY_A", "tenant_a", scopes="*")
    key("KEY_A_ADMIN", "tenant_a", scopes="*")
    key("KEY_B", "tenant_b", scopes="*")
    key("KEY_A_REVOKED", "tenant_a", scopes="*")
    server.cli("key", "revoke", ids["KEY_A_REVOKED"], "--owner", "tenant_a")
    key("KEY_A_TEMP_EXPIRED", "tenant_a", scopes="*", expires_in=1)
    key("KEY_A_GH", "tenant_a", scopes="github")
    key("KEY_A_QB", "tenant_a", scopes="quickbooks")
    key("KEY_A_SCOPE_GIT", "tenant_a", scopes="git")
    key("KEY_A_KEYS", "tenant_a", scopes="github,keys")
    key("KEY_A_ITEM", "tenant_a", scopes="mock/get_item")

    connections = {
        "CONN_A_GITHUB": server.bring("github", "tenant_a", grant("A")),
        "CONN_A": server.bring("mock", "tenant_a", grant("A"), label="primary-a"),
        "CONN_A_KEY": server.bring("mockkey", "tenant_a", {"api_key": "UPKEY"}),
        "CONN_A_QUERY": server.bring("mockq", "tenant_a", {"api_key": "UPQUERYKEY"}),
        "CONN_B": server.bring("mock", "tenant_b", grant("B"), label="primary-b"),
    }
    begun = server.call("POST", "/v1/connect", {"integration": "mock"}, keys["KEY_A"])
    same(begun.status, 200, f"POST /v1/connect: {begun.text}")
    page = begun.json["oauth_url"].removeprefix(PUBLIC)

    def made(method, path, body, status):
        answer = server.call(method, path, body, keys["KEY_A"])
        same(answer.status, status, f"{method} {path}: {answer.text}")
        return answer.json

    run = made("POST", "/v1/tools/mock-get-item/invoke", {"item": "UPSTREAM_MARK_A"}, 200)["execution_id"]
    service = made("POST", "/v1/keys", {"name": "service", "type": "service", "scopes": ["github"]}, 201)
    brief = made("POST", "/v1/keys", {"name": "brief", "type": "temporary", "scopes": ["github"]}, 201)
    hook = made("POST", "/v1/webhooks", {"url": f"http://127.0.0.1:{SINK}/hook", "events": ["execution.completed"]}, 201)
    keys |= {"KEY_A_SVC": service["key"], "KEY_A_TEMP": brief["key"]}
    # Gone by when the cases run: the key that lives one second.
    time.sleep(1.5)

    example = json.loads((SECURITY / "fixture/fixture.example.json").read_text())
    swap = str.maketrans(string.ascii_letters, string.ascii_letters.swapcase())
    prefix = keys["KEY_A"][:3]
    variables = {
        **example["vars"], **keys, **connections,
        "KEY_A_TYPO": mistyped(keys["KEY_A"]),
        "KEY_A_UPPER": prefix + keys["KEY_A"][3:].translate(swap),
        "KEYID_A_SVC": service["id"], "KEYID_A_TEMP": brief["id"], "KEYID_A": ids["KEY_A"], "KEYID_B": ids["KEY_B"],
        "EXEC_A": run, "EXEC_A_UPPER": "exec_" + run[5:].upper(), "JOB_OF_EXEC_A": "job_" + run[5:], "WEBHOOK_A": hook["id"],
        # Long texts, so that the cases need not spell them out.
        **{f"{letter.upper()}_{n}": letter * n for letter in "xb" for n in (9000, 10000, 40960)},
        "TENANT_B": "tenant_b", "CONNECT_PATH": page, "PENDING_A": begun.json["connection_id"],
    }
    return {
        **example, "base": server.base, "public_url": PUBLIC, "mock": f"http://127.0.0.1:{MOCK}",
        "pid": server.process.pid, "log": str(server.log), "gateway_keys": sorted(set(keys.values())),
        "secrets": example["secrets"], "vars": variables,
    }


def excluded():
    """Ids of cases that do not apply yet; each line says why."""
    reasons = {}
    for line in (HERE / "hostile-cases.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            case, _, reason = line.partition(" ")
            if not reason.strip():
                sys.exit(f"hostile-cases.txt leaves {case} out without a reason")
            reasons[case] = reason
    return reasons


def run(name, cases, known, work):
    """Runs one set of cases; whether all of it passed."""
    path = work / f"{name}.jsonl"
    path.write_text("".join(line + "\n" for line in cases))
    print(f"\n-- {name}: {len(cases)} cases", flush=True)
    return subprocess.run([sys.executable, SECURITY / "harness/run_cases.py", path, known, PREFIX],
                          check=False).returncode == 0


def main():
    need_free(MOCK, CANARY, SINK)
    work = folder()
    mock = Process("mock upstream", [sys.executable, SECURITY / "harness/mock_upstream.py"], work / "mock.log")
    mock.until(lambda: is_open(MOCK) and is_open(SINK), "open port", 10)
    doors = [f"127.0.0.1:{port}" for port in (MOCK, SINK)]
    server = Server(work, config(doors, extra=EXTRA)).start()
    known = work / "fixture.json"
    known.write_text(json.dumps(fixture(server, mock)))

    left_out = excluded()
    sets = []
    for name, path in (("devset", SECURITY / "devset.jsonl"), ("proxy", HERE / "proxy-cases.jsonl"),
                       ("tools", HERE / "tools-cases.jsonl")):
        cases = [(json.loads(line), line) for line in path.read_text().splitlines() if line]
        wanted = [line for case, line in cases if case["kind"] != "scenario" and not left_out.pop(case["id"], None)
                  and case["id"].startswith(PREFIX)]
        sets += [(name, wanted)] if wanted else []
    if left_out:
        sys.exit(f"hostile-cases.txt names cases that do not exist: {sorted(left_out)}")
    good = [run(name, cases, known, work) for name, cases in sets]

    if not search(server):
        good.append(False)
    same(server.stop(), 0, "exit code of the server")
    mock.stop()
    sys.exit(0 if good and all(good) else 1)


def search(server):
    """Nothing that is secret lies readable in the data directory or in the log."""
    known = json.loads((server.folder / "fixture.json").read_text())
    good = True
    for path in [*server.data.rglob("*"), server.log]:
        if not path.is_file():
            continue
        data = path.read_bytes()
        for secret in known["secrets"] + known["gateway_keys"]:
            if secret.encode() in data:
                print(f"FAIL {path.name} holds {secret[:8]}… in plain text")
                good = False
    return good


if __name__ == "__main__":
    main()
