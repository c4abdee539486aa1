/**
 * The commands of a push, as they come before the pack: shallow lines, ref updates, a certificate, push options.
 * Specification: gitprotocol-pack "Reference Update Request and Packfile Transfer", gitprotocol-capabilities.
 */
import { GitwharfError } from "../../base/errors.js";
import type { Limits } from "../../base/limits.js";
import type { PushCommand } from "../../engine/push.js";
import { hexLength, type ObjectFormat } from "../../object/object-format.js";
import { isNullObjectId, isObjectId, type ObjectId } from "../../object/object-id.js";
import { type Capabilities, parseCapabilities } from "../wire/capabilities.js";
import { packetText, type PktLineReader } from "../wire/pkt-line.js";

export interface RawCertificate {
  readonly payload: Buffer;
  readonly signature: Buffer;
  readonly pusher: string;
  readonly nonce: string | undefined;
  readonly options: readonly string[];
}

export interface PushRequest {
  readonly capabilities: Capabilities;
  readonly commands: readonly PushCommand[];
  readonly shallow: readonly ObjectId[];
  readonly options: readonly string[];
  readonly certificate: RawCertificate | undefined;
}

export interface PushRequestContext {
  readonly objectFormat: ObjectFormat;
  readonly limits: Limits;
  readonly acceptsOptions: boolean;
  readonly acceptsCertificates: boolean;
  /** Called as soon as they are known: how the client is to be told of what is wrong behind them. */
  readonly onCapabilities?: (capabilities: Capabilities) => void;
}

/**
 * undefined for a probe (`0000` alone), or when the client only listed refs and left.
 * @throws protocol/bad-request, protocol/unsupported, base/limit-exceeded, base/truncated, protocol/bad-line
 */
export async function readPushRequest(
  reader: PktLineReader,
  context: PushRequestContext,
): Promise<PushRequest | undefined> {
  const shallow: ObjectId[] = [];
  const commands: PushCommand[] = [];
  let capabilities: Capabilities | undefined;
  let certificate: RawCertificate | undefined;
  for (;;) {
    const packet = await reader.next();
    if (packet.kind === "eof") {
      if (capabilities === undefined && shallow.length === 0) return undefined;
      throw new GitwharfError("base/truncated", "the push ends before its commands do");
    }
    if (packet.kind === "flush") break;
    if (packet.kind !== "data")
      throw new GitwharfError("protocol/bad-request", "a delimiter has no place in a push");
    const { payload } = packet;
    if (payload.subarray(0, 8).toString("latin1") === "shallow ") {
      shallow.push(oidOf(packetText(payload).slice(8), context.objectFormat));
      continue;
    }
    if (capabilities === undefined) {
      const nul = payload.indexOf(0);
      capabilities = parseCapabilities(nul < 0 ? "" : packetText(payload.subarray(nul + 1)));
      context.onCapabilities?.(capabilities);
      checkCapabilities(capabilities, context);
      const line = packetText(nul < 0 ? payload : payload.subarray(0, nul));
      if (line === "push-cert") {
        if (!context.acceptsCertificates) {
          throw new GitwharfError(
            "protocol/unsupported",
            "this repository takes no push certificates (receive.certNonceSeed)",
          );
        }
        certificate = await readCertificate(reader, context, commands);
        continue;
      }
      addCommand(commands, line, context);
      continue;
    }
    if (certificate !== undefined)
      throw new GitwharfError("protocol/bad-request", "a command follows the push certificate");
    addCommand(commands, packetText(payload), context);
  }
  if (capabilities === undefined) return undefined;
  const options = capabilities.has("push-options") ? await readOptions(reader, context) : [];
  if (certificate !== undefined && certificate.options.join("\n") !== options.join("\n")) {
    throw new GitwharfError(
      "protocol/bad-request",
      "the push options are not those that the certificate signs",
    );
  }
  checkDuplicates(commands);
  return { capabilities, commands, shallow, options, certificate };
}

function checkCapabilities(capabilities: Capabilities, context: PushRequestContext): void {
  const format = capabilities.get("object-format") ?? "sha1";
  if (format !== context.objectFormat) {
    throw new GitwharfError(
      "protocol/unsupported",
      `this repository's object format is ${context.objectFormat}, the push is in '${format.slice(0, 20)}'`,
    );
  }
  if (capabilities.has("push-options") && !context.acceptsOptions) {
    throw new GitwharfError(
      "protocol/unsupported",
      "this repository takes no push options (receive.advertisePushOptions)",
    );
  }
}

function addCommand(commands: PushCommand[], line: string, context: PushRequestContext): void {
  commands.push(parseCommand(line, context));
  const { commandsMax } = context.limits;
  if (commands.length > commandsMax) throw tooMany(commandsMax, "ref updates", "commandsMax");
}

function parseCommand(line: string, context: PushRequestContext): PushCommand {
  const hex = hexLength(context.objectFormat);
  const oldOid = line.slice(0, hex);
  const newOid = line.slice(hex + 1, hex * 2 + 1);
  const name = line.slice(hex * 2 + 2);
  const spaced = line[hex] === " " && line[hex * 2 + 1] === " ";
  if (
    !spaced ||
    !isObjectId(oldOid, context.objectFormat) ||
    !isObjectId(newOid, context.objectFormat) ||
    name === ""
  ) {
    const shown = JSON.stringify(line.slice(0, 150)).slice(1, -1);
    throw new GitwharfError("protocol/bad-request", `protocol error: expected old/new/ref, got '${shown}'`);
  }
  return { oldOid, newOid, name };
}

function checkDuplicates(commands: readonly PushCommand[]): void {
  const seen = new Set<string>();
  for (const { name } of commands) {
    if (seen.has(name)) {
      throw new GitwharfError(
        "protocol/bad-request",
        `the push updates '${JSON.stringify(name).slice(1, -1)}' more than once`,
      );
    }
    seen.add(name);
  }
}

async function readOptions(reader: PktLineReader, context: PushRequestContext): Promise<readonly string[]> {
  const options: string[] = [];
  for (;;) {
    const packet = await reader.next();
    if (packet.kind === "flush") return options;
    if (packet.kind !== "data")
      throw new GitwharfError("base/truncated", "the push ends before its options do");
    const option = packetText(packet.payload);
    if (/[\0-\x1f\x7f]/.test(option)) {
      throw new GitwharfError("protocol/bad-request", "a push option contains control characters");
    }
    options.push(option);
    if (options.length > context.limits.pushOptionsMax)
      throw tooMany(context.limits.pushOptionsMax, "push options", "pushOptionsMax");
  }
}

/** The lines between `push-cert` and `push-cert-end`; the commands in it are the push's. */
async function readCertificate(
  reader: PktLineReader,
  context: PushRequestContext,
  commands: PushCommand[],
): Promise<RawCertificate> {
  const { certificateBytesMax } = context.limits;
  const lines: Buffer[] = [];
  let bytes = 0;
  for (;;) {
    const packet = await reader.next();
    if (packet.kind !== "data")
      throw new GitwharfError("protocol/bad-request", "the push certificate is not whole");
    if (packetText(packet.payload) === "push-cert-end") break;
    bytes += packet.payload.length;
    if (bytes > certificateBytesMax)
      throw tooMany(certificateBytesMax, "bytes of certificate", "certificateBytesMax");
    lines.push(Buffer.from(packet.payload));
  }
  const whole = Buffer.concat(lines);
  const signatureAt = findSignature(whole);
  const payload = whole.subarray(0, signatureAt);
  const text = payload.toString("utf8");
  const headEnd = text.indexOf("\n\n");
  if (headEnd < 0 || !text.startsWith("certificate version 0.1\n")) {
    throw new GitwharfError("protocol/bad-request", "the push certificate is not of version 0.1");
  }
  const head = text.slice(0, headEnd).split("\n");
  const all = (name: string): string[] =>
    head.filter((line) => line.startsWith(`${name} `)).map((line) => line.slice(name.length + 1));
  for (const line of text.slice(headEnd + 2).split("\n")) {
    if (line === "") continue;
    addCommand(commands, line, context);
  }
  return {
    payload,
    signature: whole.subarray(signatureAt),
    pusher: all("pusher")[0] ?? "",
    nonce: all("nonce")[0],
    options: all("push-option"),
  };
}

function findSignature(bytes: Buffer): number {
  const markers = [
    "-----BEGIN PGP SIGNATURE-----",
    "-----BEGIN PGP MESSAGE-----",
    "-----BEGIN SIGNED MESSAGE-----",
    "-----BEGIN SSH SIGNATURE-----",
  ];
  const starts = markers.map((marker) => bytes.indexOf(`\n${marker}`)).filter((at) => at >= 0);
  return starts.length === 0 ? bytes.length : Math.min(...starts) + 1;
}

function oidOf(text: string, format: ObjectFormat): ObjectId {
  if (isObjectId(text, format) && !isNullObjectId(text)) return text;
  throw new GitwharfError(
    "protocol/bad-request",
    `protocol error: expected shallow sha, got '${JSON.stringify(text.slice(0, 80)).slice(1, -1)}'`,
  );
}

function tooMany(max: number, what: string, limit: keyof Limits): GitwharfError {
  return new GitwharfError(
    "base/limit-exceeded",
    `the push has more than ${max} ${what}, the server's limit (${limit})`,
  );
}
