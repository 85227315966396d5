"""The shipped commands and the shipped skills, run for real over HTTP: programs on a small tree with
known findings, pages and figures of local services. What a command must not reach is there to be
reached."""

import http.server
import json
import os
import pathlib
import signal
import socketserver
import threading
import time

from support import Checks, Server, config, folder, holds, need_free, same

PROGRAMS = pathlib.Path(os.environ["PROGRAMS"])
# Where that environment's python lies, with its library.
PYTHON = (PROGRAMS / "bin/python3").resolve().parents[1]
PAGES, CLOSED = 18_085, 18_086
LISTEN = "127.0.0.1:18080"

RULES = """rules:
  - id: no-eval
    languages: [python]
    severity: ERROR
    message: eval runs whatever it is given
    pattern: eval(...)
"""

OWN = """
# Reads a file that the caller names, whatever it is: what it may read, the kernel decides.
skill = "test/v1.0/read-file"
summary = "Read a file"
class = "read"
program = "cat"
install = "coreutils"
answer = "text"
arguments = ["--", "{file}"]
inputs.file = { type = "string", required = true }
"""

SLOW = """
skill = "test/v1.0/be-slow"
summary = "Take a while"
class = "read"
program = "timeout"
install = "coreutils"
answer = "text"
arguments = ["900", "sleep", "{marker}"]
inputs.marker = { type = "string", pattern = "^[0-9.]+$", required = true }
"""

# The bundled one, with an advisory database that says the same every day.
AUDIT = """
extends = "dependency-check"
arguments = [
    "--format=json", "--progress-spinner=off", "--disable-pip", "--no-deps",
    ["--vulnerability-service={service}"], ["--ignore-vuln={ignore}"],
    "--osv-url=http://127.0.0.1:PAGES/osv", "--requirement={path}",
]
"""

NAMES = ["semgrep-scan", "secret-scan", "code-quality", "dependency-check", "trivy-scan", "log-analysis",
         "performance-profiling", "docker-build", "kubectl-apply", "read-file", "be-slow"]


class Pages(http.server.BaseHTTPRequestHandler):
    """Pages, redirects and a receiver of messages."""

    received = []
    busy = 0

    def do_GET(self):
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "/page")
        elif self.path == "/inside":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{CLOSED}/secret")
        elif self.path == "/page":
            body = ("<title>Caf\u00e9 &amp; bar</title><script>no</script><h1>Menu</h1>"
                    "<a href='../soup'>Soup</a>").encode("latin-1")
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=iso-8859-1")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            return
        else:
            self.send_response(503)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/osv":
            return self.advise(json.loads(body)["package"]["name"])
        Pages.received.append((dict(self.headers), body))
        Pages.busy -= 1
        self.send_response(503 if Pages.busy >= 0 else 204)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def advise(self, package):
        """An advisory, as api.osv.dev writes it."""
        events = [{"introduced": "0"}, {"fixed": "2.10.1"}]
        affected = {"package": {"name": package, "ecosystem": "PyPI"},
                    "ranges": [{"type": "ECOSYSTEM", "events": events}]}
        found = {"id": "GHSA-462w-v97r-4m45", "aliases": ["CVE-2019-10906"], "summary": "A way out",
                 "details": "A way out", "published": "2019-04-10T14:30:24Z",
                 "modified": "2024-09-20T00:00:00Z", "affected": [affected]}
        body = json.dumps({"vulns": [found]}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Closed(Pages):
    """What the egress rules do not list."""

    asked = 0

    def do_GET(self):
        Closed.asked += 1
        super().do_GET()


def serve(port, handler):
    server = socketserver.ThreadingTCPServer(("127.0.0.1", port), handler, bind_and_activate=False)
    server.allow_reuse_address = True
    server.server_bind()
    server.server_activate()
    threading.Thread(target=server.serve_forever, daemon=True).start()


def plant(tree):
    """A tree with findings that every scanner knows."""
    tree.mkdir()
    (tree / "app.py").write_text(
        'import os\nAPI_KEY = "AKIAIOSFODNN7EXAMPLE"\n\n\ndef run(text):\n    return eval(text)\n')
    (tree / "rules.yml").write_text(RULES)
    (tree / "requirements.txt").write_text("jinja2==2.4.1\n")
    log = [f'127.0.0.1 - - [28/Nov/2026:03:00:0{n} +0000] "GET / HTTP/1.1" {status} 10 "-" "x"\n'
           for n, status in enumerate([200, 200, 500])]
    (tree / "access.log").write_text("".join(log))
    program = tree / "measured"
    program.write_bytes(pathlib.Path("/bin/true").resolve().read_bytes())
    program.chmod(0o755)


def processes_with(word):
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
        except OSError:
            pass
    return found


def until(is_so, what, seconds=30):
    end = time.monotonic() + seconds
    while not is_so():
        holds(time.monotonic() < end, what)
        time.sleep(0.05)


class World:
    def __init__(self):
        need_free(PAGES, CLOSED)
        serve(PAGES, Pages)
        serve(CLOSED, Closed)
        self.folder = folder()
        self.tree = self.folder / "tree"
        plant(self.tree)
        commands = self.folder / "commands"
        commands.mkdir()
        (commands / "read-file.toml").write_text(OWN)
        (commands / "be-slow.toml").write_text(SLOW)
        (commands / "dependency-check.toml").write_text(AUDIT.replace("PAGES", str(PAGES)))
        names = ", ".join(f'"{name}"' for name in NAMES)
        extra = f"""
[commands]
enabled = [{names}]
directory = "{commands}"
roots = ["{self.tree}"]
path = ["{PROGRAMS / 'bin'}", "/usr/local/bin", "/usr/bin", "/bin"]
read = ["{PROGRAMS}", "{PYTHON}"]
"""
        allow = [f"127.0.0.1:{PAGES}", LISTEN]
        self.server = Server(self.folder, config(allow, log="info", extra=extra)).start()
        _, self.key = self.server.key("ci", "default")

    def tool(self, tool, **inputs):
        path = f"/v1/tools/{tool}/invoke?timeout=240"
        return self.server.call("POST", path, inputs, self.key, timeout=280)

    def result(self, tool, **inputs):
        answer = self.tool(tool, **inputs)
        same(answer.status, 200, f"{tool}: {answer.text}")
        return answer.json["result"]

    def refused(self, tool, status, **inputs):
        answer = self.tool(tool, **inputs)
        same(answer.status, status, f"{tool}: {answer.text}")
        return answer.json["error"]


def semgrep(world):
    result = world.result("semgrep-scan", path="app.py", rules="rules.yml")
    same(result["counts"], {"total": 1, "ERROR": 1}, str(result))
    same(result["findings"][0]["start"]["line"], 6)


def secrets(world):
    result = world.result("secret-scan", path=str(world.tree))
    holds(result["counts"].get("AWS Access Key") == 1, str(result))


def ruff(world):
    result = world.result("code-quality", path="app.py", select=["F"])
    same(result["counts"], {"total": 1, "F401": 1}, str(result))


def pip_audit(world):
    result = world.result("dependency-check", path="requirements.txt", service="osv")
    same(result["counts"], {"total": 1, "jinja2": 1}, str(result))
    found = result["findings"][0]
    same((found["package"], found["version"], found["fix_versions"]), ("jinja2", "2.4.1", ["2.10.1"]))


def lnav(world):
    result = world.result("log-analysis", path="access.log")
    same(sorted((row["log_level"], row["count"]) for row in result), [("error", 1), ("info", 2)])
    error = world.refused("log-analysis", 400, path="access.log", query="DELETE FROM access_log")
    same(error["code"], "INVALID_REQUEST", str(error))


def hyperfine(world):
    result = world.result("performance-profiling", path="measured", runs=3)
    same(len(result["results"][0]["times"]), 3)


def missing(world):
    begun = time.monotonic()
    error = world.refused("trivy-scan", 500, path=".")
    same((error["code"], error["details"]["reason"]), ("TOOL_ERROR", "tool_unavailable"), str(error))
    holds("install" in error["message"], str(error))
    holds(time.monotonic() - begun < 2, "it took a while to say so")


def closed(world):
    """The data directory and the key stay closed to a program that asks for them by name."""
    data = world.server.data
    for target in [data / "seal.key", data / "skill.db", world.server.config, "/etc/shadow"]:
        holds(pathlib.Path(target).exists(), f"{target} is not there")
        error = world.refused("read-file", 500, file=str(target))
        same(error["code"], "TOOL_ERROR", str(error))
    same(world.result("read-file", file=str(world.tree / "rules.yml"))["output"], RULES.rstrip("\n"))
    for path in ["../data/seal.key", str(data), "/etc"]:
        error = world.refused("secret-scan", 400, path=path)
        same(error["code"], "INVALID_REQUEST", str(error))


def cancelled(world):
    marker = "141421.35"
    body = {"marker": marker}
    answer = world.server.call("POST", "/v1/tools/be-slow/invoke?async=true", body, world.key)
    same(answer.status, 202, answer.text)
    until(lambda: len(processes_with(marker)) == 2, "two processes")
    run = answer.json["execution_id"]
    answer = world.server.call("DELETE", f"/v1/executions/{run}", key=world.key)
    same(answer.status, 200, answer.text)
    until(lambda: not processes_with(marker), "the end of both")


def killed(world):
    """A server that is killed takes its programs along."""
    marker = "173205.08"
    body = {"marker": marker}
    world.server.call("POST", "/v1/tools/be-slow/invoke?async=true", body, world.key)
    until(lambda: len(processes_with(marker)) == 2, "two processes")
    leader = min(processes_with(marker))
    world.server.stop(signal.SIGKILL)
    until(lambda: leader not in processes_with(marker), "the end of the program")
    for pid in processes_with(marker):
        os.kill(pid, signal.SIGKILL)
    world.server.start()


def site(world):
    page = world.result("web-retrieve-site", url=f"http://127.0.0.1:{PAGES}/away")
    same((page["title"], page["content"]), ("Caf\u00e9 & bar", "Menu\nSoup"), str(page))
    same(page["links"], [{"url": f"http://127.0.0.1:{PAGES}/soup", "text": "Soup"}])
    error = world.refused("web-retrieve-site", 400, url=f"http://127.0.0.1:{PAGES}/inside")
    same(error["code"], "INVALID_REQUEST", str(error))
    same(Closed.asked, 0, "requests behind the redirect")


def health(world):
    good = world.result("health-check", url=f"{world.server.base}/healthz", expect_status=200)
    same((good["healthy"], good["status"], good["reason"]), (True, 200, None), str(good))
    bad = world.result("health-check", url=f"http://127.0.0.1:{PAGES}/down")
    same((bad["healthy"], bad["status"]), (False, 503), str(bad))


def metrics(world):
    url = f"{world.server.base}/metrics"
    found = world.result("metrics-collect", url=url)["metrics"]
    holds(len(found) > 5 and all(metric["name"] for metric in found), str(found)[:300])
    name = found[0]["name"]
    only = world.result("metrics-collect", url=url, names=[name])["metrics"]
    same({metric["name"] for metric in only}, {name})


def webhook(world):
    Pages.received.clear()
    Pages.busy = 1
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8G"
    sent = world.result("webhook-trigger", url=f"http://127.0.0.1:{PAGES}/hook", payload={"n": 1}, secret=secret)
    same((sent["status"], sent["attempts"], sent["delivered"]), (204, 2, True), str(sent))
    ids = {headers["webhook-id"] for headers, _ in Pages.received}
    same((len(Pages.received), len(ids)), (2, 1), "messages and their ids")
    holds(all(h["webhook-signature"].startswith("v1,") for h, _ in Pages.received), "no signature")
    holds(secret.split("_")[1] not in world.server.log.read_text(), "the secret is in the log")


def alert(world):
    Pages.received.clear()
    Pages.busy = 0
    url = f"http://127.0.0.1:{PAGES}/hook"
    sent = world.result("alert-trigger", title="Down", severity="critical", target="webhook", url=url)
    holds(sent["delivered"], str(sent))
    same(json.loads(Pages.received[0][1])["id"], sent["id"])
    error = world.refused("alert-trigger", 400, title="Down", severity="info", target="slack")
    same(error["code"], "INVALID_REQUEST", str(error))


def registry(world):
    entry = world.result("platform-get-skill", category="security", version="v1", name="semgrep-scan")
    same((entry["version"], entry["skill_name"]), ("v1.0", "semgrep-scan"), str(entry))
    _, narrow = world.server.key("narrow", "default", scopes="platform/get-skill")
    body = {"category": "security", "version": "v1", "name": "semgrep-scan"}
    answer = world.server.call("POST", "/v1/tools/platform-get-skill/invoke", body, narrow)
    same(answer.status, 404, answer.text)


def main():
    wanted = os.sys.argv[1:]
    checks, world = Checks(), World()
    scenarios = [semgrep, secrets, ruff, pip_audit, lnav, hyperfine, missing, closed, cancelled, killed,
                 site, health, metrics, webhook, alert, registry]
    for scenario in scenarios:
        if not wanted or any(word in scenario.__name__ for word in wanted):
            checks.run(scenario.__name__, scenario, world)
    world.server.stop()
    checks.close()


if __name__ == "__main__":
    main()
