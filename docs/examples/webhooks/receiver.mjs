// Takes a group's webhooks, each once, and only those that the server signed.
//
//     npm install standardwebhooks
//     PORCHLIGHT_WEBHOOK_SECRET=whsec_… PORT=8080 node receiver.mjs
//
// Put something before it that ends TLS. Writes each letter as a line of JSON.
import http from "node:http";
import { Webhook } from "standardwebhooks";

const LARGEST = 1024 * 1024;
const REMEMBERED = 10_000;

const secret = process.env.PORCHLIGHT_WEBHOOK_SECRET;
if (!secret) throw new Error("PORCHLIGHT_WEBHOOK_SECRET is not set");
const webhook = new Webhook(secret);

/** Yours. When it throws, the letter comes again. */
async function handle(letter) {
  process.stdout.write(`${JSON.stringify(letter)}\n`);
}

// Yours is a table with a unique column, written in the transaction that acts on the letter: this one forgets at a restart.
const taken = new Set();

async function take(request) {
  const parts = [];
  let size = 0;
  for await (const part of request) {
    size += part.length;
    if (size > LARGEST) return 413;
    parts.push(part);
  }
  const body = Buffer.concat(parts).toString();
  let letter;
  try {
    // Of the body as it came, before anything parses it; a timestamp that is minutes off is refused as well.
    webhook.verify(body, request.headers);
    letter = JSON.parse(body);
  } catch {
    return 401;
  }
  if (taken.has(letter.id)) return 204;
  await handle(letter);
  taken.add(letter.id);
  if (taken.size > REMEMBERED) taken.delete(taken.values().next().value);
  return 204;
}

const server = http.createServer((request, response) => {
  take(request).then(
    (status) => response.writeHead(status).end(),
    (error) => {
      console.error(error);
      response.writeHead(500).end();
    },
  );
});
server.listen(Number(process.env.PORT ?? 8080), "127.0.0.1", () => {
  console.error(`listening on ${server.address().port}`);
});
