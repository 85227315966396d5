"""Loaded by schemathesis: puts what exists where the document can only say "a string".

Inputs that are wrong on purpose keep everything but the ids of their path, so that they are refused for
what is wrong with them. One case in eight keeps those too. Every answer is counted by its operation."""

import atexit
import collections
import json
import os
import pathlib
import random

import schemathesis

from support import ask

WORLD = json.loads(pathlib.Path(os.environ["WORLD"]).read_text())
ADMIN = {"X-Admin-Secret": WORLD["admin"]}
HEADERS = {"Authorization": f"Bearer {WORLD['key']}"}
dice = random.Random(int(os.environ.get("SEED", "1")))
seen = collections.defaultdict(collections.Counter)
spares = {}
# Tools with inputs that they take, and one that is put into the queue for later.
TOOLS = {"mockkey-create": {"title": "t", "tags": ["a"]}, "mockkey-get-item": {"item": "1"}, "mockkey-search": {"q": "x"}}
LATER = "/v1/tools/mockkey-create/invoke?async=true&delay=3600"


def made(method, path, body, member, headers=None):
    answer = ask(method, WORLD["base"] + path, body, headers or HEADERS)
    if not 200 <= answer.status < 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {answer.text}")
    return answer.json[member]


def spare(label, make):
    """Something that may go: the same until it has gone."""
    if label not in spares:
        spares[label] = make()
    return spares[label]


def connection(label):
    if label.startswith("DELETE"):
        credentials = {"integration": "mockkey", "credentials": {"api_key": "UPKEY"}}
        return spare(label, lambda: made("POST", "/v1/connect", credentials, "connection_id"))
    return dice.choice(WORLD["connections"])


def execution(label, has_wait):
    if label.startswith("DELETE"):
        return spare(label, lambda: made("POST", LATER, {"title": "later"}, "execution_id"))
    return dice.choice(WORLD["ended"] if has_wait or label.endswith("/events") else WORLD["runs"])


def agent(label):
    if label.startswith("DELETE") and label.endswith("{agent_id}"):
        return spare(label, lambda: made("POST", "/api/agents", {"name": label}, "id"))
    return WORLD["agent"]


def memory(label):
    if label.startswith("DELETE"):
        return spare(label, lambda: made("POST", f"/api/agents/{WORLD['agent']}/memories", {"content": label}, "id"))
    return WORLD["memory"]


def key(label):
    if "/admin/" in label:
        wanted = {"client_name": "document", "scopes": ["mockkey"]}
        return spare(label, lambda: made("POST", "/admin/api-keys", wanted, "id", ADMIN))
    if label.startswith("GET"):
        return WORLD["key_id"]
    kind = dice.choice(["service", "user", "service", "temporary"])
    return spare(label, lambda: made("POST", "/v1/keys", {"name": label, "type": kind, "scopes": ["github"]}, "id"))


def webhook(label):
    if label.startswith("DELETE /api/"):
        wanted = {"agent_id": "default", "url": WORLD["sink"], "events": ["skill.failed"]}
        return spare(label, lambda: made("POST", "/api/agent-webhooks", wanted, "id"))
    if label.startswith("DELETE"):
        wanted = {"url": WORLD["sink"], "events": ["execution.completed"]}
        return spare(label, lambda: made("POST", "/v1/webhooks", wanted, "id"))
    return WORLD["webhook"]


def fill(case):
    """Real names in the path."""
    label = case.operation.label
    values = case.path_parameters
    for name in values:
        if name == "connection_id":
            values[name] = connection(label)
        elif name == "execution_id":
            values[name] = execution(label, "wait" in (case.query or {}))
        elif name == "key_id":
            values[name] = key(label)
        elif name == "webhook_id":
            values[name] = webhook(label)
        elif name == "token":
            values[name] = WORLD["token"]
        elif name == "delivery_id":
            values[name] = WORLD["delivery"]
        elif name == "tool_id":
            values[name] = dice.choice(list(TOOLS))
        elif name == "agent_id":
            values[name] = agent(label)
        elif name == "memory_id":
            values[name] = memory(label)
        elif name == "conversation_id":
            values[name] = WORLD["conversation"]
        elif name in ("category", "version", "skill_name"):
            values[name] = {"category": "mockkey", "version": "v1", "skill_name": "get-item"}[name]
        elif name in ("integration", "slug"):
            values[name] = "mockkey"
        elif name == "endpoint":
            values[name] = "get_item"


def improve(case):
    """A body and headers that go with those names, where the document leaves both open."""
    label, body = case.operation.label, case.body
    for name in ("Skill-Connection", "Skill-User", "Skill-Agent", "Skill-Conversation"):
        if case.headers and name in case.headers:
            del case.headers[name]
    if "/admin/" in label and case.query:
        case.query.pop("owner", None)
    if label == "POST /api/{category}/{version}/{skill_name}":
        case.body = {"item": "1"}
        case.headers["Prefer"] = dice.choice(["wait=5", "respond-async"])
    elif label == "POST /webhooks/{token}":
        case.body = {"category": "mockkey", "skill": "get-item", "version": "v1", "input": {"item": "1"},
                     "synchronous": dice.choice([True, False])}
    elif label == "POST /auth/device/authorize":
        case.body = {"user_code": made("POST", "/auth/device/code", {}, "user_code")}
    elif label in ("POST /api/agents", "PATCH /api/agents/{agent_id}"):
        case.body = {"name": "document", "description": dice.choice([None, "x"]), "scopes": ["*"]}
    elif label in ("POST /admin/api-keys", "PATCH /admin/api-keys/{key_id}"):
        case.body = {"client_name": "document", "scopes": ["mockkey"], "rate_limit": 1000}
    elif label == "POST /v1/{integration}/{endpoint}":
        case.body = {"params": {"item": "1"}}
    elif label == "POST /v1/tools/{tool_id}/invoke":
        case.body = dict(TOOLS[case.path_parameters["tool_id"]])
    elif label == "POST /v1/connect":
        case.body = {"integration": dice.choice(["mock", "mockkey"]), "label": f"l{dice.random()}"}
    elif isinstance(body, dict) and "x-skill" in case.operation.definition.raw:
        body.pop("connection", None)
        body["params"] = named(case.operation.definition.raw, body.get("params"))


def named(operation, params):
    """Inputs of an endpoint in which every free text could be a name: it may stand in a path."""
    params = dict(params) if isinstance(params, dict) else {}
    content = operation.get("requestBody", {}).get("content", {}).get("application/json", {})
    wanted = content.get("schema", {}).get("properties", {}).get("params", {})
    for name, schema in wanted.get("properties", {}).items():
        is_free = schema.get("type") == "string" and not {"enum", "const", "pattern", "format"} & set(schema)
        if is_free and (name in params or name in wanted.get("required", ())):
            params[name] = "a1"
    return params


@schemathesis.hook
def before_call(context, case, kwargs):
    # Nothing may be sent anywhere else, now or later.
    if isinstance(case.body, dict) and "webhooks" in case.operation.label:
        for member in ("url", "callback_url"):
            url = case.body.get(member)
            if isinstance(url, str) and ":" in url:
                case.body[member] = WORLD["sink"]
    # Whoever waits for a run that is not due waits as long as it may.
    waits = "execution_id" in (case.path_parameters or {}) and "wait" in (case.query or {})
    if dice.randrange(8) == 0 and not waits:
        if case.operation.label.startswith("DELETE"):
            # The tool takes up ids that it has seen in answers: what others need must not go.
            case.path_parameters = dict.fromkeys(case.path_parameters, "nothing")
        return
    if case.path_parameters:
        fill(case)
    if case.meta is None or case.meta.generation.mode.is_positive:
        if dice.randrange(3):
            improve(case)


@schemathesis.hook
def after_call(context, case, response):
    label, status = case.operation.label, response.status_code
    seen[label][status] += 1
    if label == "POST /v1/webhooks" and status == 201:
        # An owner may have a hundred.
        ask("DELETE", f"{WORLD['base']}/v1/webhooks/{response.json()['id']}", headers=HEADERS)
    elif label == "POST /api/agents" and status == 201:
        ask("DELETE", f"{WORLD['base']}/api/agents/{response.json()['id']}", headers=HEADERS)
    elif label.startswith("DELETE") or "/rotate" in label:
        if status != 401:
            spares.pop(label, None)


@atexit.register
def write():
    # Of several processes only those that called somebody have something to say.
    if seen:
        pathlib.Path(WORLD["seen"]).write_text(json.dumps(seen))
