/** Takes what webhooks and HTTP hooks send, and remembers it; a test may let it refuse, be slow or be silent. */
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
  readonly port: number;
  readonly messages: ReceivedMessage[];
  /** Asked first; true: it has answered itself, or never will. */
  intercept: (message: ReceivedMessage, response: ServerResponse) => boolean;
  /** Resolves once there are so many. */
  received(count: number): Promise<readonly ReceivedMessage[]>;
  close(): Promise<void>;
}

/** @param port that of one that was closed, to come back */
export async function startWebhookReceiver(port = 0): Promise<WebhookReceiver> {
  const waiting = new Set<() => void>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const body = Buffer.concat(chunks).toString();
      const message: ReceivedMessage = {
        path: request.url ?? "",
        headers: request.headers,
        body,
        json: JSON.parse(body) as unknown,
      };
      receiver.messages.push(message);
      if (!receiver.intercept(message, response)) response.writeHead(204).end();
      for (const look of waiting) look();
    });
  });
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  const taken = (server.address() as AddressInfo).port;
  const receiver: WebhookReceiver = {
    url: `http://127.0.0.1:${taken}/hook`,
    port: taken,
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
