/**
 * One request to a place that may have been named by somebody who is not trusted. The name is resolved once, every address it
 * has is looked at, and the connection goes to one of those that were looked at; nothing is followed elsewhere; the answer
 * has a bounded size and time. The url may hold secrets and is in no error.
 */
import { lookup as lookUp } from "node:dns/promises";
import { type IncomingHttpHeaders, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { isIP } from "node:net";
import type { IsCallable } from "./address-guard.js";
import { linkSignals } from "./linked-signal.js";

export interface GuardedRequest extends GuardedQuestion {
  readonly body: string;
}

export interface GuardedQuestion {
  /** http: or https: */
  readonly url: string;
  /** @default POST */
  readonly method?: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly isCallable: IsCallable;
  /** Of all of it, to the last byte of the answer. */
  readonly timeoutMs: number;
  /** The rest is not read. */
  readonly answerBytesMax: number;
  readonly signal?: AbortSignal;
  /** @default the system's */
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

export interface GuardedAnswer {
  readonly status: number;
  readonly text: string;
  /** There was more. */
  readonly isCut: boolean;
}

export interface GuardedBytes {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
  /** There was more. */
  readonly isCut: boolean;
}

/** Why there is no answer. */
export class RequestFailed extends Error {
  override readonly name = "RequestFailed";
}

const HEAD_BYTES_MAX = 16 * 1024;

/** @throws RequestFailed */
export async function postGuarded(about: GuardedRequest): Promise<GuardedAnswer> {
  const { status, body, isCut } = await requestGuarded(about);
  return { status, text: body.toString("utf8"), isCut };
}

/** @throws RequestFailed */
export async function requestGuarded(about: GuardedQuestion): Promise<GuardedBytes> {
  const timeout = AbortSignal.timeout(about.timeoutMs);
  const { signal, release } =
    about.signal === undefined
      ? { signal: timeout, release: () => undefined }
      : linkSignals(timeout, about.signal);
  try {
    const url = new URL(about.url);
    const addresses = await withSignal(addressesOf(url, about), signal);
    // Whatever the connection does, nobody waits for longer.
    return await withSignal(ask(url, addresses, about, signal), signal);
  } catch (error) {
    if (timeout.aborted) throw new RequestFailed(`no answer within ${about.timeoutMs} ms`, { cause: error });
    if (error instanceof RequestFailed) throw error;
    throw new RequestFailed(`the connection failed (${reasonOf(error)})`, { cause: error });
  } finally {
    release();
  }
}

/** @throws RequestFailed: it has none, or one that is not to be called */
async function addressesOf(
  url: URL,
  { isCallable, resolve = resolveAll }: GuardedQuestion,
): Promise<readonly string[]> {
  const host = url.hostname.replace(/^\[|\]$/g, "");
  const addresses = isIP(host) === 0 ? await resolve(host) : [host];
  if (addresses.length === 0) throw new RequestFailed("its host has no address");
  // One good one among bad ones is what somebody who plays with names would have.
  if (!addresses.every((address) => isCallable(address)))
    throw new RequestFailed("its host has an address that may not be called (allowAddresses)");
  return addresses;
}

async function resolveAll(host: string): Promise<readonly string[]> {
  return (await lookUp(host, { all: true, verbatim: true })).map(({ address }) => address);
}

function ask(
  url: URL,
  addresses: readonly string[],
  { method = "POST", headers, body, answerBytesMax }: GuardedQuestion,
  signal: AbortSignal,
): Promise<GuardedBytes> {
  const lookedUp = addresses.map((address) => ({ address, family: isIP(address) }));
  return new Promise((resolve, reject) => {
    const send = url.protocol === "https:" ? requestHttps : requestHttp;
    const request = send(
      url,
      {
        method,
        headers: body === undefined ? headers : { ...headers, "Content-Length": Buffer.byteLength(body) },
        // A connection of its own: one that is kept may lead to another address.
        agent: false,
        maxHeaderSize: HEAD_BYTES_MAX,
        signal,
        // Where Node asks for all of them it tries the next when one does not answer, as from a machine without IPv6.
        lookup: (_host, options, done) => {
          const [first] = lookedUp;
          if (options.all === true) (done as unknown as LookedUpAll)(null, lookedUp);
          else done(null, first?.address ?? "", first?.family);
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let size = 0;
        const end = (isCut: boolean): void => {
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(chunks).subarray(0, answerBytesMax),
            isCut,
          });
          request.destroy();
        };
        response.on("data", (chunk: Buffer) => {
          chunks.push(chunk);
          size += chunk.length;
          if (size > answerBytesMax) end(true);
        });
        response.on("end", () => end(false));
        response.on("error", reject);
        response.on("close", () => reject(new RequestFailed("its answer broke off")));
      },
    );
    request.on("error", reject);
    // Neither an answer nor an error follows.
    request.on("upgrade", (_response, socket) => {
      socket.destroy();
      reject(new RequestFailed("it wants to speak another protocol"));
    });
    request.end(body);
  });
}

type LookedUpAll = (
  error: null,
  addresses: readonly { readonly address: string; readonly family: number }[],
) => void;

/** A resolver cannot be told to stop, and a connection may end without a word. */
async function withSignal<Result>(work: Promise<Result>, signal: AbortSignal): Promise<Result> {
  let stop: (() => void) | undefined;
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason instanceof Error ? signal.reason : new Error("aborted"));
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true });
  });
  try {
    return await Promise.race([work, aborted]);
  } finally {
    if (stop !== undefined) signal.removeEventListener("abort", stop);
    work.catch(() => undefined);
  }
}

function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "it broke off";
  const code: unknown = Reflect.get(error, "code");
  return typeof code === "string" ? code : error.message;
}
