"""The workers that TF_CONFIG names."""

from __future__ import annotations

import dataclasses
import json
import re
from typing import Any

_ADDRESS = re.compile(r"\S+:\d{1,5}")


@dataclasses.dataclass(frozen=True)
class Cluster:
    """Several processes that train together, and which of them this one is.

    Attributes:
        addresses: host:port of each, the chief's first.
        index: of this process among them.
    """

    addresses: tuple[str, ...]
    index: int

    @classmethod
    def parse(cls, text: str | None) -> Cluster:
        """Reads the value of the environment variable TF_CONFIG.

        Args:
            text: JSON, `{"cluster": {"worker": ["10.0.0.1:2222", "10.0.0.2:2222"]}, "task":
                {"type": "worker", "index": 0}}`, the same on all but for the index. A "chief"
                beside the workers is one of them.

        Raises:
            ValueError: in one line, for what is missing, not JSON or out of range.
        """
        if not text:
            raise ValueError(
                "`training.strategy` multi-worker needs the environment variable TF_CONFIG with "
                "the addresses of the workers and the index of this one. Received: none"
            )
        try:
            config = json.loads(text)
        except json.JSONDecodeError as error:
            raise ValueError(f"TF_CONFIG is not JSON: {error}. Received: {text!r}") from None
        jobs = _part(config, "cluster")
        unknown = sorted(set(jobs) - {"chief", "worker"})
        if unknown or not jobs:
            raise ValueError(
                "TF_CONFIG: `cluster` must name workers, as a list of host:port under 'worker'. "
                f"Received: {unknown or 'no job'}"
            )
        for job, addresses in jobs.items():
            if not isinstance(addresses, list) or not addresses:
                raise ValueError(
                    f"TF_CONFIG: `cluster.{job}` must be a list of host:port. "
                    f"Received: {addresses!r}"
                )
            for address in addresses:
                if not isinstance(address, str) or not _ADDRESS.fullmatch(address):
                    raise ValueError(
                        f"TF_CONFIG: `cluster.{job}` must hold addresses such as "
                        f"'10.0.0.1:2222'. Received: {address!r}"
                    )
        task = _part(config, "task")
        job, index = task.get("type", "worker"), task.get("index")
        if job not in jobs:
            raise ValueError(
                f"TF_CONFIG: `task.type` must be one of {sorted(jobs)}. Received: {job!r}"
            )
        count = len(jobs[job])
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < count:
            raise ValueError(
                f"TF_CONFIG: `task.index` must be from 0 to {count - 1}, the {count} of "
                f"`cluster.{job}`. Received: {index!r}"
            )
        chiefs = jobs.get("chief", [])
        before = len(chiefs) if job == "worker" else 0
        return cls((*chiefs, *jobs.get("worker", [])), before + index)

    @property
    def is_chief(self) -> bool:
        """Whether this process is the one that writes files."""
        return self.index == 0


def _part(config: Any, key: str) -> dict[str, Any]:
    part = config.get(key) if isinstance(config, dict) else None
    if not isinstance(part, dict):
        raise ValueError(
            f"TF_CONFIG must be a JSON object with the objects `cluster` and `task`. "
            f"Received: {key} = {part!r}"
        )
    return part
