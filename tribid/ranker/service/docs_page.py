"""The service's own documentation page: the OpenAPI document as one HTML file that asks nobody else for anything."""

import json
from html import escape
from typing import Any

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #1b1f24; }
code, pre { font: 13px/1.45 ui-monospace, monospace; background: #f3f5f7; border-radius: 4px; }
code { padding: 1px 4px; } pre { padding: .7rem; overflow-x: auto; }
section { border-top: 1px solid #d5dae0; } h2 { font-size: 1.05rem; } h2 b { color: #0b62a8; }
table { border-collapse: collapse; } td { padding: 2px 12px 2px 0; vertical-align: top; }
"""

_EXAMPLES = {
    "/v1/rank": '{"request": 1, "user": 42}',
    "/v1/events": '{"events": [{"id": "e1", "kind": "click", "decision": "0.1", "slot": 0}]}',
    "/v1/policies/{name}:activate": '{"mode": "shadow"}',
}


def docs_page(document: dict[str, Any]) -> str:
    """HTML of an OpenAPI document: each operation with an example, what it answers, and every schema."""
    parts = [f"<h1>{escape(document['info']['title'])} {escape(document['info']['version'])}</h1>"]
    parts.append('<p>The same as a machine reads it: <a href="openapi.json">openapi.json</a>.</p>')
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            parts.append(_operation(path, method, operation))
    parts.append("<section><h2>What the bodies hold</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>')
        parts.append(f"<pre>{escape(json.dumps(schema, indent=2))}</pre></details>")
    parts.append("</section>")
    title = escape(document["info"]["title"])
    head = f'<meta charset="utf-8"><title>{title}</title><style>{_STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>'


def _operation(path: str, method: str, operation: dict[str, Any]) -> str:
    lines = [f"<section><h2><b>{method.upper()}</b> <code>{escape(path)}</code></h2>"]
    lines.append(f"<p>{escape(operation.get('summary', ''))} {escape(operation.get('description', ''))}</p>")
    lines.append(f"<pre>{escape(_curl(path, method, 'requestBody' in operation))}</pre>")
    taken = _names(operation.get("requestBody", {}))
    if taken:
        lines.append(f"<p>Takes {_links(taken)}.</p>")
    lines.append("<table>")
    for code, answer in operation["responses"].items():
        said = answer.get("description", "an <code>error</code> with <code>field</code> and <code>message</code>")
        lines.append(f"<tr><td>{escape(code)}</td><td>{_links(_names(answer)) or said}</td></tr>")
    lines.append("</table></section>")
    return "".join(lines)


def _curl(path: str, method: str, has_body: bool) -> str:
    if method == "get":
        return f"curl http://127.0.0.1:8080{path}"
    sent = f" -H 'content-type: application/json' -d '{_EXAMPLES.get(path, '{}')}'" if has_body else " -X POST"
    return f"curl http://127.0.0.1:8080{path.replace('{name}', 'NAME')}{sent}"


def _names(part: dict[str, Any]) -> list[str]:
    """The schemas that a body's or an answer's JSON may have."""
    schema = part.get("content", {}).get("application/json", {}).get("schema", {})
    refs = [choice.get("$ref", "") for choice in schema.get("anyOf", [schema])]
    return [ref.rpartition("/")[2] for ref in refs if ref]


def _links(names: list[str]) -> str:
    return " or ".join(f'<a href="#{escape(name)}"><code>{escape(name)}</code></a>' for name in names)
