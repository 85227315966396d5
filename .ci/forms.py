"""A strict mock for descriptions whose requests are forms with brackets, which other mocks do not
read: it takes what the description takes, and answers 400 with the reason otherwise."""

import http.server
import json
import re
import threading
import urllib.parse

from openapi import fits


def nested(text):
    """`a[b][0][c]=d` as the value that it writes."""
    root = {}
    for name, value in urllib.parse.parse_qsl(text, keep_blank_values=True):
        steps = [step for step in re.split(r"[\[\]]+", name) if step]
        at = root
        for step in steps[:-1]:
            at = at.setdefault(step, {})
        at[steps[-1]] = value
    return root


class Rules:
    """What the schemas of a document say about values that came as text."""

    def __init__(self, document):
        self.document = document

    def resolved(self, schema):
        while "$ref" in schema:
            found = self.document
            for step in schema["$ref"].split("/")[1:]:
                found = found[step]
            schema = found
        return schema

    def problems(self, value, schema, name):
        schema = self.resolved(schema)
        if "anyOf" in schema:
            ways = [self.problems(value, one, name) for one in schema["anyOf"]]
            return [] if [] in ways else min(ways, key=len)
        if "enum" in schema and value not in schema["enum"]:
            return [f"{name}: {value!r} is none of {schema['enum']}"]
        kind = schema.get("type")
        if kind == "object":
            return self.members(value, schema, name)
        if kind == "array":
            if not isinstance(value, dict) or sorted(value) != sorted(str(at) for at in range(len(value))):
                return [f"{name}: no list"]
            return [what for at, one in value.items() for what in self.problems(one, schema["items"], f"{name}[{at}]")]
        if not isinstance(value, str):
            return [f"{name}: no {kind}"]
        if kind == "integer" and not re.fullmatch(r"-?\d+", value) or kind == "boolean" and value not in ("true", "false"):
            return [f"{name}: {value!r} is no {kind}"]
        if len(value) > schema.get("maxLength", len(value)):
            return [f"{name}: too long"]
        return []

    def members(self, value, schema, name):
        if not isinstance(value, dict):
            return [f"{name}: no object"]
        known, more = schema.get("properties", {}), schema.get("additionalProperties", False)
        found = [f"{name}: {one} is missing" for one in schema.get("required", []) if one not in value]
        for key, one in value.items():
            if key in known:
                found += self.problems(one, known[key], f"{name}.{key}")
            elif isinstance(more, dict):
                found += self.problems(one, more, f"{name}.{key}")
            elif not more:
                found.append(f"{name}.{key}: not known")
        return found


class Mock(http.server.ThreadingHTTPServer):
    """Listens on a port until it is stopped."""

    def __init__(self, document, port):
        self.rules = Rules(document)
        super().__init__(("127.0.0.1", port), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def stop(self):
        self.shutdown()
        self.server_close()

    def check(self, method, target, body, headers):
        at = urllib.parse.urlsplit(target)
        paths = self.rules.document["paths"]
        found = [path for path in paths if fits(path, at.path) and method.lower() in paths[path]]
        if not found:
            return [f"{method} {at.path}: no such operation"]
        if not headers.get("authorization", "").startswith("Bearer "):
            return ["no key"]
        # `/customers/search` is called so, and no customer.
        operation = paths[min(found, key=lambda path: path.count("{"))][method.lower()]
        query = {one["name"]: one for one in operation.get("parameters", []) if one["in"] == "query"}
        schema = {"type": "object", "properties": {name: one["schema"] for name, one in query.items()},
                  "required": [name for name, one in query.items() if one.get("required")]}
        problems = self.rules.problems(nested(at.query), schema, "query")
        forms = operation.get("requestBody", {}).get("content", {})
        form = forms.get("application/x-www-form-urlencoded")
        if body and "application/x-www-form-urlencoded" not in headers.get("content-type", ""):
            return [*problems, "the body is no form"]
        return problems + self.rules.problems(nested(body), (form or {}).get("schema", {"type": "object"}), "body")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do(self):
        body = self.rfile.read(int(self.headers.get("content-length") or 0)).decode()
        problems = self.server.check(self.command, self.path, body, self.headers)
        answer = json.dumps({"error": {"message": problems}} if problems else {"id": "x_1"}).encode()
        self.send_response(400 if problems else 200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_POST = do_DELETE = do

    def log_message(self, *_):
        pass
