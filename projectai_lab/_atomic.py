"""A file that is there whole or not at all."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO


@contextmanager
def replaced(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends well, else vanishes."""
    half = path.with_name(f".{path.name[:100]}.{uuid.uuid4().hex}")
    try:
        with half.open("xb") as file:
            yield file
        half.replace(path)
    finally:
        half.unlink(missing_ok=True)
