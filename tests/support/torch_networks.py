"""IResNet and MobileFaceNet in PyTorch, written from their published architectures.

PyTorch's interpreter runs this module without gfkeras. It writes each network with random weights
in the formats that InsightFace publishes, and the embeddings of the network.

    python torch_networks.py FOLDER NAME...

The numbers of parameters are compared with the published ones, to find mistakes here. Module names
are those of arcface_torch, because they are part of the format of a state dict.
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
PUBLISHED_MILLIONS = {"r18": 24.03, "r34": 34.14, "r50": 43.59, "r100": 65.16, "mbf": 2.06}


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


def build(name: str, x: torch.Tensor) -> nn.Module:
    """The network with random weights, ready for inference."""
    torch.manual_seed(sum(map(ord, name)))
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
    images = np.random.default_rng(0).integers(0, 256, (8, 112, 112, 3), dtype=np.uint8)
    x = (torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255 - 0.5) / 0.5
    written = {}
    for name in sys.argv[2:]:
        model = build(name, x)
        with torch.no_grad():
            embedding = model(x).numpy()
        np.savez(folder / f"{name}.npz", images=images, embedding=embedding)
        state = model.state_dict()
        torch.save(state, folder / f"{name}.pt")
        torch.save(state, folder / f"{name}_legacy.pt", _use_new_zipfile_serialization=False)
        wrapped = {"epoch": 20, "state_dict": {f"module.{k}": v for k, v in state.items()}}
        torch.save(wrapped, folder / f"{name}_checkpoint.pt")
        save_file(state, folder / f"{name}.safetensors")
        torch.onnx.export(
            model, (x[:1],), str(folder / f"{name}.onnx"), dynamo=False, opset_version=11,
            input_names=["input.1"], dynamic_axes={"input.1": {0: "None"}},
        )  # fmt: skip
        written[name] = sum(p.numel() for p in model.parameters())
    sys.stdout.write(json.dumps(written) + "\n")


if __name__ == "__main__":
    main()
