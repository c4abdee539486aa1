/**
 * What happens to each new object once its content is there, in one pass while the bytes are in the cache: its id
 * is computed, a namesake in the repository is compared, it is checked, and what it refers to is noted.
 */
import { GitwharfError, isGitwharfError } from "../../base/errors.js";
import { checkObject, createFsckState, type FsckState } from "../../object/fsck/object-fsck.js";
import type { FsckFinding, FsckPolicy } from "../../object/fsck/fsck-message.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import type { ExistingObjects } from "./existing-objects.js";
import { type Kind, LinkSet } from "./link-set.js";
import { createObjectHasher, type ObjectHashStream, typeName } from "./object-hasher.js";
import { addLinks, addTreeLinks } from "./object-links.js";
import { TreeChecker, type TreeVerdict } from "./tree-check.js";
import { OutlineDeriver, outlineTree, type TreeOutline } from "./tree-outline.js";

export interface ExamineOptions {
  readonly objectFormat: ObjectFormat;
  readonly collisionDetection: boolean;
  /** undefined: objects are not checked beyond what a walk needs. */
  readonly fsck?: FsckPolicy | undefined;
}

/** The unique links of some new objects, in a form that crosses threads. */
export interface LinkList {
  /** Raw ids, one after the other. */
  readonly oids: Uint8Array;
  /** For each, bits `1 << kind` of what it was referred to as. */
  readonly kinds: Uint8Array;
}

/** What was noted about some new objects. */
export interface Examined {
  readonly links: LinkList;
  readonly warnings: readonly string[];
  /** Blobs whose content matters because of the name that a tree gives them. */
  readonly namedBlobs: FsckState;
}

/** A tree that was examined, as the ground on which trees made from it are. */
export interface KnownTree {
  readonly starts: TreeOutline;
  /** fsck found nothing in it. */
  readonly clean: boolean;
}

const TREE = 2;
const BLOB = 3;
/** More warnings are not kept: a peer decides how many there are. */
export const WARNINGS_MAX = 1000;
/** Of the object for which a pack is refused. */
const FINDINGS_TOLD_MAX = 100;

export class ObjectExaminer {
  readonly #format: ObjectFormat;
  readonly #hashBytes: number;
  readonly #hasher;
  readonly #policy: FsckPolicy | undefined;
  readonly #existing: ExistingObjects | undefined;
  readonly #deriver: OutlineDeriver;
  #links: LinkSet;
  #warnings: string[] = [];
  #namedBlobs = createFsckState();
  #treeChecker: TreeChecker | undefined;

  /** @param existing undefined: the caller compares with the repository's objects itself */
  constructor(options: ExamineOptions, existing: ExistingObjects | undefined) {
    this.#format = options.objectFormat;
    this.#hashBytes = hashBytes(options.objectFormat);
    this.#hasher = createObjectHasher(options.objectFormat, options.collisionDetection);
    this.#policy = options.fsck;
    this.#existing = existing;
    this.#deriver = new OutlineDeriver(options.objectFormat);
    this.#links = new LinkSet(this.#hashBytes);
    this.#openChecker();
  }

  /**
   * Writes the raw id to `oids` as number `index`.
   * @returns true for a tree in which fsck found nothing
   * @throws pack/collision, object/malformed, and what the reader of existing objects throws
   */
  examine(kind: Kind, data: Buffer, oids: Uint8Array, index: number): boolean {
    const at = index * this.#hashBytes;
    this.#hasher.hash(kind, data, oids, at);
    this.#existing?.compare(kind, data, oids, at);
    if (kind === BLOB) return false;
    try {
      if (kind === TREE && this.#treeChecker !== undefined) return this.#examineTree(data, oids, at);
      if (this.#policy !== undefined)
        this.#judge(this.#checkWhole(kind, data, this.#oid(oids, at), this.#policy));
      addLinks(kind, data, this.#format, this.#links);
      return false;
    } catch (error) {
      throw this.#named(error, oids, at);
    }
  }

  /**
   * A tree that was made by `delta` from a tree that was examined before: the same at a fraction of the cost.
   * @returns what is known of it, borrowed until the next call
   */
  examineDerived(base: KnownTree, delta: Buffer, data: Buffer, oids: Uint8Array, index: number): KnownTree {
    const at = index * this.#hashBytes;
    this.#hasher.hash(TREE, data, oids, at);
    this.#existing?.compare(TREE, data, oids, at);
    try {
      const deriver = this.#deriver;
      this.#reportBadTree(data, oids, at, () => deriver.derive(base.starts, delta, data));
      const { starts, fresh, runs } = deriver;
      const checker = this.#treeChecker;
      let clean = true;
      if (checker !== undefined) {
        const facts = { data, starts, oid: () => this.#oid(oids, at) };
        const verdict = base.clean ? checker.checkDerived(facts, fresh, runs) : checker.checkWhole(facts);
        clean = this.#conclude(verdict);
      }
      for (let i = 0; i < fresh.length; i++) {
        const entry = fresh[i] as number;
        addTreeLinks(data, starts[entry] as number, starts[entry + 1] as number, this.#format, this.#links);
      }
      return { starts, clean };
    } catch (error) {
      throw this.#named(error, oids, at);
    }
  }

  /** For a blob that comes in pieces; the caller compares it with an existing namesake. */
  openStream(sizeBytes: number): ObjectHashStream {
    return this.#hasher.open(BLOB, sizeBytes);
  }

  /** Hands over what was noted so far and begins anew. */
  take(): Examined {
    const examined: Examined = {
      // Copies: a clone of a view across threads would carry all of its buffer.
      links: { oids: this.#links.oids.slice(), kinds: this.#links.kinds.slice() },
      warnings: this.#warnings,
      namedBlobs: this.#namedBlobs,
    };
    this.#links = new LinkSet(this.#hashBytes);
    this.#warnings = [];
    this.#namedBlobs = createFsckState();
    this.#openChecker();
    return examined;
  }

  #openChecker(): void {
    if (this.#policy !== undefined) {
      this.#treeChecker = new TreeChecker(this.#format, this.#policy, this.#namedBlobs);
    }
  }

  #examineTree(data: Buffer, oids: Uint8Array, at: number): boolean {
    const starts = this.#reportBadTree(data, oids, at, () => outlineTree(data, this.#format));
    const facts = { data, starts, oid: () => this.#oid(oids, at) };
    const clean = this.#treeChecker === undefined || this.#conclude(this.#treeChecker.checkWhole(facts));
    addTreeLinks(data, 0, data.length, this.#format, this.#links);
    return clean;
  }

  /** A tree that cannot be parsed is refused in any case; with fsck, in fsck's words. */
  #reportBadTree<T>(data: Buffer, oids: Uint8Array, at: number, parse: () => T): T {
    try {
      return parse();
    } catch (error) {
      if (this.#policy !== undefined)
        this.#judge(this.#checkWhole(TREE, data, this.#oid(oids, at), this.#policy));
      throw error;
    }
  }

  #checkWhole(kind: Kind, data: Buffer, oid: ObjectId, policy: FsckPolicy): readonly FsckFinding[] {
    return checkObject({
      type: typeName(kind),
      oid,
      data,
      objectFormat: this.#format,
      policy,
      state: this.#namedBlobs,
    });
  }

  #conclude(verdict: TreeVerdict): boolean {
    this.#judge(verdict.findings);
    return verdict.clean;
  }

  #judge(findings: readonly FsckFinding[]): void {
    judgeFindings(findings, this.#warnings);
  }

  #oid(oids: Uint8Array, at: number): ObjectId {
    return objectIdAt(Buffer.from(oids.buffer, oids.byteOffset, oids.length), at, this.#format);
  }

  #named(error: unknown, oids: Uint8Array, at: number): unknown {
    if (!isGitwharfError(error, "object/malformed") || error.details["fsck"] !== undefined) return error;
    const oid = this.#oid(oids, at);
    return new GitwharfError("object/malformed", `object ${oid}: ${error.message}`, {
      cause: error,
      details: { oid },
    });
  }
}

/**
 * Keeps warnings, as `<oid>: <id>: <text>`.
 * @throws object/malformed for the first error: `index-pack: <oid>: <id>: <text>`; its details have all that was found
 *   in the object as `findings`, each `error: object <oid>: <id>: <text>` or `warning: …`
 */
export function judgeFindings(findings: readonly FsckFinding[], warnings: string[]): void {
  const error = findings.find(({ severity }) => severity === "error");
  if (error !== undefined) {
    throw new GitwharfError("object/malformed", `index-pack: ${error.message}`, {
      details: { fsck: error.id, findings: findings.slice(0, FINDINGS_TOLD_MAX).map(tell) },
    });
  }
  for (const { message } of findings) if (warnings.length < WARNINGS_MAX) warnings.push(message);
}

function tell({ severity, message }: FsckFinding): string {
  return `${severity === "error" ? "error" : "warning"}: object ${message}`;
}
