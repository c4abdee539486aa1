/**
 * What an ingest tells the connectivity check: which objects are new, and which objects outside of the pack they
 * need.
 */
import { GitwharfError } from "../../base/errors.js";
import { hashBytes, type ObjectFormat } from "../../object/object-format.js";
import { type ObjectId, objectIdAt } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { RECORDED_ROOTS_MAX } from "../../pack/recorded-push.js";
import { type Kind, LinkSet } from "./link-set.js";
import type { LinkList } from "./object-examiner.js";
import { typeName } from "./object-hasher.js";

/** Plain data that crosses threads. */
export interface NewObjectLinks {
  /** Key of the pack in the quarantine; undefined when it was empty. */
  readonly packKey: string | undefined;
  /** Objects of the repository that deltas of a thin pack build on. */
  readonly bases: readonly ObjectId[];
  /** Those of them that were added to complete the pack: they stand in it and are not new. */
  readonly added: readonly ObjectId[];
  /**
   * Everything outside of the pack that its objects refer to or (bases of a thin pack) are made from, each id once,
   * with bits `1 << kind` of what it must be (1 commit, 2 tree, 3 blob, 4 tag).
   */
  readonly external: LinkList;
}

export const NO_LINKS: NewObjectLinks = {
  packKey: undefined,
  bases: [],
  added: [],
  external: { oids: new Uint8Array(0), kinds: new Uint8Array(0) },
};

/** The entries that the peer sent, as they lie in the pack. */
export interface SentEntries {
  readonly count: number;
  readonly deltaCount: number;
  /** Behind the last of them; what completed a thin pack begins here. */
  readonly endOffset: number;
  /** Those that none of the others refers to; undefined: too many to be told. */
  readonly roots: readonly ObjectId[] | undefined;
}

/** @param referred by entry, 1 for those that another refers to */
export function rootsAmong(
  referred: Uint8Array,
  oids: Buffer,
  objectFormat: ObjectFormat,
): readonly ObjectId[] | undefined {
  const h = hashBytes(objectFormat);
  const roots: ObjectId[] = [];
  for (let entry = referred.indexOf(0); entry >= 0; entry = referred.indexOf(0, entry + 1)) {
    if (roots.length === RECORDED_ROOTS_MAX) return undefined;
    roots.push(objectIdAt(oids, entry * h, objectFormat));
  }
  return roots;
}

/**
 * Whether the peer sent an object. That the repository holds a base which completes a thin pack does not mean that
 * the peer may refer to it: such a base is not new.
 */
export function newObjectTest(
  links: NewObjectLinks,
  objects: Pick<ObjectReader, "packs">,
): (oid: ObjectId) => boolean {
  const index = objects.packs.find((pack) => pack.key === links.packKey)?.index;
  if (links.packKey === undefined || index === undefined) return () => false;
  const added = new Set(links.added);
  return (oid) => index.find(oid) >= 0 && !added.has(oid);
}

/**
 * Those links that lead out of the pack; those that stay within it must find an object of the right type.
 * @param kindOf of a new object by raw id; undefined when it is not new
 * @throws object/malformed when an object is referred to as something that it is not
 */
export function externalLinks(
  lists: readonly LinkList[],
  kindOf: (oids: Uint8Array, at: number) => Kind | undefined,
  objectFormat: ObjectFormat,
): LinkList {
  const h = hashBytes(objectFormat);
  const external = new LinkSet(h);
  for (const { oids, kinds } of lists) {
    for (let i = 0; i < kinds.length; i++) {
      const wanted = kinds[i] as number;
      const kind = kindOf(oids, i * h);
      if (kind === undefined) external.addKinds(oids, i * h, wanted);
      else if (wanted !== 1 << kind) throw mismatch(oids, i * h, wanted & ~(1 << kind), kind, objectFormat);
    }
  }
  const { oids, kinds } = external;
  for (let i = 0; i < kinds.length; i++) {
    const wanted = kinds[i] as number;
    if ((wanted & (wanted - 1)) !== 0) throw mismatch(oids, i * h, wanted, undefined, objectFormat);
  }
  return { oids, kinds };
}

function mismatch(
  oids: Uint8Array,
  at: number,
  wanted: number,
  kind: Kind | undefined,
  objectFormat: ObjectFormat,
): GitwharfError {
  const oid = objectIdAt(Buffer.from(oids.buffer, oids.byteOffset, oids.length), at, objectFormat);
  const names = ([1, 2, 3, 4] as const).filter((k) => wanted & (1 << k)).map(typeName);
  const message =
    kind === undefined
      ? `object ${oid} is referred to as ${names.join(" and as ")}`
      : `object ${oid} is a ${typeName(kind)}, but another object refers to it as a ${names.join(" or ")}`;
  return new GitwharfError("object/malformed", message, { details: { oid } });
}
