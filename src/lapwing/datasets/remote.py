"""Fetch one file over HTTP: gone on with where it stopped, tried again, and checked."""

import http.client
import logging
import os
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO, cast

from lapwing.datasets.base import MIB, RemoteFile
from lapwing.datasets.raw import look_at
from lapwing.errors import UserError

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a server is waited for."""

    timeout_s: float = 30.0
    """For a connection, and for each piece of an answer."""
    attempts: int = 4
    """Failures in a row at each address; one that comes further than all before begins a new row."""
    pause_s: float = 2.0
    """Before the second try; doubled before each further one."""


class _Unavailable(Exception):
    """An address does not give the file, and asking again would not help."""


class _Interrupted(Exception):
    """An answer broke off, or the server asks to come back later."""


_NETWORK = (urllib.error.URLError, http.client.HTTPException, ConnectionError, TimeoutError, ssl.SSLError)
_ASK_AGAIN = {408, 425, 429}


class _HttpOnly(urllib.request.HTTPRedirectHandler):
    """Follows redirects to any host, but to no other kind of address."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        if urllib.parse.urlsplit(newurl).scheme not in ("http", "https"):
            raise _Unavailable(f"it redirects to {newurl}, which is no web address")
        return super().redirect_request(req, fp, code, msg, cast(http.client.HTTPMessage, headers), newurl)


def fetch(file: RemoteFile, partial: Path, patience: Patience) -> str:
    """Fetch `file` to `partial`, going on from what is there; returns the address that gave it.

    Raises:
        UserError: no address gives a file with the published digest; says what each of them gave.
    """
    problems = []
    for url in file.urls:
        logger.info("fetching %s from %s", file.name, url)
        try:
            _fetch_from(url, file, partial, patience)
        except _Unavailable as problem:
            problems.append(f"{url}: {problem}")
        else:
            return url
    raise UserError(
        f"{file.name} could not be fetched ({'; '.join(problems)}); start again later, it goes on where it "
        "stopped, or put the file into a folder of data.mirror in config.yaml."
    )


def _fetch_from(url: str, file: RemoteFile, partial: Path, patience: Patience) -> None:
    """Fetch from one address, in as many tries as `patience` allows."""
    failures, furthest = 0, _size(partial)
    while True:
        resumed = partial.exists()
        try:
            _receive(url, file, partial, patience.timeout_s)
            _must_be_right(file, partial, resumed=resumed)
            return
        except _Interrupted as interruption:
            failures = 1 if _size(partial) > furthest else failures + 1
            furthest = max(furthest, _size(partial))
            if failures >= patience.attempts:
                raise _Unavailable(f"{interruption}") from None
            pause = patience.pause_s * 2 ** (failures - 1)
            logger.info("%s: %s; trying again in %g s", file.name, interruption, pause)
            time.sleep(pause)


def _must_be_right(file: RemoteFile, partial: Path, *, resumed: bool) -> None:
    """Delete what was fetched if it is not what is published.

    Where bytes were there before, that calls for a fetch from the beginning: they may be of another file.
    """
    problem = file.mismatch(look_at(partial))
    if problem:
        partial.unlink()
        raise (_Interrupted if resumed else _Unavailable)(f"what it gives {problem}")


def _receive(url: str, file: RemoteFile, partial: Path, timeout_s: float) -> None:
    """Ask for the bytes that are missing, and append them to `partial`."""
    have = _size(partial)
    if have > file.limit:
        partial.unlink()
        have = 0
    if have and have == file.size:
        return
    try:
        with _open(url, have, timeout_s) as response:
            _append(response, file, partial, have)
    except urllib.error.HTTPError as error:
        _judge(error, partial)
    except _NETWORK as error:
        reason = getattr(error, "reason", None) or error
        raise _Interrupted(_one_line(f"{reason}") or type(error).__name__) from None


def _open(url: str, have: int, timeout_s: float) -> http.client.HTTPResponse:
    headers = {"User-Agent": "lapwing", "Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310  a declared address; see _HttpOnly
    opener = urllib.request.build_opener(_HttpOnly)
    return cast(http.client.HTTPResponse, opener.open(request, timeout=timeout_s))


def _append(response: http.client.HTTPResponse, file: RemoteFile, partial: Path, have: int) -> None:
    """Write the body after the `have` bytes that are there, or anew where the server begins anew."""
    resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
    if resumed and not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
        partial.unlink(missing_ok=True)
        raise _Interrupted("the server went on at another place than asked")
    total = have if resumed else 0
    with partial.open("ab" if resumed else "wb") as target:
        while chunk := response.read1(MIB):
            total += len(chunk)
            if total > file.limit:
                raise _Unavailable(f"what it gives is longer than the {file.limit} bytes expected")
            target.write(chunk)
        target.flush()
        os.fsync(target.fileno())
    if response.length or (response.length is None and total < (file.size or 0)):
        raise _Interrupted(f"the connection ended after {total} bytes")


def _judge(error: urllib.error.HTTPError, partial: Path) -> None:
    """Tell an answer that may change from one that will not."""
    with error:
        if error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            if error.headers.get("Content-Range", "") == f"bytes */{_size(partial)}":
                return  # all of it was there already
            partial.unlink(missing_ok=True)
            raise _Interrupted("the server has less than was there")
        answer = _one_line(f"HTTP {error.code} {error.reason}")
        if error.code in _ASK_AGAIN or error.code >= http.HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Interrupted(answer)
        raise _Unavailable(answer)


def _one_line(text: str) -> str:
    """What a server says, fit for a sentence."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
