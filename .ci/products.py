"""The scenarios of `.ci/products`: what a client of each product does when it has only changed its base URL
and its key. An answer fits a printed one when it has every member of it, of the same type."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time

from support import PUBLIC, SHARED, Checks, Server, config, described_github, folder, holds, is_open, need_free, prism, same

REAL = pathlib.Path(os.environ["REAL"])
GITHUB = 9432
PYTHON = REAL / "pyvenv/bin/python"
EXTRA = f"""
[integrations.github]
base_url = "http://127.0.0.1:{GITHUB}"

[commands]
enabled = ["semgrep-scan", "dependency-check", "trivy-scan", "secret-scan", "code-quality", "performance-profiling",
           "log-analysis", "docker-build", "kubectl-apply"]
"""
PAGES = {name: (SHARED / "reference" / f"{file}.txt").read_text() for name, file in {
    "proxy": "skillett-execute-endpoint",
    "skills": "horizon-skill-execution",
    "tools": "skill-mcp-api-reference",
}.items()}


def printed(page, after, nth=0):
    """The nth JSON object that the page prints after this text."""
    rest = PAGES[page].split(after, 1)[1]
    found, depth, begun = [], 0, None
    for line in rest.splitlines():
        if depth == 0 and line.strip() != "{":
            continue
        begun = [] if depth == 0 else begun
        begun.append(line)
        depth += line.count("{") - line.count("}")
        if depth == 0:
            found.append("\n".join(begun).replace("[...]", "[]"))
    return json.loads(found[nth])


def programs(page):
    """What the page prints to be run, as (language, text)."""
    starts = [("shell", re.compile(r"^(\$ )?curl ")), ("python", re.compile(r"^import requests")),
              ("javascript", re.compile(r"^const "))]
    found = []
    language = None
    for line in PAGES[page].splitlines():
        begins = next((name for name, start in starts if start.match(line)), None)
        if not line.strip() or line.startswith(("Terminal window", "//")):
            language = None
        elif begins and begins != language:
            language = begins
            found.append((language, [line.removeprefix("$ ")]))
        elif language:
            found[-1][1].append(line)
    return [(name, "\n".join(lines)) for name, lines in found]


def fits(got, want, where="$"):
    """Raises unless the answer has all that the printed one has."""
    kinds = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "an array", dict: "an object"}
    same(kinds.get(type(got), got), kinds.get(type(want), want), where)
    if isinstance(want, dict):
        for name, value in want.items():
            holds(name in got, f"{where} lacks `{name}`: {str(got)[:400]}")
            fits(got[name], value, f"{where}.{name}")
    elif isinstance(want, list) and want and got:
        fits(got[0], want[0], f"{where}[0]")


class World:
    """A server of GitHub's own description behind ours, and a key for each product."""

    def __init__(self):
        need_free(GITHUB)
        self.work = folder()
        github = prism("github", described_github(REAL), GITHUB, REAL, self.work)
        self.server = Server(self.work, config([f"127.0.0.1:{GITHUB}"], extra=EXTRA)).start()
        self.key = self.server.key("products", "tenant_a", tier="unbounded")[1]
        github.until(lambda: is_open(GITHUB), "open port", 120)
        self.server.bring("github", "tenant_a", {"access_token": "gho_canary"})

    def here(self, text):
        """The same text for this server and this key."""
        for base in ("https://api.horizonplatform.ai", "https://api.skillett.dev"):
            text = text.replace(base, PUBLIC)
        for key in ("hz_live_abc123def456", "sk_a1b2c3d4..."):
            text = text.replace(key, self.key)
        return text

    def run(self, language, text):
        """Runs what a page prints; its standard output."""
        text = self.here(text)
        if language == "shell":
            text = re.sub(r"\\?\n", " ", text)
            command = ["bash", "-c", text + " --silent --show-error --fail-with-body"]
        elif language == "python":
            command = [PYTHON, "-c", text]
        else:
            script = self.work / "example.mjs"
            script.write_text(text)
            command = ["node", script]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=self.work)
        same(done.returncode, 0, f"{text}\n{done.stdout}{done.stderr}"[-1500:])
        return done.stdout

    def tools(self, method, path, body=None, status=200):
        answer = self.server.call(method, "/v1" + path, body, self.key)
        same(answer.status, status, answer.text[:400])
        return answer.json if answer.body else None

    def ended(self, path, seconds=60):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            run = self.tools("GET", path)
            if run["status"] not in ("queued", "running"):
                return run
            time.sleep(0.05)
        raise AssertionError(f"{path} did not end in {seconds} s")


def execute_endpoint(w):
    """Proxy: the command of the page, and the answer it prints."""
    [(language, text)] = programs("proxy")
    answer = json.loads(w.run(language, text))
    fits(answer, printed("proxy", "Success (proxied response):"))
    body = printed("proxy", "(e.g., create_issue)")
    answer = w.server.call("POST", "/v1/github/create_issue", body, w.key)
    fits(answer.json, printed("proxy", "Success (proxied response):"))
    _, stranger = w.server.key("stranger", "tenant_b")
    refused = w.server.call("POST", "/v1/github/create_issue", body, stranger)
    same(refused.status, 403, refused.text)
    want = printed("proxy", "Error (from Skillett):")
    fits(refused.json, want)
    same(refused.json["error"], want["error"])


def skill_execution(w):
    """Skills: every program of the page; each submit is a conversation that the page's listing shows."""
    ran, show = {}, {"shell": "", "javascript": "\nconsole.log(JSON.stringify(conversations))",
                     "python": "\nimport json; print(json.dumps(conversations))"}
    for language, text in programs("skills"):
        said = w.run(language, text + (show[language] if "/conversations" in text else ""))
        ran[language] = ran.get(language, 0) + 1
        if language == "shell" and "profit-and-loss" in text:
            accepted, want = json.loads(said), printed("skills", "// 202 Accepted")
            fits(accepted, want)
            same({**accepted, "job_id": ""}, {**want, "job_id": ""})
        elif "job_id" in text:
            holds(said.startswith("job_"), said)
        else:
            listed = json.loads(said)
            holds(accepted["job_id"].replace("job_", "conv_") in [one["id"] for one in listed], said[:400])
    same(ran, {"shell": 2, "javascript": 2, "python": 2})
    _, narrow = w.server.key("narrow", "tenant_a", scopes="github")
    refused = w.server.call("POST", "/api/quickbooks/v1/profit-and-loss-report", {}, narrow)
    same((refused.status, refused.json), (403, printed("skills", "returns a 403 Forbidden error:")))


def lists_tools(w):
    wanted = printed("tools", "Get a list of all available tools.")
    fits(w.tools("GET", "/tools?search=github-list-prs"), wanted)
    # Everything that the page names is here under that name.
    named = re.findall(r"^  • ([a-z]+(?:-[a-z]+)+)(?: - .*)$", PAGES["tools"], re.M)
    same(len(named), 17, named)
    for name in named:
        tool = w.tools("GET", f"/tools/{name}")
        same(tool["id"], name)


def shows_a_tool(w):
    fits(w.tools("GET", "/tools/github-list-prs"), printed("tools", "Get Tool Details"))


def invokes(w):
    inputs = printed("tools", "Invoke Tool", 0)
    fits(w.tools("POST", "/tools/github-list-prs/invoke", inputs), printed("tools", "Response (Sync):"))
    queued = w.tools("POST", "/tools/github-list-prs/invoke?async=true", inputs, 202)
    fits(queued, printed("tools", "Response (Async):"))
    # The page gives a path without the version in front of it.
    status = w.server.call("GET", queued["status_url"], key=w.key)
    same(status.status, 200, status.text)
    run = w.ended(f"/executions/{queued['execution_id']}")
    fits(run, printed("tools", "Get Execution Status"))
    same((run["status"], run["progress"]), ("success", 100))
    fits(w.tools("GET", "/executions?status=success&tool_id=github-list-prs"), printed("tools", "List Executions"))


def cancels(w):
    queued = w.tools("POST", "/tools/github-list-prs/invoke?async=true&delay=3600", {"owner": "vln", "repo": "vln-gg"}, 202)
    answer = w.tools("DELETE", f"/executions/{queued['execution_id']}")
    want = printed("tools", "Cancel Execution")
    fits(answer, want)
    same({**answer, "execution_id": ""}, {**want, "execution_id": ""})


def manages_keys(w):
    made = w.tools("POST", "/keys", printed("tools", "Create Key:"), 201)
    holds(made["key"].startswith("sk_svc_"), made["key"][:8])
    listed = w.tools("GET", "/keys?limit=20&offset=0")
    fits(listed, printed("tools", "GET /tools?limit=20&offset=40"))
    holds(made["id"] in [key["id"] for key in listed["items"]], listed)
    w.tools("DELETE", f"/keys/{made['id']}", status=204)


def refuses(w):
    for path, status, code in [("/tools/no-such-tool", 404, "NOT_FOUND"), ("/tools?limit=0", 400, "INVALID_REQUEST")]:
        error = w.tools("GET", path, status=status)
        want = printed("tools", "Error Response Format")
        want["error"]["details"] = {}  # which fields it names goes by the request
        fits(error, want)
        same(error["error"]["code"], code)
    _, tiny = w.server.key("limited", "tenant_c", tier="standard")
    for _ in range(200):
        answer = w.server.call("GET", "/v1/tools?limit=1", key=tiny)
        for name in ("X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset"):
            holds((answer.header(name) or "").isdigit(), f"{name}: {answer.header(name)}")
        if answer.status == 429:
            break
    same(answer.status, 429, "after 200 requests of a standard key")
    fits(answer.json, printed("tools", "When rate limited"))


def registers_a_webhook(w):
    made = w.tools("POST", "/webhooks", printed("tools", "POST /webhooks"), 201)
    fits(made, printed("tools", "POST /webhooks"))


SCENARIOS = [execute_endpoint, skill_execution, lists_tools, shows_a_tool, invokes, cancels, manages_keys, refuses,
             registers_a_webhook]


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
