"""A config for the command's tests that needs no model, in a file that is quickly changed."""

from dataclasses import dataclass
from pathlib import Path

from weighbridge.classifiers.length import score_of

# Between a greeting and a page: the length classifier tells these two apart, wherever its fit lies.
THRESHOLD = round((score_of(5) + score_of(2000)) / 2, 3)

CONFIG = """\
[server]
port = 0
drain_s = 3
[upstreams.small]
use = "simulated"
model = "sim-small"
location = "local"
context_window = 8192
input_usd_per_mtok = "0"
output_usd_per_mtok = "0"
[upstreams.large]
use = "simulated"
model = "sim-large"
location = "remote"
input_usd_per_mtok = "1"
output_usd_per_mtok = "4.50"
[classifier]
use = "length"
[routes.auto]
small = "small"
large = "large"
policy = { use = "threshold", threshold = THRESHOLD }
[[rules]]
name = "private"
when = { pii = ["email"] }
then = { fence = "local" }
[[rules]]
name = "no weather"
when = { keyword = ["weather"] }
then = { deny = "Look out of the window." }
[ledger]
path = "ledger.db"
"""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The config.toml of the folder that the command runs in."""

    path: Path

    @property
    def text(self) -> str:
        return self.path.read_text()

    def beside(self, name: str) -> Path:
        return self.path.with_name(name)

    def moved(self, name: str) -> Path:
        return self.path.rename(self.beside(name))

    def change(self, old: str, new: str) -> None:
        assert old in self.text
        self.path.write_text(self.text.replace(old, new, 1))
