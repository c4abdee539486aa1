/**
 * An open pack of a repository on disk: file descriptor, index in memory, and how many still use it. A pack that
 * `git repack` deletes stays readable until the last user has released it; then its descriptor is closed.
 */
import { basename } from "node:path";
import { type ByteRange, type ByteRangeDescriptor, FileRange, MemoryRange } from "../../base/byte-range.js";
import { GitwharfError } from "../../base/errors.js";
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import { PackBitmap } from "../../pack/bitmap.js";
import { Pack } from "../../pack/pack.js";
import { PackIndex } from "../../pack/pack-index.js";
import { readReverseIndexBlocking } from "./blocking-objects.js";
import { closeDescriptor, openDescriptor, readDescriptor, statDescriptor } from "./descriptor.js";
import { ioError, isAbsent } from "./file-errors.js";
import { identityOf, stampOf } from "./file-stamp.js";

/** Smaller packs are kept in memory and need no descriptor. */
export const RESIDENT_PACK_BYTES_MAX = 256 * 1024;
const PACK_HEADER_BYTES = 12;
/** An index of this size has 60 million objects. */
const SHARED_FILE_BYTES_MAX = 2 ** 31 - 1;

export class PackFile {
  readonly pack: Pack;
  /** Without ending. */
  readonly path: string;
  readonly modifiedMs: number;
  readonly bitmapPath: string | undefined;
  /** Where its `.rev` file stands if it has one; small packs do without. */
  readonly reverseIndexPath: string | undefined;
  /** Bytes of memory that it holds. */
  readonly residentBytes: number;
  readonly #range: DescriptorRange | undefined;
  #users = 1;

  /** Has one user: who made it. */
  constructor(file: {
    readonly pack: Pack;
    readonly path: string;
    readonly modifiedMs: number;
    readonly bitmapPath?: string | undefined;
    readonly reverseIndexPath?: string | undefined;
  }) {
    this.pack = file.pack;
    this.path = file.path;
    this.modifiedMs = file.modifiedMs;
    this.bitmapPath = file.bitmapPath;
    this.reverseIndexPath = file.reverseIndexPath;
    this.#range = file.pack.bytes instanceof DescriptorRange ? file.pack.bytes : undefined;
    this.residentBytes =
      file.pack.index.bytes.byteLength + (this.#range === undefined ? file.pack.bytes.sizeBytes : 0);
  }

  /** Whether its bytes are in memory whole. */
  get isResident(): boolean {
    return this.#range === undefined;
  }

  retain(): void {
    if (this.#users === 0)
      throw new GitwharfError("base/invariant", `${this.path} is used after its release`);
    this.#users++;
  }

  release(): void {
    if (--this.#users === 0) this.#range?.close();
  }
}

/** Owns the descriptor; reads after `close` fail instead of reading another file that got the same number. */
export class DescriptorRange implements ByteRange {
  readonly sizeBytes: number;
  readonly #inner: FileRange;
  readonly #fd: number;
  #reading = 0;
  #closed = false;

  constructor(file: { readonly fd: number; readonly sizeBytes: number; readonly cacheKey: string }) {
    this.#inner = new FileRange(file, { blocking: false });
    this.#fd = file.fd;
    this.sizeBytes = file.sizeBytes;
  }

  read(offset: number, length: number): MaybePromise<Buffer> {
    if (this.#closed) {
      throw new GitwharfError("storage/io", "a pack was read after the snapshot that held it was released");
    }
    const bytes = this.#inner.read(offset, length);
    if (!isPromise(bytes)) return bytes;
    this.#reading++;
    return bytes.finally(() => {
      if (--this.#reading === 0 && this.#closed) this.#closeDescriptor();
    });
  }

  describe(): ByteRangeDescriptor {
    return this.#inner.describe();
  }

  /** The descriptor goes once no read is under way. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#reading === 0) this.#closeDescriptor();
  }

  #closeDescriptor(): void {
    void closeDescriptor(this.#fd);
  }
}

export interface OpenPackFileOptions {
  /** Without ending: `…/objects/pack/pack-1234`. */
  readonly path: string;
  readonly objectFormat: ObjectFormat;
  readonly hasBitmap: boolean;
  /** Whether a small pack may be read into memory. */
  readonly resident: boolean;
}

/**
 * undefined when the files have gone meanwhile.
 * @throws pack/bad-index when pack and index do not fit each other, storage/io
 */
export async function openPackFile(options: OpenPackFileOptions): Promise<PackFile | undefined> {
  const { path } = options;
  try {
    const index = readShared(`${path}.idx`);
    // Awaited below; a failure of the pack's opening must not leave it unhandled.
    index.catch(() => undefined);
    const fd = await openDescriptor(`${path}.pack`, "r");
    let kept = false;
    try {
      const parsed = PackIndex.parse(await index, options.objectFormat);
      const file = await readPack(options, fd, parsed);
      kept = file.pack.bytes instanceof DescriptorRange;
      return file;
    } finally {
      if (!kept) await closeDescriptor(fd);
    }
  } catch (cause) {
    if (isAbsent(cause)) return undefined;
    throw ioError("opening", `${path}.pack`, cause);
  }
}

async function readPack(options: OpenPackFileOptions, fd: number, index: PackIndex): Promise<PackFile> {
  const { path, objectFormat } = options;
  const stamp = stampOf(await statDescriptor(fd));
  const { sizeBytes } = stamp;
  const key = `${identityOf(stamp)}-${stamp.modifiedMs}-${sizeBytes}`;
  let bytes: ByteRange;
  if (options.resident && sizeBytes <= RESIDENT_PACK_BYTES_MAX) {
    const buffer = new SharedArrayBuffer(sizeBytes);
    const all = Buffer.from(buffer);
    await readDescriptor(fd, all, 0);
    checkEnds(path, index, all, all.subarray(-hashBytes(objectFormat)));
    bytes = new MemoryRange(buffer);
  } else {
    const head = Buffer.alloc(PACK_HEADER_BYTES);
    const trailer = Buffer.alloc(hashBytes(objectFormat));
    await Promise.all([
      readDescriptor(fd, head, 0),
      readDescriptor(fd, trailer, Math.max(0, sizeBytes - trailer.length)),
    ]);
    checkEnds(path, index, head, trailer);
    bytes = new DescriptorRange({ fd, sizeBytes, cacheKey: key });
  }
  const bitmapPath = options.hasBitmap ? `${path}.bitmap` : undefined;
  const reverseIndexPath = bytes instanceof MemoryRange ? undefined : `${path}.rev`;
  const pack = new Pack({
    key,
    name: basename(path),
    index,
    bytes,
    ...(bitmapPath === undefined ? {} : { openBitmap: () => readBitmap(bitmapPath, index) }),
    ...(reverseIndexPath === undefined
      ? {}
      : { readReverseIndex: () => readReverseIndexBlocking(reverseIndexPath, index) }),
  });
  return new PackFile({ pack, path, modifiedMs: stamp.modifiedMs, bitmapPath, reverseIndexPath });
}

/** The checks that git makes when it opens a pack. */
function checkEnds(path: string, index: PackIndex, head: Buffer, trailer: Buffer): void {
  const why =
    head.length < PACK_HEADER_BYTES || head.toString("latin1", 0, 4) !== "PACK"
      ? "it does not begin as a pack does"
      : head.readUInt32BE(4) !== 2 && head.readUInt32BE(4) !== 3
        ? `its version ${head.readUInt32BE(4)} is not known`
        : head.readUInt32BE(8) !== index.objectCount
          ? `it says ${head.readUInt32BE(8)} objects, its index ${index.objectCount}`
          : trailer.toString("hex") !== index.packTrailer
            ? "its checksum is not the one in its index"
            : undefined;
  if (why !== undefined) throw new GitwharfError("pack/bad-index", `${path}.pack cannot be used: ${why}`);
}

/** A bitmap that cannot be read is one that does not exist. */
async function readBitmap(path: string, index: PackIndex): Promise<PackBitmap | undefined> {
  try {
    return PackBitmap.parse(Buffer.from(await readShared(path)), index);
  } catch {
    return undefined;
  }
}

/**
 * A whole file into memory that worker threads share. Rejects with the error of the file system as it is.
 * @throws storage/unsupported when it is too large to be what it claims to be
 */
export async function readShared(
  path: string,
  sizeBytesMax = SHARED_FILE_BYTES_MAX,
): Promise<SharedArrayBuffer> {
  const fd = await openDescriptor(path, "r");
  try {
    const { size } = await statDescriptor(fd);
    if (size > sizeBytesMax) {
      throw new GitwharfError(
        "storage/unsupported",
        `${path} is larger than the ${sizeBytesMax} bytes that are read`,
      );
    }
    const bytes = new SharedArrayBuffer(size);
    const n = await readDescriptor(fd, Buffer.from(bytes), 0);
    if (n !== size) throw new GitwharfError("storage/io", `${path} ends at ${n} instead of ${size} bytes`);
    return bytes;
  } finally {
    await closeDescriptor(fd);
  }
}
