/**
 * The commit-graph: trees, parents, dates and generations of commits without reading the commits.
 * Specification: gitformat-commit-graph. One file, or a chain of layers.
 *
 *     OFFSET  SIZE      MEANING
 *     0       4         "CGPH"
 *     4       4         version 1, hash (1 sha1, 2 sha256), chunks, base layers
 *     8       (c+1)·12  chunk ids and offsets
 *     …       OIDF      1024: fan-out
 *     …       OIDL      n·h: ids, sorted
 *     …       CDAT      n·(h+16): tree, two parents, topological level and date
 *     …       EDGE      third parents and those behind
 *     …       GDA2      n·4: corrected date less the date, or 2^31 + a position in GDO2
 *     …       GDO2      m·8: differences from 2^31 up
 *     …       BASE      b·h: hashes of the layers below, base layer first
 *     …       h         hash of all the above
 */
import { GitwharfError } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import { hashBytesOf, type ObjectId } from "../object/object-id.js";

const NO_PARENT = 0x70000000;
const LAST_EDGE = 0x80000000;
const OVERFLOW = 0x80000000;

interface Layer {
  readonly bytes: Buffer;
  readonly count: number;
  /** Positions of the layers below. */
  readonly first: number;
  readonly fanout: number;
  readonly oids: number;
  readonly data: number;
  /** −1: no chunk */
  readonly edges: number;
  readonly edgesEnd: number;
  /** −1: no chunk */
  readonly correctedDates: number;
  readonly overflow: number;
}

/** Positions count through all layers, base layer first. */
export class CommitGraph {
  readonly commitCount: number;
  readonly layerCount: number;
  /** Every layer has corrected dates: `generationAt` tells them. */
  readonly hasCorrectedDates: boolean;
  readonly #layers: readonly Layer[];
  readonly #hashBytes: number;

  private constructor(layers: readonly Layer[], h: number) {
    this.#layers = layers;
    this.#hashBytes = h;
    this.layerCount = layers.length;
    // Numbers of both kinds must not be compared.
    this.hasCorrectedDates = layers.every(({ correctedDates }) => correctedDates >= 0);
    const last = layers.at(-1);
    this.commitCount = last === undefined ? 0 : last.first + last.count;
  }

  /** @param files base layer first. @throws pack/bad-index */
  static parse(files: readonly SharedArrayBuffer[], format: ObjectFormat): CommitGraph {
    const { graph, failure } = parseLayers(files, format, (layers, h) => new CommitGraph(layers, h));
    if (failure !== undefined) throw failure;
    return graph;
  }

  /**
   * As git does with a chain: the layers from the base up to the first that cannot be used (`layerCount` of them).
   * @throws pack/bad-index when the base cannot be used
   */
  static parseUsable(files: readonly SharedArrayBuffer[], format: ObjectFormat): CommitGraph {
    const { graph, failure } = parseLayers(files, format, (layers, h) => new CommitGraph(layers, h));
    if (failure !== undefined && graph.layerCount === 0) throw failure;
    return graph;
  }

  /** −1 when the commit is not in the graph. */
  find(oid: ObjectId): number {
    return this.findBytes(Buffer.from(oid, "hex"), 0);
  }

  findBytes(raw: Uint8Array, offset: number): number {
    const h = this.#hashBytes;
    const byte = raw[offset] as number;
    for (const { bytes, fanout, oids, first } of this.#layers) {
      let low = byte === 0 ? 0 : bytes.readUInt32BE(fanout + (byte - 1) * 4);
      let high = bytes.readUInt32BE(fanout + byte * 4);
      while (low < high) {
        const middle = (low + high) >>> 1;
        const at = oids + middle * h;
        let i = 0;
        while (i < h && bytes[at + i] === raw[offset + i]) i++;
        if (i === h) return first + middle;
        if ((bytes[at + i] as number) < (raw[offset + i] as number)) low = middle + 1;
        else high = middle;
      }
    }
    return -1;
  }

  oidAt(position: number): ObjectId {
    const { bytes, oids, first } = this.#layerOf(position);
    const at = oids + (position - first) * this.#hashBytes;
    return bytes.toString("hex", at, at + this.#hashBytes);
  }

  treeAt(position: number): ObjectId {
    const { bytes, data, first } = this.#layerOf(position);
    const at = data + (position - first) * (this.#hashBytes + 16);
    return bytes.toString("hex", at, at + this.#hashBytes);
  }

  /** Positions of the parents, in order. @throws pack/bad-index */
  parentsAt(position: number): readonly number[] {
    const layer = this.#layerOf(position);
    const { bytes, data, first } = layer;
    const at = data + (position - first) * (this.#hashBytes + 16) + this.#hashBytes;
    const one = bytes.readUInt32BE(at);
    const two = bytes.readUInt32BE(at + 4);
    const parents: number[] = [];
    if (one !== NO_PARENT) parents.push(one);
    if (two !== NO_PARENT) {
      if (two < LAST_EDGE) parents.push(two);
      else {
        let edge = layer.edges + (two - LAST_EDGE) * 4;
        for (;;) {
          if (layer.edges < 0 || edge + 4 > layer.edgesEnd) throw bad("an edge points outside of it");
          const value = bytes.readUInt32BE(edge);
          parents.push(value % LAST_EDGE);
          if (value >= LAST_EDGE) break;
          edge += 4;
        }
      }
    }
    if (parents.some((parent) => parent >= this.commitCount)) throw bad("a parent points outside of it");
    return parents;
  }

  /**
   * More than that of every parent; 0 = not computed. The corrected date where the graph has them (never before the
   * commit's own date), else the topological level.
   */
  generationAt(position: number): number {
    const { bytes, first, correctedDates, overflow } = this.#layerOf(position);
    if (!this.hasCorrectedDates) {
      return this.levelAt(position);
    }
    const more = bytes.readUInt32BE(correctedDates + (position - first) * 4);
    const date = this.dateSecondsAt(position);
    if (more < OVERFLOW) return date + more;
    const at = overflow + (more - OVERFLOW) * 8;
    return date + bytes.readUInt32BE(at) * 2 ** 32 + bytes.readUInt32BE(at + 4);
  }

  /** The topological level: more than that of every parent; 0 = not computed. */
  levelAt(position: number): number {
    const { bytes, data, first } = this.#layerOf(position);
    return bytes.readUInt32BE(data + (position - first) * (this.#hashBytes + 16) + this.#hashBytes + 8) >>> 2;
  }

  /** Committer's time, seconds since 1970. */
  dateSecondsAt(position: number): number {
    const { bytes, data, first } = this.#layerOf(position);
    const at = data + (position - first) * (this.#hashBytes + 16) + this.#hashBytes + 8;
    return (bytes.readUInt32BE(at) & 3) * 2 ** 32 + bytes.readUInt32BE(at + 4);
  }

  /** Checksums of the layers, base layer first, hexadecimal: their names in a chain. */
  get layerChecksums(): readonly string[] {
    return this.#layers.map(({ bytes }) => bytes.toString("hex", bytes.length - this.#hashBytes));
  }

  /** Commits of one layer alone. */
  countOfLayer(layer: number): number {
    return this.#layers[layer]?.count ?? 0;
  }

  /** The lowest layers, so many of them. */
  lowest(layerCount: number): CommitGraph {
    return new CommitGraph(this.#layers.slice(0, layerCount), this.#hashBytes);
  }

  /** How many layers from the base up have the checksum that their content says. Reads all of them. */
  countSound(format: ObjectFormat): number {
    const isSound = ({ bytes }: Layer): boolean => {
      const end = bytes.length - this.#hashBytes;
      return hashBytesOf(format, bytes.subarray(0, end)) === bytes.toString("hex", end);
    };
    const first = this.#layers.findIndex((layer) => !isSound(layer));
    return first < 0 ? this.layerCount : first;
  }

  #layerOf(position: number): Layer {
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      const layer = this.#layers[i] as Layer;
      if (position >= layer.first && position < layer.first + layer.count) return layer;
    }
    throw new GitwharfError("base/invariant", `position ${position} is not in the commit-graph`);
  }
}

function parseLayers<T>(
  files: readonly SharedArrayBuffer[],
  format: ObjectFormat,
  make: (layers: readonly Layer[], h: number) => T,
): { readonly graph: T; readonly failure: unknown } {
  const h = hashBytes(format);
  const layers: Layer[] = [];
  let failure: unknown;
  let first = 0;
  try {
    for (const file of files) {
      const layer = parseLayer(Buffer.from(file), h, format, layers);
      layers.push(layer);
      first += layer.count;
      if (first >= NO_PARENT) throw bad("it has more commits than positions");
    }
  } catch (cause) {
    failure = cause;
  }
  return { graph: make(layers, h), failure };
}

interface Chunk {
  readonly start: number;
  readonly end: number;
}

function parseLayer(bytes: Buffer, h: number, format: ObjectFormat, below: readonly Layer[]): Layer {
  if (bytes.length < 8 + h || bytes.toString("latin1", 0, 4) !== "CGPH" || bytes[4] !== 1)
    throw bad("its head is unknown");
  if (bytes[5] !== (format === "sha1" ? 1 : 2)) throw bad("it is for another object format");
  const chunks = readChunks(bytes, bytes[6] as number, h);
  checkBases(bytes, chunks.get("BASE"), h, below);
  const fanout = chunks.get("OIDF");
  const oids = chunks.get("OIDL");
  const data = chunks.get("CDAT");
  const edges = chunks.get("EDGE");
  if (fanout === undefined || oids === undefined || data === undefined || fanout.end - fanout.start < 1024) {
    throw bad("a chunk is missing");
  }
  const count = bytes.readUInt32BE(fanout.start + 1020);
  for (let i = 1; i < 256; i++) {
    if (bytes.readUInt32BE(fanout.start + i * 4) < bytes.readUInt32BE(fanout.start + i * 4 - 4))
      throw bad("its fan-out is not in order");
  }
  if (oids.end - oids.start < count * h || data.end - data.start < count * (h + 16))
    throw bad("a chunk is too short");
  const corrected = chunks.get("GDA2");
  const overflow = chunks.get("GDO2");
  if (corrected !== undefined) checkCorrectedDates(bytes, count, corrected, overflow);
  const last = below.at(-1);
  return {
    bytes,
    count,
    first: last === undefined ? 0 : last.first + last.count,
    fanout: fanout.start,
    oids: oids.start,
    data: data.start,
    edges: edges?.start ?? -1,
    edgesEnd: edges?.end ?? -1,
    correctedDates: corrected?.start ?? -1,
    overflow: overflow?.start ?? -1,
  };
}

function readChunks(bytes: Buffer, count: number, h: number): ReadonlyMap<string, Chunk> {
  const chunks = new Map<string, Chunk>();
  if (8 + (count + 1) * 12 > bytes.length) throw bad("it is not whole");
  for (let i = 0; i < count; i++) {
    const at = 8 + i * 12;
    const start = Number(bytes.readBigUInt64BE(at + 4));
    const end = Number(bytes.readBigUInt64BE(at + 16));
    if (start > end || end > bytes.length - h) throw bad("a chunk lies outside of it");
    chunks.set(bytes.toString("latin1", at, at + 4), { start, end });
  }
  return chunks;
}

/** Positions of parents count through the layers below, so they must be the very ones that it was written upon. */
function checkBases(bytes: Buffer, chunk: Chunk | undefined, h: number, below: readonly Layer[]): void {
  if (bytes[7] !== below.length) throw bad("it stands upon another number of layers");
  if (below.length === 0) return;
  if (chunk === undefined || chunk.end - chunk.start < below.length * h)
    throw bad("its list of layers is missing");
  for (const [i, layer] of below.entries()) {
    const named = bytes.subarray(chunk.start + i * h, chunk.start + (i + 1) * h);
    if (!named.equals(layer.bytes.subarray(-h))) throw bad("it stands upon other layers");
  }
}

function checkCorrectedDates(bytes: Buffer, count: number, chunk: Chunk, overflow: Chunk | undefined): void {
  if (chunk.end - chunk.start < count * 4) throw bad("a chunk is too short");
  const overflowCount = overflow === undefined ? 0 : Math.floor((overflow.end - overflow.start) / 8);
  for (let i = 0, at = chunk.start; i < count; i++, at += 4) {
    const more = bytes.readUInt32BE(at);
    if (more >= OVERFLOW && more - OVERFLOW >= overflowCount)
      throw bad("a corrected date points outside of it");
  }
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-index", `a commit-graph cannot be used: ${why}`);
}
