// What the checks of both clients need: the sandbox's control plane, a destination on this machine, and a list
// of the methods that a client has. `make test-clients` starts the sandbox and sets the three variables below.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";

const { QSTASH_URL, QSTASH_TOKEN, SANDBOX_URL } = process.env;
assert(QSTASH_URL && QSTASH_TOKEN && SANDBOX_URL, "QSTASH_URL, QSTASH_TOKEN and SANDBOX_URL must be set");

export const OPTIONS = { baseUrl: QSTASH_URL, token: QSTASH_TOKEN, retry: false };

/** Ask the control plane; with a body, tell it something. */
export async function control(path, body) {
  const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  const answer = await fetch(`${SANDBOX_URL}/_sandbox/${path}`, sent);
  const found = await answer.json();
  assert(answer.ok, `${path}: ${found.error}`);
  return found;
}

export const reset = () => control("reset", {});
export const settings = (changed) => control("settings", changed);
export const advance = (seconds) => control("clock", { advance: seconds });
export const now = async () => (await control("clock")).now;

/** Check that a call is refused with a status and a text. */
export async function refused(call, status, text) {
  await assert.rejects(call, (error) => {
    assert.equal(error.status, status, error.message);
    assert.match(error.message, text);
    return true;
  });
}

/** Follow the cursors of a list to its end; return all items. */
export async function pages(read) {
  const found = [];
  let cursor;
  do {
    const page = await read(cursor);
    found.push(...page.items);
    assert(page.cursor === undefined || page.cursor !== cursor, "the cursor repeats");
    cursor = page.cursor;
  } while (cursor);
  return found;
}

/** A destination on this machine, which the sandbox really calls. It answers with `status`. */
export async function destination(status = 200) {
  const server = createServer(async (request, response) => {
    const chunks = await request.toArray();
    response.writeHead(status).end("thanks");
    server.emit("delivered", { headers: request.headers, body: Buffer.concat(chunks).toString() });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    url: `http://127.0.0.1:${server.address().port}/in?x=1`,
    /** Call `publish`, and return the request that is delivered then. */
    async after(publish) {
      const delivered = once(server, "delivered", { signal: AbortSignal.timeout(10_000) });
      await publish();
      return (await delivered)[0];
    },
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

/**
 * Return the methods of a client and of its parts that were not called yet; each call removes its own.
 *
 * A later version of the client with one more method fails here until somebody drives it.
 */
export function surface(client, others = {}) {
  const open = new Set();
  const watch = (part, prototype) => {
    for (const [name, { value }] of Object.entries(Object.getOwnPropertyDescriptors(prototype))) {
      if (typeof value !== "function" || name === "constructor") continue;
      open.add(`${part}${name}`);
      prototype[name] = function (...given) {
        open.delete(`${part}${name}`);
        return value.apply(this, given);
      };
    }
  };
  const prototype = Object.getPrototypeOf(client);
  const parts = Object.entries(Object.getOwnPropertyDescriptors(prototype)).filter(([, one]) => one.get);
  const found = { ...Object.fromEntries(parts.map(([name]) => [name, client[name]])), ...others };
  const seen = new Set();
  for (const [name, part] of Object.entries(found)) {
    if (!seen.has(part.constructor)) watch(`${name}.`, Object.getPrototypeOf(part));
    seen.add(part.constructor);
  }
  watch("", prototype);
  return open;
}
