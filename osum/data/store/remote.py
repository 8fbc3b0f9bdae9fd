"""One attempt to read from a store that fsspec knows: http, s3, gs and more, each with its package installed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import fsspec
from fsspec.asyn import AsyncFileSystem, sync

from osum.data.store.storage import AttemptError

STORES = frozenset({"http", "https", "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oss", "hdfs", "file", "memory"})
"""What an address may begin with. fsspec knows more, and among them some that write or run something."""
MISSING = frozenset({404, 410})
FORBIDDEN = frozenset({401, 403})
OUT_OF_RANGE = 416
NO_CREDENTIALS = "NoCredentialsError"
"""What the package of s3 raises before it asks the store; no attempt can help."""


class Remote:
    """One file of a store."""

    def __init__(self, address: str, timeout_s: float) -> None:
        """An answer may take `timeout_s`, if the package of the store is asynchronous (http, s3, gs).

        ValueError if the address is of none of STORES, or the package of its store is missing.
        """
        scheme = address.partition("://")[0]
        if scheme not in STORES:
            raise ValueError(
                f"{address}: not read from {scheme!r}, only from {', '.join(sorted(STORES))}; copy the file"
            )
        try:
            # fsspec keeps a connection per process and thread.
            self._store, self._path = fsspec.core.url_to_fs(address)
        except (ValueError, ImportError) as err:
            raise ValueError(f"{address}: can't be read ({err}); correct the address or install that package") from err
        self._address, self._timeout_s = address, timeout_s

    def size(self) -> int:
        """Return the size, bytes. FileNotFoundError, PermissionError, AttemptError, or ValueError if it is not told."""
        size = self._ask("info")["size"]
        if size is None:
            raise ValueError(
                f"{self._address}: the store does not tell its size, so no part of it can be read; copy it"
            )
        return int(size)

    def read(self, offset: int, size: int) -> bytes:
        """Return a range, shorter where the file ends. Errors as `size`; ValueError if the store has no ranges."""
        if size == 0:
            return b""
        data = self._ask("cat_file", start=offset, end=offset + size)
        if len(data) > size:
            raise ValueError(f"{self._address}: the store sends whole files where a part is asked for; copy it")
        return data

    def _ask(self, what: str, **options: int) -> Any:
        try:
            if isinstance(self._store, AsyncFileSystem):
                asked: Callable[..., Any] = getattr(self._store, f"_{what}")
                return sync(self._store.loop, asked, self._path, timeout=self._timeout_s, **options)
            return getattr(self._store, what)(self._path, **options)
        except Exception as err:
            raise self._translated(err) from err

    def _translated(self, err: Exception) -> Exception:
        """Each store has exceptions of its own; what matters is whether another attempt can help."""
        # The HTTP store calls whatever goes wrong with the size of a file a missing file.
        origin = err.__cause__ if isinstance(err, FileNotFoundError) and err.__cause__ else err
        status = _status(origin)
        named = f"{self._address}: {type(origin).__name__}: {origin}"
        if status in FORBIDDEN or isinstance(origin, PermissionError) or type(origin).__name__ == NO_CREDENTIALS:
            return PermissionError(f"{named}; is access allowed?")
        if status == OUT_OF_RANGE:
            return ValueError(f"{named}: it ends before this range")
        if status in MISSING or (isinstance(err, FileNotFoundError) and not _is_of_connection(origin)):
            return FileNotFoundError(f"{self._address}: no such file in the store; correct the list or the address")
        return AttemptError(f"{type(origin).__name__}: {origin}")


def _status(err: BaseException) -> int | None:
    """Return the status of the answer behind an error, where its package tells it: that of http, or that of s3."""
    response = getattr(err.__cause__, "response", None)
    if isinstance(response, dict):
        return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    return getattr(err, "status", None)


def _is_of_connection(err: BaseException) -> bool:
    is_http = type(err).__module__.startswith("aiohttp")
    return is_http or isinstance(err, (TimeoutError, ConnectionError))
