"""The service's own documentation page: the OpenAPI document as one HTML file that asks nobody else for anything."""

import json
import shlex
from html import escape
from typing import Any, NamedTuple
from urllib.parse import quote

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
code, pre { font: 13px/1.45 ui-monospace, monospace; background: #f3f5f7; border-radius: 4px; }
code { padding: 1px 4px; } pre { padding: .7rem; overflow-x: auto; }
section { border-top: 1px solid #d5dae0; } h2 { font-size: 1.05rem; } h2 b { color: #0b62a8; }
table { border-collapse: collapse; } td { padding: 2px 12px 2px 0; vertical-align: top; }
"""

_EXAMPLES = {
    "/v1/rank": '{"request": 1, "user": 42}',
    "/v1/policies/{name}:activate": '{"mode": "active"}',
    "/openrtb2/auction": '{"id": "a1", "imp": [{"id": "1", "banner": {"w": 300, "h": 250}}], "user": {"id": "42"}}',
}
_CLICK = """'{"events": [{"id": "e1", "kind": "click", "decision": "'$id'", "slot": 0}]}'"""
_TAKE_ID = """sed 's/.*"id":"\\([0-9.]*\\)".*/\\1/'"""
_JSON_TYPE = "-H 'content-type: application/json'"
_OPEN = ("/healthz", "/readyz")


class Caller(NamedTuple):
    """Who reads the page: the address by which they reach the server, whether a token is asked of them, and the name of a
    release that they may activate.
    """

    address: str
    asks_token: bool = False
    release: str = "NAME"


def docs_page(document: dict[str, Any], caller: Caller) -> str:
    """HTML of an OpenAPI document: each operation with an example, what it answers, and every schema."""
    parts = [f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>"]
    parts.append('<p>The same as a machine reads it: <a href="openapi.json">openapi.json</a>.</p>')
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation, caller))
    if caller.asks_token:
        parts.insert(2, "<p>The examples take the token from the shell's variable <code>TRIBID_TOKEN</code>.</p>")
    parts.append("<section><h2>What the bodies hold</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>')
        parts.append(f"<pre>{escape(json.dumps(schema, indent=2))}</pre></details>")
    parts.append("</section>")
    title = escape(document["info"]["title"])
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _operation(path: str, method: str, operation: dict[str, Any], caller: Caller) -> str:
    lines = [f"<section><h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2>"]
    lines.append(f"<p>{escape(operation.get('summary', ''))} {escape(operation.get('description', ''))}</p>")
    lines.append(f"<pre>{escape(_example(path, method, 'requestBody' in operation, caller))}</pre>")
    taken = _names(operation.get("requestBody", {}))
    if taken:
        lines.append(f"<p>Takes {_links(taken)}.</p>")
    lines.append("<table>")
    for code, answer in operation["responses"].items():
        said = answer.get("description", "an <code>error</code> with <code>field</code> and <code>message</code>")
        lines.append(f"<tr><td>{escape(code)}</td><td>{_links(_names(answer)) or said}</td></tr>")
    lines.append("</table></section>")
    return "".join(lines)


def _example(path: str, method: str, has_body: bool, caller: Caller) -> str:
    """Lines for a shell. A notice has none: its token stands in a bid only. A click needs a page: its decision's ``id``."""
    if path.startswith("/openrtb2/") and path != "/openrtb2/auction":
        where = "the link in the bid's adm" if path.endswith("/click") else "the URL in the bid, its macros filled in"
        return f"# {where}: {caller.address}{path}?t=..."
    if path == "/v1/events":
        page = _curl("/v1/rank", "post", shlex.quote(_EXAMPLES["/v1/rank"]), caller).replace("curl", "curl -s", 1)
        return f"id=$({page} | {_TAKE_ID})  # the id of the decision\n{_curl(path, method, _CLICK, caller)}"
    return _curl(path, method, shlex.quote(_EXAMPLES.get(path, "{}")) if has_body else "", caller)


def _curl(path: str, method: str, body: str, caller: Caller) -> str:
    token = ' -H "authorization: Bearer $TRIBID_TOKEN"' if caller.asks_token and path not in _OPEN else ""
    sent = f" {_JSON_TYPE} -d {body}" if body else " -X POST" if method == "post" else ""
    return f"curl {shlex.quote(caller.address + path.replace('{name}', quote(caller.release, safe='')))}{token}{sent}"


def _names(part: dict[str, Any]) -> list[str]:
    """The schemas that a body's or an answer's JSON may have."""
    schema = part.get("content", {}).get("application/json", {}).get("schema", {})
    refs = [choice.get("$ref", "") for choice in schema.get("anyOf", [schema])]
    return [ref.rpartition("/")[2] for ref in refs if ref]


def _links(names: list[str]) -> str:
    return " or ".join(f'<a href="#{escape(name)}"><code>{escape(name)}</code></a>' for name in names)
