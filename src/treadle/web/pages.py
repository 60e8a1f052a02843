"""Replies for a browser's window: HTML with a strict content security policy, and redirects within the listener."""

from treadle.web.call import Headers, Reply

HTML = b"text/html; charset=utf-8"


def page_policy(*, style: str = "'self'", image: str = "'self' data:", connect: str = "'self'") -> tuple[bytes, bytes]:
    """The header that lets a page load what this listener serves, and nothing else: no inline script, no frame."""
    text = (
        f"default-src 'none'; script-src 'self'; style-src {style}; img-src {image}; font-src 'self'; "
        f"connect-src {connect}; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )
    return b"content-security-policy", text.encode()


def html_reply(text: str, status: int = 200, headers: Headers = ()) -> Reply:
    """A page. A `content-security-policy` among the headers takes the place of the strict one."""
    own = any(name == b"content-security-policy" for name, _ in headers)
    return Reply(status, text.encode(), HTML, headers if own else (page_policy(), *headers))


def redirect(location: str, status: int = 303, headers: Headers = ()) -> Reply:
    """Sends the browser to another address of this listener. Raises ValueError for one that leads elsewhere."""
    if not is_local(location):
        raise ValueError("A redirect leads to a path of this listener")
    return Reply(status, b"", b"text/plain; charset=utf-8", ((b"location", location.encode()), *headers))


def is_local(location: str) -> bool:
    """Whether an address is a path of this listener, whoever wrote it; browsers take `//x` and `/\\x` for hosts."""
    plain = location.isascii() and location.isprintable() and " " not in location and "\\" not in location
    return plain and location.startswith("/") and not location.startswith("//")
