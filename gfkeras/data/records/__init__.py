"""Training records: TFRecord shards with an index and a manifest, readable in any order."""

from gfkeras.data.records.manifest import Manifest
from gfkeras.data.records.record_set import RecordSet
from gfkeras.data.records.tfrecord import NO_LABEL, Record

__all__ = ["NO_LABEL", "Manifest", "Record", "RecordSet"]
