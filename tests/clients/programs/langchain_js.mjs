// LangChain for JavaScript, with its OpenAI models.

import { HumanMessage, ToolMessage } from "@langchain/core/messages";
import { ChatOpenAI, OpenAI, OpenAIEmbeddings } from "@langchain/openai";
import { z } from "zod";
import { can, serve } from "./acting.mjs";

const City = z.object({ name: z.string(), people: z.number() });
const of = (place) => ({
  apiKey: place.key,
  model: place.model,
  maxRetries: 0,
  timeout: 20_000,
  configuration: { baseURL: place.url },
});
const model = (place, more = {}) => new ChatOpenAI({ ...of(place), ...more });
const calls = (message) => message.tool_calls.map((c) => ({ id: c.id, name: c.name, arguments: c.args }));
const counts = (message) => [message.usage_metadata.input_tokens, message.usage_metadata.output_tokens];

async function gathered(stream) {
  const chunks = [];
  for await (const chunk of stream) chunks.push(chunk);
  return chunks;
}

// It takes tools in chat's shape only, and writes them in the other.
const asChat = ({ type, ...rest }) => ({ type, function: rest });

async function loop(bound, prompt) {
  const messages = [new HumanMessage(prompt)];
  for (;;) {
    const answer = await bound.invoke(messages);
    if (!answer.tool_calls.length) return { text: answer.text };
    messages.push(answer);
    for (const call of answer.tool_calls) messages.push(new ToolMessage({ content: "a wall", tool_call_id: call.id }));
  }
}

await serve({
  chat: can("prompt", async (place, { prompt }) => {
    const answer = await model(place).invoke(prompt);
    const { finish_reason: finish, model_name: name } = answer.response_metadata;
    return { text: answer.content, model: name, finish, usage: counts(answer) };
  }),
  stream: can("prompt usage", async (place, { prompt, usage }) => {
    const chunks = await gathered(await model(place, { streamUsage: Boolean(usage) }).stream(prompt));
    const counted = chunks.filter((chunk) => chunk.usage_metadata).map(counts);
    return {
      text: chunks.map((chunk) => chunk.content).join(""),
      usages: counted.map(([input, output]) => ({ prompt_tokens: input, completion_tokens: output })),
    };
  }),
  tools: can("prompt functions streamed", async (place, { prompt, functions, streamed }) => {
    const bound = model(place).bindTools(functions);
    if (!streamed) return { calls: calls(await bound.invoke(prompt)) };
    const chunks = await gathered(await bound.stream(prompt));
    return { calls: calls(chunks.reduce((whole, chunk) => whole.concat(chunk))) };
  }),
  loop: can("prompt functions", (place, { prompt, functions }) => loop(model(place).bindTools(functions), prompt)),
  parse: can("prompt", async (place, { prompt }) => {
    const asking = model(place).withStructuredOutput(City, { method: "jsonSchema", name: "city" });
    return { parsed: await asking.invoke(prompt) };
  }),
  image: can("prompt url", async (place, { prompt, url }) => {
    const parts = [{ type: "text", text: prompt }, { type: "image_url", image_url: { url } }];
    return { text: (await model(place).invoke([new HumanMessage({ content: parts })])).content };
  }),
  leave: can("prompt streamed", async (place, { prompt, streamed }) => {
    if (streamed) for await (const _ of await model(place).stream(prompt)) return { left: true };
    try {
      await model(place).invoke(prompt, { signal: AbortSignal.timeout(800) });
    } catch {
      return { left: true };
    }
    return { left: false };
  }),
  complete: can("prompt", async (place, { prompt }) => ({ texts: [await new OpenAI(of(place)).invoke(prompt)] })),
  embed: can("texts dimensions", async (place, { texts, dimensions }) => {
    const embeddings = new OpenAIEmbeddings({ ...of(place), ...(dimensions ? { dimensions } : {}) });
    return { vectors: await embeddings.embedDocuments(texts) };
  }),
  respond_loop: can("prompt functions", (place, { prompt, functions }) =>
    loop(model(place, { useResponsesApi: true }).bindTools(functions.map(asChat)), prompt),
  ),
});
