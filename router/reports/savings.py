"""What was spent, and what the same requests would have cost on the baseline."""

from dataclasses import dataclass

from weighbridge.reports.tally import Tally


@dataclass(frozen=True, slots=True)
class Savings:
    """Money in nano-USD.

    cost, baseline: everything that the ledger knows, errors and cancelled requests included.
    saved: over the requests whose cost and baseline are both known; None where there is none.
    fraction: of what those would have cost on the baseline; None where that is nothing.
    left_out: requests that reached an upstream, but have no known cost or no known baseline.
    """

    requests: int
    local: int
    remote: int
    cost_nano_usd: int
    baseline_cost_nano_usd: int
    saved_nano_usd: int | None
    saved_fraction: float | None
    compared_requests: int
    left_out_requests: int
    unknown_cost_requests: int


def savings(tally: Tally) -> Savings:
    saved = tally.compared_baseline - tally.compared_cost if tally.compared else None
    return Savings(
        requests=tally.requests,
        local=tally.local,
        remote=tally.remote,
        cost_nano_usd=tally.cost,
        baseline_cost_nano_usd=tally.baseline,
        saved_nano_usd=saved,
        saved_fraction=saved / tally.compared_baseline if saved is not None and tally.compared_baseline else None,
        compared_requests=tally.compared,
        left_out_requests=max(0, tally.requests - tally.compared - tally.released),
        unknown_cost_requests=tally.requests - tally.known_costs,
    )
