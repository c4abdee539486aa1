/**
 * One HTTP/1.1 request and its answer, both as streams: a slow side slows the other, whoever is silent for too long is left,
 * and nothing is read beyond a bound. Knows nothing of Git, of redirects and of what a status means.
 */
import { type Agent, type ClientRequest, type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { LookupFunction } from "node:net";
import { pipeline, type Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import type { ByteSource } from "../base/byte-streams.js";
import { abortedError, GitwharfError } from "../base/errors.js";
import { RemoteGitFailure } from "./remote-git-failure.js";

export interface HttpTimes {
  /** From a host's name to a connection, TLS included. */
  readonly connectTimeoutMs: number;
  /** In which nothing moves. The time in which we do not read is not theirs. */
  readonly idleTimeoutMs: number;
}

export interface HttpExchangeOptions extends HttpTimes {
  readonly url: URL;
  readonly method: "GET" | "POST";
  readonly headers: Readonly<Record<string, string>>;
  readonly agent: Agent;
  /** @default the system's */
  readonly lookup?: LookupFunction | undefined;
  /** Bytes of the answer, unpacked. */
  readonly answerBytesMax: number;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: IncomingMessage["headers"];
  readonly body: HttpBody;
}

/** To be read once; leaving the loop over it early closes it. @throws RemoteGitFailure, base/aborted */
export interface HttpBody extends ByteSource {
  /** Ends the connection unless all has been read. Idempotent. */
  close(): void;
}

export interface HttpExchange {
  /** Waits while they do not read. @throws base/aborted when they read no more: their answer says why */
  write(bytes: Uint8Array): Promise<void>;
  /** Nothing more is sent. */
  end(): void;
  /** Their status and the beginning of their answer. @throws RemoteGitFailure, base/aborted */
  answer(): Promise<HttpAnswer>;
  /** Ends it, whatever it is at. Idempotent. */
  cut(): void;
  /** It failed on a connection that was kept open, which they may have closed just then: nothing of it arrived. */
  readonly isStale: boolean;
}

const HEAD_BYTES_MAX = 32 * 1024;
const TIMER_MS_MAX = 0x7fff_ffff;

export function openExchange(options: HttpExchangeOptions): HttpExchange {
  const { url, method, headers, agent, lookup, signal } = options;
  const send = url.protocol === "https:" ? requestHttps : requestHttp;
  const request = send(url, {
    method,
    headers: { ...headers },
    agent,
    maxHeaderSize: HEAD_BYTES_MAX,
    ...(lookup === undefined ? {} : { lookup }),
  });
  let failure: unknown;
  let response: IncomingMessage | undefined;
  let isStale = false;
  const stopped = (): void => {
    if (signal !== undefined) request.destroy(abortedError(signal));
  };
  signal?.addEventListener("abort", stopped, { once: true });
  if (signal?.aborted === true) stopped();
  const late = (ms: number, what: string) => (): void =>
    void request.destroy(
      new RemoteGitFailure(`the other side ${what} for ${ms / 1000} seconds`, { kind: "gone" }),
    );

  watchConnecting(request, options, late);
  /** Of the one that waits to write. */
  let wake = (): void => undefined;
  request.on("drain", () => wake());
  request.once("close", () => wake());
  /** They have said no, and need not read on; who says yes may begin to answer while there is more to be sent. */
  const hasRefused = (): boolean => response !== undefined && response.statusCode !== 200;
  const answered = new Promise<IncomingMessage>((resolve, reject) => {
    request.on("response", (incoming: IncomingMessage) => {
      response = incoming;
      if (hasRefused()) wake();
      resolve(incoming);
    });
    request.on("error", (error: Error) => {
      const code: unknown = Reflect.get(error, "code");
      isStale = request.reusedSocket && response === undefined && (code === "ECONNRESET" || code === "EPIPE");
      failure ??= failureOf(error);
      reject(failure instanceof Error ? failure : new Error("the request failed"));
    });
    // Neither an answer nor an error follows.
    request.on("upgrade", (_response, socket) => {
      socket.destroy();
      reject(new RemoteGitFailure("the other side wants to speak another protocol"));
    });
  });
  answered.catch(() => undefined);
  const sent = new Promise<void>((resolve) => {
    request.once("finish", resolve);
    request.once("close", resolve);
  });
  request.once("close", () => signal?.removeEventListener("abort", stopped));

  return {
    get isStale() {
      return isStale;
    },
    async write(bytes) {
      if (signal?.aborted === true) throw abortedError(signal);
      if (hasRefused() || request.destroyed) throw goneError();
      if (request.write(bytes)) return;
      const { idleTimeoutMs } = options;
      const stop = startTimer(idleTimeoutMs, late(idleTimeoutMs, "has taken nothing of what was sent"));
      await new Promise<void>((resolve) => {
        wake = resolve;
        // A close that came first wakes nobody.
        if (request.destroyed || hasRefused()) resolve();
      });
      stop();
    },
    end: () => void request.end(),
    async answer() {
      // As long as there is something to be sent, its time is that of `write`.
      await Promise.race([sent, answered]);
      const stop = startTimer(options.idleTimeoutMs, late(options.idleTimeoutMs, "has given no answer"));
      try {
        const incoming = await answered;
        return {
          status: incoming.statusCode ?? 0,
          headers: incoming.headers,
          body: readBody(incoming, options, () => !request.writableFinished && !request.destroyed),
        };
      } finally {
        stop();
      }
    },
    cut: () => void request.destroy(),
  };
}

function watchConnecting(
  request: ClientRequest,
  { connectTimeoutMs, url }: HttpExchangeOptions,
  late: (ms: number, what: string) => () => void,
): void {
  const stop = startTimer(connectTimeoutMs, late(connectTimeoutMs, "could not be connected to"));
  request.once("close", stop);
  request.once("socket", (socket) => {
    if (!socket.connecting) stop();
    else socket.once(url.protocol === "https:" ? "secureConnect" : "connect", stop);
  });
}

/** @param isSending as long as it says yes, their time is that of `write` */
function readBody(
  incoming: IncomingMessage,
  { idleTimeoutMs, answerBytesMax, signal }: HttpExchangeOptions,
  isSending: () => boolean,
): HttpBody {
  const stream = unpacked(incoming);
  // Those who read are told by the iterator; it may break before anybody does.
  stream.on("error", () => undefined);
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Uint8Array, undefined>;
  let bytes = 0;
  let hasEnded = false;
  const stopped = (): void => {
    if (signal !== undefined) stream.destroy(abortedError(signal));
  };
  signal?.addEventListener("abort", stopped, { once: true });
  const close = (): void => {
    signal?.removeEventListener("abort", stopped);
    // What was read to its end leaves the connection open for the next request.
    if (hasEnded) return;
    incoming.destroy();
    if (stream !== incoming) stream.destroy();
  };
  const next = async (): Promise<IteratorResult<Uint8Array, undefined>> => {
    let stop = (): void => undefined;
    const wait = (): void => {
      const wasSending = isSending();
      stop = startTimer(idleTimeoutMs, () => {
        if (wasSending) return wait();
        const words = `the other side has said nothing for ${idleTimeoutMs / 1000} seconds`;
        stream.destroy(new RemoteGitFailure(words, { kind: "gone" }));
      });
    };
    wait();
    try {
      if (signal?.aborted === true) throw abortedError(signal);
      const result = await chunks.next();
      if (result.done === true) {
        hasEnded = true;
        close();
        return result;
      }
      bytes += result.value.length;
      if (bytes > answerBytesMax)
        throw new RemoteGitFailure(`the other side sends more than ${answerBytesMax} bytes`);
      return result;
    } catch (error) {
      close();
      throw signal?.aborted === true ? abortedError(signal) : failureOf(error);
    } finally {
      stop();
    }
  };
  return {
    close,
    [Symbol.asyncIterator]: () => ({
      next,
      async return() {
        close();
        return { done: true, value: undefined };
      },
    }),
  };
}

function unpacked(incoming: IncomingMessage): Readable {
  const encoding = (incoming.headers["content-encoding"] ?? "identity").trim().toLowerCase();
  if (encoding === "identity") return incoming;
  if (encoding !== "gzip" && encoding !== "x-gzip") {
    incoming.destroy();
    throw new RemoteGitFailure("the other side packs its answer in a way that was not asked for");
  }
  const gunzip = createGunzip();
  // It passes on how the one ends to the other.
  pipeline(incoming, gunzip, () => undefined);
  return gunzip;
}

/** @returns what stops it */
function startTimer(ms: number, onLate: () => void): () => void {
  if (!Number.isFinite(ms)) return () => undefined;
  const timer = setTimeout(onLate, Math.min(ms, TIMER_MS_MAX));
  return () => clearTimeout(timer);
}

function goneError(): GitwharfError {
  return new GitwharfError("base/aborted", "the other side reads no more");
}

const UNTRUSTED = /^(?:CERT_|ERR_TLS_CERT|DEPTH_ZERO|SELF_SIGNED|UNABLE_TO_)/;
const REASONS: Readonly<Record<string, string>> = {
  EAI_AGAIN: "its name cannot be looked up now",
  ECONNREFUSED: "it refuses connections",
  EHOSTUNREACH: "there is no way to it",
  ENETUNREACH: "there is no way to it",
  ENOTFOUND: "there is no such host",
};

function failureOf(error: unknown): unknown {
  if (error instanceof RemoteGitFailure || error instanceof GitwharfError) return error;
  const found: unknown = error instanceof Error ? Reflect.get(error, "code") : undefined;
  const code = typeof found === "string" ? found : "no reason was given";
  if (UNTRUSTED.test(code))
    return new RemoteGitFailure(
      `the other side's certificate cannot be trusted (${code}): name the authority that has signed it, or connect to the host that it is for`,
      { cause: error },
    );
  if (code.startsWith("HPE_"))
    return new RemoteGitFailure(`the other side does not speak HTTP as it should (${code})`, {
      cause: error,
    });
  if (code.startsWith("Z_"))
    return new RemoteGitFailure(`the other side's answer cannot be unpacked (${code})`, { cause: error });
  const known = REASONS[code];
  return new RemoteGitFailure(
    known === undefined
      ? `the connection to the other side broke off (${code})`
      : `the other side cannot be reached: ${known} (${code})`,
    { kind: "gone", cause: error },
  );
}
