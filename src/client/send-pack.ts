/**
 * The sending side of receive-pack, in protocol v0: what the other side has, then commands and the pack, then its report.
 * Over any two streams; where they lead is the caller's business. Specification: gitprotocol-pack "Pushing Data To a
 * Server".
 *
 *     <oid> SP <name> NUL <capabilities> …  0000                        they: their refs
 *     shallow SP <oid> …                                                we: the boundary of a shallow history
 *     <old> SP <new> SP <name> NUL <capabilities> …  0000               we; the null id as <new> removes the ref
 *     <push option> …  0000                                             we, where there are any
 *     PACK…                                                             we, unless refs are removed and nothing else
 *     side-band: 1 the report, 2 text for the person, 3 a last message  they, until 0000 or the end of the stream
 */
import type { ByteSource } from "../base/byte-streams.js";
import { GitwharfError, isGitwharfError } from "../base/errors.js";
import { isPromise, type MaybePromise } from "../base/maybe-promise.js";
import type { ObjectFormat } from "../object/object-format.js";
import { isNullObjectId, type ObjectId } from "../object/object-id.js";
import type { Capabilities } from "../protocol/wire/capabilities.js";
import { type Packet, PktLineReader, encodePktLine, FLUSH } from "../protocol/wire/pkt-line.js";
import { parseRefAdvertisement, type RefAdvertisement } from "../protocol/wire/ref-advertisement.js";
import type { ReportStatus } from "../protocol/wire/report-status.js";
import { formatShallowLine } from "../protocol/wire/shallow-line.js";
import { parseSideBand } from "../protocol/wire/side-band.js";
import { saidBy } from "./discovery.js";
import { RemoteGitFailure } from "./remote-git-failure.js";
import { createReportReader } from "./report-reader.js";

export interface SendPackConnection {
  /** What the other side sends. Ending the loop over it ends nothing else. */
  readonly input: ByteSource;
  /** Waits while the other side reads nothing. @throws base/aborted when it has gone */
  readonly write: (bytes: Uint8Array) => MaybePromise<void>;
  /** Everything was written. Where the other side waits for the end of it. */
  readonly end?: () => void;
}

export interface RemoteUpdate {
  readonly name: string;
  /** What the other side has there; the null id: nothing. */
  readonly oldOid: ObjectId;
  /** The null id: the ref is to be removed. */
  readonly newOid: ObjectId;
}

export interface SendPackRequest {
  readonly updates: readonly RemoteUpdate[];
  /** Commits whose parents this side does not have. */
  readonly shallow: Iterable<ObjectId>;
  readonly agent: string;
  /** Closed when the other side reads no more. undefined: refs are removed, and nothing else. */
  readonly pack: ByteSource | undefined;
  /** All refs or none. @default false */
  readonly atomic?: boolean;
  /** Lines for the other side's hooks. @default none */
  readonly pushOptions?: readonly string[];
  /** Text for the person, as it comes; while the promise is pending nothing more is read. */
  readonly onProgress: (bytes: Uint8Array) => MaybePromise<void>;
}

export interface OpenPush {
  readonly advertisement: RefAdvertisement;
  /** May deltas stand on what the other side has? */
  readonly takesThinPacks: boolean;
  /** Once. @throws RemoteGitFailure, and what the pack and `onProgress` throw */
  send(request: SendPackRequest): Promise<ReportStatus>;
  /** Nothing is read of the pack any more: to be waited for once the connection is closed. Never rejects. */
  settled(): Promise<void>;
}

/** Some 200,000 refs, which take ten times that in memory. */
const ADVERTISEMENT_BYTES_MAX = 16 * 1024 * 1024;
/** Gathered before it is handed on. */
const TEXT_BYTES_MAX = 64 * 1024;
/** Without these its report cannot be had; of the first, the second version will do as well. */
const NEEDED = ["report-status", "side-band-64k"];

/** @throws RemoteGitFailure */
export async function openPush(
  connection: SendPackConnection,
  objectFormat: ObjectFormat,
): Promise<OpenPush> {
  const reader = new PktLineReader(connection.input, {
    totalBytesMax: ADVERTISEMENT_BYTES_MAX,
    limitName: "of an advertisement",
  });
  const advertisement = await understood(() => readAdvertisement(reader, objectFormat));
  const { capabilities } = advertisement;
  for (const name of NEEDED)
    if (!capabilities.has(name) && !capabilities.has(`${name}-v2`))
      throw new RemoteGitFailure(`the other side does not have ${name}`);
  let writing: Promise<void> = Promise.resolve();
  return {
    advertisement,
    takesThinPacks: !capabilities.has("no-thin"),
    async send(request) {
      checkWishes(request, capabilities);
      const sending = { request, advertisement, objectFormat, hasEnded: false };
      // Both ways at once: a side that writes without reading could wait for us as we for it.
      writing = writeRequest(connection, sending);
      return reportOf(reader, sending, writing);
    },
    settled: () => writing.catch(() => undefined),
  };
}

async function readAdvertisement(reader: PktLineReader, format: ObjectFormat): Promise<RefAdvertisement> {
  const payloads: Buffer[] = [];
  for (;;) {
    const packet = await reader.next();
    if (packet.kind === "flush") {
      checkFormat(payloads[0], format);
      return parseRefAdvertisement(payloads, format);
    }
    if (packet.kind !== "data")
      throw new RemoteGitFailure("the other side went away before it had told its refs", { kind: "gone" });
    if (payloads.length === 0 && packet.payload.toString("latin1", 0, 4) === "ERR ")
      throw saidBy(packet.payload.subarray(4));
    payloads.push(packet.payload);
  }
}

/** @throws RemoteGitFailure: the other side cannot do it */
function checkWishes({ updates, atomic, pushOptions = [] }: SendPackRequest, theirs: Capabilities): void {
  const wish = (isWished: boolean, name: string): void => {
    if (isWished && !theirs.has(name)) throw new RemoteGitFailure(`the other side does not have ${name}`);
  };
  wish(atomic === true, "atomic");
  wish(pushOptions.length > 0, "push-options");
  wish(
    updates.some(({ newOid }) => isNullObjectId(newOid)),
    "delete-refs",
  );
}

/** Before its ids are looked at, which have another length then. */
function checkFormat(first: Buffer | undefined, ours: ObjectFormat): void {
  const theirs = / object-format=([a-z0-9]+)/.exec(first?.toString("latin1") ?? "")?.[1] ?? "sha1";
  if (theirs !== ours)
    throw new RemoteGitFailure(`the other side's repository is of ${theirs.slice(0, 20)}, ours of ${ours}`);
}

interface Sending {
  readonly request: SendPackRequest;
  readonly advertisement: RefAdvertisement;
  readonly objectFormat: ObjectFormat;
  /** Their report is there, or nothing more comes. */
  hasEnded: boolean;
}

async function reportOf(
  reader: PktLineReader,
  sending: Sending,
  writing: Promise<void>,
): Promise<ReportStatus> {
  const reading = understood(() => readReport(reader, sending.request.onProgress));
  reading.catch(() => undefined);
  // Without the whole pack they would wait for ever. That they cannot be written to is for their report to explain.
  const broken = new Promise<never>((_, reject) => {
    writing.catch((error: unknown) => {
      if (!isGitwharfError(error, "base/aborted")) reject(error);
    });
  });
  try {
    return await Promise.race([reading, broken]);
  } finally {
    sending.hasEnded = true;
  }
}

async function writeRequest({ write, end }: SendPackConnection, sending: Sending): Promise<void> {
  const { request } = sending;
  const lines: Buffer[] = [];
  for (const oid of request.shallow) lines.push(encodePktLine(formatShallowLine({ kind: "shallow", oid })));
  const capabilities = capabilitiesFor(sending);
  request.updates.forEach(({ name, oldOid, newOid }, i) => {
    const tail = i === 0 ? `\0 ${capabilities.join(" ")}` : "";
    lines.push(encodePktLine(`${oldOid} ${newOid} ${name}${tail}`));
  });
  lines.push(FLUSH);
  const { pushOptions = [] } = request;
  if (pushOptions.length > 0) lines.push(...pushOptions.map((option) => encodePktLine(option)), FLUSH);
  await write(Buffer.concat(lines));
  for await (const chunk of request.pack ?? []) {
    if (sending.hasEnded) return;
    const written = write(chunk);
    if (isPromise(written)) await written;
  }
  end?.();
}

function capabilitiesFor({ request, advertisement, objectFormat }: Sending): readonly string[] {
  const theirs = advertisement.capabilities;
  const [report = "", ...needed] = NEEDED;
  const ours = [theirs.has(`${report}-v2`) ? `${report}-v2` : report, ...needed];
  if (theirs.has("ofs-delta")) ours.push("ofs-delta");
  if (request.atomic === true) ours.push("atomic");
  if ((request.pushOptions ?? []).length > 0) ours.push("push-options");
  if (theirs.has("object-format")) ours.push(`object-format=${objectFormat}`);
  if (theirs.has("agent")) ours.push(`agent=${request.agent}`);
  return ours;
}

/** Up to the end of what they send: what they print behind their report is for the person as well. */
async function readReport(
  reader: PktLineReader,
  onProgress: SendPackRequest["onProgress"],
): Promise<ReportStatus> {
  const reports = createReportReader();
  let report: ReportStatus | undefined;
  let texts: Buffer[] = [];
  let textBytes = 0;
  const handOn = async (): Promise<void> => {
    if (textBytes === 0) return;
    const text = Buffer.concat(texts);
    texts = [];
    textBytes = 0;
    await onProgress(text);
  };
  for (;;) {
    reader.beginRequest();
    let packet: Packet;
    try {
      // Programs print line by line: what has come is handed on at once.
      const next = reader.next();
      if (isPromise(next)) {
        next.catch(() => undefined);
        await handOn();
      }
      packet = await next;
    } catch (error) {
      // It has said what became of the push.
      if (report !== undefined) return report;
      throw error;
    }
    if (packet.kind !== "data") {
      await handOn();
      if (report !== undefined) return report;
      throw new RemoteGitFailure("the other side broke off before it had said what became of the push", {
        kind: "gone",
      });
    }
    const { band, data } = parseSideBand(packet.payload);
    if (band === 2) {
      texts.push(data);
      textBytes += data.length;
      if (textBytes >= TEXT_BYTES_MAX) await handOn();
    } else if (band === 3) {
      await handOn();
      throw saidBy(data);
    } else report ??= reports.add(data);
  }
}

/** What they send is read by the same rules as a request, whose words would not fit here. */
async function understood<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof GitwharfError) || error.kind !== "peer") throw error;
    const kind = error.code === "base/truncated" ? "gone" : "broken";
    throw new RemoteGitFailure(wordsFor(error.code), { kind, cause: error });
  }
}

function wordsFor(code: GitwharfError["code"]): string {
  if (code === "base/truncated") return "the other side broke off in the middle of a line";
  if (code === "base/limit-exceeded")
    return `the other side tells more than ${ADVERTISEMENT_BYTES_MAX} bytes of refs`;
  return "the other side does not speak git's protocol";
}
