"""What the demo shows while it runs: how far it is, what went where, and the latest decisions."""

from collections import Counter, deque
from types import TracebackType

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from weighbridge.demo.traffic import Outcome

_LATEST = 8
_COLOURS = {"local": "green", "remote": "magenta"}


class Screen:
    """Shown between `with` and its end, where there is a terminal to show it; it counts everywhere."""

    def __init__(self, console: Console, total: int) -> None:
        self.went: Counter[str] = Counter()
        self.failed: list[Outcome] = []
        self._latest: deque[Outcome] = deque(maxlen=_LATEST)
        self._progress = Progress(BarColumn(32), MofNCompleteColumn(), TimeElapsedColumn(), console=console)
        self._task = self._progress.add_task("prompts", total=total)
        # A picture that moves is of no use in a file.
        self._live = Live(self._picture(), console=console, transient=True, refresh_per_second=10)
        self._is_shown = console.is_terminal

    def __enter__(self) -> "Screen":
        if self._is_shown:
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._is_shown:
            self._live.stop()

    def add(self, outcome: Outcome) -> None:
        """One more answer is complete."""
        if outcome.status == 200:
            self.went[outcome.location] += 1
        else:
            self.failed.append(outcome)
        self._latest.append(outcome)
        self._progress.advance(self._task)
        if self._is_shown:
            self._live.update(self._picture())

    def _picture(self) -> RenderableType:
        went = Text.assemble(
            (f"  {self.went['local']} stayed local", _COLOURS["local"]),
            (f"   {self.went['remote']} went to the frontier model", _COLOURS["remote"]),
        )
        return Group(self._progress, went, _decisions(self._latest))


def _decisions(latest: deque[Outcome]) -> Table:
    table = Table(box=None, padding=(0, 2), header_style="dim", pad_edge=False)
    table.add_column("  score", justify="right")
    table.add_column("went to", width=7)
    table.add_column("prompt", no_wrap=True, overflow="ellipsis", max_width=86)
    for outcome in latest:
        score = "-" if outcome.score is None else f"{outcome.score:.2f}"
        where = Text(outcome.location or str(outcome.status), style=_COLOURS.get(outcome.location, "red"))
        table.add_row(score, where, Text(" ".join(outcome.prompt.text.split())))
    return table
