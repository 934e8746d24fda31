"""What the kernel says of running processes."""

from __future__ import annotations

import contextlib
from pathlib import Path


def below(pid: int) -> list[int]:
    """A process and all of its descendants, whichever thread has started them; one that ends meanwhile has none."""
    try:
        threads = list(Path(f"/proc/{pid}/task").iterdir())
    except FileNotFoundError:
        return []
    children: list[str] = []
    for thread in threads:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # a thread may end meanwhile
            children += (thread / "children").read_text().split()
    return [pid, *(found for child in children for found in below(int(child)))]


def proportional_bytes(pid: int) -> int:
    """Resident memory, what is shared counted in proportion (PSS); 0 once the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith("Pss:")))


def has_mapped(pid: int, name: str) -> bool:
    """Whether a file whose path has `name` in it is mapped into the process."""
    try:
        return name in Path(f"/proc/{pid}/maps").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
