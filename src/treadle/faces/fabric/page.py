"""The page at `/`: what runs where, and the first commands to paste. It needs no script and no other file."""

import hashlib
from base64 import b64encode
from collections.abc import Mapping
from html import escape

from treadle.web.call import Reply

SPEAKS = {
    "fabric": "Treadle's own API, and this page",
    "taskdriver": "TaskDriver's API for agents",
    "ufo": "UFO's API for devices",
    "console": "the command console",
    "architect": "Architect's protocol for game servers",
}

OPENS = {"taskdriver": "/api/docs"}
"""What a browser finds on a face's listener, where that is not `/`."""

COMMANDS = """\
treadle tasks submit --project default --instructions "Say hello"
treadle work --project default --drain -- cat
treadle tasks list --project default"""

STYLE = """
:root {
  color-scheme: light dark;
  --bg: light-dark(#faf9f7, #0e1114); --surface: light-dark(#ffffff, #16181d); --line: light-dark(#e1dfdc, #272a2f);
  --text: light-dark(#1e2228, #e6e8eb); --muted: light-dark(#595e66, #a1a5ab); --faint: light-dark(#686c73, #8c8f95);
  --accent: light-dark(#385db8, #87a9f4);
}
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--text); font: 13px/20px Inter, system-ui, sans-serif; }
main { max-width: 720px; margin: 0 auto; padding: 32px 16px; }
h1 { font-size: 17px; line-height: 24px; font-weight: 600; letter-spacing: -0.01em; margin: 0; }
h1 small { font-size: 12px; font-weight: 400; color: var(--faint); margin-left: 4px; letter-spacing: 0; }
h2 { font-size: 13px; font-weight: 600; margin: 24px 0 8px; }
p { margin: 4px 0 0; color: var(--muted); max-width: 60ch; }
.panel { background: var(--surface); border: 1px solid var(--line); border-radius: 8px; overflow-x: auto; }
table { border-collapse: collapse; width: 100%; }
td { padding: 6px 12px; border-top: 1px solid var(--line); vertical-align: top; }
tr:first-child td { border-top: 0; }
td:first-child { font-weight: 500; }
td:last-child { color: var(--muted); }
code, pre { font: 12px/18px "JetBrains Mono", ui-monospace, monospace; }
pre { margin: 0; padding: 12px; }
a { color: var(--accent); text-decoration: none; }
a:hover { text-decoration: underline; }
a:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; border-radius: 3px; }
@media (max-width: 480px) { td { display: block; border: 0; padding: 0 12px; } td:first-child { padding-top: 8px; }
  td:last-child { padding-bottom: 8px; } tr + tr td:first-child { border-top: 1px solid var(--line); } }
"""

_CSP = (
    "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    f"style-src 'sha256-{b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()}'"
).encode()


def page_reply(version: str, listeners: Mapping[str, str]) -> Reply:
    """The page, with the addresses as they are now."""
    headers = ((b"content-security-policy", _CSP),)
    return Reply(body=page(version, listeners).encode(), media_type=b"text/html; charset=utf-8", headers=headers)


def page(version: str, listeners: Mapping[str, str]) -> str:
    """The page's HTML; `listeners` maps a face to its address."""
    rows = "\n".join(_row(face, url) for face, url in listeners.items())
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Treadle</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>Treadle <small>{escape(version)}</small></h1>
<p>Machines, agents and people pull work from one durable queue.</p>
<h2>What runs where</h2>
<div class="panel"><table>
{rows}
</table></div>
<h2>First commands</h2>
<div class="panel"><pre>{escape(COMMANDS)}</pre></div>
<p>They submit a task, work on it with <code>cat</code>, and show what came of it.</p>
<h2>The API</h2>
<p><a href="/docs">Read and try it</a>, or fetch its <a href="/openapi.json">OpenAPI document</a>.
Facts as they happen: <code>/api/queue/events</code>. Is it well: <a href="/health">/health</a>.</p>
</main>
</body>
</html>
"""


def _row(face: str, url: str) -> str:
    address = escape(url)
    if url.startswith(("http://", "https://")):
        address = f'<a href="{address}{OPENS.get(face, "")}">{address}</a>'
    speaks = escape(SPEAKS.get(face, ""))
    return f"<tr><td>{escape(face)}</td><td><code>{address}</code></td><td>{speaks}</td></tr>"
