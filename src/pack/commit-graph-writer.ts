/**
 * Writes a commit-graph of one file, or a layer upon others, byte for byte as `git commit-graph write` does without changed
 * paths. Specification: gitformat-commit-graph; the layout is in `commit-graph.ts`.
 */
import { GitwharfError, invariant } from "../base/errors.js";
import { hashBytes } from "../object/object-format.js";
import { hashBytesOf } from "../object/object-id.js";
import { type CommitColumns, orderParentsFirst, selectCommits } from "./commit-columns.js";
import type { CommitGraph } from "./commit-graph.js";

const NO_PARENT = 0x70000000;
const MORE_PARENTS = 0x80000000;
const LAST_EDGE = 0x80000000;
const OVERFLOW = 0x80000000;
const LEVEL_MAX = 0x3fffffff;
/** A date has 34 bits. */
const DATE_END = 2 ** 34;
const HEAD_BYTES = 8;
const CHUNK_ROW_BYTES = 12;

interface Chunk {
  readonly name: string;
  readonly sizeBytes: number;
}

/**
 * Commits whose date the format cannot hold are left out, with all that descend from them: git finds those by reading
 * them, as it does with commits that came later.
 * @param base what the new layer will stand upon, with corrected dates: all that is `below`. @default nothing
 * @returns undefined when no commit is left
 */
export function formatCommitGraph(given: CommitColumns, base?: CommitGraph): SharedArrayBuffer | undefined {
  const below = given.below ?? 0;
  invariant(below === (base?.commitCount ?? 0), "a layer of a commit-graph stands upon other commits");
  const commits = withoutFarDates(given);
  const { count: n, objectFormat, oids, trees, dates, parentStarts, parents } = commits;
  if (n === 0) return undefined;
  if (below + n >= NO_PARENT)
    throw new GitwharfError("base/invariant", "too many commits for a commit-graph");
  const h = hashBytes(objectFormat);
  const { levels, corrected } = numberGenerations(commits, base);
  let edgeCount = 0;
  let overflowCount = 0;
  for (let row = 0; row < n; row++) {
    const parentCount = (parentStarts[row + 1] as number) - (parentStarts[row] as number);
    if (parentCount > 2) edgeCount += parentCount - 1;
    if ((corrected[row] as number) - (dates[row] as number) >= OVERFLOW) overflowCount++;
  }
  const layers = base?.layerChecksums ?? [];
  const chunks: Chunk[] = [
    { name: "OIDF", sizeBytes: 1024 },
    { name: "OIDL", sizeBytes: n * h },
    { name: "CDAT", sizeBytes: n * (h + 16) },
    { name: "GDA2", sizeBytes: n * 4 },
    ...(overflowCount > 0 ? [{ name: "GDO2", sizeBytes: overflowCount * 8 }] : []),
    ...(edgeCount > 0 ? [{ name: "EDGE", sizeBytes: edgeCount * 4 }] : []),
    ...(layers.length > 0 ? [{ name: "BASE", sizeBytes: layers.length * h }] : []),
  ];
  const { bytes, out, starts } = layOut(chunks, objectFormat === "sha1" ? 1 : 2, h);
  const start = (name: string): number => starts.get(name) ?? -1;
  out[7] = layers.length;
  for (const [i, checksum] of layers.entries()) out.write(checksum, start("BASE") + i * h, "hex");
  for (let byte = 0, row = 0, at = start("OIDF"); byte < 256; byte++, at += 4) {
    while (row < n && oids[row * h] === byte) row++;
    out.writeUInt32BE(row, at);
  }
  out.set(oids, start("OIDL"));
  let data = start("CDAT");
  let correction = start("GDA2");
  let overflow = start("GDO2");
  let overflowNumber = 0;
  const edges = start("EDGE");
  let edge = 0;
  for (let row = 0; row < n; row++) {
    out.set(trees.subarray(row * h, (row + 1) * h), data);
    data += h;
    const first = parentStarts[row] as number;
    const end = parentStarts[row + 1] as number;
    out.writeUInt32BE(end > first ? (parents[first] as number) : NO_PARENT, data);
    if (end - first <= 2) {
      out.writeUInt32BE(end - first === 2 ? (parents[first + 1] as number) : NO_PARENT, data + 4);
    } else {
      out.writeUInt32BE(MORE_PARENTS + edge, data + 4);
      for (let i = first + 1; i < end; i++) {
        const last = i === end - 1 ? LAST_EDGE : 0;
        out.writeUInt32BE((parents[i] as number) + last, edges + edge++ * 4);
      }
    }
    const date = dates[row] as number;
    out.writeUInt32BE((levels[row] as number) * 4 + Math.floor(date / 2 ** 32), data + 8);
    out.writeUInt32BE(date % 2 ** 32, data + 12);
    data += 16;
    const more = (corrected[row] as number) - date;
    if (more < OVERFLOW) out.writeUInt32BE(more, correction);
    else {
      out.writeUInt32BE(OVERFLOW + overflowNumber++, correction);
      out.writeUInt32BE(Math.floor(more / 2 ** 32), overflow);
      out.writeUInt32BE(more % 2 ** 32, overflow + 4);
      overflow += 8;
    }
    correction += 4;
  }
  const end = out.length - h;
  out.write(hashBytesOf(objectFormat, out.subarray(0, end)), end, "hex");
  return bytes;
}

/** Head and table of chunks. */
function layOut(
  chunks: readonly Chunk[],
  hashNumber: number,
  h: number,
): { readonly bytes: SharedArrayBuffer; readonly out: Buffer; readonly starts: ReadonlyMap<string, number> } {
  const bodyStart = HEAD_BYTES + (chunks.length + 1) * CHUNK_ROW_BYTES;
  const bytes = new SharedArrayBuffer(chunks.reduce((sum, { sizeBytes }) => sum + sizeBytes, bodyStart) + h);
  const out = Buffer.from(bytes);
  out.write("CGPH", 0, "latin1");
  out[4] = 1;
  out[5] = hashNumber;
  out[6] = chunks.length;
  const starts = new Map<string, number>();
  let at = bodyStart;
  let row = HEAD_BYTES;
  for (const { name, sizeBytes } of chunks) {
    starts.set(name, at);
    out.write(name, row, "latin1");
    out.writeBigUInt64BE(BigInt(at), row + 4);
    at += sizeBytes;
    row += CHUNK_ROW_BYTES;
  }
  out.writeBigUInt64BE(BigInt(at), row + 4);
  return { bytes, out, starts };
}

/** Topological levels, and dates corrected to be later than those of all parents. */
function numberGenerations(
  commits: CommitColumns,
  base: CommitGraph | undefined,
): { levels: Uint32Array; corrected: Float64Array } {
  const { count, dates, parentStarts, parents, below = 0 } = commits;
  const levels = new Uint32Array(count);
  const corrected = new Float64Array(count);
  for (const row of orderParentsFirst(commits)) {
    let level = 0;
    let date = (dates[row] as number) - 1;
    for (let i = parentStarts[row] as number; i < (parentStarts[row + 1] as number); i++) {
      const parent = parents[i] as number;
      const isBelow = parent < below;
      level = Math.max(level, isBelow ? (base?.levelAt(parent) ?? 0) : (levels[parent - below] as number));
      date = Math.max(
        date,
        isBelow ? (base?.generationAt(parent) ?? 0) : (corrected[parent - below] as number),
      );
    }
    levels[row] = Math.min(level + 1, LEVEL_MAX);
    corrected[row] = date + 1;
  }
  return { levels, corrected };
}

function withoutFarDates(commits: CommitColumns): CommitColumns {
  const { dates, parentStarts, parents, count, below = 0 } = commits;
  if (dates.every((date) => date < DATE_END)) return commits;
  const isOut = new Uint8Array(count);
  for (const row of orderParentsFirst(commits)) {
    let out = (dates[row] as number) >= DATE_END;
    for (let i = parentStarts[row] as number; i < (parentStarts[row + 1] as number) && !out; i++)
      out = isOut[(parents[i] as number) - below] === 1;
    if (out) isOut[row] = 1;
  }
  return selectCommits(commits, (row) => isOut[row] === 0);
}
