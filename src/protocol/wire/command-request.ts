/**
 * The beginning of a v2 request: command and capabilities, before the command's own arguments.
 * Specification: gitprotocol-v2 "Command Request".
 *
 *     command=<name> LF   <capability> LF …   [0001 <argument> LF …]   0000
 */
import { GitwharfError } from "../../base/errors.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { packetText, type PktLineReader } from "./pkt-line.js";
import { quoteLine } from "./request-line.js";

/** Filled line by line. */
export interface CommandHead {
  command: string | undefined;
  objectFormat: string | undefined;
  agent: string | undefined;
  sessionId: string | undefined;
  readonly serverOptions: string[];
}

/** Server options of one request; git sends those that a person typed. */
const SERVER_OPTIONS_MAX = 1000;

export function createCommandHead(): CommandHead {
  return {
    command: undefined,
    objectFormat: undefined,
    agent: undefined,
    sessionId: undefined,
    serverOptions: [],
  };
}

/**
 * @param advertised names of the capabilities that are no commands, as the server advertised them
 * @throws protocol/bad-request
 */
export function takeCommandLine(head: CommandHead, line: string, advertised: ReadonlySet<string>): void {
  if (/[\0-\x1f\x7f]/.test(line)) throw bad(`a capability contains control characters: '${quoteLine(line)}'`);
  const equals = line.indexOf("=");
  const name = equals < 0 ? line : line.slice(0, equals);
  const value = equals < 0 ? "" : line.slice(equals + 1);
  if (name === "command") {
    if (head.command !== undefined) {
      throw bad(
        `command '${quoteLine(value)}' requested after already requesting command '${quoteLine(head.command)}'`,
      );
    }
    head.command = value;
    return;
  }
  if (!advertised.has(name)) throw bad(`unknown capability '${quoteLine(line)}'`);
  if (name === "object-format") head.objectFormat = value;
  else if (name === "agent") head.agent = value;
  else if (name === "session-id") head.sessionId = value;
  else if (name === "server-option") {
    head.serverOptions.push(value);
    if (head.serverOptions.length > SERVER_OPTIONS_MAX) {
      throw new GitwharfError(
        "base/limit-exceeded",
        `the request has more than ${SERVER_OPTIONS_MAX} server options`,
      );
    }
  }
}

export function formatCommandHead(head: CommandHead): string[] {
  const lines: string[] = [];
  if (head.command !== undefined) lines.push(`command=${head.command}`);
  if (head.agent !== undefined) lines.push(`agent=${head.agent}`);
  if (head.sessionId !== undefined) lines.push(`session-id=${head.sessionId}`);
  for (const option of head.serverOptions) lines.push(`server-option=${option}`);
  if (head.objectFormat !== undefined) lines.push(`object-format=${head.objectFormat}`);
  return lines;
}

/** A request up to its arguments, which `readArguments` reads. */
export interface CommandRequest {
  readonly command: string;
  readonly head: CommandHead;
  readonly hasArguments: boolean;
}

export interface CommandRequestContext {
  readonly objectFormat: ObjectFormat;
  readonly advertised: ReadonlySet<string>;
}

/**
 * undefined when the client is done: it closed, or sent a flush alone.
 * @throws protocol/bad-request, protocol/unsupported (object format), base/truncated, and what the reader throws
 */
export async function readCommandRequest(
  reader: PktLineReader,
  context: CommandRequestContext,
): Promise<CommandRequest | undefined> {
  const head = createCommandHead();
  let lines = 0;
  for (;;) {
    const packet = await reader.next();
    if (packet.kind === "data") {
      takeCommandLine(head, packetText(packet.payload), context.advertised);
      lines++;
      continue;
    }
    if (packet.kind === "eof") {
      if (lines === 0) return undefined;
      throw truncated();
    }
    if (packet.kind === "response-end") throw bad("unexpected response end packet");
    if (packet.kind === "flush" && lines === 0) return undefined;
    if (head.command === undefined) throw bad("no command requested");
    const format = head.objectFormat ?? "sha1";
    if (format !== context.objectFormat) {
      throw new GitwharfError(
        "protocol/unsupported",
        `mismatched object format: server ${context.objectFormat}; client ${quoteLine(format.slice(0, 20))}`,
      );
    }
    return { command: head.command, head, hasArguments: packet.kind === "delim" };
  }
}

/**
 * Hands each argument on, up to the flush.
 * @throws protocol/bad-request, base/truncated, and what the reader and `take` throw
 */
export async function readArguments(
  reader: PktLineReader,
  request: CommandRequest,
  take: (line: string) => void,
): Promise<void> {
  if (!request.hasArguments) return;
  for (;;) {
    const next = reader.next();
    const packet = next instanceof Promise ? await next : next;
    if (packet.kind === "data") take(packetText(packet.payload));
    else if (packet.kind === "flush") return;
    else if (packet.kind === "eof") throw truncated();
    else throw bad(`expected flush after ${quoteLine(request.command)} arguments`);
  }
}

function bad(message: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", message);
}

function truncated(): GitwharfError {
  return new GitwharfError("base/truncated", "the request ends before its flush");
}
