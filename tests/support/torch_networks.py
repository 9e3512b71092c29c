"""IResNet, MobileFaceNet and Inception-ResNet-v1 in PyTorch, from their published architectures.

PyTorch's interpreter runs this module without gfkeras. It writes each network with random weights
in the formats that InsightFace publishes, and the embeddings of the network.

    python torch_networks.py FOLDER NAME...

The numbers of parameters are compared with the published ones, to find mistakes here. Module names
are those of arcface_torch and facenet-pytorch, because they are part of the format of a state dict.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

UNITS = {
    "r18": (2, 2, 2, 2),
    "r34": (3, 4, 6, 3),
    "r50": (3, 4, 14, 3),
    "r100": (3, 13, 30, 3),
}
# Blocks and scale.
WIDTHS = {"mbf": ((1, 4, 6, 2), 2), "mbf_large": ((2, 8, 12, 4), 4)}
# Published millions of parameters with an FC of 512 (in torch with γ of the last BN).
PUBLISHED_MILLIONS = {"r18": 24.03, "r34": 34.14, "r50": 43.59, "r100": 65.16, "mbf": 2.06,
                      "facenet": 23.482624}  # fmt: skip


class Unit(nn.Module):
    """BN-conv-BN-PReLU-conv-BN added to its input, or to a convolution of it."""

    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, width, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.prelu = nn.PReLU(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width)
        self.downsample = None
        if stride == 2:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, x):
        y = self.prelu(self.bn2(self.conv1(self.bn1(x))))
        return self.bn3(self.conv2(y)) + (x if self.downsample is None else self.downsample(x))


class IResNet(nn.Module):
    def __init__(self, units: tuple[int, ...], embedding: int = 512):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.prelu = nn.PReLU(64)
        before = 64
        for stage, (count, width) in enumerate(zip(units, (64, 128, 256, 512), strict=True), 1):
            blocks = [Unit(width if i else before, width, 1 if i else 2) for i in range(count)]
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
            before = width
        self.bn2 = nn.BatchNorm2d(512)
        self.dropout = nn.Dropout(0.0)
        self.fc = nn.Linear(512 * 7 * 7, embedding)
        self.features = nn.BatchNorm1d(embedding)

    def forward(self, x):
        x = self.prelu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.features(self.fc(self.dropout(torch.flatten(self.bn2(x), 1))))


def named(**children: nn.Module) -> nn.Module:
    """A module whose children have these names, for the names of a state dict."""
    holder = nn.Module()
    for name, child in children.items():
        holder.add_module(name, child)
    return holder


class Layers(nn.Module):
    """A sequence under the name `layers`, with its input added where `residual`."""

    def __init__(self, *layers: nn.Module, residual: bool = False):
        super().__init__()
        self.layers = nn.Sequential(*layers)
        self.residual = residual

    def forward(self, x):
        return self.layers(x) + x if self.residual else self.layers(x)


def conv(before: int, width: int, size: int = 1, stride: int = 1, groups: int = 1, act=True):
    padding = 1 if size == 3 else 0
    parts = [nn.Conv2d(before, width, size, stride, padding, groups=groups, bias=False),
             nn.BatchNorm2d(width)]  # fmt: skip
    return Layers(*parts, *([nn.PReLU(width)] if act else []))


def bottleneck(before: int, width: int, middle: int, stride: int, residual: bool):
    return Layers(
        conv(before, middle),
        conv(middle, middle, 3, stride, groups=middle),
        conv(middle, width, act=False),
        residual=residual,
    )


class MobileFaceNet(nn.Module):
    """arcface_torch's: `mbf` has blocks (1, 4, 6, 2) and scale 2."""

    def __init__(self, blocks: tuple[int, ...] = (1, 4, 6, 2), scale: int = 2, embedding=512):
        super().__init__()
        narrow, wide = 64 * scale, 128 * scale

        def residuals(count: int, channels: int, middle: int) -> nn.Module:
            return Layers(*(bottleneck(channels, channels, middle, 1, True) for _ in range(count)))

        second = residuals(blocks[0], narrow, 128)
        if blocks[0] == 1:
            second = conv(narrow, narrow, 3, 1, groups=64)
        self.layers = nn.ModuleList(
            [
                conv(3, narrow, 3, 2),
                second,
                bottleneck(narrow, narrow, 128, 2, False),
                residuals(blocks[1], narrow, 128),
                bottleneck(narrow, wide, 256, 2, False),
                residuals(blocks[2], wide, 256),
                bottleneck(wide, wide, 512, 2, False),
                residuals(blocks[3], wide, 256),
            ]
        )
        self.conv_sep = conv(wide, 512)
        self.features = Layers(
            conv(512, 512, 7, groups=512, act=False),
            nn.Flatten(),
            nn.Linear(512, embedding, bias=False),
            nn.BatchNorm1d(embedding),
        )

    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return self.features(self.conv_sep(x))


class Convolved(nn.Module):
    """Convolution, BN and ReLU. All but those of stride 2 keep the size, unless not `padded`."""

    def __init__(self, before: int, width: int, size=1, stride: int = 1, padded: bool = True):
        super().__init__()
        sides = (size, size) if isinstance(size, int) else size
        padding = [side // 2 if padded and stride == 1 else 0 for side in sides]
        self.conv = nn.Conv2d(before, width, sides, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(width, eps=1e-3)

    def forward(self, x):
        return torch.relu(self.bn(self.conv(x)))


class Branches(nn.Module):
    """Convolutions side by side, given as (channels, size, stride), and their joined channels."""

    def __init__(self, before: int, *branches: list[tuple], widest: int = 0, scale: float = 0.0):
        super().__init__()
        self.count, self.scale, self.relu = len(branches), scale, True
        for number, convolutions in enumerate(branches):
            layers, channels = [], before
            for width, *rest in convolutions:
                layers.append(Convolved(channels, width, *rest))
                channels = width
            branch = layers[0] if len(layers) == 1 else nn.Sequential(*layers)
            self.add_module(f"branch{number}", branch)
        if scale:
            self.conv2d = nn.Conv2d(widest, before, 1)

    def forward(self, x):
        found = [getattr(self, f"branch{number}")(x) for number in range(self.count)]
        if not self.scale:
            return torch.cat([*found, nn.functional.max_pool2d(x, 3, 2)], 1)
        y = x + self.scale * self.conv2d(torch.cat(found, 1))
        return torch.relu(y) if self.relu else y


def residuals(kind: int) -> Branches:
    if kind == 0:
        one = (32, 1)
        return Branches(256, [one], [one, (32, 3)], [one, (32, 3), (32, 3)], widest=96, scale=0.17)
    before, width, long, scale = ((896, 128, 7, 0.1), (1792, 192, 3, 0.2))[kind - 1]
    row, column = (width, (1, long)), (width, (long, 1))
    return Branches(before, [(width, 1)], [(width, 1), row, column], widest=2 * width, scale=scale)


class FaceNet(nn.Module):
    """facenet-pytorch's InceptionResnetV1 without its classifier, before it normalises."""

    def __init__(self):
        super().__init__()
        self.conv2d_1a, self.conv2d_2a = Convolved(3, 32, 3, 2), Convolved(32, 32, 3, padded=False)
        self.conv2d_2b, self.conv2d_3b = Convolved(32, 64, 3), Convolved(64, 80)
        self.conv2d_4a = Convolved(80, 192, 3, padded=False)
        self.conv2d_4b = Convolved(192, 256, 3, 2)
        for kind, count in enumerate((5, 10, 5)):
            blocks = [residuals(kind) for _ in range(count)]
            setattr(self, f"repeat_{kind + 1}", nn.Sequential(*blocks))
        self.mixed_6a = Branches(256, [(384, 3, 2)], [(192, 1), (192, 3), (256, 3, 2)])
        reduced = (256, 1)
        self.mixed_7a = Branches(
            896, [reduced, (384, 3, 2)], [reduced, (256, 3, 2)], [reduced, (256, 3), (256, 3, 2)]
        )
        self.block8 = residuals(2)
        self.block8.relu = False
        self.last_linear = nn.Linear(1792, 512, bias=False)
        self.last_bn = nn.BatchNorm1d(512, eps=1e-3)

    def forward(self, x):
        x = self.conv2d_2b(self.conv2d_2a(self.conv2d_1a(x)))
        x = self.conv2d_3b(nn.functional.max_pool2d(x, 3, 2))
        x = self.mixed_6a(self.repeat_1(self.conv2d_4b(self.conv2d_4a(x))))
        x = self.block8(self.repeat_3(self.mixed_7a(self.repeat_2(x))))
        return self.last_bn(self.last_linear(x.mean((2, 3))))


def build(name: str, x: torch.Tensor) -> nn.Module:
    """The network with random weights, ready for inference."""
    torch.manual_seed(sum(map(ord, name)))
    if name == "facenet":
        model = FaceNet()
    else:
        model = MobileFaceNet(*WIDTHS[name]) if name in WIDTHS else IResNet(UNITS[name])
    parameters = sum(p.numel() for p in model.parameters()) / 1e6
    assert abs(parameters - PUBLISHED_MILLIONS.get(name, parameters)) < 0.01, (name, parameters)
    # All values differ from their defaults: an importer that forgets one gives other embeddings.
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm2d, nn.BatchNorm1d)):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, std=0.2)
            module.momentum = 1.0
        elif isinstance(module, nn.PReLU):
            nn.init.uniform_(module.weight, -0.3, 0.6)
        elif isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
    # With the statistics of these images, embeddings have the size of trained ones.
    with torch.no_grad():
        model.train()(x)
    return model.eval()


def main() -> None:
    folder = Path(sys.argv[1])
    written = {}
    for name in sys.argv[2:]:
        shape, scale = ((8, 160, 160, 3), 128) if name == "facenet" else ((8, 112, 112, 3), 127.5)
        images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() - 127.5) / scale
        model = build(name, x)
        with torch.no_grad():
            embedding = model(x).numpy()
        np.savez(folder / f"{name}.npz", images=images, embedding=embedding)
        state = model.state_dict()
        if name == "facenet":
            state |= {"logits.weight": torch.ones(10, 512), "logits.bias": torch.zeros(10)}
            save_file(state, folder / f"{name}.safetensors")
        torch.save(state, folder / f"{name}.pt")
        written[name] = sum(p.numel() for p in model.parameters())
        if name == "facenet":
            continue
        torch.save(state, folder / f"{name}_legacy.pt", _use_new_zipfile_serialization=False)
        wrapped = {"epoch": 20, "state_dict": {f"module.{k}": v for k, v in state.items()}}
        torch.save(wrapped, folder / f"{name}_checkpoint.pt")
        save_file(state, folder / f"{name}.safetensors")
        torch.onnx.export(
            model, (x[:1],), str(folder / f"{name}.onnx"), dynamo=False, opset_version=11,
            input_names=["input.1"], dynamic_axes={"input.1": {0: "None"}},
        )  # fmt: skip
    sys.stdout.write(json.dumps(written) + "\n")


if __name__ == "__main__":
    main()
