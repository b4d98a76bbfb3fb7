"""The text that Prometheus reads. It is made when somebody asks; counting knows nothing of it."""

from collections.abc import Iterable, Iterator
from itertools import accumulate

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.registry import Collector

from weighbridge.tallies import Buckets, Family


def text_of(families: Iterable[Family]) -> tuple[bytes, str]:
    """The text, and its content type."""
    registry = CollectorRegistry()
    registry.register(_Given([_metric(family) for family in families]))
    return generate_latest(registry), CONTENT_TYPE_LATEST


class _Given(Collector):
    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> list[Metric]:
        return self._metrics


def _metric(family: Family) -> Metric:
    metric = Metric(family.name, family.text, family.kind)
    for labels, found in family.rows.items():
        named = dict(zip(family.labels, labels, strict=True))
        if isinstance(found, Buckets):
            for suffix, more, value in _samples(found):
                metric.add_sample(family.name + suffix, {**named, **more}, value)
        else:
            metric.add_sample(family.name + ("_total" if family.kind == "counter" else ""), named, found)
    return metric


def _samples(buckets: Buckets) -> Iterator[tuple[str, dict[str, str], float]]:
    """Prometheus counts in each bucket what is in the smaller ones, too."""
    bounds = [*map(str, map(float, buckets.bounds)), "+Inf"]
    sums = list(accumulate(buckets.counts))
    for bound, count in zip(bounds, sums, strict=True):
        yield "_bucket", {"le": bound}, count
    yield "_count", {}, sums[-1]
    yield "_sum", {}, buckets.total
