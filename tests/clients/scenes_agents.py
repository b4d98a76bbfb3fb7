"""Coding agents, headless: the whole program at work, with tools of its own, on the usual local server."""

from scripted import SENTENCE, Seen, completion, respond
from serving import calling
from stage import Stage, scene

AGENTS = "Coding agents"
PROMPT = "Say hello with the shell."
HELLO = "hello-from-the-shell"


def shell(seen: Seen) -> tuple[str, dict]:
    """The call that makes this agent's shell say hello, by the tools that it has sent."""
    names = [tool["function"]["name"] for tool in seen.json.get("tools", ())]
    if "Bash" in names:
        return "Bash", {"command": f"echo {HELLO}", "description": "Say hello"}
    if "exec_command" in names:
        return "exec_command", {"cmd": f"echo {HELLO}"}
    return "shell", {"command": ["echo", HELLO]}


@scene(AGENTS, "an answer", "openai/codex#12798, litellm#36268, litellm#29764")
def agent_answers(stage: Stage) -> None:
    stage.only_chat()
    assert stage.act("agent", prompt=PROMPT)["text"].strip() == SENTENCE


@scene(AGENTS, "a tool loop that stays on one model, and the tool's output reaches it", "litellm#36268, litellm#30043")
def agent_loops(stage: Stage) -> None:
    # Agents ask for small things of their own on the side: only what has tools is the loop.
    only_chat = {"local": {"endpoints": []}, "remote": {"endpoints": []}}
    turning = {"auto": {"small": "local", "large": "remote", "policy": {"use": "stage:Turning"}}}
    stage.own(upstreams=only_chat, routes=turning)
    has_called = []

    async def working(seen: Seen, writer: object) -> None:
        if seen.json.get("tools") and not has_called:
            has_called.append(seen)
            await calling(shell(seen))(seen, writer)  # type: ignore[arg-type]
        else:
            await completion()(seen, writer)  # type: ignore[arg-type]

    for upstream in (stage.local, stage.remote):
        upstream.always(working)
    said = stage.act("agent", prompt=PROMPT)
    assert said["text"].strip() == SENTENCE
    assert any(HELLO in output for output in said["outputs"])
    loops = [[s for s in up.chats if s.json.get("tools")] for up in (stage.local, stage.remote)]
    assert sorted(len(loop) for loop in loops) == [0, 2]
    last = max(loops, key=len)[-1].json["messages"]
    assert any(HELLO in str(message["content"]) for message in last if message["role"] == "tool")


@scene(AGENTS, "a rate limit ends it, with its reason", "litellm#37754: Claude Code retries for ever")
def agent_limited(stage: Stage) -> None:
    stage.only_chat()
    limited = respond(
        429, {"error": {"message": "Slow down.", "type": "x", "code": "rate_limit_exceeded"}}, {"retry-after": "30"}
    )
    for upstream in (stage.local, stage.remote):
        upstream.always(limited)
    assert stage.fails("agent", prompt=PROMPT).message
