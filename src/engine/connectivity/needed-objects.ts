/**
 * The objects that a push needs the repository to have, struck off as they are found to be reachable.
 */
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import { type Kind, LinkSet } from "../ingest/link-set.js";
import type { LinkList } from "../ingest/object-examiner.js";

const COMMIT = 1;
const raw = Buffer.alloc(32);

export class NeededObjects {
  readonly #format: ObjectFormat;
  readonly #hashBytes: number;
  readonly #set: LinkSet;
  readonly #found: Uint8Array;
  #treesAndBlobs = 0;
  #others = 0;

  /** @param list ids with bits `1 << kind` of what each must be; no bits: whatever it is */
  constructor(list: LinkList, format: ObjectFormat) {
    this.#format = format;
    this.#hashBytes = hashBytes(format);
    this.#set = new LinkSet(this.#hashBytes);
    list.kinds.forEach((kinds, i) => {
      const before = this.#set.size;
      this.#set.addKinds(list.oids, i * this.#hashBytes, kinds);
      if (this.#set.size === before) return;
      if (isTreeOrBlob(kinds)) this.#treesAndBlobs++;
      else this.#others++;
    });
    this.#found = new Uint8Array(this.#set.size);
  }

  /** Trees and blobs that are still looked for. */
  get treesAndBlobs(): number {
    return this.#treesAndBlobs;
  }

  /** Commits, tags, and what may be anything, that are still looked for. */
  get others(): number {
    return this.#others;
  }

  /** An object of this kind was found to be reachable. One that is needed as something else stays missing. */
  strike(bytes: Uint8Array, at: number, kind: Kind): void {
    const member = this.#set.find(bytes, at);
    if (member < 0 || this.#found[member] === 1) return;
    const kinds = this.#set.kinds[member] as number;
    if (kinds === 0 || kinds === 1 << kind) this.#strikeMember(member, kinds);
  }

  strikeOid(oid: ObjectId, kind: Kind): void {
    raw.write(oid, "hex");
    this.strike(raw, 0, kind);
  }

  /** True for an object that is not needed, and for one that was found. */
  isSettled(oid: ObjectId): boolean {
    raw.write(oid, "hex");
    const member = this.#set.find(raw, 0);
    return member < 0 || this.#found[member] === 1;
  }

  /** What is still looked for. */
  left(which: "trees and blobs" | "others" | "all"): { readonly oid: ObjectId; readonly kinds: number }[] {
    const { oids, kinds } = this.#set;
    const bytes = Buffer.from(oids.buffer, oids.byteOffset, oids.length);
    const left: { oid: ObjectId; kinds: number }[] = [];
    for (let member = 0; member < kinds.length; member++) {
      if (this.#found[member] === 1) continue;
      const bits = kinds[member] as number;
      if (which !== "all" && isTreeOrBlob(bits) !== (which === "trees and blobs")) continue;
      left.push({ oid: objectIdAt(bytes, member * this.#hashBytes, this.#format), kinds: bits });
    }
    return left;
  }

  /** The same as a list that crosses threads. */
  leftList(): LinkList {
    const left = this.left("all");
    const oids = Buffer.alloc(left.length * this.#hashBytes);
    left.forEach(({ oid }, i) => oids.write(oid, i * this.#hashBytes, "hex"));
    return { oids, kinds: Uint8Array.from(left, ({ kinds }) => kinds) };
  }

  #strikeMember(member: number, kinds: number): void {
    this.#found[member] = 1;
    if (isTreeOrBlob(kinds)) this.#treesAndBlobs--;
    else this.#others--;
  }
}

function isTreeOrBlob(kinds: number): boolean {
  return kinds !== 0 && (kinds & ((1 << COMMIT) | (1 << 4))) === 0;
}
