"""What the live stages share: processes that are stopped by their id, the server with a
configuration of its own, and a plain HTTP client that shows every answer as it came."""

import atexit
import collections
import ctypes
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.parse

HERE = pathlib.Path(__file__).resolve().parent
SHARED = HERE.parent.parent / "shared"
LISTEN = "127.0.0.1:18080"
PUBLIC = f"http://{LISTEN}"

_running = []
_libc = ctypes.CDLL(None)


def _die_with_parent():
    """In the child: a run that is killed takes what it started with it (PR_SET_PDEATHSIG)."""
    _libc.prctl(1, signal.SIGKILL)


class Process:
    """A program that this run started, with a file for what it says; `out` is one of its own for
    what it says on standard output."""

    def __init__(self, name, command, log, env=None, cwd=None, out=None):
        self.name, self.log = name, pathlib.Path(log)
        with open(self.log, "ab") as said, open(out or self.log, "ab") as output:
            self.popen = subprocess.Popen(
                [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=said,
                env={**os.environ, **(env or {})}, cwd=cwd, preexec_fn=_die_with_parent)
        _running.append(self)

    @property
    def pid(self):
        return self.popen.pid

    def until(self, is_ready, what, seconds=60):
        """Waits for `is_ready()`, not longer than `seconds` and not beyond the program's end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.popen.poll() is not None:
                raise RuntimeError(f"{self.name} ended with {self.popen.returncode}:\n{self.tail()}")
            if is_ready():
                return self
            time.sleep(0.02)
        raise RuntimeError(f"{self.name}: no {what} after {seconds} s\n{self.tail()}")

    def tail(self):
        return self.log.read_bytes()[-3000:].decode("utf8", "replace")

    def stop(self, how=signal.SIGTERM, seconds=40):
        """Stops it and returns its exit code; one that does not obey is killed."""
        if self in _running:
            _running.remove(self)
        if self.popen.poll() is None:
            self.popen.send_signal(how)
            try:
                self.popen.wait(seconds)
            except subprocess.TimeoutExpired:
                self.popen.kill()
                self.popen.wait()
        return self.popen.returncode


@atexit.register
def stop_all(name=None):
    """Stops what this run started; of one name, when one is given."""
    for process in reversed(list(_running)):
        if name in (None, process.name):
            process.stop(seconds=5)


# An end asked for from outside runs the line above, too.
signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


def is_open(port):
    with socket.socket() as s:
        s.settimeout(0.3)
        return s.connect_ex(("127.0.0.1", port)) == 0


def need_free(*ports):
    """What already listens there would be asked instead of what this run starts."""
    taken = [port for port in ports if is_open(port)]
    if taken:
        sys.exit(f"something already listens on {taken}")


Answer = collections.namedtuple("Answer", "status headers body")
Answer.json = property(lambda self: json.loads(self.body))
Answer.text = property(lambda self: self.body.decode("utf8", "replace"))
Answer.header = lambda self, name: next(
    (value for key, value in self.headers if key.lower() == name.lower()), None)


def ask(method, url, body=None, headers=None, timeout=45):
    """One request on a connection of its own; nothing is followed, decoded or repeated."""
    at = urllib.parse.urlsplit(url)
    connection = http.client.HTTPConnection(at.hostname, at.port, timeout=timeout)
    headers = dict(headers or {})
    if isinstance(body, (dict, list)):
        body = json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
    try:
        connection.request(method, (at.path or "/") + ("?" + at.query if at.query else ""), body, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.getheaders(), answer.read())
    finally:
        connection.close()


def exchange(data, address=LISTEN, timeout=10):
    """Sends bytes as they are and returns every byte that comes back."""
    host, port = address.split(":")
    with socket.create_connection((host, int(port)), timeout=timeout) as s:
        s.sendall(data)
        out = b""
        try:
            while chunk := s.recv(65536):
                out += chunk
        except OSError:
            pass
    return out


class Server:
    """`skill serve` on a data directory of its own."""

    def __init__(self, folder, config, listen=LISTEN, env=None):
        self.folder, self.listen = pathlib.Path(folder), listen
        self.base = f"http://{listen}"
        self.data = self.folder / "data"
        self.log = self.folder / "server.log"
        self.config = self.folder / "skill.toml"
        self.config.write_text(config)
        self.program = os.environ["SKILL"]
        self.env = env or {}
        self.process = None

    def start(self):
        need_free(int(self.listen.rsplit(":", 1)[1]))
        command = [self.program, "serve", "--data", self.data, "--listen", self.listen, "--config", self.config]
        # The first start shows a key on standard output; the log must never hold one.
        self.process = Process("skill serve", command, self.log, self.env, out=self.folder / "server.out")
        self.process.until(self.is_ready, "answer of /readyz", 30)
        return self

    def is_ready(self):
        try:
            return ask("GET", f"{self.base}/readyz", timeout=2).status == 200
        except OSError:
            return False

    def stop(self, how=signal.SIGTERM):
        return self.process.stop(how)

    def cli(self, *words, stdin=""):
        """Runs a command against this server's data directory; its standard output."""
        command = [self.program, *map(str, words), "--data", str(self.data), "--config", str(self.config)]
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60,
                              env={**os.environ, **self.env})
        if done.returncode != 0:
            raise RuntimeError(f"skill {' '.join(map(str, words))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def key(self, name, owner, scopes=None, tier=None, expires_in=None):
        """Makes a key; its id and its text."""
        words = ["key", "create", name, "--owner", owner, "--json"]
        words += ["--scopes", scopes] if scopes else []
        words += ["--tier", tier] if tier else []
        words += ["--expires-in", expires_in] if expires_in else []
        made = json.loads(self.cli(*words))
        return made["api_key"]["id"], made["full_key"]

    def bring(self, integration, owner, credentials, label=None):
        """Brings an existing credential in; the connection's id."""
        words = ["connection", "import", integration, "--owner", owner, "--json"]
        words += ["--label", label] if label else []
        return json.loads(self.cli(*words, stdin=json.dumps(credentials)))["connection_id"]

    def call(self, method, path, body=None, key=None, headers=None, timeout=45):
        headers = dict(headers or {})
        if key:
            headers["Authorization"] = f"Bearer {key}"
        return ask(method, self.base + path, body, headers, timeout)


# A configuration with everything that the hostile cases expect of the server.
def config(allow, log="trace", extra="", admin=None):
    allowed = ", ".join(f'"{door}"' for door in allow)
    secret = f'admin_secret = "{admin}"\n' if admin else ""
    return f"""
{secret}public_url = "{PUBLIC}"
log = {{ level = "{log}", format = "json" }}
egress.allow = [{allowed}]
integrations.directory = "{HERE / 'integrations'}"

[plans.default]
per_minute = 0

[tiers]
unbounded = 1000000
{extra}"""


def folder():
    """A new folder that goes away with the run, unless CI_KEEP is set."""
    made = pathlib.Path(tempfile.mkdtemp(prefix="skill-ci-"))
    if not os.environ.get("CI_KEEP"):
        atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


class Checks:
    """Runs scenarios one after the other, and says in the end how many held."""

    def __init__(self):
        self.passed, self.failed = 0, []

    def run(self, name, scenario, *args):
        begun = time.monotonic()
        try:
            scenario(*args)
        except Exception as problem:  # noqa: BLE001 - whatever it is, the next scenario runs
            where = traceback.extract_tb(problem.__traceback__)
            here = [f for f in where if f.filename.startswith(str(HERE))][-2:]
            lines = ", ".join(f"{pathlib.Path(f.filename).name}:{f.lineno}" for f in here)
            print(f"FAIL {name}: {problem or type(problem).__name__} ({lines})", flush=True)
            self.failed.append(name)
        else:
            print(f"ok   {name} ({time.monotonic() - begun:.1f} s)", flush=True)
            self.passed += 1

    def close(self):
        print(f"{self.passed} passed, {len(self.failed)} failed")
        sys.exit(1 if self.failed or not self.passed else 0)


def same(got, want, what=""):
    """Raises unless both are equal, and shows both."""
    if got != want:
        raise AssertionError(f"{what or 'value'}: {str(got)[:600]!r}, expected {str(want)[:300]!r}")


def holds(is_so, what):
    if not is_so:
        raise AssertionError(what)
