/**
 * upload-pack asked with requests that no git client makes, over HTTP, and git's own upload-pack asked with the same
 * bytes: what goes in, and all that comes out.
 */
import { spawn } from "node:child_process";
import { DELIM, encodePktLine, FLUSH, type Packet, PktLineReader } from "../../src/protocol/wire/pkt-line.js";
import { send } from "./raw-http.js";

/** Lines (pkt-lines are made of them) and bytes as they are. */
export type RawRequest = readonly (string | Uint8Array)[];

export type RawVersion = 0 | 1 | 2;

export interface RawAnswer {
  /** 0 for git's own. */
  readonly status: number;
  readonly bytes: Buffer;
  /** Packets as text without LF; `flush`, `delim`, `response-end` for the special ones. What is no packet ends the list. */
  readonly packets: readonly string[];
  /** Bytes behind the last packet: the pack of a client without side-band. */
  readonly rest: Buffer;
}

export function requestBytes(request: RawRequest): Buffer {
  return Buffer.concat(request.map((item) => (typeof item === "string" ? encodePktLine(item) : item)));
}

/** A v2 command with its arguments. */
export function command(name: string, ...lines: readonly string[]): (string | Buffer)[] {
  return [`command=${name}\n`, ...(lines.length === 0 ? [] : [DELIM, ...lines]), FLUSH];
}

/** `POST URL/git-upload-pack`. */
export async function postFetch(url: string, version: RawVersion, request: RawRequest): Promise<RawAnswer> {
  const { status, body } = await send(`${url}/git-upload-pack`, {
    body: requestBytes(request),
    headers: {
      "content-type": "application/x-git-upload-pack-request",
      ...(version === 0 ? {} : { "git-protocol": `version=${version}` }),
    },
  });
  return { status, bytes: body, ...(await packetsOf(body)) };
}

/** `GET URL/info/refs?service=SERVICE`: its packets, without the line that names the service. */
export async function discover(
  url: string,
  version: RawVersion,
  service: "git-upload-pack" | "git-receive-pack" = "git-upload-pack",
): Promise<readonly string[]> {
  const { body } = await send(`${url}/info/refs?service=${service}`, {
    headers: version === 0 ? {} : { "git-protocol": `version=${version}` },
  });
  const { packets } = await packetsOf(body);
  return packets[0]?.startsWith("# service=") === true ? packets.slice(2) : packets;
}

/** What `git upload-pack --stateless-rpc` answers to the same bytes. */
export async function askGit(
  repository: string,
  version: RawVersion,
  request: RawRequest,
): Promise<RawAnswer> {
  const bytes = await new Promise<Buffer>((resolve, reject) => {
    const child = spawn("git", ["upload-pack", "--stateless-rpc", repository], {
      env: {
        PATH: process.env["PATH"],
        HOME: "/nonexistent",
        GIT_CONFIG_NOSYSTEM: "1",
        GIT_CONFIG_GLOBAL: "/dev/null",
        ...(version === 0 ? {} : { GIT_PROTOCOL: `version=${version}` }),
      },
      stdio: ["pipe", "pipe", "ignore"],
    });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stdin.on("error", () => undefined);
    child.on("error", reject);
    child.on("close", () => resolve(Buffer.concat(chunks)));
    child.stdin.end(requestBytes(request));
  });
  return { status: 0, bytes, ...(await packetsOf(bytes)) };
}

export async function packetsOf(bytes: Buffer): Promise<Pick<RawAnswer, "packets" | "rest">> {
  async function* source(): AsyncGenerator<Uint8Array> {
    yield bytes;
  }
  const reader = new PktLineReader(source(), {
    totalBytesMax: Number.POSITIVE_INFINITY,
    limitName: "requestBytesMax",
  });
  const packets: string[] = [];
  let consumed = 0;
  for (;;) {
    let packet: Packet;
    try {
      packet = await reader.next();
    } catch {
      break;
    }
    if (packet.kind === "eof") break;
    consumed += 4 + (packet.kind === "data" ? packet.payload.length : 0);
    packets.push(packet.kind === "data" ? packet.payload.toString("latin1").replace(/\n$/, "") : packet.kind);
  }
  return { packets, rest: bytes.subarray(consumed) };
}

/** What side-band packets carry on one band, put together. */
export function bandOf(bytes: Buffer, band: 1 | 2 | 3): Buffer {
  const pieces: Buffer[] = [];
  let at = 0;
  while (at + 4 <= bytes.length) {
    const length = Number.parseInt(bytes.toString("latin1", at, at + 4), 16);
    if (!(length >= 0)) break;
    if (length > 4 && bytes[at + 4] === band) pieces.push(bytes.subarray(at + 5, at + length));
    at += Math.max(length, 4);
  }
  return Buffer.concat(pieces);
}
