"""Access control: checks the host name, the origin of the page, and the token of every request."""

import hmac
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def find_access_error(
    host: str, origin: str | None, forwarded: str | None, given: str, token: str | None, *, public: bool = False
) -> str:
    """Return why a request is refused, in one line; empty if it is allowed.

    Args:
        host: the header Host.
        origin: the header Origin. Browsers send it with every WebSocket and upload; other programs need not.
        forwarded: the header X-Forwarded-Host, set by a proxy.
        given: the token in the address.
        token: the server's token; None: only this machine may connect.
        public: whether the request is for the page's style sheet or scripts, which contain no secret.
    """
    if token is None and host_name(host) not in LOOPBACK:
        # Another site's name that resolves to this machine (DNS rebinding), or a proxy that others can reach.
        return f"this server answers only to localhost, not to {host!r}; start it with --host to let others connect"
    if origin is not None and (not (netloc := origin_netloc(origin)) or netloc not in (host, forwarded)):
        return f"a page of {origin!r} may not use this server"
    if token is not None and not public and not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
        return "the token in the address is missing or wrong; open the address that liquidvision printed"
    return ""


def host_name(host: str) -> str:
    """Return the name in a Host header, without the port; empty if it is malformed."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def origin_netloc(origin: str) -> str:
    """Return name and port of an Origin header; empty if it has none, as "null"."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
