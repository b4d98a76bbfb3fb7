// What every client program in Node does: read an act from a line, do it with the real client, write what came of it.

import { createInterface } from "node:readline";

// What a library prints must not come between our lines.
console.log = console.info = console.warn = console.error;

// The words of a `function name(place, { a, b })` or `name({ place, a, b })` are not known to JavaScript, so a program
// says with `takes` what an act can be given; what is asked for beyond that, the client does not offer.
export async function serve(acts) {
  for await (const line of createInterface({ input: process.stdin })) {
    const asked = JSON.parse(line);
    process.stdout.write(JSON.stringify(await done(acts[asked.act], asked)) + "\n");
  }
}

async function done(act, asked) {
  const takes = act?.takes ?? [];
  if (!act || Object.keys(asked.arguments).some((name) => !takes.includes(name))) return { absent: true };
  try {
    return { said: await act.act(asked.place, asked.arguments) };
  } catch (error) {
    return error?.notOffered ? { absent: true } : { raised: described(error) };
  }
}

export const can = (takes, act) => ({ takes: takes.split(" ").filter(Boolean), act });

function described(error) {
  // The first in its chain that knows a status, else the outermost.
  const chain = [error];
  while (chain.at(-1)?.cause && !chain.includes(chain.at(-1).cause)) chain.push(chain.at(-1).cause);
  if (error?.lastError) chain.push(error.lastError);
  const known = chain.find((one) => Number.isInteger(one?.status ?? one?.statusCode)) ?? error;
  const headers = known.headers ?? known.responseHeaders ?? {};
  return {
    kind: error?.name ?? typeof error,
    message: String(error?.message ?? error),
    status: known.status ?? known.statusCode ?? null,
    code: known.code ?? known.data?.error?.code ?? null,
    param: known.param ?? known.data?.error?.param ?? null,
    body: known.error ?? known.data ?? null,
    headers: headers instanceof Headers ? Object.fromEntries(headers) : headers,
  };
}
