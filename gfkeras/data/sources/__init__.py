"""Readers of the formats of public face data sets. All of them stream."""

from gfkeras.data.sources.celeba import CelebASource
from gfkeras.data.sources.ijb import IJBMetadata, IJBSource
from gfkeras.data.sources.image_list import ImageListSource, MXNetListSource
from gfkeras.data.sources.lfw_pairs import LFWPairsSource
from gfkeras.data.sources.megaface import MegaFaceSource
from gfkeras.data.sources.mxnet_records import MXNetRecordsSource
from gfkeras.data.sources.open_source import SOURCES, detect_format, open_source
from gfkeras.data.sources.restricted_pickle import UnsafePickleError
from gfkeras.data.sources.source import FolderSource, Item, NamedPair, Refused, Source
from gfkeras.data.sources.tfds import TFDSSource
from gfkeras.data.sources.verification_bin import VerificationBinSource
from gfkeras.data.sources.youtube_faces import YouTubeFacesSource

__all__ = [
    "SOURCES", "CelebASource", "FolderSource", "IJBMetadata", "IJBSource", "ImageListSource",
    "Item", "LFWPairsSource", "MXNetListSource", "MXNetRecordsSource", "MegaFaceSource",
    "NamedPair", "Refused", "Source", "TFDSSource", "UnsafePickleError", "VerificationBinSource",
    "YouTubeFacesSource", "detect_format", "open_source",
]  # fmt: skip
