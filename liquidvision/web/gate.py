"""Who may come in: by the name that they call us, the page that they come from, and the token."""

import hmac
from urllib.parse import urlsplit

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def objection(
    host: str, origin: str | None, forwarded: str | None, given: str, token: str | None, *, public: bool = False
) -> str:
    """Why a request is refused, in one line; empty where it is not.

    Args:
        host: the header Host.
        origin: the header Origin; browsers send it with every WebSocket and upload, other programs need not.
        forwarded: the header X-Forwarded-Host, where a proxy stands between.
        given: the token in the address.
        token: ours; None where only this machine may come.
        public: whether the request is for the page's own style and program, which hold no secret.
    """
    if token is None and name_of(host) not in LOOPBACK:
        # Another site's name that was made to point here (DNS rebinding), or a proxy that others can reach.
        return f"this server answers to localhost alone, not to {host!r}; start it with --host for others"
    if origin is not None and (not (place := netloc_of(origin)) or place not in (host, forwarded)):
        return f"a page of {origin!r} may not use this server"
    if token is not None and not public and not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
        return "the address lacks its token; open the one that liquidvision printed"
    return ""


def name_of(host: str) -> str:
    """The name in a Host header without its port; empty where it is none."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def netloc_of(origin: str) -> str:
    """Name and port of an Origin; empty where it has none, as "null"."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""
