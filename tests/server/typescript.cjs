// The official TypeScript SDK as a client: a line of JSON in is a request to the server, a line of JSON out what came back.
// Arguments: the package.json beside the installed SDK, and {url, key} or {command, args, env, cwd}, with {revision, answer}.
"use strict";

const { createRequire } = require("node:module");
const { createInterface } = require("node:readline");

const sdk = createRequire(process.argv[2]);
const settings = JSON.parse(process.argv[3]);
const types = sdk("@modelcontextprotocol/sdk/types.js");
const { Client } = sdk("@modelcontextprotocol/sdk/client/index.js");
const { StreamableHTTPClientTransport } = sdk("@modelcontextprotocol/sdk/client/streamableHttp.js");
const { StdioClientTransport } = sdk("@modelcontextprotocol/sdk/client/stdio.js");

types.LATEST_PROTOCOL_VERSION = settings.revision; // what the client asks for

function transport() {
  if (!settings.url) {
    return new StdioClientTransport({ ...settings, stderr: "inherit" });
  }
  const headers = { Authorization: `Bearer ${settings.key}` };
  return new StreamableHTTPClientTransport(new URL(settings.url), { requestInit: { headers } });
}

function say(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

async function main() {
  // An empty capability is how clients of 2025-06-18 declare elicitation.
  const client = new Client({ name: "weft-tests", version: "1" }, { capabilities: settings.answer ? { elicitation: {} } : {} });
  const asked = [];
  if (settings.answer) {
    client.setRequestHandler(types.ElicitRequestSchema, async ({ params }) => {
      asked.push(params);
      return { action: "accept", content: settings.answer };
    });
  }
  const wire = transport();
  const tellTransport = wire.setProtocolVersion?.bind(wire);
  let revision;
  wire.setProtocolVersion = (agreed) => {
    revision = agreed;
    tellTransport?.(agreed);
  };
  await client.connect(wire);
  say({ result: revision });
  for await (const line of createInterface({ input: process.stdin })) {
    const { method, params } = JSON.parse(line);
    try {
      say({ result: method === "asked" ? asked : await client[method](params) });
    } catch (error) {
      say({ error: String(error) });
    }
  }
  await client.close();
}

main().catch((error) => {
  say({ error: String(error) });
  process.exitCode = 1;
});
