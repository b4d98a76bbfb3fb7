"""Reading an artefact: a folder with a manifest, of which nothing is parsed before its size and digest were checked.

An artefact is data, never code: ONNX, JSON and plain arrays. What is on disk is read once; what was checked is what is
parsed.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

KIND = "weighbridge-classifier"
SCHEMA_VERSION = 1
MANIFEST = "manifest.json"
REMEDY = "install weighbridge again, or rebuild it with: python -m weighbridge.classifiers.training"

_MAX_MANIFEST_BYTES = 1_000_000
_MAX_FILE_BYTES = 1_000_000_000
_PLAIN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")

Fraction = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]


class ArtefactError(RuntimeError):
    """An artefact that is missing, damaged or not ours; the message names the file and the remedy."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}; {REMEDY}")


class FileRecord(BaseModel):
    model_config = ConfigDict(frozen=True)

    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    bytes: int = Field(gt=0, le=_MAX_FILE_BYTES)


class OperatingPoint(BaseModel):
    """A recommended threshold, and what it was chosen for."""

    model_config = ConfigDict(frozen=True)

    threshold: Fraction
    chosen_for: str


class Manifest(BaseModel):
    """What loading needs to know; the rest of manifest.json is for people and stays in `raw`."""

    model_config = ConfigDict(frozen=True)

    kind: Literal["weighbridge-classifier"]
    schema_version: Literal[1]
    version: str = Field(min_length=1, max_length=100)
    window_tokens: int = Field(ge=8, le=512)
    embedding_size: int = Field(ge=1, le=8192)
    tasks: tuple[str, ...]
    task_minimum: Fraction
    thresholds: Mapping[str, OperatingPoint]
    files: Mapping[str, FileRecord]

    @model_validator(mode="after")
    def _hold_together(self) -> "Manifest":
        for name in self.files:
            if not _PLAIN_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a plain file name")
        points = [self.thresholds[p].threshold if p in self.thresholds else -1 for p in ("cost", "balanced", "quality")]
        if points != sorted(points, reverse=True) or points[-1] < 0:
            raise ValueError("thresholds must have cost >= balanced >= quality")
        return self


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an artefact. ArtefactError says what is wrong with it."""
    path = folder / MANIFEST
    raw = _bytes_of(path, _MAX_MANIFEST_BYTES)
    try:
        fields: Any = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise ArtefactError(path, f"is not JSON ({type(error).__name__})") from error
    if not isinstance(fields, dict) or fields.get("kind") != KIND:
        raise ArtefactError(path, f"is no artefact of ours (kind is not {KIND!r})")
    if fields.get("schema_version") != SCHEMA_VERSION:
        raise ArtefactError(
            path, f"has schema version {fields.get('schema_version')!r}, this release reads {SCHEMA_VERSION}"
        )
    try:
        return Manifest.model_validate(fields)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "manifest"
        raise ArtefactError(path, f"{where}: {first['msg']}") from error


def read_files(folder: Path, manifest: Manifest, needed: tuple[str, ...]) -> dict[str, bytes]:
    """The needed files, after the size and digest of every file of the artefact were checked."""
    for name in needed:
        if name not in manifest.files:
            raise ArtefactError(folder / MANIFEST, f"does not list {name}")
    contents = {}
    for name, record in manifest.files.items():
        content = _checked(folder / name, record)
        if name in needed:
            contents[name] = content
    return contents


def _checked(path: Path, record: FileRecord) -> bytes:
    content = _bytes_of(path, record.bytes)
    if len(content) != record.bytes:
        raise ArtefactError(path, f"has {len(content)} bytes, the manifest says {record.bytes}")
    if hashlib.sha256(content).hexdigest() != record.sha256:
        raise ArtefactError(path, "is not the file that the manifest describes (SHA-256 differs)")
    return content


def _bytes_of(path: Path, at_most: int) -> bytes:
    try:
        if not path.is_file():
            raise ArtefactError(path, "is missing")
        if path.stat().st_size > at_most:
            raise ArtefactError(path, f"is larger than the {at_most} bytes it may have")
        return path.read_bytes()
    except OSError as error:
        raise ArtefactError(path, f"cannot be read ({error.strerror})") from error
