"""When: from the `when` table of a rule to the condition that it writes down.

`{ pii = ["email"], has_tools = false }` holds when all of its keys do; `any`, `all` and `not` nest.
"""

from collections.abc import Iterator, Mapping

from pydantic import ValidationError

from weighbridge.policies.conditions import CONDITIONS, Condition, nearest
from weighbridge.policies.facts import Facts


class ConditionError(ValueError):
    """A `when` that makes no sense. path: the keys that lead to what is wrong, from the `when` on."""

    def __init__(self, path: tuple[str | int, ...], problem: str) -> None:
        self.path, self.problem = path, problem
        super().__init__(f"{_spelt(path)}: {problem}" if path else problem)


_JOINTS = frozenset({"any", "all", "not"})
MAX_NESTING = 20


class Every(Condition):
    """All of them hold."""

    value: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool:
        return all(condition.holds(facts) for condition in self.value)


class Some(Condition):
    """At least one of them holds."""

    value: tuple[Condition, ...]

    def holds(self, facts: Facts) -> bool:
        return any(condition.holds(facts) for condition in self.value)


class Not(Condition):
    """It does not hold."""

    value: Condition

    def holds(self, facts: Facts) -> bool:
        return not self.value.holds(facts)


def parse(table: object, path: tuple[str | int, ...] = ()) -> Condition:
    """The condition that a `when` table writes down. ConditionError says where it makes no sense."""
    if not isinstance(table, Mapping):
        raise ConditionError(path, f'{table!r} is not a table of conditions such as {{ pii = ["email"] }}')
    if not table:
        raise ConditionError(path, "is empty, and would hold for every request")
    if len(path) > MAX_NESTING:
        raise ConditionError(path, "is nested too deeply")
    parts = tuple(_parse_one(str(key), value, (*path, str(key))) for key, value in table.items())
    return parts[0] if len(parts) == 1 else Every(value=parts)


def _parse_one(key: str, value: object, path: tuple[str | int, ...]) -> Condition:
    if key == "not":
        return Not(value=parse(value, path))
    if key in _JOINTS:
        return (Some if key == "any" else Every)(value=_parse_list(value, path))
    if key not in CONDITIONS:
        raise ConditionError(path, f"is not a condition; {nearest(key, CONDITIONS.keys() | _JOINTS)}")
    try:
        return CONDITIONS[key].model_validate({"value": value})
    except ValidationError as error:
        raise _of_pydantic(error, path) from error


def _parse_list(value: object, path: tuple[str | int, ...]) -> tuple[Condition, ...]:
    if not isinstance(value, list | tuple):
        raise ConditionError(path, f"{value!r} is not a list of tables")
    if not value:
        raise ConditionError(path, "is empty")
    return tuple(parse(part, (*path, number)) for number, part in enumerate(value))


def leaves_of(condition: Condition) -> Iterator[Condition]:
    """The conditions that it is made of."""
    if isinstance(condition, Not):
        yield from leaves_of(condition.value)
    elif isinstance(condition, Every | Some):
        for part in condition.value:
            yield from leaves_of(part)
    else:
        yield condition


def _of_pydantic(error: ValidationError, path: tuple[str | int, ...]) -> ConditionError:
    first = error.errors()[0]
    # Below "value" come places in a list and names in a table; the rest is pydantic's own bookkeeping.
    inner = tuple(part for part in first["loc"][1:] if isinstance(part, int))
    problem = first["msg"].removeprefix("Value error, ").replace("tuple", "list").replace("Tuple", "List")
    if first["type"] != "value_error":  # ours name the value themselves
        problem = f"{problem} (it is {first['input']!r})"
    return ConditionError((*path, *inner), problem)


def _spelt(path: tuple[str | int, ...]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
