"""GroupFace in PyTorch, for comparison in gpu_training.py. Prints one line of JSON.

    python _torch_gpu_training.py NETWORK BATCH STEPS IDENTITIES DEVICE

The network is IResNet-100 or MobileFaceNet with a soft GroupFace of 32 groups on a shared feature
of 4096 and ArcFace, channels-last, with bfloat16 autocast. Margin and losses stay in float32.
"""

from __future__ import annotations

import json
import sys
import time

import torch
from _torch_training_step import arcface_loss, mobilefacenet
from torch import nn
from torch.nn import functional

SHARED, EMBEDDING, GROUPS, HIDDEN = 4096, 512, 32, 256
# Residual units in each of the four stages.
UNITS = {"IResNet100": (3, 13, 30, 3), "IResNet18": (2, 2, 2, 2)}


class Unit(nn.Module):
    """BN-conv-BN-PReLU-conv-BN and a shortcut, as in InsightFace."""

    def __init__(self, inputs: int, filters: int, stride: int):
        super().__init__()
        self.residual = nn.Sequential(
            nn.BatchNorm2d(inputs),
            nn.Conv2d(inputs, filters, 3, 1, 1, bias=False),
            nn.BatchNorm2d(filters),
            nn.PReLU(filters),
            nn.Conv2d(filters, filters, 3, stride, 1, bias=False),
            nn.BatchNorm2d(filters),
        )
        self.shortcut = (
            nn.Identity()
            if stride == 1
            else nn.Sequential(
                nn.Conv2d(inputs, filters, 1, stride, bias=False), nn.BatchNorm2d(filters)
            )
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x) + self.residual(x)


def iresnet(units: tuple[int, ...]) -> nn.Sequential:
    parts: list[nn.Module] = [
        nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.PReLU(64),
    ]  # fmt: skip
    inputs = 64
    for count, filters in zip(units, (64, 128, 256, 512), strict=True):
        for index in range(count):
            parts.append(Unit(inputs, filters, 2 if index == 0 else 1))
            inputs = filters
    return nn.Sequential(*parts, nn.BatchNorm2d(512), nn.Flatten())


class GroupFace(nn.Module):
    def __init__(self, network: str, identities: int):
        super().__init__()
        if network in UNITS:
            self.backbone, width = iresnet(UNITS[network]), 512 * 7 * 7
        else:
            # Drop the last two layers, the FC and the batch normalisation of the embedding.
            self.backbone, width = mobilefacenet()[:-2], 512
        self.shared = nn.Sequential(nn.Linear(width, SHARED, bias=False), nn.BatchNorm1d(SHARED))
        self.instance = nn.Sequential(
            nn.Linear(SHARED, EMBEDDING, bias=False), nn.BatchNorm1d(EMBEDDING)
        )
        self.decide = nn.Sequential(
            nn.BatchNorm1d(EMBEDDING),
            nn.Linear(EMBEDDING, HIDDEN),
            nn.PReLU(HIDDEN),
            nn.BatchNorm1d(HIDDEN),
            nn.Linear(HIDDEN, HIDDEN),
            nn.Linear(HIDDEN, GROUPS),
        )
        self.groups = nn.Linear(SHARED, GROUPS * EMBEDDING)
        self.centers = nn.Parameter(0.01 * torch.randn(identities, EMBEDDING))

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        feature = self.shared(self.backbone((images.float() - 127.5) / 127.5))
        instance = self.instance(feature)
        logits = self.decide(instance)
        each = self.groups(feature).view(-1, GROUPS, EMBEDDING)
        # Softmax in bfloat16 would be too coarse.
        weights = logits.float().softmax(-1).to(each.dtype)
        embedding = instance.float() + torch.einsum("bk,bkd->bd", weights, each).float()
        cosines = functional.linear(
            functional.normalize(embedding), functional.normalize(self.centers)
        )
        return cosines, logits.float()


def self_grouping_loss(logits: torch.Tensor) -> torch.Tensor:
    probabilities = logits.softmax(-1).detach()
    return functional.cross_entropy(logits, (probabilities - probabilities.mean(0)).argmax(-1))


def matmul_rate(device: str, size: int) -> float:
    """Returns bfloat16 multiply-accumulates per second of a square matrix product."""
    a = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    b = torch.randn(size, size, device=device, dtype=torch.bfloat16)
    best = 0.0
    for _ in range(12):
        wait(device)
        start = time.perf_counter()
        a @ b
        wait(device)
        best = max(best, size**3 / (time.perf_counter() - start))
    return best


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    network, device = sys.argv[1], sys.argv[5]
    batch, steps, identities = (int(value) for value in sys.argv[2:5])
    if device == "cuda" and not torch.cuda.is_available():
        sys.exit("PyTorch sees no GPU")
    # All batches have one shape, so let cuDNN choose the fastest kernels once.
    torch.backends.cudnn.benchmark = True
    model = GroupFace(network, identities).to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(model.parameters(), 0.005, momentum=0.9, weight_decay=5e-4)
    images = torch.randint(0, 256, (batch, 3, 112, 112), dtype=torch.uint8)
    # Channels-last is the fastest layout in PyTorch for these networks.
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, identities, (batch,))
    start = 0.0
    for step in range(steps + 5):
        # The first five steps warm up. CUDA runs asynchronously, so wait before starting the clock.
        if step == 5:
            wait(device)
            start = time.perf_counter()
        with torch.autocast(device, torch.bfloat16):
            cosines, logits = model(images.to(device))
        loss = arcface_loss(cosines, labels.to(device)) + 0.1 * self_grouping_loss(logits)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    wait(device)
    seconds = time.perf_counter() - start
    print(
        json.dumps(
            {
                "parameters": sum(p.numel() for p in model.parameters()),
                "images_per_second": batch * steps / seconds,
                "matmul_macs_per_second": matmul_rate(device, 8192 if device == "cuda" else 1024),
                "version": torch.__version__,
            }
        )
    )


if __name__ == "__main__":
    main()
