/** The refs that a fetch may see: those of a snapshot without the hidden ones, peeled where the store does not know. */
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import { peelTag } from "../../engine/peel.js";
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import type { Head, Ref, RefSnapshot } from "../../storage/contracts/ref-store.js";
import { compileHiddenRefs, hiddenRefsKey, type IsHiddenRef } from "../hidden-refs.js";
import type { UploadPackContext } from "./upload-pack-context.js";

export interface VisibleRefs {
  /** Names what is visible of these refs, for keys of caches. */
  readonly key: string;
  /** Empty when HEAD or the branch that it names is hidden. */
  readonly head: Head;
  /** Sorted by name, HEAD not among them. */
  readonly all: readonly Ref[];
  get(name: string): Ref | undefined;
  startingWith(prefix: string): readonly Ref[];
  /** undefined: every ref is visible. */
  readonly isVisible: ((ref: Ref) => boolean) | undefined;
  /** Ids that visible refs and HEAD name. */
  tips(): ReadonlySet<ObjectId>;
  /**
   * Ids that any ref or HEAD names, hidden by the configuration or not: what `uploadpack.allowTipSHA1InWant` gives out.
   * What is hidden from this caller is not among them.
   */
  allTips(): ReadonlySet<ObjectId>;
}

/** One list for all requests that see the same refs: it costs as much as there are refs to make one. */
const known = new WeakMap<RefSnapshot, Map<string, VisibleRefs>>();
/** Visibilities kept for one state of the refs. */
const VISIBILITIES_MAX = 16;

export function visibleRefs(
  context: Pick<UploadPackContext, "settings" | "isHiddenRef">,
  refs: RefSnapshot,
): VisibleRefs {
  const { hideRefs } = context.settings.uploadPack;
  const key = hiddenRefsKey(hideRefs, context.isHiddenRef);
  let views = known.get(refs);
  if (views === undefined) known.set(refs, (views = new Map()));
  let view = views.get(key);
  if (view === undefined) {
    if (views.size >= VISIBILITIES_MAX) views.clear();
    view = createVisibleRefs(refs, key, {
      isHidden: isHiddenFor(context),
      isHiddenFromCaller: context.isHiddenRef,
    });
    views.set(key, view);
  }
  return view;
}

/** Longer names do not fit a line beside all that may stand there: such refs are not shown. */
const NAME_CHARACTERS_MAX = 4096;

function isTooLong({ name, symbolicTarget }: Ref): boolean {
  return name.length > NAME_CHARACTERS_MAX || (symbolicTarget?.length ?? 0) > NAME_CHARACTERS_MAX;
}

function isHiddenFor({
  settings,
  isHiddenRef,
}: Pick<UploadPackContext, "settings" | "isHiddenRef">): IsHiddenRef | undefined {
  const { hideRefs } = settings.uploadPack;
  if (hideRefs.length === 0) return isHiddenRef;
  const configured = compileHiddenRefs(hideRefs);
  return isHiddenRef === undefined ? configured : (name) => configured(name) || isHiddenRef(name);
}

/** A symbolic ref would tell the name of the hidden one that it leads to. */
function visibility(isHidden: IsHiddenRef | undefined): ((ref: Ref) => boolean) | undefined {
  if (isHidden === undefined) return undefined;
  return ({ name, symbolicTarget }) =>
    !isHidden(name) && (symbolicTarget === undefined || !isHidden(symbolicTarget));
}

interface Hiding {
  readonly isHidden: IsHiddenRef | undefined;
  readonly isHiddenFromCaller: IsHiddenRef | undefined;
}

function createVisibleRefs(
  refs: RefSnapshot,
  key: string,
  { isHidden, isHiddenFromCaller }: Hiding,
): VisibleRefs {
  const isVisible = visibility(isHidden);
  const show = (some: readonly Ref[]): readonly Ref[] => {
    const fit = some.some(isTooLong) ? some.filter((ref) => !isTooLong(ref)) : some;
    return isVisible === undefined ? fit : fit.filter(isVisible);
  };
  const { symbolicTarget } = refs.head;
  const headIsHidden =
    isHidden !== undefined &&
    (isHidden("HEAD") || (symbolicTarget !== undefined && isHidden(symbolicTarget)));
  const head = headIsHidden || (symbolicTarget?.length ?? 0) > NAME_CHARACTERS_MAX ? {} : refs.head;
  let all: readonly Ref[] | undefined;
  let tips: ReadonlySet<ObjectId> | undefined;
  let allTips: ReadonlySet<ObjectId> | undefined;
  const tipsOf = (some: readonly Ref[], itsHead: Head): ReadonlySet<ObjectId> => {
    const oids = new Set<ObjectId>();
    for (const ref of some) oids.add(ref.oid);
    if (itsHead.oid !== undefined) oids.add(itsHead.oid);
    return oids;
  };
  return {
    key,
    head,
    isVisible,
    get all() {
      return (all ??= show(refs.all));
    },
    get(name) {
      const ref = refs.get(name);
      return ref !== undefined && (isVisible === undefined || isVisible(ref)) ? ref : undefined;
    },
    startingWith: (prefix) => show(refs.startingWith(prefix)),
    tips() {
      return (tips ??= tipsOf(this.all, head));
    },
    allTips() {
      const mayBeShown = visibility(isHiddenFromCaller);
      return (allTips ??=
        mayBeShown === undefined ? tipsOf(refs.all, refs.head) : tipsOf(refs.all.filter(mayBeShown), head));
    },
  };
}

/** What an annotated tag leads to; undefined for a ref that names no tag, or one whose object is absent. */
export function peeledOf(objects: ObjectReader, ref: Ref): MaybePromise<ObjectId | undefined> {
  if (ref.peelKnown === true || ref.peeled !== undefined) return ref.peeled;
  const read = peelTag(objects, ref.oid);
  const end = (peeled: Awaited<typeof read>): ObjectId | undefined =>
    peeled === undefined || peeled.tags.length === 0 ? undefined : peeled.oid;
  return isPromise(read) ? read.then(end) : end(read);
}

/** HEAD as a ref among others; undefined when it is unborn or hidden. */
export function headAsRef(refs: VisibleRefs): Ref | undefined {
  const { oid, symbolicTarget } = refs.head;
  if (oid === undefined) return undefined;
  const branch = symbolicTarget === undefined ? undefined : refs.get(symbolicTarget);
  const peel =
    branch?.oid === oid && branch.peelKnown === true
      ? { peelKnown: true, ...(branch.peeled === undefined ? {} : { peeled: branch.peeled }) }
      : {};
  return { name: "HEAD", oid, ...(symbolicTarget === undefined ? {} : { symbolicTarget }), ...peel };
}
