"""Reading parquet in batches. pyarrow is optional: it comes with the extra `train`."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

_BATCH = 1024


class NotInstalled(Exception):
    """pyarrow is not there."""


class NotParquet(Exception):
    """The file is something else, or damaged."""


def rows_of(path: Path) -> Iterator[dict[str, Any]]:
    """Row by row, with no more than a batch in memory."""
    try:
        import pyarrow.parquet  # noqa: PLC0415  # an extra
    except ImportError:
        raise NotInstalled from None
    try:
        with path.open("rb") as file:
            for batch in pyarrow.parquet.ParquetFile(file).iter_batches(_BATCH):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise NotParquet(str(error).splitlines()[0][:120]) from None
