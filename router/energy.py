"""Energy: what the config says of it, and from watts, seconds and tokens to millijoules and grams. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, field_validator

from weighbridge.tables import Table
from weighbridge.upstreams.base import Upstream, WhPerTokens, ascending

MJ_PER_KWH = 3_600_000_000
_MJ_PER_WH = 3_600_000
_Factor = Annotated[float, Field(ge=0)]


class Energy(Table):
    """`[energy]`.

    measure: read the counters of this machine where they can be read.
    remote_wh_per_1k_output_tokens: from ... to, for remote upstreams that name none of their own (docs/energy.md).
    grid_gco2e_per_kwh: of the electricity here, and where no other is named of remote upstreams' too; None is unknown.
    """

    measure: bool = True
    remote_wh_per_1k_output_tokens: WhPerTokens = (0.3, 4.0)
    grid_gco2e_per_kwh: _Factor | None = None
    remote_grid_gco2e_per_kwh: _Factor | None = None

    _order = field_validator("remote_wh_per_1k_output_tokens")(ascending)


@dataclass(frozen=True, slots=True)
class Range:
    """Between a low estimate and a high one, in millijoules."""

    low: int = 0
    high: int = 0

    def __add__(self, other: "Range") -> "Range":
        return Range(self.low + other.low, self.high + other.high)


@dataclass(frozen=True, slots=True)
class Footprint:
    """What is known of the upstreams' energy. watts: of local ones that name theirs. per_token: of remote ones, in Wh.

    cited: the remote upstreams that name no figure of their own.
    """

    watts: Mapping[str, float]
    wh_per_1k: Mapping[str, WhPerTokens]
    otherwise: WhPerTokens
    grid: float | None = None
    remote_grid: float | None = None

    @classmethod
    def of(cls, energy: Energy, upstreams: Mapping[str, Upstream]) -> "Footprint":
        local = {name: u.electricity.watts for name, u in upstreams.items() if u.electricity and u.location == "local"}
        remote = {name: u for name, u in upstreams.items() if u.location == "remote"}
        otherwise = energy.remote_wh_per_1k_output_tokens
        remote_grid = energy.remote_grid_gco2e_per_kwh
        return cls(
            watts=local,
            wh_per_1k={name: u.wh_per_1k_output_tokens or otherwise for name, u in remote.items()},
            otherwise=otherwise,
            grid=energy.grid_gco2e_per_kwh,
            remote_grid=energy.grid_gco2e_per_kwh if remote_grid is None else remote_grid,
        )

    def worked(self, upstream: str, busy_us: int) -> int | None:
        """What a local upstream drew in that time; None where its watts are unknown."""
        watts = self.watts.get(upstream)
        return None if watts is None else round(watts * busy_us / 1000)

    def answered(self, upstream: str, output_tokens: int) -> Range:
        """What a remote upstream takes for that many tokens, as estimated."""
        low, high = self.wh_per_1k.get(upstream, self.otherwise)
        each = output_tokens * _MJ_PER_WH / 1000
        return Range(round(low * each), round(high * each))

    def grams(self, mj: int, *, is_local: bool) -> float | None:
        """CO2e; None without a factor for the grid."""
        factor = self.grid if is_local else self.remote_grid
        return None if factor is None else mj / MJ_PER_KWH * factor
