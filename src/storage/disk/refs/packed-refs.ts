/**
 * The `packed-refs` file. Specification: git-pack-refs, gitrepository-layout.
 *
 *     # pack-refs with: peeled fully-peeled sorted
 *     <id> SP <name> LF
 *     ^<id> LF                the object at the end of the annotated tag in the line above
 */
import { GitwharfError } from "../../../base/errors.js";
import { hexLength, type ObjectFormat } from "../../../object/object-format.js";
import { isObjectId } from "../../../object/object-id.js";
import type { Ref } from "../../contracts/ref-store.js";
import { compareRefNames } from "../../ref-list.js";

export interface PackedRefs {
  /** Sorted by name. */
  readonly refs: readonly Ref[];
  readonly byName: ReadonlyMap<string, Ref>;
}

export const NO_PACKED_REFS: PackedRefs = { refs: [], byName: new Map() };

/** @throws storage/bad-ref */
export function parsePackedRefs(bytes: Buffer | undefined, format: ObjectFormat, path: string): PackedRefs {
  if (bytes === undefined || bytes.length === 0) return NO_PACKED_REFS;
  const text = bytes.toString("utf8");
  const hex = hexLength(format);
  const refs: Ref[] = [];
  let peelKnown = false;
  let at = 0;
  if (text.startsWith("#")) {
    const end = text.indexOf("\n");
    peelKnown = /\bfully-peeled\b/.test(text.slice(0, end < 0 ? undefined : end));
    at = end < 0 ? text.length : end + 1;
  }
  for (let line = 2; at < text.length; line++) {
    const end = text.indexOf("\n", at);
    const stop = end < 0 ? text.length : end;
    const last = refs.length - 1;
    if (text.charCodeAt(at) === 0x5e) {
      const peeled = text.slice(at + 1, stop).trimEnd();
      const ref = refs[last];
      if (ref === undefined || !isObjectId(peeled, format)) throw bad(path, line);
      refs[last] = { name: ref.name, oid: ref.oid, peeled, peelKnown: true };
    } else if (text.charCodeAt(at) !== 0x23 && stop > at) {
      const oid = text.slice(at, at + hex);
      if (text.charCodeAt(at + hex) !== 0x20 || !isObjectId(oid, format)) throw bad(path, line);
      const name = text.slice(at + hex + 1, stop);
      refs.push(peelKnown ? { name, oid, peelKnown } : { name, oid });
    }
    at = stop + 1;
  }
  for (let i = 1; i < refs.length; i++) {
    if (compareRefNames((refs[i - 1] as Ref).name, (refs[i] as Ref).name) >= 0) {
      refs.sort((a, b) => compareRefNames(a.name, b.name));
      break;
    }
  }
  return { refs, byName: new Map(refs.map((ref) => [ref.name, ref])) };
}

/** A ref whose peeled value is not known makes the file claim less: readers peel for themselves. */
export function formatPackedRefs(refs: readonly Ref[]): Buffer {
  const fullyPeeled = refs.every((ref) => ref.peelKnown === true);
  const lines = [`# pack-refs with: ${fullyPeeled ? "peeled fully-peeled " : ""}sorted \n`];
  for (const ref of refs) {
    lines.push(`${ref.oid} ${ref.name}\n`);
    if (ref.peeled !== undefined) lines.push(`^${ref.peeled}\n`);
  }
  return Buffer.from(lines.join(""));
}

function bad(path: string, line: number): GitwharfError {
  return new GitwharfError("storage/bad-ref", `${path}: line ${line} is malformed; run 'git pack-refs' or restore the file`);
}
