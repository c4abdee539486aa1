/** One POST: to addresses that were looked at, bounded in time and size, without following anything. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createAddressGuard } from "./address-guard.js";
import { type GuardedRequest, postGuarded } from "./guarded-request.js";

let server: Server;
let port: number;
let asked: { readonly url: string; readonly host: string; readonly body: string }[];
let answer: (request: IncomingMessage, response: ServerResponse) => void;

beforeEach(async () => {
  asked = [];
  answer = (_request, response) => void response.end("yes");
  server = createServer((request, response) => {
    let body = "";
    request.on("data", (chunk: Buffer) => (body += chunk.toString()));
    request.on("end", () => {
      asked.push({ url: request.url ?? "", host: request.headers.host ?? "", body });
      answer(request, response);
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  ({ port } = server.address() as AddressInfo);
});
afterEach(() => {
  server.closeAllConnections();
  server.close();
});

const post = (host: string, about: Partial<GuardedRequest> = {}) =>
  postGuarded({
    url: `http://${host}:${port}/a?b=c`,
    headers: { "X-Test": "1" },
    body: "{}",
    isCallable: createAddressGuard(["loopback"]),
    timeoutMs: 5000,
    answerBytesMax: 100,
    ...about,
  });

describe("a request", () => {
  it("goes to the address that was looked at, with its own name", async () => {
    let resolved = 0;
    const resolve = async (host: string): Promise<readonly string[]> => {
      expect(host).toBe("hook.example");
      // Another answer the second time would be another address.
      return resolved++ === 0 ? ["127.0.0.1"] : ["10.0.0.1"];
    };
    expect(await post("hook.example", { resolve })).toEqual({ status: 200, text: "yes", isCut: false });
    expect(resolved).toBe(1);
    expect(asked).toEqual([{ url: "/a?b=c", host: `hook.example:${port}`, body: "{}" }]);
  });

  it.each([
    ["an address that is not allowed", "127.0.0.1", undefined],
    ["a number that is one", "2130706433", undefined],
    ["a name that leads to one", "hook.example", ["127.0.0.1"]],
    ["a name that leads to one among others", "hook.example", ["93.184.216.34", "127.0.0.1"]],
    ["a name that leads nowhere", "hook.example", []],
  ])("is not made to %s", async (_what, host, addresses) => {
    const resolve = addresses === undefined ? {} : { resolve: async () => addresses };
    await expect(post(host, { isCallable: createAddressGuard([]), ...resolve })).rejects.toThrow(
      /may not be called|has no address/,
    );
    expect(asked).toEqual([]);
  });

  it("goes to the next address where the first does not answer", async () => {
    const resolve = async (): Promise<readonly string[]> => ["::1", "127.0.0.1"];
    expect(await post("hook.example", { resolve })).toMatchObject({ status: 200 });
    expect(asked).toHaveLength(1);
  });

  it("follows nothing", async () => {
    answer = (_request, response) => void response.writeHead(302, { Location: "/other" }).end();
    expect(await post("127.0.0.1")).toMatchObject({ status: 302 });
    expect(asked).toHaveLength(1);
  });

  it("reads no more than it wants", async () => {
    answer = (_request, response) => void response.end("x".repeat(100));
    expect(await post("127.0.0.1")).toEqual({ status: 200, text: "x".repeat(100), isCut: false });
    answer = (_request, response) => {
      const more = (): void => {
        while (!response.destroyed && response.write("x".repeat(1000)));
      };
      response.on("drain", more);
      more();
    };
    expect(await post("127.0.0.1")).toEqual({ status: 200, text: "x".repeat(100), isCut: true });
  });

  it("waits no longer than it may, for a name, an answer or the rest of it", async () => {
    const late = /no answer within 50 ms/;
    const never = new Promise<never>(() => undefined);
    await expect(post("hook.example", { timeoutMs: 50, resolve: () => never })).rejects.toThrow(late);
    answer = () => undefined;
    await expect(post("127.0.0.1", { timeoutMs: 50 })).rejects.toThrow(late);
    answer = (_request, response) => void response.write("begun");
    await expect(post("127.0.0.1", { timeoutMs: 50 })).rejects.toThrow(late);
  });

  it("ends when it is answered by another protocol", async () => {
    answer = (request) =>
      void request.socket.end(
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n",
      );
    await expect(post("127.0.0.1")).rejects.toThrow("it wants to speak another protocol");
  });

  it("tells why it failed without its url", async () => {
    answer = (request) => void request.socket.destroy();
    const failure = await post("127.0.0.1").catch((error: unknown) => error);
    expect(String(failure)).toMatch(/the connection failed \(ECONNRESET\)/);
    expect(String(failure)).not.toContain("b=c");
  });
});
