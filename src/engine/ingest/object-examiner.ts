/**
 * What happens to each new object once its content is there, in one pass while the bytes are in the cache: its id
 * is computed, a namesake in the repository is compared, it is checked, and what it refers to is noted.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import type { FsckPolicy } from "../../object/fsck/fsck-message.js";
import { checkObject, createFsckState, type FsckState } from "../../object/fsck/object-fsck.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import type { ExistingObjects } from "./existing-objects.js";
import { type Kind, LinkSet } from "./link-set.js";
import { createObjectHasher, type ObjectHashStream, typeName } from "./object-hasher.js";
import { addLinks, addTreeLinks } from "./object-links.js";
import { OutlineDeriver, type TreeOutline } from "./tree-outline.js";

export interface ExamineOptions {
  readonly objectFormat: ObjectFormat;
  readonly collisionDetection: boolean;
  /** undefined: objects are not checked. */
  readonly fsck?: FsckPolicy | undefined;
}

/** The unique links of some new objects, in a form that crosses threads. */
export interface LinkList {
  /** Raw ids, one after the other. */
  readonly oids: Uint8Array;
  /** For each, bits `1 << kind` of what it was referred to as. */
  readonly kinds: Uint8Array;
  readonly fsck?: FsckNotes | undefined;
}

/** What the checks of single objects leave to be done or told. */
export interface FsckNotes {
  /** Blobs that must be looked at again, because a tree names them so that their content matters. */
  readonly gitmodules: readonly ObjectId[];
  readonly gitattributes: readonly ObjectId[];
  /** The first hundred. */
  readonly warnings: readonly string[];
}

const WARNINGS_MAX = 100;

export class ObjectExaminer {
  readonly #format: ObjectFormat;
  readonly #hashBytes: number;
  readonly #hasher;
  readonly #existing: ExistingObjects | undefined;
  readonly #deriver: OutlineDeriver;
  readonly #fsck: FsckPolicy | undefined;
  readonly #state: FsckState = createFsckState();
  readonly #warnings: string[] = [];
  #links: LinkSet;

  /** @param existing undefined: the caller compares with the repository's objects itself */
  constructor(options: ExamineOptions, existing: ExistingObjects | undefined) {
    this.#format = options.objectFormat;
    this.#hashBytes = hashBytes(options.objectFormat);
    this.#hasher = createObjectHasher(options.objectFormat);
    this.#existing = existing;
    this.#deriver = new OutlineDeriver(options.objectFormat);
    this.#links = new LinkSet(this.#hashBytes);
  }

  /**
   * Writes the raw id to `oids` as number `index`.
   * @throws pack/collision, object/malformed, and what the reader of existing objects throws
   */
  examine(kind: Kind, data: Buffer, oids: Uint8Array, index: number): void {
    const at = index * this.#hashBytes;
    this.#hasher.hash(kind, data, oids, at);
    this.#existing?.compare(kind, data, oids, at);
    if (kind === 3) return;
    this.#check(kind, data, oids, at);
    try {
      addLinks(kind, data, this.#format, this.#links);
    } catch (error) {
      throw this.#named(error, oids, at);
    }
  }

  /**
   * A tree that was made by `delta` from a tree that was examined before: the same at a fraction of the cost.
   * @returns its own outline, borrowed until the next call
   */
  examineDerived(base: TreeOutline, delta: Buffer, data: Buffer, oids: Uint8Array, index: number): TreeOutline {
    const at = index * this.#hashBytes;
    this.#hasher.hash(2, data, oids, at);
    this.#existing?.compare(2, data, oids, at);
    try {
      const deriver = this.#deriver;
      deriver.derive(base, delta, data);
      const { starts, fresh } = deriver;
      for (let i = 0; i < fresh.length; i++) {
        const entry = fresh[i] as number;
        addTreeLinks(data, starts[entry] as number, starts[entry + 1] as number, this.#format, this.#links);
      }
      return starts;
    } catch (error) {
      throw this.#named(error, oids, at);
    }
  }

  /** For a blob that comes in pieces; the caller compares it with an existing namesake. */
  openStream(sizeBytes: number): ObjectHashStream {
    return this.#hasher.open(3, sizeBytes);
  }

  /** Hands over the links noted so far and begins anew. */
  takeLinks(): LinkList {
    // Copies: a clone of a view across threads would carry all of its buffer.
    const list = { oids: this.#links.oids.slice(), kinds: this.#links.kinds.slice(), fsck: this.#takeNotes() };
    this.#links = new LinkSet(this.#hashBytes);
    return list;
  }

  /** @throws object/malformed for a finding of severity "error" */
  #check(kind: Kind, data: Buffer, oids: Uint8Array, at: number): void {
    if (this.#fsck === undefined) return;
    const oid = objectIdAt(Buffer.from(oids.buffer, oids.byteOffset, oids.length), at, this.#format);
    const check = { type: typeName(kind), oid, data, objectFormat: this.#format, policy: this.#fsck, state: this.#state };
    for (const finding of checkObject(check)) {
      if (finding.severity === "error") throw new GitwharfError("object/malformed", `object ${finding.message}`, { details: { oid, id: finding.id } });
      if (this.#warnings.length < WARNINGS_MAX) this.#warnings.push(finding.message);
    }
  }

  #takeNotes(): FsckNotes | undefined {
    if (this.#fsck === undefined) return undefined;
    const { gitmodules, gitattributes } = this.#state;
    const notes = { gitmodules: [...gitmodules], gitattributes: [...gitattributes], warnings: this.#warnings.splice(0) };
    gitmodules.clear();
    gitattributes.clear();
    return notes;
  }

  #named(error: unknown, oids: Uint8Array, at: number): unknown {
    if (!isGitwharfError(error, "object/malformed")) return error;
    const oid = objectIdAt(Buffer.from(oids.buffer, oids.byteOffset, oids.length), at, this.#format);
    return new GitwharfError("object/malformed", `object ${oid}: ${error.message}`, { cause: error, details: { oid } });
  }
}
