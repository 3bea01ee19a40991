"""A whole study in one file: histories, tables, figures, notebook and parameters, with checksums.

It is a zip: `manifest.json` says what is in it, made when and by which versions, on which clock,
with size and SHA-256 of each member. The checksums find damage and careless edits; who wants to
know that nobody forged a capsule compares its `sha256` with the one that its maker told.
"""

from __future__ import annotations

from projectai_lab.capsule._capsule import Capsule
from projectai_lab.capsule._open import open
from projectai_lab.capsule._save import save

__all__ = ["Capsule", "open", "save"]
