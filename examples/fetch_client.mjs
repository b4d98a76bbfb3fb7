// The gateway from JavaScript, without a library: one answer whole, one as a stream.

const base = process.env.OPENAI_BASE_URL ?? "http://127.0.0.1:8484/v1";
const headers = {
  "content-type": "application/json",
  authorization: `Bearer ${process.env.OPENAI_API_KEY ?? "not-needed"}`,
};

const ask = (content, stream) =>
  fetch(`${base}/chat/completions`, {
    method: "POST",
    headers,
    body: JSON.stringify({ model: "auto", messages: [{ role: "user", content }], stream }),
  });

const whole = await ask("What is the capital of France?", false);
const answer = await whole.json();
if (!whole.ok) throw new Error(answer.error.message);
console.log(answer.choices[0].message.content);
console.log(`  by ${answer.model}: ${whole.headers.get("x-weighbridge-reason")}`);

const streamed = await ask("Count to ten.", true);
let rest = "";
let isDone = false;
for await (const bytes of streamed.body.pipeThrough(new TextDecoderStream())) {
  const lines = (rest + bytes).split("\n");
  rest = lines.pop();
  for (const line of lines.filter((l) => l.startsWith("data: "))) {
    if (line === "data: [DONE]") isDone = true;
    else process.stdout.write(JSON.parse(line.slice(6)).choices[0]?.delta?.content ?? "");
  }
}
console.log();
if (!isDone) throw new Error("the stream was cut");
