/**
 * One git:// connection: one request, by a deadline, and the conversation that it begins. Nobody signs in here: the
 * caller is anonymous, and the authorization decides what such a caller may do. What is refused is told in git-daemon's
 * one sentence, which does not say whether the repository exists.
 */
import { randomUUID } from "node:crypto";
import type { Socket } from "node:net";
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { linkSignals } from "../../base/linked-signal.js";
import { withoutUserInformation } from "../../base/user-information.js";
import { encodePktLine, type Packet, PktLineReader } from "../../protocol/wire/pkt-line.js";
import { converse } from "../conversation.js";
import { countInput, countOutput } from "../count-bytes.js";
import { formatControlText } from "../http/plain-text.js";
import { describeFailure, isForOperators } from "../describe-failure.js";
import { peerAddressOf } from "../proxied-connections.js";
import { beginRequest } from "../observed-request.js";
import { readReadable } from "../readable-source.js";
import type { ServiceExchange } from "../service-contexts.js";
import type { ServiceHost } from "../service-host.js";
import type { TcpConnection } from "../tcp-listener.js";
import { createWritableSink, type WritableSink } from "../writable-sink.js";
import { type DaemonRequest, parseDaemonRequest } from "./daemon-request.js";
import { repositoryNameOf } from "./repository-name-of.js";

export interface DaemonOptions {
  readonly host: ServiceHost;
  /** Whether the repository may be seen over git:// at all. */
  readonly isExported: (name: string) => Promise<boolean>;
  readonly interpolatedPath: string | undefined;
  readonly receivePack: boolean;
  readonly uploadArchive: boolean;
}

const REQUEST_BYTES_MAX = 8192;
/** Time for a client to read the last words, and for us to read what it still sends: else they would be lost. */
const LINGER_MS = 5000;

export function serveConnection(socket: Socket, options: DaemonOptions): TcpConnection {
  const { host } = options;
  const { limits } = host;
  const left = new AbortController();
  const onClose = (): void => left.abort(new GitwharfError("base/aborted", "the client has gone"));
  socket.once("close", onClose);
  const { signal, release } = linkSignals(left.signal, host.closing);
  const { idleTimeoutMs } = limits;
  const output = createWritableSink(socket, { idleTimeoutMs, signal, onFirstWrite: () => undefined });
  const address = peerAddressOf(socket);
  let hasAsked = false;
  const deadline = Number.isFinite(limits.headerTimeoutMs)
    ? setTimeout(() => socket.destroy(), Math.min(limits.headerTimeoutMs, 0x7fff_ffff))
    : undefined;
  socket.once("close", () => {
    clearTimeout(deadline);
    release();
  });
  const reader = new PktLineReader(readReadable(socket, { idleTimeoutMs, signal }), {
    totalBytesMax: REQUEST_BYTES_MAX,
    limitName: "a git:// request",
  });
  void (async () => {
    const first = await outcomeOfNext(reader);
    clearTimeout(deadline);
    hasAsked = true;
    // Who connects and leaves has asked for nothing.
    if ("error" in first || first.packet.kind !== "eof") {
      const requestId = randomUUID();
      const { activity, end } = beginRequest(host, { requestId, transport: "git", address });
      const caller = { identity: { user: undefined }, address, transport: "git", activity } as const;
      const exchange: ServiceExchange = { host, caller, signal, sessionId: requestId };
      let request: DaemonRequest | undefined;
      let answer: string;
      try {
        if ("error" in first) throw first.error;
        request = requestOf(first.packet);
        answer = await serveRequest(exchange, request, { options, reader, socket, output });
      } catch (error) {
        activity.failed(error);
        answer = await tell(exchange, output, { request, error });
      }
      end(`git${shownRequest(request)} ${answer}`);
    }
    await finish(socket, output);
  })();
  return {
    drain() {
      if (!hasAsked) socket.destroy();
    },
    destroy: () => socket.destroy(),
  };
}

async function outcomeOfNext(
  reader: PktLineReader,
): Promise<{ readonly packet: Packet } | { readonly error: unknown }> {
  try {
    return { packet: await reader.next() };
  } catch (error) {
    return { error };
  }
}

/** @throws protocol/bad-request and what `parseDaemonRequest` throws */
function requestOf(packet: Packet): DaemonRequest {
  if (packet.kind === "data") return parseDaemonRequest(packet.payload);
  throw new GitwharfError("protocol/bad-request", "the request is none of git://: it is empty");
}

/** @returns how it ended, for the log */
async function serveRequest(
  exchange: ServiceExchange,
  request: DaemonRequest,
  at: {
    readonly options: DaemonOptions;
    readonly reader: PktLineReader;
    readonly socket: Socket;
    readonly output: WritableSink;
  },
): Promise<string> {
  const { options, reader, socket, output } = at;
  const { service, gitProtocol } = request;
  const { host, caller } = exchange;
  const { activity } = caller;
  await host.rates.admitAddress(caller.address);
  const isEnabled =
    service === "git-upload-pack" ||
    (service === "git-upload-archive" ? options.uploadArchive : options.receivePack);
  if (!isEnabled)
    throw new GitwharfError("protocol/service-disabled", `${service} is not served over git://`);
  const reached = { address: socket.localAddress ?? "", port: socket.localPort ?? 0 };
  const name = repositoryNameOf(request, options.interpolatedPath, reached, (text) =>
    host.parseName(text, "git"),
  );
  const requireServed = async (found: string): Promise<void> => {
    if (await options.isExported(found)) return;
    throw new GitwharfError("storage/not-found", `repository '${name}' is not exported`);
  };
  const streams = { input: countInput(reader.rest(), activity), output: countOutput(output, activity) };
  const { failure } = await converse(exchange, { service, name, gitProtocol, streams, requireServed });
  return failure === undefined ? "served" : "failed";
}

function shownRequest(request: DaemonRequest | undefined): string {
  return request === undefined
    ? ""
    : ` ${request.service} ${formatControlText(withoutUserInformation(request.path).slice(0, 300))}`;
}

/** Refusals that would tell what exists are all told alike. @returns how it ended, for the log */
async function tell(
  { host, caller }: ServiceExchange,
  output: WritableSink,
  about: { readonly request: DaemonRequest | undefined; readonly error: unknown },
): Promise<string> {
  const { request, error } = about;
  const requestId = caller.activity.requestId;
  const { status, text } = describeFailure(error, requestId);
  if (isForOperators(error, status)) {
    host.log({ level: "error", message: `git${shownRequest(request)} failed`, error, fields: { requestId } });
  }
  const isHidden =
    request !== undefined &&
    isGitwharfError(
      error,
      "storage/not-found",
      "storage/bad-name",
      "protocol/service-disabled",
      // Nobody can sign in here: to ask for it would only tell that there is something.
      "access/unauthenticated",
    );
  const told = isHidden ? `access denied or repository not exported: ${request.path.slice(0, 300)}` : text;
  try {
    await output.write(encodePktLine(`ERR ${formatControlText(told)}`));
  } catch {
    // It has gone.
  }
  return `refused: ${formatControlText(withoutUserInformation(text))}`;
}

async function finish(socket: Socket, output: WritableSink): Promise<void> {
  if (socket.destroyed) return;
  const timer = setTimeout(() => socket.destroy(), LINGER_MS);
  socket.once("close", () => clearTimeout(timer));
  // What it still sends is read: closing on unread bytes would take our last words from it.
  socket.resume();
  await output.end();
}
