/** An API server that answers as nobody should is one that is away, and is waited for no longer than it may be. */
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { expect, it } from "vitest";
import { exchangeWithApi } from "./api-exchange.js";

it.each([
  ["another protocol", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\nmore"],
  ["nothing", ""],
  ["half an answer", "HTTP/1.1 200 OK\r\nContent-Length: 20\r\n\r\nhalf"],
])("of %s", async (_what, answer) => {
  const server = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", () => socket.end(answer));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const asked = exchangeWithApi({
    method: "GET",
    url: `http://127.0.0.1:${port}/`,
    key: "k",
    timeoutMs: 60_000,
    answerBytesMax: 100,
    caFile: undefined,
  });
  await expect(asked).rejects.toThrow(/the connection failed/);
  server.close();
});
