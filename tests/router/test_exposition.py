"""What Prometheus reads, beside its own library counting the same."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from weighbridge.exposition import text_of
from weighbridge.tallies import Buckets, Family

BOUNDS = (0.5, 1, 2.5)


def lines(text: bytes) -> list[str]:
    """But for when each metric was made, which the library adds of its own."""
    return [line for line in text.decode().splitlines() if "_created" not in line]


def test_the_text_is_the_librarys_own():
    registry = CollectorRegistry()
    requests = Counter("our_requests", "All of them.", ["where"], registry=registry)
    seconds = Histogram("our_seconds", "How long.", ["where"], buckets=BOUNDS, registry=registry)
    Gauge("our_load", "Now.", registry=registry).set(2)
    requests.labels('a "quoted"\n name').inc(3)
    buckets = Buckets(BOUNDS)
    for value in (0.1, 0.5, 0.7, 30):
        seconds.labels("here").observe(value)
        buckets.add(value)
    ours, content_type = text_of(
        [
            Family("our_requests", "counter", "All of them.", ("where",), {('a "quoted"\n name',): 3}),
            Family("our_seconds", "histogram", "How long.", ("where",), {("here",): buckets}),
            Family("our_load", "gauge", "Now.", (), {(): 2}),
        ]
    )
    assert lines(ours) == lines(generate_latest(registry))
    assert content_type.startswith("text/plain; version=")


def test_a_metric_without_rows_is_named_all_the_same():
    text, _ = text_of([Family("our_requests", "counter", "All of them.", ("where",), {})])
    assert text.decode().splitlines() == [
        "# HELP our_requests_total All of them.",
        "# TYPE our_requests_total counter",
    ]
