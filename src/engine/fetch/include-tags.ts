/**
 * Annotated tags that go along when what they name is sent (`include-tag`): found once for each state of the refs.
 */
import { createHash } from "node:crypto";
import { isPromise } from "../../base/maybe-promise.js";
import type { Ref, RefSnapshot } from "../../storage/contracts/ref-store.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { TagToInclude } from "../object-count.js";
import { peelTag } from "../peel.js";

export interface IncludedTags {
  readonly tags: readonly TagToInclude[];
  /** Equal digests mean equal lists. */
  readonly digest: string;
}

interface NamedTag extends TagToInclude {
  readonly ref: Ref;
}

interface AllTags extends IncludedTags {
  readonly tags: readonly NamedTag[];
}

const NO_TAGS: IncludedTags = { tags: [], digest: "" };
const known = new WeakMap<RefSnapshot, AllTags>();

/** @param isVisibleRef tags of hidden refs are not sent along */
export async function includedTags(
  { refs, objects }: Pick<Snapshot, "refs" | "objects">,
  isVisibleRef: (ref: Ref) => boolean,
): Promise<IncludedTags> {
  let all = known.get(refs);
  if (all === undefined) {
    const tags: NamedTag[] = [];
    for (const ref of refs.startingWith("refs/tags/")) {
      if (ref.peeled !== undefined) tags.push({ ref, oid: ref.oid, peeled: ref.peeled });
      else if (ref.peelKnown !== true) {
        const read = peelTag(objects, ref.oid);
        const peeled = isPromise(read) ? await read : read;
        if (peeled !== undefined && peeled.tags.length > 0)
          tags.push({ ref, oid: ref.oid, peeled: peeled.oid });
      }
    }
    all = { tags, digest: digestOf(tags) };
    known.set(refs, all);
  }
  if (all.tags.length === 0) return NO_TAGS;
  const visible = all.tags.filter((tag) => isVisibleRef(tag.ref));
  const chosen = visible.length === all.tags.length ? all : { tags: visible, digest: digestOf(visible) };
  return { tags: chosen.tags.map(({ oid, peeled }) => ({ oid, peeled })), digest: chosen.digest };
}

function digestOf(tags: readonly TagToInclude[]): string {
  const hash = createHash("sha256");
  for (const tag of tags) hash.update(tag.oid);
  return hash.digest("base64");
}
