"""Choice of the backbone for an imported network."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from gfkeras.backbones import Backbone, IResNet18, IResNet34, IResNet50, IResNet100, MobileFaceNet
from gfkeras.backbones.mobilefacenet import INSIGHTFACE_BOTTLENECKS, PAPER_BOTTLENECKS, STEMS
from gfkeras.zoo.foreign.network import ForeignNetwork, Op

_IRESNETS = (IResNet18, IResNet34, IResNet50, IResNet100)


def _paper_rows() -> list[list[int]]:
    """Returns the paper's table of bottlenecks, with widths instead of ratios."""
    rows: list[list[int]] = []
    channels = STEMS["paper"][0]
    for ratio, filters, repeats, stride in PAPER_BOTTLENECKS:
        for index in range(repeats):
            rows.append([ratio * channels, filters, 1, 1 if index else stride])
            channels = filters
    return rows


_PAPER_ROWS = _paper_rows()


def backbone_for(network: ForeignNetwork) -> Backbone:
    """Returns the untrained backbone that is most similar to a network.

    `matching.assign` checks whether they are equal, and names the first layer that differs.
    """
    convolutions = network.convolutions
    if not convolutions:
        raise ValueError(f"{network.path} is not a face network: it has no convolutions")
    arguments: dict[str, Any] = {
        "embedding_dim": _embedding_dim(network),
        "pixel_scale": network.pixel_scale,
        "bn_epsilon": _usual_epsilon(network),
    }
    if any(op.groups > 1 for op in convolutions):
        return _mobilefacenet(convolutions, arguments)
    # An IResNet has one convolution in the stem, two in each unit, and one in each of the four
    # shortcuts.
    count = len(convolutions) - 5
    build = min(_IRESNETS, key=lambda iresnet: abs(2 * sum(iresnet.units) - count))
    return build(**arguments)


def _mobilefacenet(convolutions: list[Op], arguments: dict[str, Any]) -> MobileFaceNet:
    """Returns the variant with these widths and repeats, or a custom MobileFaceNet."""
    filters = [op.kernel.shape[-1] for op in convolutions if op.kernel is not None]
    sizes = [op.kernel.shape[0] for op in convolutions if op.kernel is not None]
    groups = [op.groups for op in convolutions]
    second = len(sizes) > 1 and sizes[1] == 3
    stem = (filters[0], groups[1] if second else 0)
    rows: list[list[int]] = []
    index = 2 if second else 1
    while sizes[index : index + 3] == [1, 3, 1] and groups[index + 1] == filters[index + 1]:
        expanded, channels = filters[index], filters[index + 2]
        stride = convolutions[index + 1].strides[0]
        if rows and stride == 1 and rows[-1][:2] == [expanded, channels]:
            rows[-1][2] += 1
        else:
            rows.append([expanded, channels, 1, stride])
        index += 3
    for variant, usual in (("paper", _PAPER_ROWS), ("insightface", INSIGHTFACE_BOTTLENECKS)):
        if stem == STEMS[variant] and _merged(rows) == _merged(usual):
            return MobileFaceNet(variant=variant, **arguments)
    variant = "paper" if stem[0] == stem[1] else "insightface"
    if not rows:
        # No similar network. The comparison will name the first difference.
        return MobileFaceNet(variant=variant, **arguments)
    return MobileFaceNet(variant=variant, stem=stem, bottlenecks=rows, **arguments)


def _merged(rows: Iterable[Iterable[int]]) -> list[list[int]]:
    """Returns the same bottlenecks with one row for each."""
    found: list[list[int]] = []
    for expanded, channels, repeats, stride in rows:
        found += [[expanded, channels, stride], *([[expanded, channels, 1]] * (repeats - 1))]
    return found


def _embedding_dim(network: ForeignNetwork) -> int:
    for op in reversed(network.ops):
        if op.kind in ("dense", "conv") and op.kernel is not None:
            return int(op.kernel.shape[-1])
    raise ValueError(f"{network.path} has no layer that gives an embedding")


def _usual_epsilon(network: ForeignNetwork) -> float:
    """Returns the most common epsilon. Batch normalisations with it keep their γ unchanged."""
    found = Counter(op.epsilon for op in network.ops if op.kind == "bn")
    return found.most_common(1)[0][0] if found else 1e-5
