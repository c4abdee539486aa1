/** Takes what webhooks and HTTP hooks send, and remembers it; a test may let it refuse, be slow or be silent. */
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

export interface ReceivedMessage {
  readonly path: string;
  readonly headers: IncomingMessage["headers"];
  readonly body: string;
  // oxlint-disable-next-line typescript/no-explicit-any
  readonly json: any;
}

export interface WebhookReceiver {
  readonly url: string;
  readonly messages: ReceivedMessage[];
  /** Asked first; true: it has answered itself, or never will. */
  intercept: (message: ReceivedMessage, response: ServerResponse) => boolean;
  /** Resolves once there are so many. */
  received(count: number): Promise<readonly ReceivedMessage[]>;
  close(): Promise<void>;
}

export async function startWebhookReceiver(): Promise<WebhookReceiver> {
  const waiting = new Set<() => void>();
  // A server of another test may still be telling who had this port before.
  const own = `/${randomUUID()}`;
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      const path = request.url ?? "";
      if (!path.startsWith(`${own}/`)) {
        response.writeHead(410).end();
        return;
      }
      const message: ReceivedMessage = {
        path: path.slice(own.length),
        headers: request.headers,
        body,
        json: JSON.parse(body) as unknown,
      };
      receiver.messages.push(message);
      if (!receiver.intercept(message, response)) response.writeHead(204).end();
      for (const look of waiting) look();
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  const receiver: WebhookReceiver = {
    url: `http://127.0.0.1:${port}${own}/hook`,
    messages: [],
    intercept: () => false,
    received: (count) =>
      new Promise((resolve) => {
        const look = (): void => {
          if (receiver.messages.length < count) return;
          waiting.delete(look);
          resolve(receiver.messages);
        };
        waiting.add(look);
        look();
      }),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return receiver;
}
