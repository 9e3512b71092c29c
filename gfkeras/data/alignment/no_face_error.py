"""A photo without a face."""

from __future__ import annotations

from gfkeras.data.images import ImageError


class NoFaceError(ImageError):
    """A photo that can be read but in which no face was found.

    What handles an `ImageError`, such as `Embedder.embed_files`, lists such a photo with the
    ones that cannot be read. Nothing is ever cut out of the middle instead.
    """
