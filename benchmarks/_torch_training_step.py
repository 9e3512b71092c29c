"""A training step in PyTorch, for comparison in training_step.py. Runs in a separate environment.

    python _torch_training_step.py BATCH IDENTITIES THREADS

It prints its number of parameters. Then it reads lines "fp32 STEPS" or "bf16 STEPS", trains for one
unmeasured and STEPS measured steps, and prints the seconds of each. This lets the caller alternate
between both frameworks. The network is MobileFaceNet with the 512 FC and the ArcFace head,
channels-last. bf16 is `torch.autocast` around network and cosines. Margin and loss stay in float32.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from torch import nn
from torch.nn import functional

# (expansion, filters, repeats, stride) of each stage of MobileFaceNet.
BOTTLENECKS = ((2, 64, 5, 2), (4, 128, 1, 2), (2, 128, 6, 1), (4, 128, 1, 2), (2, 128, 2, 1))
SCALE, MARGIN = 64.0, 0.5


def block(
    inputs: int, filters: int, size: int, stride: int = 1, groups: int = 1, linear: bool = False
) -> nn.Sequential:
    """Returns convolution, batch normalisation and, unless it is linear, PReLU."""
    # Padding as in gfkeras: 3×3 keeps the size, and the last convolutions shrink.
    padding = 1 if size == 3 else 0
    convolution = nn.Conv2d(inputs, filters, size, stride, padding, groups=groups, bias=False)
    parts = [convolution, nn.BatchNorm2d(filters)]
    return nn.Sequential(*parts, *([] if linear else [nn.PReLU(filters)]))


class Bottleneck(nn.Module):
    def __init__(self, inputs: int, expansion: int, filters: int, stride: int):
        super().__init__()
        expanded = expansion * inputs
        self.shortcut = stride == 1 and inputs == filters
        self.residual = nn.Sequential(
            block(inputs, expanded, 1),
            block(expanded, expanded, 3, stride, groups=expanded),
            block(expanded, filters, 1, linear=True),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.residual(x) if self.shortcut else self.residual(x)


def mobilefacenet() -> nn.Sequential:
    parts: list[nn.Module] = [block(3, 64, 3, stride=2), block(64, 64, 3, groups=64)]
    width = 64
    for expansion, filters, repeats, stride in BOTTLENECKS:
        for index in range(repeats):
            parts.append(Bottleneck(width, expansion, filters, stride if index == 0 else 1))
            width = filters
    parts += [block(width, 512, 1), block(512, 512, 7, groups=512, linear=True), nn.Flatten()]
    return nn.Sequential(*parts, nn.Linear(512, 512, bias=False), nn.BatchNorm1d(512))


class Classifier(nn.Module):
    """The network, and the cosines of its embedding with each identity's center."""

    def __init__(self, identities: int):
        super().__init__()
        self.network = mobilefacenet()
        self.centers = nn.Parameter(0.01 * torch.randn(identities, 512))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        embedding = self.network((images.float() - 127.5) / 127.5)
        return functional.linear(
            functional.normalize(embedding), functional.normalize(self.centers)
        )


def arcface_loss(cosines: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    cosines = cosines.float()
    target = cosines.gather(1, labels[:, None])
    angle = torch.arccos(target.clamp(-1 + 1e-7, 1 - 1e-7)) + MARGIN
    logits = SCALE * cosines.scatter(1, labels[:, None], torch.cos(angle))
    return functional.cross_entropy(logits, labels)


def main() -> None:
    batch, identities, threads = (int(value) for value in sys.argv[1:4])
    torch.set_num_threads(threads)
    images = torch.randint(0, 256, (batch, 3, 112, 112), dtype=torch.uint8)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, identities, (batch,))
    contestants = {}
    for precision in ("fp32", "bf16"):
        model = Classifier(identities).to(memory_format=torch.channels_last)
        optimizer = torch.optim.SGD(model.parameters(), 0.005, momentum=0.9, weight_decay=5e-4)
        contestants[precision] = model, optimizer

    def step(precision: str) -> None:
        model, optimizer = contestants[precision]
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            cosines = model(images)
        optimizer.zero_grad()
        arcface_loss(cosines, labels).backward()
        optimizer.step()

    print(sum(p.numel() for p in contestants["fp32"][0].parameters()), flush=True)
    for line in sys.stdin:
        precision, steps = line.split()
        seconds = []
        for _ in range(1 + int(steps)):
            start = time.perf_counter()
            step(precision)
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds[1:]), flush=True)


if __name__ == "__main__":
    main()
