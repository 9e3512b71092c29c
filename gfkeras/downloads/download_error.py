"""A file that could not be downloaded."""

from __future__ import annotations


class DownloadError(OSError):
    """A download that failed for good; nothing was put under the file's name.

    Attributes:
        url: what was asked for, after `GFKERAS_MIRROR`.
        reason: what went wrong.
    """

    def __init__(self, url: str, reason: str):
        super().__init__(f"{url}: {reason}")
        self.url = url
        self.reason = reason

    def __reduce__(self) -> tuple[type[DownloadError], tuple[str, str]]:
        return type(self), (self.url, self.reason)
