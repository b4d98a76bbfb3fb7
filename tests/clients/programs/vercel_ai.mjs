// Vercel's AI SDK: chat through @ai-sdk/openai-compatible, Responses through @ai-sdk/openai, and @ai-sdk/anthropic.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import * as ai from "ai";
import { z } from "zod";
import { can, serve } from "./acting.mjs";

const { generateText, jsonSchema, stepCountIs, isStepCount, streamText, tool, embedMany, Output } = ai;
const City = z.object({ name: z.string(), people: z.number() });

const chatModel = (place) =>
  createOpenAICompatible({
    name: "gateway",
    baseURL: place.url,
    apiKey: place.key,
    supportsStructuredOutputs: true,
    includeUsage: true,
  }).chatModel(place.model);
const responsesModel = (place) => createOpenAI({ baseURL: place.url, apiKey: place.key }).responses(place.model);
const claude = (place) => createAnthropic({ baseURL: place.url, apiKey: place.key })(place.model);

const calls = (found) => found.map((c) => ({ id: c.toolCallId, name: c.toolName, arguments: c.input, input: c.input }));
const counts = (usage) => [usage.inputTokens, usage.outputTokens];
const stopAfter = (isStepCount ?? stepCountIs)(8);

function toolsOf(functions, execute) {
  const of = (f) => f.function ?? { ...f, parameters: f.parameters ?? f.input_schema };
  const made = functions.map(of).map((f) => {
    const fields = { description: f.description, inputSchema: jsonSchema(f.parameters) };
    return [f.name, tool(execute ? { ...fields, execute } : fields)];
  });
  return Object.fromEntries(made);
}

async function streamed(fields) {
  const running = streamText({ maxRetries: 0, onError: () => {}, ...fields });
  let text = "";
  for await (const part of running.fullStream ?? running.stream) {
    if (part.type === "error") throw part.error;
    if (part.type === "text-delta") text += part.text ?? part.delta;
  }
  const usage = await running.usage;
  return { text, finishes: [await running.finishReason], usage: counts(usage), toolCalls: await running.toolCalls };
}

const plain = (body) => {
  if (Object.keys(body).join() !== "input" || typeof body.input !== "string") throw notOffered;
  return body.input;
};
const notOffered = Object.assign(new Error("not offered"), { notOffered: true });

const messagesBody = (body) => {
  if (!Object.keys(body).every((k) => ["messages", "max_tokens", "tools"].includes(k))) throw notOffered;
  if (typeof body.messages[0].content !== "string") throw notOffered;
  const tools = body.tools ? { tools: toolsOf(body.tools) } : {};
  return { prompt: body.messages[0].content, maxOutputTokens: body.max_tokens, ...tools };
};
const stops = { stop: "end_turn", "tool-calls": "tool_use", length: "max_tokens", "content-filter": "refusal" };

await serve({
  chat: can("prompt", async (place, { prompt }) => {
    const answer = await generateText({ model: chatModel(place), prompt, maxRetries: 0 });
    return {
      text: answer.text,
      model: answer.response.modelId,
      finish: answer.finishReason,
      usage: counts(answer.usage),
    };
  }),
  stream: can("prompt usage", async (place, { prompt }) => {
    const { text, finishes, usage } = await streamed({ model: chatModel(place), prompt });
    return { text, finishes, usages: [{ prompt_tokens: usage[0], completion_tokens: usage[1] }] };
  }),
  tools: can("prompt functions streamed", async (place, { prompt, functions, streamed: isStreamed }) => {
    const fields = { model: chatModel(place), prompt, tools: toolsOf(functions), maxRetries: 0 };
    if (isStreamed) return { calls: calls((await streamed(fields)).toolCalls) };
    return { calls: calls((await generateText(fields)).toolCalls) };
  }),
  loop: can("prompt functions", async (place, { prompt, functions }) => {
    const tools = toolsOf(functions, async () => "a wall");
    const answer = await generateText({ model: chatModel(place), prompt, tools, stopWhen: stopAfter, maxRetries: 0 });
    return { text: answer.text };
  }),
  parse: can("prompt", async (place, { prompt }) => {
    const output = Output.object({ schema: City });
    const answer = await generateText({ model: chatModel(place), prompt, output, maxRetries: 0 });
    return { parsed: answer.output };
  }),
  image: can("prompt url", async (place, { prompt, url }) => {
    const content = [{ type: "text", text: prompt }, { type: "image", image: url }];
    const messages = [{ role: "user", content }];
    return { text: (await generateText({ model: chatModel(place), messages, maxRetries: 0 })).text };
  }),
  leave: can("prompt streamed", async (place, { prompt, streamed: isStreamed }) => {
    const leaving = new AbortController();
    const fields = { model: chatModel(place), prompt, maxRetries: 0, abortSignal: leaving.signal };
    if (isStreamed) {
      for await (const _ of streamText({ ...fields, onError: () => {} }).textStream) {
        leaving.abort();
        return { left: true };
      }
    }
    try {
      await generateText({ ...fields, abortSignal: AbortSignal.timeout(800) });
    } catch {
      return { left: true };
    }
    return { left: false };
  }),
  embed: can("texts", async (place, { texts }) => {
    const gateway = createOpenAICompatible({ name: "gateway", baseURL: place.url, apiKey: place.key });
    const model = (gateway.embeddingModel ?? gateway.textEmbeddingModel)(place.model);
    return { vectors: (await embedMany({ model, values: texts, maxRetries: 0 })).embeddings };
  }),
  respond: can("body", async (place, { body }) => {
    const answer = await generateText({ model: responsesModel(place), prompt: plain(body), maxRetries: 0 });
    return { text: answer.text, model: answer.response.modelId, usage: counts(answer.usage) };
  }),
  respond_stream: can("body", async (place, { body }) => {
    const { text, usage } = await streamed({ model: responsesModel(place), prompt: plain(body) });
    return { text, usage };
  }),
  respond_loop: can("prompt functions", async (place, { prompt, functions }) => {
    const tools = toolsOf(functions, async () => "a wall");
    const fields = { model: responsesModel(place), prompt, tools, stopWhen: stopAfter, maxRetries: 0 };
    return { text: (await generateText(fields)).text };
  }),
  respond_parse: can("prompt", async (place, { prompt }) => {
    const output = Output.object({ schema: City });
    return { parsed: (await generateText({ model: responsesModel(place), prompt, output, maxRetries: 0 })).output };
  }),
  message: can("body", async (place, { body }) => {
    const answer = await generateText({ model: claude(place), maxRetries: 0, ...messagesBody(body) });
    return { text: answer.text, usage: counts(answer.usage), stop: stops[answer.finishReason], calls: calls(answer.toolCalls) };
  }),
  message_stream: can("body", async (place, { body }) => {
    const answer = await streamed({ model: claude(place), ...messagesBody(body) });
    const { text, usage, finishes, toolCalls } = answer;
    return { text, usage, stop: stops[finishes[0]], calls: calls(toolCalls) };
  }),
  message_loop: can("prompt functions", async (place, { prompt, functions }) => {
    const tools = toolsOf(functions, async () => "a wall");
    const fields = { model: claude(place), prompt, tools, stopWhen: stopAfter, maxRetries: 0, maxOutputTokens: 100 };
    return { text: (await generateText(fields)).text };
  }),
});
