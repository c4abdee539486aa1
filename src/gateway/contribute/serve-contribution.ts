/**
 * git-receive-pack of the gateway over HTTP: commands, options and a pack in, a report and readable lines out. A push that is refused
 * is answered with 200 all the same, because git shows what a report says and nothing of a status.
 * Specification: gitprotocol-pack "Pushing Data To a Server".
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import type { ByteSource } from "../../base/byte-streams.js";
import { type PushRequest, readPushRequest } from "../../protocol/receive-pack/push-request.js";
import { formatReport } from "../../protocol/receive-pack/report-status.js";
import { describeForPeer } from "../../protocol/service.js";
import { encodePktLine, FLUSH, PktLineReader } from "../../protocol/wire/pkt-line.js";
import {
  createSideBandWriter,
  type SerialSideBand,
  serializeSideBand,
  SIDE_BAND_64K_BYTES_MAX,
} from "../../protocol/wire/side-band.js";
import type { HttpExchange } from "../../transport/http/answer-request.js";
import { setNoCache } from "../../transport/http/no-cache.js";
import { readRequestBody } from "../../transport/http/request-body.js";
import { createResponseSink } from "../../transport/http/response-sink.js";
import type { WritableSink } from "../../transport/writable-sink.js";
import type { UpstreamAddress } from "../upstream-name.js";
import { refusalOfForge } from "./answer-text.js";
import { contribute, type Contributing } from "./contribute.js";
import { refuse, type Refused } from "./refused.js";

/** What a connection needs to hear now and then. */
const KEEP_ALIVE_MS = 5000;
const COMMANDS_MAX = 1000;
const COMMAND_BYTES_MAX = 1024 * 1024;

/** @param about.hasPlace false: too many are at work */
export async function serveContribution(
  contributing: Contributing,
  exchange: HttpExchange,
  about: { readonly address: UpstreamAddress; readonly hasPlace: boolean },
): Promise<void> {
  const { host, request, response, signal } = exchange;
  const type = (request.headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase();
  if (type !== "application/x-git-receive-pack-request")
    throw new GitwharfError(
      "protocol/unsupported-media-type",
      "the body must be of type application/x-git-receive-pack-request",
    );
  const { pushBytesMax } = contributing.opening.settings.limits;
  if (Number(request.headers["content-length"] ?? 0) > pushBytesMax + COMMAND_BYTES_MAX)
    throw new GitwharfError("base/limit-exceeded", "Push too large", { details: { httpStatus: 413 } });
  const { idleTimeoutMs } = host.limits;
  const output = createResponseSink(response, {
    idleTimeoutMs,
    signal,
    onFirstWrite() {
      response.statusCode = 200;
      setNoCache(response);
      response.setHeader("Content-Type", "application/x-git-receive-pack-result");
    },
  });
  const reader = new PktLineReader(readRequestBody(request, response, { idleTimeoutMs, signal }), {
    totalBytesMax: COMMAND_BYTES_MAX,
    limitName: "commandBytesMax",
    budget: host.requestBytes,
  });
  try {
    let readsBands = false;
    let push: PushRequest | undefined;
    try {
      push = await readPushRequest(reader, {
        objectFormat: "sha1",
        limits: { ...host.limits, commandsMax: COMMANDS_MAX },
        acceptsOptions: true,
        acceptsCertificates: false,
        onCapabilities: (capabilities) => (readsBands = capabilities.has("side-band-64k")),
      });
    } catch (error) {
      if (signal.aborted) throw error;
      const message = describeForPeer(error, exchange.caller.activity);
      await output.write(encodePktLine(readsBands ? `\x03${message}\n` : `ERR ${message}`));
      if (readsBands) await output.write(FLUSH);
    }
    if (push !== undefined && push.commands.length > 0)
      await carryOut(contributing, exchange, { ...about, push, source: reader.rest(), output });
    await output.end();
  } finally {
    await reader.close();
  }
}

interface CarryOut {
  readonly address: UpstreamAddress;
  readonly hasPlace: boolean;
  readonly push: PushRequest;
  readonly source: ByteSource;
  readonly output: WritableSink;
}

async function carryOut(
  contributing: Contributing,
  { caller, signal }: HttpExchange,
  { address, hasPlace, push, source, output }: CarryOut,
): Promise<void> {
  const bands = push.capabilities.has("side-band-64k")
    ? serializeSideBand(createSideBandWriter(output, { dataBytesMax: SIDE_BAND_64K_BYTES_MAX }))
    : undefined;
  const isQuiet = push.capabilities.has("quiet");
  const say = (line: string): void => print(bands, `${line}\n`);
  const pack = readOnce(source);
  // Not before all of it is here: until then they are busy themselves.
  const timer = setInterval(() => {
    if (pack.isOver()) keepAlive(bands);
  }, KEEP_ALIVE_MS);
  let refused: Refused | undefined;
  try {
    if (!hasPlace)
      throw refuse("too busy", "Too many contributions are at work here. Try again in a minute.");
    const lines = await contribute(contributing, {
      address,
      clientAddress: caller.address,
      request: push,
      source: pack.bytes,
      say,
      onProgress: (text) => {
        if (!isQuiet) print(bands, text);
      },
      signal,
    });
    for (const line of lines) say(line);
  } catch (error) {
    if (signal.aborted) throw error;
    refused = refusalOfForge(error, "ask the forge") ?? unexpected(contributing, error, caller.activity);
    await pack.drop(contributing.opening.settings.limits.pushBytesMax);
    say("");
    for (const line of refused.lines) say(line);
    say("");
  } finally {
    clearInterval(timer);
  }
  const unpackFailure = refused?.isOfPack === true ? refused.reason : undefined;
  const refusal = refused === undefined ? undefined : refused.isOfPack ? "unpacker error" : refused.reason;
  const report = await formatReport(
    push.commands.map((command) => ({ command, refusal, substitutes: [] })),
    unpackFailure,
    1,
  );
  if (bands === undefined) {
    await output.write(report);
    return;
  }
  await bands.data(report);
  await bands.flush();
  await bands.settled();
}

/** What is neither the person's fault nor the forge's: for the log, and a word of it for the person. */
function unexpected(
  { opening }: Contributing,
  error: unknown,
  activity: Parameters<typeof describeForPeer>[1],
): Refused {
  if (!isGitwharfError(error) || error.kind !== "peer") opening.log("a contribution failed", error);
  const text = describeForPeer(error, activity);
  return isGitwharfError(error, "storage/not-found")
    ? refuse("no such repository", text)
    : refuse("internal error", `It could not be done: ${text}.`);
}

/** Not awaited: who reads slowly does not hold up what is worked on, and what is said is little. */
function print(bands: SerialSideBand | undefined, text: string): void {
  try {
    void Promise.resolve(bands?.progress(text)).catch(() => undefined);
  } catch {
    // The client has gone; what reads its signal knows.
  }
}

function keepAlive(bands: SerialSideBand | undefined): void {
  try {
    void Promise.resolve(bands?.keepAlive()).catch(() => undefined);
  } catch {
    // As above.
  }
}

interface PackOnce {
  readonly bytes: ByteSource;
  isOver(): boolean;
  /** An HTTP client reads the answer when its request is out. */
  drop(bytesMax: number): Promise<void>;
}

function readOnce(source: ByteSource): PackOnce {
  const iterator = source[Symbol.asyncIterator]();
  let isOver = false;
  const next = async (): Promise<IteratorResult<Uint8Array>> => {
    const result = await iterator.next();
    if (result.done === true) isOver = true;
    return result;
  };
  return {
    // Who leaves the loop leaves the rest for `drop`.
    bytes: { [Symbol.asyncIterator]: () => ({ next }) },
    isOver: () => isOver,
    async drop(bytesMax) {
      try {
        for (let bytes = 0; !isOver && bytes <= bytesMax; ) bytes += (await next()).value?.length ?? 0;
      } catch {
        // It has left, or sends no more.
      }
    },
  };
}
