/**
 * A whole reftable file, laid out as git lays it out: byte for byte, but for how logs are deflated.
 * Specification: technical/reftable, "Structure".
 *
 *     header, ref blocks, ref index (from four blocks on), obj blocks and obj index (when there is a ref index),
 *     log blocks, log index (from four blocks on), footer
 *
 * Blocks are padded to the block size; log blocks are not, and neither is what comes last.
 */
import { GitwharfError } from "../../../../base/errors.js";
import { hashBytes } from "../../../../object/object-format.js";
import type { ObjectId } from "../../../../object/object-id.js";
import { type BlockType, BlockWriter, commonPrefix } from "./block-writer.js";
import {
  type Encoded,
  encodeLogValue,
  encodeObjValue,
  encodeRefValue,
  encodeVarint,
  logKey,
  type LogRecord,
  type RefRecord,
} from "./records.js";
import {
  BLOCK_SIZE_MAX,
  formatFooter,
  formatHeader,
  headerLength,
  type TableHeader,
} from "./table-header.js";
import { encodeText } from "./table-text.js";

export interface TableContent extends Omit<TableHeader, "blockSize"> {
  /** Bytes. Doubled until the largest record fits. @default 4096, as git's */
  readonly blockSize?: number;
  /** Sorted by name. */
  readonly refs: readonly RefRecord[];
  /** Sorted by name, and for each name the greatest update index first. */
  readonly logs: readonly LogRecord[];
}

const BLOCK_SIZE = 4096;
/** A section of more blocks gets an index, and so does an index of more. */
const BLOCKS_WITHOUT_INDEX = 3;
const OBJ_ID_BYTES_MIN = 2;

/** @throws storage/unsupported when a record is larger than the largest block */
export function formatTable(content: TableContent): Buffer {
  for (
    let blockSize = content.blockSize ?? BLOCK_SIZE;
    ;
    blockSize = Math.min(blockSize * 2, BLOCK_SIZE_MAX)
  ) {
    const bytes = new TableWriter(content, blockSize).write();
    if (bytes !== undefined) return bytes;
    if (blockSize === BLOCK_SIZE_MAX)
      throw new GitwharfError("storage/unsupported", "a ref or its log entry is too large for a reftable");
  }
}

interface IndexRecord {
  readonly lastKey: Buffer;
  readonly position: number;
}

interface Section {
  readonly position: number;
  readonly indexPosition: number;
}

const TOO_LARGE = Symbol("a record does not fit into a block");

class TableWriter {
  readonly #content: TableContent;
  readonly #header: TableHeader;
  readonly #pieces: Buffer[] = [];
  /** Where the next block begins, padding counted. */
  #next = 0;
  #padding = 0;
  #block: BlockWriter | undefined;
  #index: IndexRecord[] = [];
  #sectionStart = 0;
  readonly #positions = new Map<ObjectId, number[]>();

  constructor(content: TableContent, blockSize: number) {
    this.#content = content;
    const { objectFormat, minUpdateIndex, maxUpdateIndex } = content;
    this.#header = { objectFormat, blockSize, minUpdateIndex, maxUpdateIndex };
  }

  /** undefined when a record does not fit into a block. */
  write(): Buffer | undefined {
    try {
      return this.#write();
    } catch (error) {
      if (error === TOO_LARGE) return undefined;
      throw error;
    }
  }

  #write(): Buffer {
    const refs = this.#writeRefs();
    const objects = refs.indexPosition > 0 ? this.#writeObjects() : undefined;
    const logs = this.#writeLogs();
    if (this.#pieces.length === 0) this.#pieces.push(formatHeader(this.#header));
    this.#pieces.push(
      formatFooter(this.#header, {
        refIndexPosition: refs.indexPosition,
        objPosition: objects?.position ?? 0,
        objIdLength: objects?.idLength ?? 0,
        objIndexPosition: objects?.indexPosition ?? 0,
        logPosition: logs.position,
        logIndexPosition: logs.indexPosition,
      }),
    );
    return Buffer.concat(this.#pieces);
  }

  #writeRefs(): Section {
    const { refs, minUpdateIndex } = this.#content;
    for (const record of refs) {
      this.#add("r", encodeText(record.name), encodeRefValue(record, minUpdateIndex));
      if (record.value?.kind !== "direct") continue;
      const { oid, peeled } = record.value.ref;
      this.#notePosition(oid);
      if (peeled !== undefined) this.#notePosition(peeled);
    }
    return this.#finishSection();
  }

  #notePosition(oid: ObjectId): void {
    const positions = this.#positions.get(oid);
    if (positions === undefined) this.#positions.set(oid, [this.#next]);
    else if (positions.at(-1) !== this.#next) positions.push(this.#next);
  }

  #writeObjects(): Section & { readonly idLength: number } {
    const ids = [...this.#positions.keys()].sort();
    const raw = ids.map((id) => Buffer.from(id, "hex"));
    let shared = OBJ_ID_BYTES_MIN - 1;
    for (let i = 1; i < raw.length; i++)
      shared = Math.max(shared, commonPrefix(raw[i - 1] as Buffer, raw[i] as Buffer));
    const idLength = Math.min(shared + 1, hashBytes(this.#header.objectFormat));
    for (const [i, id] of ids.entries()) {
      const key = (raw[i] as Buffer).subarray(0, idLength);
      this.#add("o", key, encodeObjValue(this.#positions.get(id) ?? []), encodeObjValue([]));
    }
    return { ...this.#finishSection(), idLength };
  }

  #writeLogs(): Section {
    const { logs } = this.#content;
    if (logs.length === 0) return { position: 0, indexPosition: 0 };
    // Log blocks begin right after what is before them.
    this.#next -= this.#padding;
    this.#padding = 0;
    for (const record of logs)
      this.#add("g", logKey(record.name, record.updateIndex), encodeLogValue(record));
    return this.#finishSection();
  }

  /** @param shorter in its place when even an empty block has no room */
  #add(type: BlockType, key: Buffer, { type: valueType, value }: Encoded, shorter?: Encoded): void {
    this.#block ??= this.#startBlock(type);
    if (this.#block.add(key, valueType, value)) return;
    if (!this.#block.isEmpty) {
      this.#flush();
      this.#block = this.#startBlock(type);
      if (this.#block.add(key, valueType, value)) return;
    }
    if (shorter === undefined || !this.#block.add(key, shorter.type, shorter.value)) throw TOO_LARGE;
  }

  #startBlock(type: BlockType): BlockWriter {
    const { blockSize, objectFormat } = this.#header;
    return new BlockWriter(type, blockSize, this.#next === 0 ? headerLength(objectFormat) : 0);
  }

  #flush(): void {
    const block = this.#block;
    this.#block = undefined;
    if (block === undefined || block.isEmpty) return;
    const bytes = block.finish();
    if (this.#next === 0) formatHeader(this.#header).copy(bytes);
    if (this.#padding > 0) this.#pieces.push(Buffer.alloc(this.#padding));
    this.#pieces.push(bytes);
    if (this.#index.length === 0) this.#sectionStart = this.#next;
    this.#index.push({ lastKey: block.lastKey, position: this.#next });
    this.#padding = block.type === "g" ? 0 : this.#header.blockSize - bytes.length;
    this.#next += bytes.length + this.#padding;
  }

  #finishSection(): Section {
    this.#flush();
    const position = this.#index.length === 0 ? 0 : this.#sectionStart;
    let indexPosition = 0;
    while (this.#index.length > BLOCKS_WITHOUT_INDEX) {
      indexPosition = this.#next;
      const below = this.#index;
      this.#index = [];
      for (const record of below)
        this.#add("i", record.lastKey, { type: 0, value: encodeVarint(record.position) });
      this.#flush();
      // Keys so long that an index block holds one of them: the index would never end.
      if (this.#index.length >= below.length) throw TOO_LARGE;
    }
    this.#index = [];
    return { position, indexPosition };
  }
}
