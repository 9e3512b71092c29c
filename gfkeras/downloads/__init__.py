"""Downloads that are resumed, verified and cached.

Four environment variables steer them:

- `GFKERAS_CACHE`: the folder of the cache; the platform's usual one by default.
- `GFKERAS_OFFLINE=1`: nothing is downloaded; what is missing is an error that says where to put it.
- `GFKERAS_MIRROR`: a base URL that takes the place of scheme and host of every URL, such as
  `https://mirror.example/files`; `{host}` in it stands for the host that is replaced.
- `HTTPS_PROXY` and the like, as everywhere.
"""

from gfkeras.downloads.fetch import cache_folder, fetch_file
from gfkeras.errors import DownloadError

__all__ = ["DownloadError", "cache_folder", "fetch_file"]
