/** What is taken for health, and what is said of the lack of it. */
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { waitUntilHealthy } from "./health-check.js";

const NEVER = new AbortController().signal;
const servers: Server[] = [];
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

async function serve(listener: RequestListener): Promise<number> {
  const server = createServer(listener);
  servers.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

describe("a process that is waited for", () => {
  it("is healthy once its path is answered with a status below 400", async () => {
    const asked: (string | undefined)[] = [];
    const statuses = [500, 404, 302];
    const port = await serve(({ url }, response) => {
      asked.push(url);
      response.writeHead(statuses.shift() ?? 200).end();
    });
    await waitUntilHealthy(port, { path: "/health", intervalMs: 1 }, NEVER);
    expect(asked).toEqual(["/health", "/health", "/health"]);
  });

  it("that answers with an error all the time is told with its status, however little time its last question had", async () => {
    let answers = 0;
    // Once is enough to know it; then it is as slow as it can be.
    const port = await serve((_, response) => void (answers++ === 0 && response.writeHead(500).end()));
    await expect(
      waitUntilHealthy(port, { path: "/health", timeoutMs: 1000, intervalMs: 1 }, NEVER),
    ).rejects.toThrow("the web process was to be one that answers GET /health within 1 seconds (status 500)");
  });

  it("that never answers is told as that", async () => {
    const port = await serve(() => undefined);
    const health = { path: "/", timeoutMs: 100, intervalMs: 1 };
    await expect(waitUntilHealthy(port, health, NEVER)).rejects.toThrow("(no answer in time)");
  });
});
