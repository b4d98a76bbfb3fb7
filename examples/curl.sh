#!/bin/sh
# The gateway from the shell: an answer, a stream, and a decision without an answer.
set -eu
base="${OPENAI_BASE_URL:-http://127.0.0.1:8484/v1}"
key="${OPENAI_API_KEY:-not-needed}"

echo "== an answer, with the headers that say where it came from"
curl --fail-with-body --silent --show-error --include "$base/chat/completions" \
    --header "Authorization: Bearer $key" --header "Content-Type: application/json" \
    --data '{"model": "auto", "messages": [{"role": "user", "content": "What is the capital of France?"}]}'

echo && echo "== a stream"
curl --fail-with-body --silent --show-error --no-buffer "$base/chat/completions" \
    --header "Authorization: Bearer $key" --header "Content-Type: application/json" \
    --data '{"model": "auto", "stream": true, "max_tokens": 5, "messages": [{"role": "user", "content": "Count to ten."}]}'

echo "== where would this go, and why?"
curl --fail-with-body --silent --show-error "$base/route" \
    --header "Authorization: Bearer $key" --header "Content-Type: application/json" \
    --data '{"model": "auto", "messages": [{"role": "user", "content": "Prove that there are infinitely many primes."}]}'
echo
