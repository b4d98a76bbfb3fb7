"""What a classifier is: it reads the user's ask and says how likely the small model is to fall short."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import ClassVar

from pydantic import BaseModel, ConfigDict

# The kinds of work that the shipped classifier tells apart.
TASKS = (
    "chat",
    "classification",
    "code",
    "creative_writing",
    "extraction",
    "planning",
    "question_answering",
    "reasoning",
    "rewriting",
    "summarization",
    "translation",
)


@dataclass(frozen=True, slots=True)
class Assessment:
    """What a classifier found in one text.

    score: 0..1, the probability that the small model's answer falls short of the large one's; higher is harder.
    task: what kind of work it is ("summarization", "code", ...), or None where the classifier cannot tell.
    task_probability: 0..1, how sure of the task.
    abstained: the text lies outside what the classifier was trained on; the score is not to be used.
    """

    score: float
    task: str | None = None
    task_probability: float = 0.0
    abstained: bool = False


class Classifier(BaseModel, ABC):
    """Scores texts. The constructor's arguments are the keys of `[classifier]`; what it loads is a private attribute.

    Synchronous and thread-safe: the gateway calls it in worker threads, off the event loop.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: ClassVar[tuple[str, ...]] = TASKS  # the words for tasks that it may use; the config is checked against them

    @abstractmethod
    def assess(self, texts: Sequence[str]) -> list[Assessment]:
        """One assessment per text, in order. A batch costs less than its texts one by one."""

    @property
    def thresholds(self) -> Mapping[str, float]:
        """The recommended operating points, 0..1: `cost` >= `balanced` (the default one) >= `quality`."""
        return MappingProxyType({"cost": 0.75, "balanced": 0.5, "quality": 0.25})

    @property
    def version(self) -> str:
        """What scored, as the ledger records it."""
        return type(self).__name__.lower()
