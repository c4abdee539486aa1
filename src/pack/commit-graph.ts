/**
 * The commit-graph: trees, parents, dates and generations of commits without reading the commits.
 * Specification: gitformat-commit-graph. One file, or a chain of layers.
 *
 *     OFFSET  SIZE      MEANING
 *     0       4         "CGPH"
 *     4       4         version 1, hash (1 sha1, 2 sha256), chunks, base layers
 *     8       (c+1)·12  chunk ids and offsets: OIDF, OIDL, CDAT, EDGE, …
 *     …                 chunks
 *     …       h         hash of all the above
 */
import { GitwharfError } from "../base/errors.js";
import { hashBytes, type ObjectFormat } from "../object/object-format.js";
import type { ObjectId } from "../object/object-id.js";

const NO_PARENT = 0x70000000;
const LAST_EDGE = 0x80000000;

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
}

/** Positions count through all layers, base layer first. */
export class CommitGraph {
  readonly commitCount: number;
  readonly #layers: readonly Layer[];
  readonly #hashBytes: number;

  private constructor(layers: readonly Layer[], h: number) {
    this.#layers = layers;
    this.#hashBytes = h;
    const last = layers.at(-1);
    this.commitCount = last === undefined ? 0 : last.first + last.count;
  }

  /** @param files base layer first. @throws pack/bad-index */
  static parse(files: readonly SharedArrayBuffer[], format: ObjectFormat): CommitGraph {
    const h = hashBytes(format);
    const layers: Layer[] = [];
    let first = 0;
    for (const file of files) {
      const layer = parseLayer(Buffer.from(file), h, format, first);
      layers.push(layer);
      first += layer.count;
    }
    return new CommitGraph(layers, h);
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

  /** Topological level: more than that of every parent; 0 = not computed. */
  generationAt(position: number): number {
    const { bytes, data, first } = this.#layerOf(position);
    return bytes.readUInt32BE(data + (position - first) * (this.#hashBytes + 16) + this.#hashBytes + 8) >>> 2;
  }

  /** Committer's time, seconds since 1970. */
  dateSecondsAt(position: number): number {
    const { bytes, data, first } = this.#layerOf(position);
    const at = data + (position - first) * (this.#hashBytes + 16) + this.#hashBytes + 8;
    return (bytes.readUInt32BE(at) & 3) * 2 ** 32 + bytes.readUInt32BE(at + 4);
  }

  #layerOf(position: number): Layer {
    for (let i = this.#layers.length - 1; i >= 0; i--) {
      const layer = this.#layers[i] as Layer;
      if (position >= layer.first && position < layer.first + layer.count) return layer;
    }
    throw new GitwharfError("base/invariant", `position ${position} is not in the commit-graph`);
  }
}

function parseLayer(bytes: Buffer, h: number, format: ObjectFormat, first: number): Layer {
  if (bytes.length < 8 + h || bytes.toString("latin1", 0, 4) !== "CGPH" || bytes[4] !== 1)
    throw bad("its head is unknown");
  if (bytes[5] !== (format === "sha1" ? 1 : 2)) throw bad("it is for another object format");
  const chunkCount = bytes[6] as number;
  const chunks = new Map<string, { readonly start: number; readonly end: number }>();
  if (8 + (chunkCount + 1) * 12 > bytes.length) throw bad("it is not whole");
  for (let i = 0; i < chunkCount; i++) {
    const at = 8 + i * 12;
    const start = Number(bytes.readBigUInt64BE(at + 4));
    const end = Number(bytes.readBigUInt64BE(at + 16));
    if (start > end || end > bytes.length - h) throw bad("a chunk lies outside of it");
    chunks.set(bytes.toString("latin1", at, at + 4), { start, end });
  }
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
  return {
    bytes,
    count,
    first,
    fanout: fanout.start,
    oids: oids.start,
    data: data.start,
    edges: edges?.start ?? -1,
    edgesEnd: edges?.end ?? -1,
  };
}

function bad(why: string): GitwharfError {
  return new GitwharfError("pack/bad-index", `a commit-graph cannot be used: ${why}`);
}
