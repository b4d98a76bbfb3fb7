// openai-node, of any major version.

import OpenAI, { toFile } from "openai";
import { zodResponseFormat, zodTextFormat } from "openai/helpers/zod";
import { z } from "zod";
import { can, serve } from "./acting.mjs";

const City = z.object({ name: z.string(), people: z.number() });
const client = (place) => new OpenAI({ baseURL: place.url, apiKey: place.key, maxRetries: 0, timeout: 20_000 });
const asked = (prompt) => [{ role: "user", content: prompt }];
const counts = (usage) => (usage ? [usage.prompt_tokens, usage.completion_tokens] : null);
const calls = (message) =>
  (message.tool_calls ?? []).map((c) => ({ id: c.id, name: c.function.name, arguments: c.function.arguments }));

async function gathered(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  const choices = chunks.flatMap((chunk) => chunk.choices);
  return {
    text: choices.map((c) => c.delta.content ?? "").join(""),
    models: [...new Set(chunks.map((c) => c.model))],
    ids: [...new Set(chunks.map((c) => c.id))],
    roles: choices.map((c) => c.delta.role).filter(Boolean),
    finishes: choices.map((c) => c.finish_reason).filter(Boolean),
    usages: chunks.map((c) => c.usage).filter(Boolean),
    chunks,
  };
}

const response = (r) => ({
  id: r.id,
  text: r.output_text,
  model: r.model,
  status: r.status,
  usage: r.usage ? [r.usage.input_tokens, r.usage.output_tokens] : null,
  calls: r.output
    .filter((item) => item.type === "function_call")
    .map((item) => ({ id: item.call_id, name: item.name, arguments: item.arguments })),
  types: r.output.map((item) => item.type),
});

await serve({
  chat: can("prompt", async (place, { prompt }) => {
    const answer = await client(place).chat.completions.create({ model: place.model, messages: asked(prompt) });
    const [choice] = answer.choices;
    return {
      text: choice.message.content,
      model: answer.model,
      finish: choice.finish_reason,
      usage: counts(answer.usage),
      request_id: answer._request_id,
    };
  }),
  stream: can("prompt usage", async (place, { prompt, usage }) => {
    const options = usage ? { stream_options: { include_usage: true } } : {};
    const body = { model: place.model, messages: asked(prompt), stream: true, ...options };
    return gathered(await client(place).chat.completions.create(body));
  }),
  send: can("body", async (place, { body }) => {
    const answer = await client(place).chat.completions.create(body).asResponse();
    return { text: await answer.text(), headers: Object.fromEntries(answer.headers) };
  }),
  send_stream: can("body", async (place, { body }) =>
    gathered(await client(place).chat.completions.create({ ...body, stream: true })),
  ),
  tools: can("prompt functions streamed", async (place, { prompt, functions, streamed }) => {
    const body = { model: place.model, messages: asked(prompt), tools: functions };
    const completions = client(place).chat.completions;
    const answer = streamed ? await completions.stream(body).finalChatCompletion() : await completions.create(body);
    return { calls: calls(answer.choices[0].message), finish: answer.choices[0].finish_reason };
  }),
  loop: can("prompt functions", async (place, { prompt, functions }) => {
    const tools = functions.map((tool) => ({
      ...tool,
      function: { ...tool.function, function: () => "a wall", parse: JSON.parse },
    }));
    const body = { model: place.model, messages: asked(prompt), tools };
    const running = client(place).chat.completions.runTools(body);
    return { text: await running.finalContent() };
  }),
  parse: can("prompt", async (place, { prompt }) => {
    const answer = await client(place).chat.completions.parse({
      model: place.model,
      messages: asked(prompt),
      response_format: zodResponseFormat(City, "city"),
    });
    return { parsed: answer.choices[0].message.parsed };
  }),
  image: can("prompt url", async (place, { prompt, url }) => {
    const parts = [{ type: "text", text: prompt }, { type: "image_url", image_url: { url } }];
    const body = { model: place.model, messages: [{ role: "user", content: parts }] };
    return { text: (await client(place).chat.completions.create(body)).choices[0].message.content };
  }),
  leave: can("prompt streamed", async (place, { prompt, streamed }) => {
    const body = { model: place.model, messages: asked(prompt) };
    if (streamed) {
      for await (const _ of await client(place).chat.completions.create({ ...body, stream: true })) return { left: true };
    }
    try {
      await client(place).chat.completions.create(body, { signal: AbortSignal.timeout(800) });
    } catch {
      return { left: true };
    }
    return { left: false };
  }),
  complete: can("prompt suffix n", async (place, { prompt, suffix, n }) => {
    const body = { model: place.model, prompt, max_tokens: 50, ...(suffix ? { suffix } : {}), ...(n ? { n } : {}) };
    const answer = await client(place).completions.create(body);
    return {
      texts: answer.choices.map((c) => c.text),
      indexes: answer.choices.map((c) => c.index),
      usage: counts(answer.usage),
    };
  }),
  complete_stream: can("prompt usage", async (place, { prompt, usage }) => {
    const options = usage ? { stream_options: { include_usage: true } } : {};
    const body = { model: place.model, prompt, max_tokens: 50, stream: true, ...options };
    const chunks = [];
    for await (const chunk of await client(place).completions.create(body)) chunks.push(chunk);
    const choices = chunks.flatMap((chunk) => chunk.choices);
    return {
      text: choices.map((c) => c.text).join(""),
      finishes: choices.map((c) => c.finish_reason).filter(Boolean),
      usages: chunks.map((c) => counts(c.usage)).filter(Boolean),
    };
  }),
  embed: can("texts form dimensions", async (place, { texts, form, dimensions }) => {
    const more = { ...(form ? { encoding_format: form } : {}), ...(dimensions ? { dimensions } : {}) };
    const answer = await client(place).embeddings.create({ model: place.model, input: texts, ...more });
    return { vectors: answer.data.map((entry) => entry.embedding), tokens: answer.usage.prompt_tokens };
  }),
  respond: can("body", async (place, { body }) =>
    response(await client(place).responses.create({ model: place.model, ...body })),
  ),
  respond_stream: can("body", async (place, { body }) => {
    const running = client(place).responses.stream({ model: place.model, ...body });
    const events = [];
    for await (const event of running) events.push(event);
    return {
      ...response(await running.finalResponse()),
      events: events.map((event) => event.type),
      numbers: events.map((event) => event.sequence_number),
    };
  }),
  respond_loop: can("prompt functions", async (place, { prompt, functions }) => {
    const input = asked(prompt);
    for (;;) {
      const body = { model: place.model, input, tools: functions, store: false };
      const answer = await client(place).responses.create(body);
      const called = answer.output.filter((item) => item.type === "function_call");
      if (!called.length) return response(answer);
      input.push(...answer.output);
      input.push(...called.map((c) => ({ type: "function_call_output", call_id: c.call_id, output: "a wall" })));
    }
  }),
  respond_parse: can("prompt", async (place, { prompt }) => {
    const body = { model: place.model, input: prompt, text: { format: zodTextFormat(City, "city") } };
    return { parsed: (await client(place).responses.parse(body)).output_parsed };
  }),
  response_kept: can("prompt", async (place, { prompt }) => {
    const responses = client(place).responses;
    const first = await responses.create({ model: place.model, input: prompt, store: true });
    const again = await responses.retrieve(first.id);
    const next = await responses.create({ model: place.model, input: "And?", previous_response_id: first.id });
    await responses.delete(first.id);
    try {
      await responses.retrieve(first.id);
    } catch (error) {
      const gone = error instanceof OpenAI.NotFoundError;
      return { first: first.id, again: again.id, previous: next.previous_response_id, gone };
    }
    return { gone: false };
  }),
  models: can("", async (place) => {
    const ids = [];
    for await (const model of client(place).models.list()) ids.push(model.id);
    return { ids };
  }),
  model: can("name", async (place, { name }) => ({ id: (await client(place).models.retrieve(name)).id })),
  moderate: can("text", async (place, { text }) => {
    const answer = await client(place).moderations.create({ input: text });
    return { flagged: answer.results.map((result) => result.flagged) };
  }),
  speak: can("text", async (place, { text }) => {
    const spoken = await client(place).audio.speech.create({ model: "tts-1", voice: "alloy", input: text });
    return { hex: Buffer.from(await spoken.arrayBuffer()).toString("hex") };
  }),
  transcribe: can("hex_", async (place, { hex_ }) => {
    const file = await toFile(Buffer.from(hex_, "hex"), "a.mp3");
    return { text: (await client(place).audio.transcriptions.create({ model: "whisper-1", file })).text };
  }),
  draw: can("prompt", async (place, { prompt }) => {
    const drawn = await client(place).images.generate({ model: "dall-e-3", prompt, response_format: "b64_json" });
    return { base64: drawn.data[0].b64_json };
  }),
});
