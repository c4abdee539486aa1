/**
 * One request to Openruko's API server: `Authorization: Basic base64(":" KEY)`, an answer of bounded size within a
 * bounded time, no redirects. Not `fetch`, which cannot be told whose certificates to take.
 */
import { readFile } from "node:fs/promises";
import { request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { RemoteAway, RemoteFailure } from "../remote/remote-failure.js";

export interface ApiRequest {
  readonly method: "GET" | "POST";
  readonly url: string;
  /** Whose: the server's own, or a user's. */
  readonly key: string;
  readonly timeoutMs: number;
  readonly answerBytesMax: number;
  readonly caFile: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface ApiAnswer {
  readonly status: number;
  readonly text: string;
}

/** @throws RemoteAway when there is no whole answer, RemoteFailure when it is too large */
export async function exchangeWithApi(asked: ApiRequest): Promise<ApiAnswer> {
  const deadline = AbortSignal.timeout(asked.timeoutMs);
  const signal = asked.signal === undefined ? deadline : AbortSignal.any([asked.signal, deadline]);
  try {
    const ca = asked.caFile === undefined ? undefined : await readFile(asked.caFile);
    return await send(asked, ca, signal);
  } catch (error) {
    if (error instanceof RemoteFailure) throw error;
    const why = deadline.aborted ? `no answer within ${asked.timeoutMs} ms` : causeOf(error);
    throw new RemoteAway(why, { cause: error });
  }
}

function send(
  { method, url, key, answerBytesMax }: ApiRequest,
  ca: Buffer | undefined,
  signal: AbortSignal,
): Promise<ApiAnswer> {
  const request = url.startsWith("https:") ? requestHttps : requestHttp;
  return new Promise((resolve, reject) => {
    const sent = request(
      url,
      {
        method,
        signal,
        // A connection that was kept may be closed by now, and a POST cannot be sent again.
        agent: false,
        ...(ca === undefined ? {} : { ca }),
        headers: {
          Accept: "application/json, text/plain",
          Authorization: `Basic ${Buffer.from(`:${key}`).toString("base64")}`,
          ...(method === "POST" ? { "Content-Length": 0 } : {}),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        response.on("data", (chunk: Buffer) => {
          size += chunk.length;
          if (size > answerBytesMax) {
            reject(new RemoteFailure(`its answer is larger than ${answerBytesMax} bytes (answerBytesMax)`));
            response.destroy();
          } else chunks.push(chunk);
        });
        response.on("end", () =>
          resolve({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString("utf8") }),
        );
        response.on("error", reject);
        response.on("close", () => reject(new Error("the answer broke off")));
      },
    );
    sent.on("error", reject);
    // Neither an answer nor an error follows.
    sent.on("upgrade", (_response, socket) => {
      socket.destroy();
      reject(new Error("it wants to speak another protocol"));
    });
    sent.end();
  });
}

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return "the connection failed";
  const code: unknown = Reflect.get(error, "code");
  return `the connection failed (${typeof code === "string" ? code : error.message})`;
}
