/**
 * Is a pack on disk what it was when it was written? Asked of one that stays before other copies of its objects go: what has rotted in
 * it may be whole there. Its checksum tells; the bytes are read once, piece by piece.
 */
import { GitwharfError, throwIfAborted } from "../../base/errors.js";
import { isPromise } from "../../base/maybe-promise.js";
import { createObjectHash, hashBytes } from "../../object/object-format.js";
import type { Pack } from "../../pack/pack.js";

const PIECE_BYTES = 1024 * 1024;

/** @throws object/corrupt when it is not, storage/io, base/aborted */
export async function mustBeWhole(
  { name, bytes, index }: Pack,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<void> {
  const hash = createObjectHash(index.objectFormat);
  const end = bytes.sizeBytes - hashBytes(index.objectFormat);
  for (let at = 0; at < end; at += PIECE_BYTES) {
    const piece = bytes.read(at, Math.min(PIECE_BYTES, end - at));
    hash.update(isPromise(piece) ? await piece : piece);
    // Others have their turn.
    await new Promise((resolve) => setImmediate(resolve));
    throwIfAborted(signal);
  }
  if (hash.digest("hex") !== index.packTrailer)
    throw new GitwharfError(
      "object/corrupt",
      `nothing is removed: the pack ${name} is not what its checksum says; run 'gitwharf fsck'`,
    );
}
