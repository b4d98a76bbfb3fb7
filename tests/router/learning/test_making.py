"""Making labels: two scripted models, real upstreams, and every way to judge."""

import json
from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedUpstream, completion, respond

from weighbridge.learning import drafts
from weighbridge.learning.calls import Model
from weighbridge.learning.files import BadFile, Placed
from weighbridge.learning.labels import from_file
from weighbridge.learning.making import Ask, CannotGoOn, How, Maker, asks_of
from weighbridge.units import NanoUsd, Price
from weighbridge.upstreams.openai import OpenAI

DOLLAR = 1_000_000_000


class Bench:
    """Two scripted models and a judge, and a maker that writes to a file."""

    def __init__(self, folder: Path, *scripts: ScriptedUpstream) -> None:
        self.small, self.large, self.judge = scripts
        self.path = folder / "labels.jsonl"
        self.said: list[str] = []

    def model(self, name: str, script: ScriptedUpstream, usd_per_mtok: str) -> Model:
        location: Any = "local" if name == "small" else "remote"
        upstream = OpenAI(model=f"model-{name}", location=location, base_url=script.url)
        return Model(name, upstream, Price(Decimal(usd_per_mtok), Decimal(usd_per_mtok)))

    def maker(self, how: How | None = None, cap_usd: float = 1.0, large: str = "10") -> Maker:
        return Maker(
            self.path,
            self.model("small", self.small, "0"),
            self.model("large", self.large, large),
            how or How(),
            NanoUsd(round(cap_usd * DOLLAR)),
            self.said.append,
        )

    def with_judge(self) -> How:
        return How(judge=self.model("judge", self.judge, "1"))

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.path.read_text().splitlines()]


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    with ScriptedUpstream() as small, ScriptedUpstream() as large, ScriptedUpstream() as judge:
        small.always(completion("41"))
        large.always(completion("42", usage=(100, 50)))
        yield Bench(tmp_path, small, large, judge)


def asks(number: int, **fields: Any) -> list[Ask]:
    return asks_of([Placed(f"row {i}", {"prompt": f"What is {i} times 7?", **fields}) for i in range(number)])


async def anywhere(_: Ask) -> bool:
    return True


async def test_answers_with_a_reference_are_compared_with_it(bench: Bench) -> None:
    made = await bench.maker().make(asks(3, reference="42", domain="sums"), anywhere)
    assert (made.labelled, made.failed, made.left, made.is_capped) == (3, 0, 0, False)
    assert made.spent_nano_usd == 3 * 150 * 10_000
    found = from_file(bench.path).labels
    assert found.small.tolist() == [0, 0, 0]
    assert found.large.tolist() == [1, 1, 1]
    assert set(found.source.tolist()) == {"exact match"}
    assert set(found.domain.tolist()) == {"sums"}
    assert found.large_cost is not None
    assert found.large_cost.tolist() == [0.0015] * 3
    assert bench.large.chats[0].json["max_completion_tokens"] == 1024
    assert bench.path.stat().st_mode & 0o777 == 0o600
    assert "3 of 3 prompts, $0.0045 spent" in bench.said[-1]


async def test_answers_with_a_schema_are_checked_against_it(bench: Bench) -> None:
    bench.small.always(completion('{"n": "one"}'))
    bench.large.always(completion('{"n": 1}'))
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    await bench.maker().make(asks(1, schema=schema), anywhere)
    assert [(row["small_score"], row["large_score"], row["source"]) for row in bench.lines] == [(0, 1, "schema")]


async def test_a_judge_sees_both_orders(bench: Bench) -> None:
    bench.judge.then(completion("The second is right.\nSECOND"), completion("FIRST"))
    await bench.maker(bench.with_judge()).make(asks(1), anywhere)
    one, two = (seen.json["messages"][0]["content"] for seen in bench.judge.chats)
    assert one.index("41") < one.index("42")
    assert two.index("42") < two.index("41")
    (row,) = bench.lines
    assert (row["small_score"], row["large_score"], row["source"]) == (0, 1, "judge judge")
    assert row["cost_nano_usd"] == 150 * 10_000 + 2 * 29 * 1000


async def test_a_judge_who_says_nothing_gives_no_label_and_does_not_stop_the_rest(bench: Bench) -> None:
    bench.judge.always(completion("I would rather not say."))
    made = await bench.maker(bench.with_judge()).make(asks(7), anywhere)
    assert (made.labelled, made.failed) == (0, 7)
    assert {row["failed"] for row in bench.lines} == {"no_verdict"}


async def test_a_person_can_judge(bench: Bench) -> None:
    verdicts: dict[str, str | None] = {"What is 0 times 7?": "first", "What is 1 times 7?": None}
    shown = []

    def ask(prompt: str, small: str, large: str) -> str | None:
        shown.append((small, large))
        return verdicts[prompt]

    made = await bench.maker(How(ask_user=ask)).make(asks(2), anywhere)
    assert (made.labelled, made.failed) == (1, 1)
    assert shown == [("41", "42")] * 2
    assert [row["source"] for row in bench.lines] == ["user", None]


async def test_prompts_that_nothing_can_judge_are_refused_before_any_call(bench: Bench) -> None:
    with pytest.raises(CannotGoOn, match="2 prompts have neither `reference` nor `schema`"):
        await bench.maker().make(asks(2), anywhere)
    assert not bench.small.chats


async def test_a_second_run_goes_on_where_the_first_ended(bench: Bench) -> None:
    await bench.maker().make(asks(2, reference="42"), anywhere)
    with bench.path.open("ab") as file:
        file.write(b'{"key": "torn')  # killed within a line
    made = await bench.maker().make(asks(5, reference="42"), anywhere)
    assert (made.known, made.labelled) == (2, 3)
    assert len(bench.large.chats) == 5
    assert len(bench.lines) == 5
    assert made.spent_nano_usd == 5 * 150 * 10_000


async def test_the_cap_holds_over_all_runs(bench: Bench) -> None:
    # Worst case of a large call: about 1,050 tokens, so a cap of 0.0135 lets few through.
    first = await bench.maker(cap_usd=0.0135).make(asks(20, reference="42"), anywhere)
    assert first.is_capped
    assert 0 < first.labelled < 20
    assert first.spent_nano_usd <= 0.0135 * DOLLAR
    assert first.left == 20 - first.labelled
    calls = len(bench.large.chats)
    again = await bench.maker(cap_usd=0.0135).make(asks(20, reference="42"), anywhere)
    assert again.is_capped
    assert again.labelled == 0
    assert len(bench.large.chats) == calls
    rest = await bench.maker(cap_usd=1).make(asks(20, reference="42"), anywhere)
    assert rest.labelled + first.labelled == 20


async def test_what_failed_is_written_down_and_tried_again(bench: Bench) -> None:
    bench.large.then(respond(200, b"{}"))
    first = await bench.maker().make(asks(1, reference="42"), anywhere)
    assert (first.labelled, first.failed) == (0, 1)
    assert bench.lines[0]["failed"] == "upstream_malformed"
    assert first.spent_nano_usd > 0  # it may have worked: its worst case counts
    again = await bench.maker().make(asks(1, reference="42"), anywhere)
    assert again.labelled == 1


async def test_it_gives_up_when_nothing_comes_back(bench: Bench) -> None:
    bench.small.always(respond(401, {"error": {"message": "no"}}))
    with pytest.raises(CannotGoOn, match="5 prompts in a row failed, the last with upstream_auth"):
        await bench.maker().make(asks(50, reference="42"), anywhere)
    assert len(bench.small.chats) < 15


async def test_a_prompt_that_may_not_leave_is_left_out(bench: Bench) -> None:
    async def not_the_first(ask: Ask) -> bool:
        return "0 times" not in ask.prompt

    made = await bench.maker().make(asks(3, reference="42"), not_the_first)
    assert made.labelled == 2
    assert "1 prompts are left out" in bench.said[0]
    assert not [seen for seen in bench.large.chats if b"0 times" in seen.body]


async def test_a_file_of_other_models_or_of_somebody_else_is_refused(bench: Bench) -> None:
    await bench.maker().make(asks(1, reference="42"), anywhere)
    bench.path.write_text(bench.path.read_text().replace("model-large", "gpt-4"))
    with pytest.raises(CannotGoOn, match="was made with model-small and gpt-4"):
        await bench.maker().make(asks(1, reference="42"), anywhere)
    bench.path.write_text('{"prompt": "mine"}\n')
    with pytest.raises(CannotGoOn, match=r"labels\.jsonl:1: not a label of ours"):
        await bench.maker().make(asks(1, reference="42"), anywhere)
    assert bench.path.read_text() == '{"prompt": "mine"}\n'


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"prompt": "a", "schema": "{"}, "schema is not JSON"),
        ({"prompt": "a", "schema": {"$ref": "#"}}, "is not supported"),
        ({"prompt": ""}, "holds no text"),
    ],
)
def test_a_prompt_that_makes_no_sense_is_told(row: dict[str, Any], said: str) -> None:
    with pytest.raises(BadFile, match=said):
        asks_of([Placed("row 1", row)])


def test_messages_are_sent_as_they_are() -> None:
    messages = [{"role": "system", "content": "short"}, {"role": "user", "content": "hello"}]
    (ask,) = asks_of([Placed("row 1", {"messages": json.dumps(messages)})])
    assert ask.messages == messages
    assert ask.prompt == "hello"


async def test_what_the_small_answer_shows_is_noted_for_a_cascade(bench: Bench) -> None:
    told = {"content": [{"token": "4", "logprob": -0.5}, {"token": "1", "logprob": -1.5}]}
    choice = {"index": 0, "message": {"role": "assistant", "content": "41"}, "logprobs": told, "finish_reason": "stop"}
    bench.small.always(respond(200, {"choices": [choice], "usage": {"prompt_tokens": 5, "completion_tokens": 2}}))
    await bench.maker().make(asks(1, reference="42"), anywhere)
    assert bench.small.chats[0].json["logprobs"] is True
    assert "logprobs" not in bench.large.chats[0].json
    (found,) = drafts.from_file(bench.path).evidence
    assert (found.mean_logprob, found.low_logprob) == (-1.0, -1.5)


async def test_what_a_stream_would_show_and_further_drafts_say_is_noted_too(bench: Bench) -> None:
    text = " ".join(f"word{i}" for i in range(40))
    bench.small.then(completion(text, (5, 40)), completion(text, (5, 40)), completion("Something else.", (5, 3)))
    bench.small.then(completion("Short.", (5, 2)))
    maker = replace(bench.maker(), hold_tokens=20, samples=3)
    await maker.make(asks(1, reference="42"), anywhere)
    found = drafts.from_file(bench.path)
    (whole,), (beginning,) = found.evidence, found.beginning
    assert beginning is not None
    assert (whole.is_beginning, beginning.is_beginning) == (False, True)
    assert whole.agreement == pytest.approx(0.5, abs=0.1)
    assert beginning.agreement == pytest.approx(0.5, abs=0.1)
    assert len(bench.small.chats) == 3


async def test_an_answer_that_is_short_shows_a_stream_all_there_is(bench: Bench) -> None:
    bench.small.always(completion("42", (5, 2)))
    await bench.maker().make(asks(1, reference="42"), anywhere)
    assert drafts.from_file(bench.path).beginning == [None]
    assert bench.lines[0]["beginning"] is None


async def test_a_further_draft_that_fails_costs_no_label(bench: Bench) -> None:
    bench.small.then(completion("42"), respond(500, {}))
    made = await replace(bench.maker(), samples=2).make(asks(1, reference="42"), anywhere)
    assert made.labelled == 1
    assert drafts.from_file(bench.path).evidence[0].agreement is None
