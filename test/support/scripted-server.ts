/** An HTTP server that answers as a test says, for what no Git server would answer. */
import { once } from "node:events";
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { encodePktLine, FLUSH } from "../../src/protocol/wire/pkt-line.js";

export interface ScriptedServer {
  readonly url: string;
  /** What was asked, in order: `GET /app.git/info/refs?service=git-upload-pack`. */
  readonly requests: { readonly line: string; readonly authorization: string | undefined; body: Buffer }[];
  close(): Promise<void>;
}

export type Script = (
  request: IncomingMessage,
  response: ServerResponse,
  body: Buffer,
) => void | Promise<void>;

export async function startScripted(script: Script): Promise<ScriptedServer> {
  const requests: ScriptedServer["requests"] = [];
  const listener: RequestListener = (request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("error", () => undefined);
    response.on("error", () => undefined);
    request.on("end", () => {
      const body = Buffer.concat(chunks);
      const { method = "", url = "", headers } = request;
      requests.push({ line: `${method} ${url}`, authorization: headers.authorization, body });
      void script(request, response, body);
    });
  };
  const server = createServer(listener);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

export const ADVERTISEMENT = { "Content-Type": "application/x-git-upload-pack-advertisement" };
export const RESULT = { "Content-Type": "application/x-git-upload-pack-result" };

export const lines = (...texts: readonly (string | Buffer)[]): Buffer =>
  Buffer.concat(texts.map((text) => encodePktLine(text)));
export const band = (number: number, data: Uint8Array | string): Buffer =>
  encodePktLine(Buffer.concat([Buffer.from([number]), Buffer.from(data)]));

/** What a v2 server begins with. */
export const V2 = Buffer.concat([
  lines("# service=git-upload-pack\n"),
  FLUSH,
  lines(
    "version 2\n",
    "agent=other/1\n",
    "ls-refs=unborn\n",
    "fetch=shallow filter\n",
    "object-format=sha1\n",
  ),
  FLUSH,
]);

/** A v2 server that can be told what to answer to `ls-refs` and `fetch`. */
export function v2Script(answers: { readonly refs?: Buffer; readonly fetch?: Script | Buffer }): Script {
  return async (request, response, body) => {
    if (request.method === "GET") {
      response.writeHead(200, ADVERTISEMENT).end(V2);
      return;
    }
    const { refs = FLUSH, fetch = FLUSH } = answers;
    if (body.includes("command=ls-refs")) response.writeHead(200, RESULT).end(refs);
    else if (typeof fetch === "function") await fetch(request, response, body);
    else response.writeHead(200, RESULT).end(fetch);
  };
}
