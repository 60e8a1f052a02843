"""The login pages' HTML: they need no script, no other file and no network."""

import hashlib
from base64 import b64encode
from html import escape

from treadle.web.call import Headers, Reply
from treadle.web.pages import html_reply

_STYLE = """
:root {
  color-scheme: light dark;
  --bg: light-dark(#faf9f7, #0e1114); --surface: light-dark(#ffffff, #16181d); --line: light-dark(#e1dfdc, #272a2f);
  --line-strong: light-dark(#898c92, #686c73); --text: light-dark(#1e2228, #e6e8eb);
  --muted: light-dark(#595e66, #a1a5ab); --accent: light-dark(#385db8, #87a9f4);
  --on-accent: light-dark(#ffffff, #0d111b); --bad: light-dark(#ba2b2e, #f47a79);
  --bad-soft: light-dark(#ffebea, #3b1c1b);
}
:root[data-theme="light"] { color-scheme: light; }
:root[data-theme="dark"] { color-scheme: dark; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--bg); color: var(--text); font: 13px/20px Inter, system-ui, sans-serif; }
main { max-width: 360px; margin: 0 auto; padding: 12vh 16px 32px; }
h1 { font-size: 17px; line-height: 24px; font-weight: 600; letter-spacing: -0.01em; margin: 0 0 4px; }
p { margin: 4px 0 12px; color: var(--muted); }
form { background: var(--surface); border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin: 12px 0; }
label { display: block; margin: 0 0 12px; font-weight: 500; }
label span { font-weight: 400; color: var(--muted); }
input:not([type="checkbox"]) { display: block; width: 100%; height: 32px; margin-top: 4px; padding: 0 8px;
  font: inherit; color: inherit; background: var(--bg); border: 1px solid var(--line-strong); border-radius: 6px; }
label.check { font-weight: 400; display: flex; gap: 8px; align-items: center; }
button { height: 32px; padding: 0 16px; font: inherit; font-weight: 500; color: var(--on-accent); border: 0;
  background: var(--accent); border-radius: 6px; cursor: pointer; }
a { color: var(--accent); }
.bad { color: var(--bad); background: var(--bad-soft); border-radius: 6px; padding: 8px 12px; margin: 12px 0; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 1px; }
@media (pointer: coarse) { input:not([type="checkbox"]), button { height: 44px; font-size: 16px; } }
"""

_SCRIPT = """
try {
  const theme = localStorage.getItem("theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch (error) { /* storage is closed to us: the system's theme stands */ }
"""
"""Without it the page follows the system's theme; it only takes over the choice made in the other pages."""


def _sum(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_HEADERS: Headers = (
    (
        b"content-security-policy",
        (
            "default-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
            f"style-src {_sum(_STYLE)}; script-src {_sum(_SCRIPT)}"
        ).encode(),
    ),
    # With `no-referrer`, as elsewhere, a browser sends a form with `Origin: null`, and nobody would let it in.
    (b"referrer-policy", b"same-origin"),
)

WRONG = "The user name, the password or the code is not right."
STALE = "This page was open for too long. Try again."


def page(title: str, content: str, *, status: int = 200, headers: Headers = ()) -> Reply:
    """A page with this content, which is HTML."""
    html = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{escape(title)}</title>
<script>{_SCRIPT}</script>
<style>{_STYLE}</style>
</head>
<body>
<main>
<h1>{escape(title)}</h1>
{content}
</main>
</body>
</html>
"""
    return html_reply(html, status, (*_HEADERS, *headers))


def login(token: str, next_: str, username: str, problem: str) -> str:
    """The form of a user who has all at hand."""
    return f"""{_problem(problem)}<form method="post" action="/login">
{_hidden(token, next_)}
{_name(username)}
{_password("current-password")}
<label>Code <span>of your second factor, if you have one</span>
<input name="totp_code" autocomplete="one-time-code" inputmode="numeric" maxlength="64"></label>
<label class="check"><input type="checkbox" name="remember" value="1"> Remember me for 30 days</label>
<button>Log in</button>
</form>
<p><a href="/login/recovery">Log in with a recovery code</a></p>"""


def recovery(token: str, next_: str, username: str, problem: str) -> str:
    """The form of a user whose second factor is lost."""
    return f"""<p>A recovery code takes the place of the second factor, once.</p>
{_problem(problem)}<form method="post" action="/login/recovery">
{_hidden(token, next_)}
{_name(username)}
{_password("current-password")}
<label>Recovery code
<input name="totp_code" autocomplete="off" maxlength="64" required></label>
<button>Log in</button>
</form>
<p><a href="/login">Log in with the second factor</a></p>"""


def first_user(token: str, next_: str, username: str, problem: str, *, code: bool) -> str:
    """The form that makes the user of a server that has none; `code` asks for the set-up code too."""
    asked = """<label>Set-up code <span>printed where the server was started; a bearer token will do</span>
<input name="setup_code" autocomplete="off" maxlength="1024" required></label>
"""
    return f"""<p>This server has no user yet. Choose a name and a password; from then on the server asks for them.</p>
{_problem(problem)}<form method="post" action="/login">
{_hidden(token, next_)}
{_name(username)}
{_password("new-password")}
{asked if code else ""}<button>Make the user</button>
</form>"""


def _problem(text: str) -> str:
    return f'<p class="bad" role="alert">{escape(text)}</p>\n' if text else ""


def _hidden(token: str, next_: str) -> str:
    return (
        f'<input type="hidden" name="csrf_token" value="{escape(token)}">\n'
        f'<input type="hidden" name="next" value="{escape(next_)}">'
    )


def _name(value: str) -> str:
    return (
        f'<label>User name\n<input name="username" value="{escape(value)}" autocomplete="username" '
        'autocapitalize="none" maxlength="1024" required autofocus></label>'
    )


def _password(autocomplete: str) -> str:
    return (
        f'<label>Password\n<input name="password" type="password" autocomplete="{autocomplete}" '
        'maxlength="1024" required></label>'
    )
