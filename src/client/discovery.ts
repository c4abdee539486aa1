/**
 * What a server says first over Smart HTTP: its refs (protocol v0 and v1), or what it can do (v2).
 * Specification: gitprotocol-http "Smart Server Response", gitprotocol-v2 "Capability Advertisement".
 *
 *     # service=git-upload-pack LF  0000                       v0 and v1; of v2, some servers leave it out
 *     [version 1 LF]  <refs: protocol/wire/ref-advertisement>  0000
 *     version 2 LF  <capability>[=<value>] LF …  0000
 */
import type { ByteSource } from "../base/byte-streams.js";
import { isObjectFormat, type ObjectFormat } from "../object/object-format.js";
import { packetText, PktLineReader } from "../protocol/wire/pkt-line.js";
import { parseRefAdvertisement, type RefAdvertisement } from "../protocol/wire/ref-advertisement.js";
import { sanitizeText } from "../protocol/wire/sanitize.js";
import type { RemoteService } from "./http-transport.js";
import { RemoteGitFailure, understood } from "./remote-git-failure.js";

export type Discovery =
  | {
      /** 1 is the same with a line in front. */
      readonly protocol: 0;
      readonly objectFormat: ObjectFormat;
      readonly advertisement: RefAdvertisement;
      /** By the name of a symbolic ref, what it names. */
      readonly symbolicTargets: ReadonlyMap<string, string>;
    }
  | {
      readonly protocol: 2;
      readonly objectFormat: ObjectFormat;
      /** What it can do: commands with their features as the value, and other capabilities. */
      readonly capabilities: ReadonlyMap<string, string>;
    };

/** Names of a v2 server's capabilities; git has ten. */
const CAPABILITIES_MAX = 1000;
/** An id and a space. */
const REF_LINE_BYTES_MIN = 41;

/** @param bytesMax of all of it @throws RemoteGitFailure */
export function readDiscovery(
  source: ByteSource,
  { service, bytesMax }: { readonly service: RemoteService; readonly bytesMax: number },
): Promise<Discovery> {
  const reader = new PktLineReader(source, { totalBytesMax: bytesMax, limitName: "of an advertisement" });
  return understood(async () => {
    try {
      let payloads = await readLines(reader);
      if (isServiceLine(payloads[0], service)) payloads = await readLines(reader);
      await readToEnd(reader);
      const first = payloads[0] === undefined ? "" : packetText(payloads[0]);
      if (first === "version 2") return readCapabilities(payloads.slice(1));
      return readRefs(first === "version 1" ? payloads.slice(1) : payloads);
    } finally {
      await reader.close();
    }
  });
}

/**
 * What stands before the refs, for a reader of refs alone.
 * @returns the bytes behind it @throws RemoteGitFailure
 */
export function skipServiceLine(
  source: ByteSource,
  { service, bytesMax }: { readonly service: RemoteService; readonly bytesMax: number },
): Promise<ByteSource> {
  const reader = new PktLineReader(source, { totalBytesMax: bytesMax, limitName: "of an advertisement" });
  return understood(async () => {
    const [line, ...more] = await readLines(reader);
    if (!isServiceLine(line, service) || more.length > 0)
      throw new RemoteGitFailure("the other side does not begin as Git over HTTP does");
    return reader.rest();
  });
}

/** Up to a flush. @throws RemoteGitFailure, and what the reader throws */
async function readLines(reader: PktLineReader): Promise<Buffer[]> {
  const payloads: Buffer[] = [];
  for (;;) {
    const packet = await reader.next();
    if (packet.kind === "flush") return payloads;
    if (packet.kind === "eof")
      throw new RemoteGitFailure("the other side broke off before it had told its refs", { kind: "gone" });
    if (packet.kind !== "data") throw new RemoteGitFailure("the other side does not speak git's protocol");
    if (payloads.length === 0) throwIfError(packet.payload);
    // Many lines are refs: shorter ones would take far more memory than bytes.
    if (payloads.length > CAPABILITIES_MAX && packet.payload.length < REF_LINE_BYTES_MIN)
      throw new RemoteGitFailure("the other side does not speak git's protocol");
    payloads.push(packet.payload);
  }
}

/** The end of an answer whose last line was read: its connection can be used again. @throws as the reader */
export async function readToEnd(reader: PktLineReader): Promise<void> {
  if ((await reader.next()).kind !== "eof")
    throw new RemoteGitFailure("the other side goes on where its answer should end");
}

function isServiceLine(payload: Buffer | undefined, service: RemoteService): boolean {
  return payload !== undefined && packetText(payload) === `# service=${service}`;
}

/** `ERR …` in place of what was expected. @throws RemoteGitFailure */
export function throwIfError(payload: Buffer): void {
  if (payload.toString("latin1", 0, 4) === "ERR ") throw saidBy(payload.subarray(4));
}

/** Its last words. */
export function saidBy(bytes: Buffer): RemoteGitFailure {
  // git puts a NUL behind some of them.
  const text = sanitizeText(bytes.toString("utf8", 0, 1000).replace(/\0+$/, "")).trim();
  return new RemoteGitFailure(`the other side said: ${text}`, { kind: "refused" });
}

function readCapabilities(payloads: readonly Buffer[]): Discovery {
  if (payloads.length > CAPABILITIES_MAX)
    throw new RemoteGitFailure("the other side tells more capabilities than there can be");
  const capabilities = new Map<string, string>();
  for (const payload of payloads) {
    const line = packetText(payload);
    const equals = line.indexOf("=");
    capabilities.set(equals < 0 ? line : line.slice(0, equals), equals < 0 ? "" : line.slice(equals + 1));
  }
  return { protocol: 2, objectFormat: formatNamed(capabilities.get("object-format")), capabilities };
}

function readRefs(payloads: readonly Buffer[]): Discovery {
  const first = payloads[0]?.toString("utf8") ?? "";
  const capabilities = first.includes("\0") ? first.slice(first.indexOf("\0") + 1) : "";
  const named = / object-format=([^ \n]*)/.exec(` ${capabilities}`)?.[1];
  const objectFormat = formatNamed(named);
  const symbolicTargets = new Map<string, string>();
  for (const [, name = "", target = ""] of capabilities.matchAll(/(?<=^| )symref=([^ :]+):([^ \n]+)/g))
    symbolicTargets.set(name, target);
  return {
    protocol: 0,
    objectFormat,
    advertisement: parseRefAdvertisement(payloads, objectFormat),
    symbolicTargets,
  };
}

function formatNamed(name = "sha1"): ObjectFormat {
  if (isObjectFormat(name)) return name;
  throw new RemoteGitFailure(
    `the other side's repository is of an object format that is not known here (${sanitizeText(name.slice(0, 20))})`,
  );
}
