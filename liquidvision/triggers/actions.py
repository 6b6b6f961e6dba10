"""What is done with events: a program is run, a web address is called."""

import base64
import contextlib
import http.client
import logging
import os
import shlex
import shutil
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

from liquidvision.errors import UsageError
from liquidvision.triggers.courier import DeliveryError, Receiver, RejectedError
from liquidvision.triggers.outbox import WaitingMessage

log = logging.getLogger(__name__)
EXEC_SECONDS = 30.0  # for which a program may run
WEBHOOK_SECONDS = 10.0  # to wait for an answer
REFUSALS = frozenset({400, 405, 413, 414, 415, 422})  # statuses that will not change when the message is sent again


class Program(Receiver):
    """Run a program for each message, one after the other, with the message as JSON on its standard input.

    A program that fails, or runs longer than `EXEC_SECONDS`, is reported, and not run again for that message.

    Args:
        command: the program and its arguments, quoted as in a shell; no shell is involved.

    Raises:
        UsageError: the command cannot be split, or there is no such program.
    """

    def __init__(self, command: str) -> None:
        try:
            self._arguments = shlex.split(command)
        except ValueError as error:
            raise UsageError(f"--exec {command!r} cannot be split into arguments: {error}") from error
        if not self._arguments or shutil.which(self._arguments[0]) is None:
            program = self._arguments[0] if self._arguments else command
            raise UsageError(f"--exec: there is no program {program!r}; give its path, then its arguments")
        super().__init__("exec", command, f"--exec {self._arguments[0]}")

    def deliver(self, message: WaitingMessage) -> None:
        """Run the program, and wait for its end."""
        try:
            # A session of its own: Ctrl-C ends this run, not the program.
            child = subprocess.Popen(
                self._arguments, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, start_new_session=os.name == "posix"
            )
        except OSError as error:
            raise RejectedError(f"cannot be run: {error.strerror}") from error
        with child:
            try:
                child.communicate(message.body.encode("utf-8", "surrogateescape"), timeout=EXEC_SECONDS)
            except subprocess.TimeoutExpired as error:
                end_program(child)
                raise RejectedError(f"ran longer than {EXEC_SECONDS:g} s and was ended") from error
        if child.returncode:
            raise RejectedError(f"ended with exit code {child.returncode}")


def end_program(child: "subprocess.Popen[bytes]") -> None:
    """Kill a program, and what it started."""
    if os.name == "posix":
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()


class Webhook(Receiver):
    """Send each message to a web address: a POST request with JSON.

    The header Idempotency-Key has the message's key, by which a receiver recognises one that comes twice because its
    answer was lost. An answer of 200 to 299 means that the receiver has it; `REFUSALS` mean that it never wants it.

    Args:
        url: http:// or https://; user and password, if there are, are sent as Basic authorisation.

    Raises:
        UsageError: the address is of another kind.
    """

    def __init__(self, url: str) -> None:
        parts = split_url(url, "--webhook", ("http", "https"))
        # What follows the host may be a secret.
        super().__init__("webhook", url, f"--webhook {parts.scheme}://{host_of(parts)}")
        self._url = parts._replace(netloc=host_of(parts)).geturl()
        self._headers = {"Content-Type": "application/json", "User-Agent": "liquidvision"}
        if parts.username is not None:
            secret = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
            self._headers["Authorization"] = f"Basic {base64.b64encode(secret.encode()).decode()}"
        self._opener = urllib.request.build_opener(_NoRedirects)

    def deliver(self, message: WaitingMessage) -> None:
        """Send the message, and wait for the answer."""
        request = urllib.request.Request(
            self._url,
            data=message.body.encode("utf-8", "replace"),
            headers={**self._headers, "Idempotency-Key": message.key},
            method="POST",
        )
        try:
            with self._opener.open(request, timeout=WEBHOOK_SECONDS) as answer:
                answer.read()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in REFUSALS:
                raise RejectedError(f"answered {error.code}") from None
            raise DeliveryError(f"answered {error.code}") from None
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            what = getattr(reason, "strerror", None) or type(reason).__name__  # never the address
            raise DeliveryError(f"does not answer ({what})") from None


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would turn POST into GET: it counts as an error."""

    def redirect_request(self, *_: Any) -> None:
        return None


def split_url(url: str, option: str, schemes: tuple[str, ...]) -> urllib.parse.SplitResult:
    """Return the parts of an address.

    Raises:
        UsageError: it is of another kind; the message contains no secrets.
    """
    expected = f"{option} expects {schemes[0]}://HOST or {schemes[1]}://HOST, with user and password before the host"
    try:
        parts = urllib.parse.urlsplit(url)
        usable = parts.scheme in schemes and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable:
        raise UsageError(f"{expected}; got another address")
    return parts


def host_of(parts: urllib.parse.SplitResult) -> str:
    """Return host and port of an address, without user and password."""
    return parts.netloc.rpartition("@")[2]
