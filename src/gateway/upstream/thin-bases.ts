/**
 * What the deltas of a pushed pack stand on that is not in it: git sends thin packs, whose bases the upstream has. The pack is
 * looked through once it has arrived, entry by entry, and the ids that deltas name are asked of the upstream, those and nothing
 * that they lead to.
 */
import type { ByteRange } from "../../base/byte-range.js";
import type { ByteSource } from "../../base/byte-streams.js";
import { GitwharfError, isGitwharfError, throwIfAborted } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { othersTurn } from "../../base/others-turn.js";
import type { Limits } from "../../base/limits.js";
import type { RemoteRepository } from "../../client/remote-repository.js";
import { InflateScratch, scanEntry } from "../../engine/ingest/scan-entry.js";
import type { ObjectFormat } from "../../object/object-format.js";
import type { ObjectId } from "../../object/object-id.js";
import { PACK_HEADER_BYTES } from "../../pack/pack-writer.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { Snapshot } from "../../storage/contracts/repository.js";

const WINDOW_BYTES = 256 * 1024;
const TURN_BYTES = 1024 * 1024;
const READ_BYTES = 64 * 1024;
/** Files that one push changes; what is beyond it is taken for no push of a person. */
const BASES_MAX = 100_000;

/**
 * Ids that deltas of the pack name, whether they stand in it or not: clients that know `ofs-delta` name only those that do not.
 * @throws pack/bad-pack, pack/bad-zlib, pack/bad-delta, base/limit-exceeded, base/aborted, storage/io
 */
export async function namedBases(
  bytes: ByteRange,
  about: { readonly objectFormat: ObjectFormat; readonly limits: Limits; readonly signal: AbortSignal },
): Promise<readonly ObjectId[]> {
  const { objectFormat, limits, signal } = about;
  const head = await readAt(bytes, 0, PACK_HEADER_BYTES);
  // What is wrong with it is said by those who take it.
  if (head.length < PACK_HEADER_BYTES || head.toString("latin1", 0, 4) !== "PACK") return [];
  const count = head.readUInt32BE(8);
  const found = new Set<ObjectId>();
  const scratch = new InflateScratch();
  let at = PACK_HEADER_BYTES;
  let turnAt = TURN_BYTES;
  let window: Buffer = Buffer.alloc(0);
  let windowAt = at;
  for (let i = 0; i < count; i++) {
    throwIfAborted(signal);
    if (at > turnAt) {
      turnAt = at + TURN_BYTES;
      await othersTurn();
    }
    let length = WINDOW_BYTES;
    for (;;) {
      // An entry that is larger than a window alone: no object is held twice.
      const entry = scanEntry(window, at - windowAt, at, {
        objectFormat,
        limits,
        scratch,
        largeBytes: Number.POSITIVE_INFINITY,
      });
      if (entry !== "short" && !("large" in entry)) {
        if (entry.baseOid !== undefined) found.add(entry.baseOid);
        if (found.size > BASES_MAX)
          throw new GitwharfError("base/limit-exceeded", `the pack stands on more than ${BASES_MAX} objects`);
        at = windowAt + entry.end;
        break;
      }
      if (windowAt === at && windowAt + window.length >= bytes.sizeBytes && window.length > 0)
        return [...found];
      window = Buffer.from(await readAt(bytes, at, length));
      windowAt = at;
      if (window.length === 0) return [...found];
      length *= 2;
    }
  }
  return [...found];
}

/** As a source, to be received from. */
export async function* bytesOf(bytes: ByteRange): ByteSource {
  for (let at = 0; at < bytes.sizeBytes; at += READ_BYTES)
    // Borrowed bytes, to be handed over.
    yield Buffer.from(await readAt(bytes, at, READ_BYTES));
}

/**
 * Into the quarantine. What the upstream does not have is left for the pack itself to have, or to be refused for.
 * @throws client/…, base/limit-exceeded, base/aborted, storage/io
 */
export async function fetchBases(
  upstream: RemoteRepository,
  about: {
    readonly bases: readonly ObjectId[];
    readonly quarantine: Quarantine;
    readonly snapshot: Snapshot;
    readonly fetchedBytesMax: number;
  },
): Promise<void> {
  const { bases, quarantine, snapshot, fetchedBytesMax } = about;
  if (bases.length === 0) return;
  const receive = async (filter: string | undefined): Promise<void> => {
    const limits = { packSizeBytesMax: fetchedBytesMax };
    await upstream.receive({ quarantine, snapshot, wants: bases, filter, limits });
  };
  try {
    await receive("tree:0");
  } catch (error) {
    // Without filters more comes than was asked for; how much is bounded.
    if (isGitwharfError(error, "protocol/unsupported")) await receive(undefined);
    else if (!isGitwharfError(error, "client/refused")) throw error;
  }
}

async function readAt(bytes: ByteRange, offset: number, length: number): Promise<Buffer> {
  const read = bytes.read(offset, Math.min(length, Math.max(0, bytes.sizeBytes - offset)));
  return isPromise(read) ? await read : read;
}
