"""The estimate of a request's tokens."""

from weighbridge.dialects.messages_count import count_tokens


def body(content, **fields):
    return {"model": "m", "messages": [{"role": "user", "content": content}], **fields}


def test_it_grows_with_the_text_about_four_characters_to_a_token():
    short, long = count_tokens(body("a" * 400)), count_tokens(body("a" * 4_400))
    assert long - short == 1_000
    assert 100 <= short <= 120


def test_system_and_tools_count_and_other_fields_do_not():
    """litellm#30043: an agent that cannot count its context never makes it smaller."""
    plain = count_tokens(body("hi"))
    assert count_tokens(body("hi", system="s" * 400)) >= plain + 100
    assert count_tokens(body("hi", tools=[{"name": "t", "input_schema": {"d": "x" * 400}}])) >= plain + 100
    assert count_tokens(body("hi", metadata={"user_id": "x" * 4_000})) == plain


def test_a_picture_counts_as_a_picture_and_not_by_its_bytes():
    small, large = (
        count_tokens(body([{"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}}]))
        for data in ("A" * 10, "A" * 1_000_000)
    )
    assert small == large
    assert small > 1_600


def test_anything_that_is_json_can_be_counted():
    assert count_tokens({"messages": [{"type": ["x"], "n": 10**30, "f": 1.5, "b": True, "none": None}]}) > 1
    assert count_tokens({}) == 1
