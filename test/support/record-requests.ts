/** Stands between a git client and a server, and keeps the requests as they were sent. */
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { send } from "./raw-http.js";

export interface RecordedRequest {
  /** Path and query. */
  readonly path: string;
  /** What git said of it: type of the body, protocol version. */
  readonly headers: Record<string, string>;
  /** Without gzip. */
  readonly body: Buffer;
}

export interface RequestRecorder {
  readonly url: string;
  /** Bodies of POSTs, oldest first. */
  readonly requests: readonly RecordedRequest[];
  close(): Promise<void>;
}

export async function recordRequests(serverUrl: string): Promise<RequestRecorder> {
  const requests: RecordedRequest[] = [];
  const proxy = createServer((request, response) => {
    void (async () => {
      const chunks: Buffer[] = [];
      for await (const chunk of request) chunks.push(chunk as Buffer);
      const sent = Buffer.concat(chunks);
      const body = request.headers["content-encoding"] === "gzip" ? gunzipSync(sent) : sent;
      const path = request.url ?? "";
      const headers: Record<string, string> = {};
      for (const name of ["content-type", "git-protocol"]) {
        const value = request.headers[name];
        if (typeof value === "string") headers[name] = value;
      }
      const posted = request.method === "POST";
      if (posted) requests.push({ path, headers, body });
      const answer = await send(serverUrl, { path, headers, ...(posted ? { body } : {}) });
      response.writeHead(answer.status, { "Content-Type": answer.headers["content-type"] ?? "text/plain" });
      response.end(answer.body);
    })();
  });
  proxy.listen(0, "127.0.0.1");
  await once(proxy, "listening");
  return {
    url: `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    requests,
    close: () => new Promise((resolve) => proxy.close(() => resolve())),
  };
}
