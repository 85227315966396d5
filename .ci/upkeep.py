"""Backups and sealing keys of a live server under load, for `.ci/durable`: `d` is that module."""

import json
import signal
import threading
import time

from support import config, holds, same


class Load:
    """Callers that submit without a pause, over the deaths of the server, until they are told to stop."""

    def __init__(self, d, server, name, callers=3):
        self.d, self.server, self.name = d, server, name
        self.acknowledged, self.lock, self.is_over = {}, threading.Lock(), threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(n,), daemon=True) for n in range(callers)]
        for thread in self.threads:
            thread.start()

    def work(self, caller):
        n = 0
        while not self.is_over.is_set():
            n += 1
            title = f"{self.name}-{caller}-{n}"
            try:
                answer = self.d.submit(self.server, title, idempotency=title, timeout=5)
            except OSError:
                # Nobody is there, or nobody answered: what became of it is not known.
                time.sleep(0.05)
                continue
            if answer.status == 202:
                with self.lock:
                    self.acknowledged[title] = answer.json["execution_id"]

    def so_far(self):
        with self.lock:
            return dict(self.acknowledged)

    def stop(self):
        self.is_over.set()
        for thread in self.threads:
            thread.join(20)
        return self.so_far()


def more_than(load, count, seconds=30):
    until = time.monotonic() + seconds
    while len(load.so_far()) < count:
        holds(time.monotonic() < until, f"only {len(load.so_far())} submits were acknowledged")
        time.sleep(0.02)


def backups(w, d):
    """A backup while callers submit and the server is killed; nothing of it is done twice after a restore."""
    w.fresh(delay_ms=150)
    server = w.server("backups", log="error").start()
    load = Load(d, server, "backup")
    more_than(load, 60)
    before = load.so_far()
    backup = w.work / "backups" / "backup.tar"
    said = json.loads(server.cli("backup", backup, "--json"))
    same(said["holds_the_key"], False)
    same(backup.stat().st_mode & 0o777, 0o600, "the mode of the backup")
    more_than(load, len(before) + 20)
    server.stop(signal.SIGKILL)
    load.stop()
    # What the dead server had asked for may still be on its way.
    time.sleep(1)
    done = {title: len(keys) for title, keys in d.titles(w.ledger()).items()}
    holds(all(count == 1 for count in done.values()), "the upstream was asked twice before the restore")

    (w.work / "restored").mkdir()
    text = config([f"127.0.0.1:{d.MOCK}"], log="error", extra=d.EXTRA)
    restored = d.Server(w.work / "restored", text)
    restored.first = server.first
    key = w.work / "backups" / "data" / "seal.key"
    said = json.loads(restored.cli("restore", backup, "--key-file", key, "--json"))
    restored.start()
    # Whatever was acknowledged before the backup began is in it, and nothing moves by itself.
    states = {title: d.look(restored, run)["status"] for title, run in before.items()}
    same({state for state in states.values()} - {"success", "held"}, set(), "states after the restore")
    time.sleep(2)
    same({title: len(keys) for title, keys in d.titles(w.ledger()).items()}, done, "effects while runs are held")
    held = json.loads(restored.cli("runs", "list", "--status", "held", "--owner", "tenant_a", "--json"))
    same(held["total"], said["held_runs"], "held runs")
    holds(held["total"] > 0, "no run was under way when the backup was made")
    # Somebody looks at the service, and lets go on what was not done there.
    released = [title for title, state in states.items() if state == "held" and title not in done]
    for title, state in states.items():
        if state == "held":
            verb = "release" if title in released else "cancel"
            restored.cli("runs", verb, before[title], "--owner", "tenant_a")
    ends = d.end_of(restored, [before[title] for title in released])
    same(set(ends.values()) - {"success"}, set(), "ends of what was released")
    after = {title: len(keys) for title, keys in d.titles(w.ledger()).items()}
    holds(all(count == 1 for count in after.values()), "something was done twice after the restore")
    missing = [title for title in before if title not in after]
    same(missing, [], "acknowledged before the backup, and never done")
    print(f"     {len(before)} acknowledged before the backup, {held['total']} held, {len(released)} released")
    restored.stop()


def sealing(w, d):
    """The sealing key is replaced twice while callers submit, and the server is killed in the middle."""
    w.fresh()
    server = w.server("sealing", log="error").start()
    load = Load(d, server, "seal")
    more_than(load, 150)
    key = w.work / "sealing" / "data" / "seal.key"
    first = key.read_text()
    server.cli("seal", "rotate", "--no-wait")
    server.stop(signal.SIGKILL)
    server.start()
    more_than(load, len(load.so_far()) + 50)
    until = time.monotonic() + 60
    while len(key.read_text().splitlines()) > 1:
        holds(time.monotonic() < until, "the old key stays although nothing needs it")
        time.sleep(0.1)
    holds(key.read_text() != first, "the key is the old one")
    said = json.loads(server.cli("seal", "rotate", "--json"))
    same((said["keys"], said["is_under_way"], said["unreadable"]), ([2, 3], False, 0), "the second rotation")
    acknowledged = load.stop()
    ends = d.end_of(server, acknowledged.values())
    wrong = [d.look(server, run)["error"] for run, end in ends.items() if end != "success"]
    same(wrong, [], "what went wrong in runs")
    server.stop()
    server.start()
    until = time.monotonic() + 60
    while json.loads(server.cli("seal", "status", "--json"))["keys"] != [3]:
        holds(time.monotonic() < until, "the second key stays although nothing needs it")
        time.sleep(0.1)
    # Everything opens: outcomes, what repeats are given, inputs, the grant.
    for title, run in list(acknowledged.items())[:: max(1, len(acknowledged) // 40)]:
        holds(d.look(server, run)["result"] is not None, f"{run} has lost its result")
        again = d.submit(server, title, idempotency=title)
        same((again.status, again.json["execution_id"]), (202, run), "a repeat after two rotations")
    # What was under way when the server was killed is asked for again, under the same key.
    keys = {len({tuple(key) for key in keys}) for keys in d.titles(w.ledger()).values()}
    same(keys, {1}, "under how many keys the upstream was asked for each")
    server.stop()
    key.write_text(first)
    try:
        server.cli("connections", "--owner", "tenant_a")
    except RuntimeError as refused:
        holds("sealing key is not the one" in str(refused), str(refused))
    else:
        raise AssertionError("the first key alone opened the store")
    print(f"     {len(acknowledged)} submits over two rotations and a kill")
