/**
 * A connection that becomes a WebSocket: the app agrees, and from then on bytes go both ways as they come. Other upgrades
 * are not handed on: HTTP/2 behind a proxy's back (h2c) would be a way past it.
 */
import { ServerResponse, type IncomingMessage } from "node:http";
import { pipeline, type Duplex } from "node:stream";
import { GitwharfError } from "../../../base/errors.js";
import { connectProcess, type ProcessConnection } from "./connect-process.js";
import { answerFailure, beginAnswer, beginRequest, type Forwarding, isEncrypted } from "./forward-request.js";
import { headersForApp } from "./forwarded-headers.js";
import { hostOf, pathOf } from "./request-target.js";

/** With a body it is an ordinary request: what follows its head must not be read as the other protocol by anybody. */
export function isWebSocketRequest({ method, headers }: IncomingMessage): boolean {
  const hasBody =
    headers["transfer-encoding"] !== undefined || Number(headers["content-length"] ?? "0") !== 0;
  return method === "GET" && !hasBody && headers.upgrade?.trim().toLowerCase() === "websocket";
}

/** @param head what came with the request already. Settles when the connection has ended. Never rejects. */
export async function forwardUpgrade(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  forwarding: Forwarding,
): Promise<void> {
  const left = new AbortController();
  client.on("error", () => undefined);
  client.once("close", () => left.abort());
  let connection: ProcessConnection | undefined;
  try {
    connection = await connectProcess(forwarding.processes, {
      timeoutMs: forwarding.times.connectMs,
      signal: left.signal,
    });
    await converse(request, client, head, connection, forwarding);
  } catch (error) {
    await finished(client, request, (response) =>
      answerFailure(request, response, error, forwarding.complain),
    );
  } finally {
    client.destroy();
    connection?.socket.destroy();
    connection?.release();
  }
}

function converse(
  request: IncomingMessage,
  client: Duplex,
  head: Buffer,
  { socket }: ProcessConnection,
  { times, origin }: Forwarding,
): Promise<void> {
  return new Promise((resolve, reject) => {
    const asked = beginRequest({
      createConnection: () => socket,
      method: "GET",
      path: pathOf(request),
      headers: headersForApp({
        rawHeaders: request.rawHeaders,
        method: "GET",
        host: hostOf(request),
        origin,
        isEncrypted: isEncrypted(request),
        hasUnknownLength: false,
        upgrade: "websocket",
      }),
    });
    const fail = (message: string, details: Readonly<Record<string, unknown>> = {}): void =>
      reject(new GitwharfError("deploy/no-answer", message, { details }));
    socket.setTimeout(times.answerMs, () => {
      socket.destroy();
      fail("no answer to a WebSocket in time", { isLate: true });
    });
    client.once("close", () => {
      socket.destroy();
      reject(new GitwharfError("base/aborted", "the client has gone"));
    });
    asked.on("error", (error) => fail(`the app broke off: ${error.message}`));
    asked.once("response", (answer) => {
      // It does not want to: its answer is an ordinary one.
      finished(client, request, (response) => {
        beginAnswer(answer, response);
        pipeline(answer, response, () => undefined);
      }).then(resolve, reject);
    });
    asked.once("upgrade", (answer, upgraded, first) => {
      client.write(headOf(answer));
      if (first.length > 0) client.write(first);
      if (head.length > 0) upgraded.write(head);
      socket.setTimeout(times.idleMs, () => upgraded.destroy());
      // Two pipes and all who wait for its end are more than Node expects on one socket.
      client.setMaxListeners(0);
      let open = 2;
      const onEnd = (): void => {
        if (--open === 0) resolve();
      };
      pipeline(client, upgraded, onEnd);
      pipeline(upgraded, client, onEnd);
    });
    asked.end();
  });
}

/** The app's own words: `101` with all its headers, which belong to the new protocol. */
function headOf({ statusCode, statusMessage, rawHeaders }: IncomingMessage): Buffer {
  const lines = [`HTTP/1.1 ${statusCode} ${statusMessage}`];
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) lines.push(`${rawHeaders[i]}: ${rawHeaders[i + 1]}`);
  return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
}

/** An ordinary answer on a connection that Node has handed over; it is the last. Settles when it is out. */
function finished(
  client: Duplex,
  request: IncomingMessage,
  answer: (response: ServerResponse) => void,
): Promise<void> {
  return new Promise((resolve, reject) => {
    if (client.destroyed) {
      resolve();
      return;
    }
    const response = new ServerResponse(request);
    response.shouldKeepAlive = false;
    // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- what Node hands over is the connection's socket
    response.assignSocket(client as Parameters<ServerResponse["assignSocket"]>[0]);
    response.once("finish", () => client.end(resolve));
    client.once("close", () => resolve());
    try {
      answer(response);
    } catch (error) {
      reject(error as Error);
    }
  });
}
