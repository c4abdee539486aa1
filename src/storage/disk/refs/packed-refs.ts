/**
 * The `packed-refs` file: many refs in one file, sorted. Pure code; packed-refs-file.ts reads and writes it.
 * Specification: git-pack-refs, gitrepository-layout.
 *
 *     # pack-refs with: peeled fully-peeled sorted LF      optional first line; the traits, one space after each
 *     <id> SP <name> LF
 *     ^<id> LF                                             the object at the end of the annotated tag above
 *
 * `fully-peeled`: a ref without a `^` line names no tag. `peeled`: so do those below refs/tags/.
 *
 * Fifty thousand refs are parsed in some 10 ms: the file becomes one string, of which names and ids are slices.
 */
import { isAscii } from "node:buffer";
import { GitwharfError } from "../../../base/errors.js";
import { hexLength, type ObjectFormat } from "../../../object/object-format.js";
import { isNullObjectId, isObjectId, type ObjectId } from "../../../object/object-id.js";
import { checkRefName } from "../../../object/ref-name.js";
import type { Ref } from "../../contracts/ref-store.js";
import { findRef } from "../../refs/find-ref.js";
import { compareRefNames, lowerBound, sortNames } from "../../refs/ref-order.js";

export interface PackedRefs {
  /** Sorted, each name once. */
  readonly refs: readonly Ref[];
  /** Names that are none, and refs whose id is all zeros. They stay in the file. */
  readonly broken: readonly string[];
  /** The file. Not to be changed. */
  readonly bytes: Buffer;
  /** Where the lines of each of `refs` begin in `bytes`; undefined when the file is not in order. */
  readonly starts: Float64Array | undefined;
  readonly traits: PackedTraits;
}

interface PackedTraits {
  readonly peeled: boolean;
  readonly fullyPeeled: boolean;
}

export interface PackedChange {
  readonly oid: ObjectId;
  /** As in `Ref`. */
  readonly peeled?: ObjectId;
  readonly peelKnown: boolean;
}

const CARET = 0x5e;
const HASH = 0x23;
const NEWLINE = 0x0a;
const NO_STARTS = new Float64Array(0);
/** Nearly all names are of this form, which needs no further look unless `.lock` is in it. */
const PLAIN_NAME = /^refs(?:\/[\w+=@-]+(?:\.[\w+=@-]+)*)+$/;

export const NO_PACKED_REFS: PackedRefs = {
  refs: [],
  broken: [],
  bytes: Buffer.alloc(0),
  starts: NO_STARTS,
  traits: { peeled: true, fullyPeeled: true },
};

/** @param bytes kept. @throws storage/bad-ref at a line that is none */
export function parsePackedRefs(bytes: Buffer, format: ObjectFormat): PackedRefs {
  if (bytes.length === 0) return NO_PACKED_REFS;
  const text = bytes.toString("latin1");
  const ascii = isAscii(bytes);
  const hex = hexLength(format);
  const header = text.charCodeAt(0) === HASH ? text.slice(0, text.indexOf("\n") + 1) : "";
  const traits = parseTraits(header);
  const refs: Ref[] = [];
  const broken: string[] = [];
  const starts: number[] = [];
  let inOrder = true;
  let last = "";
  for (let at = header.length; at < text.length; ) {
    const end = text.indexOf("\n", at);
    const oid = text.slice(at, at + hex);
    if (end < at + hex + 2 || text.charCodeAt(at + hex) !== 0x20 || !isObjectId(oid, format))
      throw badLine(text, at);
    const name = ascii ? text.slice(at + hex + 1, end) : decode(text.slice(at + hex + 1, end));
    const start = at;
    at = end + 1;
    let peeled: ObjectId | undefined;
    if (text.charCodeAt(at) === CARET) {
      peeled = text.slice(at + 1, at + 1 + hex);
      if (!isObjectId(peeled, format) || text.charCodeAt(at + 1 + hex) !== 0x0a) throw badLine(text, at);
      at += hex + 2;
    }
    if (!isRefName(name) || isNullObjectId(oid)) {
      broken.push(name);
      continue;
    }
    if (inOrder && last !== "" && !(ascii ? last < name : compareRefNames(last, name) < 0)) inOrder = false;
    last = name;
    starts.push(start);
    if (peeled !== undefined) refs.push({ name, oid, peeled, peelKnown: true });
    else if (traits.fullyPeeled || (traits.peeled && name.startsWith("refs/tags/")))
      refs.push({ name, oid, peelKnown: true });
    else refs.push({ name, oid });
  }
  const common = { broken, bytes, traits };
  if (inOrder) return { ...common, refs, starts: Float64Array.from(starts) };
  return { ...common, refs: sortRefs(refs), starts: undefined };
}

function sortRefs(refs: readonly Ref[]): readonly Ref[] {
  const byName = new Map<string, Ref>();
  for (const ref of refs) if (!byName.has(ref.name)) byName.set(ref.name, ref);
  return [...byName.values()].sort((a, b) => compareRefNames(a.name, b.name));
}

function isRefName(name: string): boolean {
  if (PLAIN_NAME.test(name) && !name.includes(".lock") && name.length <= 4096) return true;
  return name.startsWith("refs/") && checkRefName(name) === undefined;
}

function parseTraits(header: string): PackedTraits {
  const words = header.startsWith("# pack-refs with:") ? header.trim().split(" ") : [];
  return { peeled: words.includes("peeled"), fullyPeeled: words.includes("fully-peeled") };
}

function formatHeader({ peeled, fullyPeeled }: PackedTraits): string {
  return `# pack-refs with: ${peeled ? "peeled " : ""}${fullyPeeled ? "fully-peeled " : ""}sorted \n`;
}

/** Bytes that are no UTF-8 become U+FFFD, which no ref name has. */
function decode(latin1: string): string {
  return Buffer.from(latin1, "latin1").toString("utf8");
}

function badLine(text: string, at: number): GitwharfError {
  const line = text.slice(0, at).split("\n").length;
  return new GitwharfError(
    "storage/bad-ref",
    `line ${line} of packed-refs is malformed; restore the file, or remove the line`,
  );
}

export function packedRef({ refs }: PackedRefs, name: string): Ref | undefined {
  return findRef(refs, name);
}

/**
 * The file with some refs changed (`null` removes). What does not change is copied as it is, the lines of broken
 * refs included. A ref whose peeled value is not known takes from the file the claim that all are peeled.
 */
export function changePackedRefs(
  packed: PackedRefs,
  changes: ReadonlyMap<string, PackedChange | null>,
): PackedRefs {
  const from = packed.starts === undefined ? inOrder(packed) : packed;
  const traits = weaken(from.traits, changes);
  const made = new PackedRefsBuilder(from, changes.size, formatHeader(traits));
  for (const name of sortNames([...changes.keys()])) {
    made.copyBefore(name);
    made.skip(name);
    const change = changes.get(name);
    if (change !== null && change !== undefined) made.add(name, change);
  }
  return { ...made.finish(), broken: from.broken, traits };
}

/** Copies runs of lines from the old file between the lines that change. */
class PackedRefsBuilder {
  readonly #from: PackedRefs;
  readonly #fromStarts: Float64Array;
  readonly #refs: Ref[] = [];
  readonly #starts: Float64Array;
  readonly #pieces: Buffer[];
  #count = 0;
  #length: number;
  /** The next ref of the old file, and where the copying stands in its bytes. */
  #at = 0;
  #bytesAt: number;

  constructor(from: PackedRefs, changeCount: number, header: string) {
    this.#from = from;
    this.#fromStarts = from.starts ?? NO_STARTS;
    this.#starts = new Float64Array(from.refs.length + changeCount);
    this.#pieces = [Buffer.from(header)];
    this.#length = header.length;
    this.#bytesAt = from.bytes[0] === HASH ? from.bytes.indexOf(NEWLINE) + 1 : 0;
  }

  copyBefore(name: string): void {
    const isNext = this.#from.refs[this.#at]?.name === name;
    this.#copyTo(isNext ? this.#at : lowerBound(this.#from.refs, name, this.#at));
  }

  skip(name: string): void {
    if (this.#from.refs[this.#at]?.name !== name) return;
    this.#bytesAt = endOfRecord(this.#from.bytes, this.#bytesAt);
    this.#at++;
  }

  add(name: string, change: PackedChange): void {
    this.#refs.push(toRef(name, change));
    this.#starts[this.#count++] = this.#length;
    this.#push(
      Buffer.from(`${change.oid} ${name}\n${change.peeled === undefined ? "" : `^${change.peeled}\n`}`),
    );
  }

  finish(): Pick<PackedRefs, "refs" | "bytes" | "starts"> {
    this.#copyTo(this.#from.refs.length);
    return {
      refs: this.#refs,
      bytes: Buffer.concat(this.#pieces),
      starts: this.#starts.subarray(0, this.#count),
    };
  }

  #copyTo(to: number): void {
    const { refs, bytes } = this.#from;
    const bytesTo = to < refs.length ? (this.#fromStarts[to] ?? 0) : bytes.length;
    const shift = this.#length - this.#bytesAt;
    let count = this.#count;
    for (let at = this.#at; at < to; at++) {
      this.#refs.push(refs[at] as Ref);
      this.#starts[count++] = (this.#fromStarts[at] as number) + shift;
    }
    this.#count = count;
    this.#at = to;
    if (bytesTo > this.#bytesAt) this.#push(bytes.subarray(this.#bytesAt, bytesTo));
    this.#bytesAt = bytesTo;
  }

  #push(piece: Buffer): void {
    this.#pieces.push(piece);
    this.#length += piece.length;
  }
}

function endOfRecord(bytes: Buffer, start: number): number {
  const end = bytes.indexOf(NEWLINE, start) + 1;
  return bytes[end] === CARET ? bytes.indexOf(NEWLINE, end) + 1 : end;
}

function toRef(name: string, { oid, peeled, peelKnown }: PackedChange): Ref {
  if (peeled !== undefined) return { name, oid, peeled, peelKnown: true };
  return peelKnown ? { name, oid, peelKnown: true } : { name, oid };
}

function weaken(traits: PackedTraits, changes: ReadonlyMap<string, PackedChange | null>): PackedTraits {
  let { peeled, fullyPeeled } = traits;
  for (const [name, change] of changes) {
    if (change === null || change.peelKnown) continue;
    fullyPeeled = false;
    if (name.startsWith("refs/tags/")) peeled = false;
  }
  return peeled === traits.peeled && fullyPeeled === traits.fullyPeeled ? traits : { peeled, fullyPeeled };
}

/** A file that some other program left unsorted, made anew. Lines of broken refs are dropped. */
function inOrder(packed: PackedRefs): PackedRefs {
  const changes = new Map<string, PackedChange>();
  for (const { name, oid, peeled, peelKnown } of packed.refs) {
    changes.set(name, { oid, peelKnown: peelKnown === true, ...(peeled === undefined ? {} : { peeled }) });
  }
  return { ...changePackedRefs({ ...NO_PACKED_REFS, traits: packed.traits }, changes), broken: [] };
}
