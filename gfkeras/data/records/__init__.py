"""Training records: sharded TFRecord with an index and a manifest, read in any order."""

from gfkeras.data.records.example import NO_LABEL, Record
from gfkeras.data.records.manifest import Manifest
from gfkeras.data.records.record_set import RecordSet

__all__ = ["NO_LABEL", "Manifest", "Record", "RecordSet"]
