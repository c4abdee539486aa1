/**
 * An application that answers our own remote contract: it checks every signature, timestamp and id, and remembers what
 * it was asked. A test says what it answers, and may let it lie.
 */
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { verifyRemoteSignature } from "../../src/access/remote/remote-signature.js";

export const SECRET = "a secret of both, long enough";

export interface Question {
  readonly path: string;
  readonly body: Record<string, unknown>;
  readonly headers: IncomingMessage["headers"];
  readonly text: string;
}

export interface RemoteTestApplication {
  readonly url: string;
  readonly asked: Question[];
  /** What was not signed, too old, or seen before. */
  readonly refused: string[];
  /** JSON, or a function that writes the answer itself. */
  answer: (question: Question, response: ServerResponse) => unknown;
  close(): Promise<void>;
}

/** For an `answer` that has seen to the response itself. */
export const ANSWERED = Symbol("answered");

/** @param secret what it knows; several while it is changed */
export async function startRemoteApplication(
  secret: string | readonly string[] = SECRET,
): Promise<RemoteTestApplication> {
  const seen = new Set<string>();
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      const text = Buffer.concat(chunks).toString();
      const header = (name: string): string => String(request.headers[name] ?? "");
      const id = header("gitwharf-request-id");
      const isGenuine = verifyRemoteSignature(secret, {
        timestamp: header("gitwharf-timestamp"),
        id,
        body: text,
        signature: header("gitwharf-signature"),
      });
      if (!isGenuine || seen.has(id)) {
        application.refused.push(isGenuine ? "seen before" : "not signed");
        response.writeHead(401).end();
        return;
      }
      seen.add(id);
      const body = JSON.parse(text) as Record<string, unknown>;
      const question = { path: request.url ?? "", body, headers: request.headers, text };
      application.asked.push(question);
      const answer = application.answer(question, response);
      if (answer === ANSWERED) return;
      response.setHeader("Content-Type", "application/json");
      response.end(JSON.stringify(answer));
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const application: RemoteTestApplication = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/git`,
    asked: [],
    refused: [],
    answer: () => ({ allowed: false, reason: "nobody has said otherwise" }),
    async close() {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
  return application;
}
