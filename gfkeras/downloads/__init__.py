"""Downloads with cache, SHA-256 check and continuation.

Four environment variables control them:

- `GFKERAS_CACHE`: folder of the cache. By default, the cache folder of the operating system.
- `GFKERAS_OFFLINE=1`: forbids downloads. A missing file is an error that says where to put it.
- `GFKERAS_MIRROR`: base URL that replaces scheme and host of every URL, such as
  `https://mirror.example/files`. `{host}` in it stands for the replaced host.
- `HTTPS_PROXY` and similar variables work as usual.
"""

from gfkeras.downloads.fetch import cache_folder, fetch_file
from gfkeras.errors import DownloadError

__all__ = ["DownloadError", "cache_folder", "fetch_file"]
