/**
 * The pack in a server's answer, and what that server says to the person meanwhile.
 * Specification: gitprotocol-pack "Packfile Data".
 */
import { StringDecoder } from "node:string_decoder";
import type { ByteSource } from "../base/byte-streams.js";
import { isPromise } from "../base/maybe-promise.js";
import type { ObjectId } from "../object/object-id.js";
import type { PktLineReader } from "../protocol/wire/pkt-line.js";
import { sanitizeText } from "../protocol/wire/sanitize.js";
import { parseSideBand } from "../protocol/wire/side-band.js";
import { saidBy, throwIfError } from "./discovery.js";
import { misunderstood, namedFailure, RemoteGitFailure } from "./remote-git-failure.js";

export interface PackAnswer {
  /** To be read once, or left: `close` in any case. @throws client/…, base/aborted */
  readonly pack: ByteSource;
  /** For who has left it where the pack was whole: what the server says behind it. @throws client/…, base/aborted */
  end(): Promise<void>;
  /** Commits that become the boundary of a shallow history. */
  readonly shallow: readonly ObjectId[];
  /** Commits that are no boundary any more. */
  readonly unshallow: readonly ObjectId[];
  /** Ends the connection. Idempotent. */
  close(): Promise<void>;
}

export interface PackSourceOptions {
  /** For messages. */
  readonly shown: string;
  /** Without side-band, the bytes are the pack's up to the end. */
  readonly hasSideBand: boolean;
  /** What the server says, control characters taken out; lines that are overwritten end in CR. */
  readonly onRemoteText?: ((text: string) => void) | undefined;
}

/** Of all that it says: more is no progress. */
const TEXT_BYTES_MAX = 16 * 1024 * 1024;
/** What a frame without text counts for. */
const FRAME_BYTES = 5;

/** @throws client/refused, client/unreachable, client/bad-answer, base/aborted */
export function packIn(reader: PktLineReader, options: PackSourceOptions): Pick<PackAnswer, "pack" | "end"> {
  const bytes = packBytes(reader, options);
  return {
    // Who leaves it ends nothing: `close` does.
    pack: { [Symbol.asyncIterator]: () => ({ next: () => bytes.next() }) },
    async end() {
      for (let next = await bytes.next(); next.done !== true; next = await bytes.next())
        if (next.value.length > 0)
          throw namedFailure(
            options.shown,
            new RemoteGitFailure("the other side goes on where its pack should end"),
          );
    },
  };
}

async function* packBytes(
  reader: PktLineReader,
  options: PackSourceOptions,
): AsyncGenerator<Uint8Array, void, void> {
  try {
    if (options.hasSideBand) yield* sideBandPack(reader, options);
    else yield* reader.rest();
  } catch (error) {
    throw namedFailure(options.shown, misunderstood(error));
  } finally {
    await reader.close();
  }
}

async function* sideBandPack(
  reader: PktLineReader,
  { onRemoteText }: PackSourceOptions,
): AsyncGenerator<Uint8Array, void, void> {
  const decoder = new StringDecoder("utf8");
  let textBytes = 0;
  for (;;) {
    reader.beginRequest();
    const next = reader.next();
    const packet = isPromise(next) ? await next : next;
    if (packet.kind === "flush") return;
    if (packet.kind === "eof")
      throw new RemoteGitFailure("the other side broke off before the pack was whole", { kind: "gone" });
    if (packet.kind !== "data") throw new RemoteGitFailure("the other side does not speak git's protocol");
    throwIfError(packet.payload);
    const { band, data } = parseSideBand(packet.payload);
    if (band === 3) throw saidBy(data);
    if (band === 1 && data.length > 0) {
      yield data;
      continue;
    }
    textBytes += data.length + FRAME_BYTES;
    if (textBytes > TEXT_BYTES_MAX) throw new RemoteGitFailure("the other side says more than it sends");
    if (data.length > 0) onRemoteText?.(sanitizeText(decoder.write(data)));
  }
}
