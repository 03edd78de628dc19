"""Embedding: a tool that installs only what was registered as the rules demand, and is still the same.

    python examples/install_gate.py REGISTRY MANIFEST

Exits with 0 where the manifest may be installed, and with 1, saying why, where it may not.
"""

from __future__ import annotations

import sys
from pathlib import Path

from registration import NotFound, RegistrationError, RegistrationPipeline
from registration.values.ids import id_from_document


def why_not(pipeline: RegistrationPipeline, raw: bytes) -> str | None:
    """Why these bytes may not be installed; None where they may."""
    offered = pipeline.read_document(raw)
    manifest_id = id_from_document(offered.value)
    try:
        known = pipeline.load_state(manifest_id)
    except NotFound:
        return f"{manifest_id} was never handed in"
    if known.state != "REGISTERED":
        return f"{manifest_id} is {known.state}, not REGISTERED"
    if known.digest != offered.digest:
        return f"{manifest_id} has changed since it was approved: {offered.digest}, not {known.digest}"
    # Every event of its log is decided again: a receipt of what the rules did not allow is refused. And it is of this very document.
    receipt = pipeline.evidence.receipt(manifest_id)
    if (receipt["state"], receipt["digest"]) != ("REGISTERED", offered.digest):
        return f"{manifest_id} changed at this moment"
    return None


def main(root: str, manifest: str) -> int:
    """The exit code."""
    try:
        with RegistrationPipeline(root, create=False) as pipeline:
            reason = why_not(pipeline, Path(manifest).read_bytes())
    except (RegistrationError, OSError) as error:
        reason = str(error)
    print(f"refused: {reason}" if reason else "may be installed")
    return 1 if reason else 0


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
