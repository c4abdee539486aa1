/** The refs at a commit as git-log decorates it: HEAD, then tags, remote branches, branches, each from behind. */
import type { ObjectId } from "../../object/object-id.js";
import type { ObjectReader } from "../../storage/contracts/object-reader.js";
import { peeledOf, type VisibleRefs } from "../upload-pack/visible-refs.js";

/** Names as bytes, one a character (latin1). */
export async function decorationsOf(
  objects: ObjectReader,
  refs: VisibleRefs,
  commit: ObjectId,
): Promise<readonly string[]> {
  const { head } = refs;
  const isHead = head.oid === commit;
  const names: string[] = [];
  for (const ref of refs.all.toReversed()) {
    const isHere = ref.oid === commit || (await peeledOf(objects, ref)) === commit;
    if (!isHere || (isHead && ref.name === head.symbolicTarget)) continue;
    if (ref.name.startsWith("refs/tags/")) names.push(`tag: ${ref.name.slice("refs/tags/".length)}`);
    else names.push(ref.name.replace(/^refs\/(?:heads|remotes)\//, ""));
  }
  const target = head.symbolicTarget?.replace(/^refs\/heads\//, "");
  if (isHead) names.unshift(target === undefined ? "HEAD" : `HEAD -> ${target}`);
  return names.map((name) => Buffer.from(name).toString("latin1"));
}
