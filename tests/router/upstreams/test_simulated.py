"""The upstream without a model."""

import asyncio
import json

import pytest

from weighbridge.errors import Cut, TimedOut, Unreachable
from weighbridge.upstreams.base import Limits
from weighbridge.upstreams.simulated import Simulated
from weighbridge.wire import Body, parse


def ask(text="What is 2 + 2?", **fields) -> Body:
    return parse(json.dumps({"model": "auto", "messages": [{"role": "user", "content": text}], **fields}).encode())


def simulated(**keys) -> Simulated:
    return Simulated(model="small-3b", location="local", **keys)


async def whole(upstream, body):
    return json.loads((await upstream.complete(body)).body)


async def events(upstream, body):
    stream = await upstream.stream(body)
    found = []
    while read := await stream.read():
        found += read
    await stream.aclose()
    assert found[-1] == b"[DONE]"
    return [json.loads(event) for event in found[:-1]]


async def test_an_answer_says_that_it_is_simulated_and_by_which_model():
    answer = await whole(simulated(), ask())
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "small-3b"
    assert answer["choices"][0]["message"]["content"].startswith("Simulated answer by small-3b: No model was asked")
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_the_same_prompt_gets_the_same_answer_and_another_one_another_length():
    upstream = simulated(output_tokens=100)
    first, again = await whole(upstream, ask()), await whole(upstream, ask())
    assert first["choices"] == again["choices"]
    assert first["usage"] == again["usage"]
    lengths = {(await whole(upstream, ask(f"question {i}")))["usage"]["completion_tokens"] for i in range(20)}
    assert len(lengths) > 10


async def test_lengths_lie_around_their_mean():
    upstream = simulated(output_tokens=100)
    lengths = [(await upstream.complete(ask(f"question {i}"))).usage.output_tokens for i in range(500)]
    assert min(lengths) >= 25
    assert max(lengths) <= 175
    assert 90 < sum(lengths) / len(lengths) < 110


async def test_the_seed_changes_the_lengths():
    one, two = [await whole(simulated(output_tokens=100, seed=seed), ask()) for seed in (1, 2)]
    assert one["usage"] != two["usage"]


async def test_usage_counts_the_prompt_and_the_answer():
    completion = await simulated().complete(ask("four four four four"))
    answer = json.loads(completion.body)
    words = answer["choices"][0]["message"]["content"].split(" ")
    assert answer["usage"] == {
        "prompt_tokens": 5,
        "completion_tokens": len(words),
        "total_tokens": 5 + len(words),
    }
    assert (completion.usage.input_tokens, completion.usage.output_tokens) == (5, len(words))


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
async def test_a_limit_cuts_the_answer_and_says_so(name):
    choice = (await whole(simulated(output_tokens=100), ask(**{name: 3})))["choices"][0]
    assert choice["message"]["content"] == "Simulated answer by"
    assert choice["finish_reason"] == "length"


async def test_a_request_may_ask_for_a_length():
    answer = await whole(simulated(), ask(simulate={"output_tokens": 300}))
    assert answer["usage"]["completion_tokens"] == 300
    assert answer["choices"][0]["finish_reason"] == "stop"


async def test_own_answers_are_announced_too_and_survive_json():
    upstream = simulated(answers=('He said "no"\\ and left: Ünïcode €',))
    content = 'Simulated answer by small-3b: He said "no"\\ and left: Ünïcode €'
    assert (await whole(upstream, ask()))["choices"][0]["message"]["content"] == content
    chunks = await events(upstream, ask())
    assert "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"]) == content


async def test_a_stream_has_a_role_tokens_one_finish_reason_and_the_usage():
    chunks = await events(simulated(), ask(stream=True))
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert {c["object"] for c in chunks} == {"chat.completion.chunk"}
    assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
    reasons = [c["choices"][0]["finish_reason"] for c in chunks if c["choices"]]
    assert reasons == [None] * (len(reasons) - 1) + ["stop"]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == len(chunks) - 3
    assert all("usage" not in c for c in chunks[:-1])


async def test_a_client_that_asks_for_the_usage_sees_null_before_it():
    chunks = await events(simulated(), ask(stream=True, stream_options={"include_usage": True}))
    assert all(c["usage"] is None for c in chunks[:-1])
    assert chunks[-1]["usage"]["completion_tokens"] == len(chunks) - 3


async def test_whole_and_streamed_answers_are_the_same_text():
    upstream = simulated(output_tokens=60)
    chunks = await events(upstream, ask())
    streamed = "".join(c["choices"][0]["delta"].get("content", "") for c in chunks if c["choices"])
    assert streamed == (await whole(upstream, ask()))["choices"][0]["message"]["content"]


async def test_the_pace_is_that_of_the_config_and_speed_shortens_it():
    upstream = simulated(ttft_s=0.5, tokens_per_s=50)
    assert upstream.due_s(1) == 0.5
    assert upstream.due_s(51) == pytest.approx(1.5)
    assert simulated(ttft_s=0.5, tokens_per_s=50, speed=10).due_s(51) == pytest.approx(0.15)
    assert simulated().due_s(1000) == 0


async def test_a_paced_stream_comes_in_several_reads():
    stream = await simulated(ttft_s=0.01, tokens_per_s=100, output_tokens=20).stream(ask())
    reads = 0
    while await stream.read():
        reads += 1
    assert reads > 1


async def test_failing_prompts_fail_every_time_and_about_as_often_as_asked():
    upstream = simulated(fail_share=0.3)
    failed = 0
    for i in range(300):
        outcomes = []
        for act in (upstream.complete, upstream.stream):
            try:
                await act(ask(f"question {i}"))
                outcomes.append("answered")
            except Unreachable:
                outcomes.append("failed")
        assert len(set(outcomes)) == 1
        failed += outcomes[0] == "failed"
    assert 60 < failed < 120


async def test_a_cut_stream_gives_half_of_its_tokens_and_no_finish_reason():
    upstream = simulated(cut_share=1, output_tokens=50)
    stream = await upstream.stream(ask())
    found = await stream.read()
    with pytest.raises(Cut):
        await stream.read()
    assert len(found) > 2
    assert b'finish_reason":"' not in b"".join(found)
    assert await stream.read() == []
    with pytest.raises(Cut):
        await upstream.complete(ask())


async def test_the_limits_hold():
    slow = simulated(ttft_s=60, limits=Limits(first_token_s=0.01, total_s=0.02))
    with pytest.raises(TimedOut):
        await (await slow.stream(ask())).read()
    with pytest.raises(TimedOut):
        await slow.complete(ask())
    halting = simulated(tokens_per_s=0.1, limits=Limits(idle_s=0.01))
    stream = await halting.stream(ask())
    assert await stream.read()
    with pytest.raises(TimedOut):
        await stream.read()


async def test_a_cancelled_request_ends_at_once():
    task = asyncio.create_task(simulated(ttft_s=60).complete(ask()))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_closed_stream_gives_nothing_more():
    stream = await simulated().stream(ask())
    await stream.aclose()
    await stream.aclose()
    assert await stream.read() == []


@pytest.mark.parametrize(
    "fields",
    [
        {"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, {"type": "image_url"}, 3]}]},
        {"messages": [{"role": "user", "content": None}, "nonsense"]},
        {"messages": None},
        {"simulate": "nonsense"},
        {"max_tokens": "nonsense"},
        {"stream_options": "nonsense"},
    ],
)
async def test_odd_bodies_are_answered_all_the_same(fields):
    body = parse(json.dumps({"model": "auto", **fields}).encode())
    assert (await whole(simulated(), body))["choices"]
    assert await events(simulated(), body)


async def test_check_says_that_nothing_is_real():
    assert "no model" in await simulated(ttft_s=0.2, tokens_per_s=60).check()
