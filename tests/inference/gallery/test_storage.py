"""Loss of accuracy by smaller templates, for a real network and real faces."""

import pytest

from gfkeras.evaluation import evaluate_pair_scores, read_pairs
from gfkeras.evaluation.pairs import embed_pairs
from gfkeras.evaluation.similarity import COSINE, unit
from gfkeras.inference import Embedder
from gfkeras.inference.gallery.column import decode, encode
from gfkeras.zoo import import_weights


@pytest.mark.slow
def test_lfw_is_verified_as_well_by_codes_of_128_bytes(shared_data):
    network = import_weights(shared_data / "models" / "mobilefacenet_ms1m-0000.params")
    pairs = read_pairs(shared_data / "lfw_lists" / "pairs.txt", shared_data / "lfw_aligned112")
    embedded = embed_pairs(Embedder(network).embed_files, pairs)
    faces = unit(embedded.faces.embedding)
    assert faces.shape[1] == 128
    accuracy = {}
    for storage in ("float32", "float16", "int8"):
        codes = encode(faces, storage)
        kept = decode(codes)
        scores = COSINE(kept[embedded.first], kept[embedded.second], None, None)
        result = evaluate_pair_scores(scores, embedded.pairs.same, embedded.pairs.fold)
        accuracy[storage] = 100 * result.accuracy
    assert codes.nbytes == 128 * len(faces)
    assert accuracy["float32"] == pytest.approx(99.35, abs=0.05)
    assert accuracy["float16"] == pytest.approx(accuracy["float32"], abs=0.05)
    # One of the 6,000 pairs is 0.017 percentage points.
    assert accuracy["int8"] >= accuracy["float32"] - 0.05
