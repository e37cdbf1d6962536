"""How much memory an Envoy on this machine may take."""

import os
from collections.abc import Iterable
from pathlib import Path

CGROUP_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")

SHARE = 4
"""Envoy's default: this part of the machine, or of the container."""

LEAST = 256 << 20


def machine_memory(limits: Iterable[str] = CGROUP_LIMITS) -> int:
    """Bytes of memory of this machine, or of the container where that has less."""
    found = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in limits:
        try:
            text = Path(path).read_text().strip()
        except OSError:
            continue
        if text.isdigit():
            found = min(found, int(text))
    return found


def default_heap(memory: int) -> int:
    """Bytes that Envoy may allocate on a machine with so many bytes of memory."""
    return max(LEAST, memory // SHARE)
