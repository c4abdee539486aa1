/** The refs that a fetch may see: those of a snapshot without the hidden ones, peeled where the store does not know. */
import { isPromise } from "../../base/maybe-promise.js";
import { peelTag } from "../../engine/peel.js";
import type { ObjectId } from "../../object/object-id.js";
import type { Head, Ref } from "../../storage/contracts/ref-store.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import { compileHiddenRefs } from "../hidden-refs.js";

export interface VisibleRefs {
  readonly head: Head;
  /** Sorted by name, HEAD not among them. */
  readonly all: readonly Ref[];
  get(name: string): Ref | undefined;
  startingWith(prefix: string): readonly Ref[];
  /** Ids that refs and HEAD name. */
  tips(): ReadonlySet<ObjectId>;
}

export function visibleRefs(snapshot: Snapshot, hideRefs: readonly string[]): VisibleRefs {
  const isHidden = compileHiddenRefs(hideRefs);
  const { refs } = snapshot;
  const show = (all: readonly Ref[]): readonly Ref[] => (hideRefs.length === 0 ? all : all.filter((ref) => !isHidden(ref.name)));
  const hiddenHead = refs.head.symbolicTarget !== undefined && isHidden(refs.head.symbolicTarget);
  const head = hiddenHead ? {} : refs.head;
  let all: readonly Ref[] | undefined;
  let tips: Set<ObjectId> | undefined;
  return {
    head,
    get all() {
      all ??= show(refs.all);
      return all;
    },
    get: (name) => (isHidden(name) ? undefined : refs.get(name)),
    startingWith: (prefix) => show(refs.startingWith(prefix)),
    tips() {
      if (tips === undefined) {
        tips = new Set(this.all.map((ref) => ref.oid));
        if (head.oid !== undefined) tips.add(head.oid);
      }
      return tips;
    },
  };
}

/** What an annotated tag leads to; undefined for a ref that names no tag. */
export async function peeledOf(snapshot: Snapshot, ref: Ref): Promise<ObjectId | undefined> {
  if (ref.peelKnown === true || ref.peeled !== undefined) return ref.peeled;
  const result = peelTag(snapshot.objects, ref.oid);
  const peeled = isPromise(result) ? await result : result;
  return peeled === undefined || peeled.tags.length === 0 ? undefined : peeled.oid;
}
