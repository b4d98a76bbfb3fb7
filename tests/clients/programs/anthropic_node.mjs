// @anthropic-ai/sdk, of any major version.

import Anthropic from "@anthropic-ai/sdk";
import { can, serve } from "./acting.mjs";

// Its base URL is the root: the client adds /v1 itself.
const client = (place) => new Anthropic({ baseURL: place.root, apiKey: place.key, maxRetries: 0, timeout: 20_000 });

const said = (message) => ({
  text: message.content.filter((block) => block.type === "text").map((block) => block.text).join(""),
  model: message.model,
  stop: message.stop_reason,
  usage: [message.usage.input_tokens, message.usage.output_tokens],
  calls: message.content
    .filter((block) => block.type === "tool_use")
    .map((block) => ({ id: block.id, name: block.name, input: block.input })),
});

await serve({
  message: can("body", async (place, { body }) => said(await client(place).messages.create({ model: place.model, ...body }))),
  message_stream: can("body", async (place, { body }) => {
    const running = client(place).messages.stream({ model: place.model, ...body });
    const events = [];
    for await (const event of running) events.push(event.type);
    return { ...said(await running.finalMessage()), events };
  }),
  message_loop: can("prompt functions", async (place, { prompt, functions }) => {
    const messages = [{ role: "user", content: prompt }];
    for (;;) {
      const body = { model: place.model, messages, tools: functions, max_tokens: 100 };
      const answer = await client(place).messages.create(body);
      if (answer.stop_reason !== "tool_use") return said(answer);
      messages.push({ role: "assistant", content: answer.content });
      const called = answer.content.filter((block) => block.type === "tool_use");
      const results = called.map((c) => ({ type: "tool_result", tool_use_id: c.id, content: "a wall" }));
      messages.push({ role: "user", content: results });
    }
  }),
  count_tokens: can("body", async (place, { body }) => ({
    tokens: (await client(place).messages.countTokens({ model: place.model, ...body })).input_tokens,
  })),
  message_leave: can("body", async (place, { body }) => {
    const events = await client(place).messages.create({ model: place.model, stream: true, ...body });
    for await (const event of events) if (event.type === "content_block_delta") return { left: true };
    return { left: false };
  }),
  message_model_list: can("", async (place) => {
    const ids = [];
    for await (const model of client(place).models.list()) ids.push(model.id);
    return { ids };
  }),
});
