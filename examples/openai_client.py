"""OpenAI's Python client through the gateway: two questions, where each went and why, and a stream."""

import os

from openai import OpenAI

client = OpenAI(
    base_url=os.environ.get("OPENAI_BASE_URL", "http://127.0.0.1:8484/v1"),
    api_key=os.environ.get("OPENAI_API_KEY", "not-needed"),
)

QUESTIONS = (
    "What is the capital of France?",
    "Prove that every finite integral domain is a field, and say where finiteness is used.",
)

for question in QUESTIONS:
    raw = client.chat.completions.with_raw_response.create(
        model="auto", messages=[{"role": "user", "content": question}]
    )
    answer = raw.parse()
    print(f"Q: {question}")
    print(f"A: {answer.choices[0].message.content}")
    print(f"   by {answer.model}, which is {raw.headers['x-weighbridge-location']}")
    print(f"   because {raw.headers['x-weighbridge-reason']}; saved USD {raw.headers.get('x-weighbridge-saved-usd')}")

print("\nThe first one again, as a stream:")
stream = client.chat.completions.create(model="auto", messages=[{"role": "user", "content": QUESTIONS[0]}], stream=True)
for chunk in stream:
    if chunk.choices and chunk.choices[0].delta.content:
        print(chunk.choices[0].delta.content, end="", flush=True)
print()
