"""Turns descriptions into what a strict mock takes: Google's discovery documents into OpenAPI, and
any OpenAPI document into the part of it that somebody uses."""

import re

# What every method of Google's services takes besides its own parameters.
STANDARD = {"fields": {"type": "string"}, "alt": {"type": "string"}}


def openapi(discovery):
    """An OpenAPI document that says what the discovery document says."""
    document = {
        "openapi": "3.0.0",
        "info": {"title": discovery["title"], "version": discovery["revision"]},
        "servers": [{"url": discovery["rootUrl"].rstrip("/") + "/"}],
        "paths": {},
        "components": {
            "schemas": {name: schema(one) for name, one in discovery.get("schemas", {}).items()},
            "securitySchemes": {"oauth2": {"type": "http", "scheme": "bearer"}},
        },
    }
    for method in methods(discovery):
        parameters = {**STANDARD, **method.get("parameters", {})}
        operation = {
            "operationId": method["id"],
            "security": [{"oauth2": []}],
            "parameters": [parameter(name, one) for name, one in parameters.items()],
            "responses": {"200": {"description": "It worked", **content(method.get("response"))}},
        }
        if "request" in method:
            operation["requestBody"] = content(method["request"])
        path = "/" + discovery["servicePath"] + method.get("flatPath", method["path"])
        # `{+name}` takes slashes; a mock needs no more than the name.
        path = re.sub(r"\{\+?([^}]+)\}", r"{\1}", path)
        document["paths"].setdefault(path, {})[method["httpMethod"].lower()] = operation
        # Files lie elsewhere, below the root: what is known of them comes before them in one body.
        upload = method.get("mediaUpload", {}).get("protocols", {}).get("simple", {}).get("path")
        if upload:
            body = {"content": {"multipart/related": {}}, "required": True}
            file = {**operation, "operationId": f"{method['id']}.media", "requestBody": body}
            file["parameters"] = [*operation["parameters"], parameter("uploadType", {"type": "string", "required": True})]
            path = re.sub(r"\{\+?([^}]+)\}", r"{\1}", upload)
            document["paths"].setdefault(path, {})[method["httpMethod"].lower()] = file
    return document


def methods(resource):
    yield from resource.get("methods", {}).values()
    for inner in resource.get("resources", {}).values():
        yield from methods(inner)


def parameter(name, said):
    place = said.get("location", "query")
    value = schema({key: one for key, one in said.items() if key not in ("location", "required", "repeated")})
    if said.get("repeated"):
        value = {"type": "array", "items": value}
    return {"name": name, "in": place, "required": said.get("required", False) or place == "path", "schema": value}


def content(reference):
    if not reference:
        return {}
    return {"content": {"application/json": {"schema": {"$ref": f"#/components/schemas/{reference['$ref']}"}}}}


def schema(said):
    """JSON Schema of discovery, as OpenAPI writes it: references need their place, and numbers that
    JavaScript cannot hold are strings already."""
    if "$ref" in said:
        return {"$ref": f"#/components/schemas/{said['$ref']}"}
    made = {}
    for key in ("type", "enum", "pattern"):
        if key in said:
            made[key] = said[key]
    if made.get("type") == "any":
        del made["type"]
    for key in ("minimum", "maximum"):
        if key in said and made.get("type") in ("integer", "number"):
            made[key] = float(said[key])
    # `byte` is base64url there and base64 here.
    if said.get("format") in ("date", "date-time"):
        made["format"] = said["format"]
    if "properties" in said:
        made["properties"] = {name: schema(one) for name, one in said["properties"].items()}
    if "items" in said:
        made["items"] = schema(said["items"])
    if isinstance(said.get("additionalProperties"), dict):
        made["additionalProperties"] = schema(said["additionalProperties"])
    return made


def fits(described, used):
    """Whether a request to `used` is one to `described`, whose places take any segment."""
    ours, theirs = used.rstrip("/").split("/"), described.rstrip("/").split("/")
    return len(ours) == len(theirs) and all(
        own == other or other.startswith("{") or (own.startswith("{") and "{" in other)
        for own, other in zip(ours, theirs))


def part(document, used):
    """The document with the operations of `used` only, pairs of method and path, and what they
    refer to: a mock of the whole would take minutes to start. And those of `used` that it lacks."""
    paths, found = {}, set()
    for path, operations in document["paths"].items():
        here = [(method, own) for method, own in used if method.lower() in operations and fits(path, own)]
        # `/users/me` is rather the path that is called so than the one with a place.
        here = [(method, own) for method, own in here if path == own or (own, method) not in exact(document, used)]
        if here:
            kept = {method.lower() for method, _ in here} | {"parameters", "servers"}
            paths[path] = {key: one for key, one in operations.items() if key in kept}
            found.update(here)
    missing = [pair for pair in used if pair not in found]
    made = {**{key: one for key, one in document.items() if key not in ("x-webhooks", "webhooks")}, "paths": paths}
    homes = ("components",) if "openapi" in document else ("definitions", "parameters", "responses")
    kept = {home: {} for home in homes}
    queue = [paths]
    while queue:
        for reference in references(queue.pop()):
            steps = [step.replace("~1", "/").replace("~0", "~") for step in reference.split("/")[1:]]
            if steps[0] not in kept:
                continue
            source, target = document, kept
            for step in steps[:-1]:
                source, target = source[step], target.setdefault(step, {})
            if steps[-1] not in target:
                target[steps[-1]] = source[steps[-1]]
                queue.append(source[steps[-1]])
    for home in homes:
        schemes = document.get(home, {}).get("securitySchemes")
        if schemes:
            kept[home]["securitySchemes"] = schemes
        if kept[home] or home in made:
            made[home] = kept[home]
    return made, missing


def exact(document, used):
    """The pairs of `used`, turned round, whose path stands in the document letter by letter."""
    return {(own, method) for method, own in used if method.lower() in document["paths"].get(own, {})}


def references(value):
    if isinstance(value, dict):
        for key, one in value.items():
            if key == "$ref" and isinstance(one, str) and one.startswith("#/"):
                yield one
            elif key == "mapping" and isinstance(one, dict):
                yield from (to for to in one.values() if isinstance(to, str) and to.startswith("#/"))
            else:
                yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)
