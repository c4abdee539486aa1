/**
 * Events as server-sent events: `GET /events?after=CURSOR`, on the listener for operators. A client that comes back says in
 * `Last-Event-ID` what it has had. One that reads slowly is written to slowly. Specification: HTML, "Server-sent events".
 *
 *     id: 17
 *     event: ref.updated
 *     data: {"id":…}
 */
import { once } from "node:events";
import type { IncomingMessage, ServerResponse } from "node:http";
import type { RefEvent } from "../events/event.js";
import type { EventReader } from "./events.js";

/** A proxy in between takes silence for the end. */
const COMMENT_EVERY_MS = 15_000;
const RETRY_MS = 2000;
/** The listener has room for 64 connections, and questions about health must get through. */
const STREAMS_MAX = 32;
const CURSOR = /^[0-9]{1,15}$/;

export interface EventStreams {
  /**
   * @returns why not, before anything was sent
   * @throws what reading throws, after the answer has begun
   */
  stream(
    request: IncomingMessage,
    response: ServerResponse,
  ): Promise<{ readonly status: number; readonly why: string } | undefined>;
}

export function createEventStreams(reader: EventReader): EventStreams {
  let open = 0;
  return {
    async stream(request, response) {
      if (open >= STREAMS_MAX) return { status: 503, why: `${STREAMS_MAX} others read already` };
      open++;
      try {
        const why = await streamEvents(request, response, reader);
        return why === undefined ? undefined : { status: 400, why };
      } finally {
        open--;
      }
    },
  };
}

async function streamEvents(
  request: IncomingMessage,
  response: ServerResponse,
  reader: EventReader,
): Promise<string | undefined> {
  const query = new URLSearchParams((request.url ?? "").split("?", 2)[1] ?? "");
  const last = request.headers["last-event-id"];
  const given = (typeof last === "string" && last !== "" ? last : undefined) ?? query.get("after");
  if (given !== null && !CURSOR.test(given)) return "after (or Last-Event-ID) is the cursor of an event";
  const repository = query.get("repository");
  const gone = new AbortController();
  response.once("close", () => gone.abort());
  response.writeHead(200, {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
    "X-Content-Type-Options": "nosniff",
  });
  response.write(`retry: ${RETRY_MS}\n\n`);
  const comments = setInterval(() => {
    if (response.writableLength === 0) response.write(":\n\n");
  }, COMMENT_EVERY_MS);
  comments.unref();
  try {
    const from = given === null ? {} : { after: Number(given) };
    for await (const event of reader.read({ ...from, signal: gone.signal })) {
      if (repository !== null && event.repository !== repository) continue;
      if (!response.write(textOf(event))) await drained(response, gone.signal);
    }
    response.end();
  } catch (error) {
    // The client comes back and goes on from what it has had.
    response.destroy();
    throw error;
  } finally {
    clearInterval(comments);
  }
  return undefined;
}

function textOf(event: RefEvent): string {
  return `id: ${event.cursor}\nevent: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`;
}

async function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  try {
    await once(response, "drain", { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
