/** The v2 command `ls-refs`. Specification: gitprotocol-v2 "ls-refs". Answers are rendered once for each state. */
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import type { Ref } from "../../storage/contracts/ref-store.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { LsRefsArguments } from "../wire/ls-refs-arguments.js";
import { formatLsRefsLine } from "../wire/ls-refs-line.js";
import { formatPktText } from "../wire/pkt-line.js";
import { renderedReply } from "./rendered-replies.js";
import type { UploadPackContext } from "./upload-pack-context.js";
import { headAsRef, peeledOf, visibleRefs, type VisibleRefs } from "./visible-refs.js";

/** The whole answer, the final flush included. Nobody changes it: it is shared. */
export function renderLsRefs(
  context: UploadPackContext,
  snapshot: Snapshot,
  request: LsRefsArguments,
): MaybePromise<Buffer> {
  const refs = visibleRefs(context, snapshot.refs);
  const asked = {
    peel: request.peel,
    symrefs: request.symrefs,
    unborn: request.unborn && context.settings.lsRefs.unborn !== "ignore",
    prefixes: distinctPrefixes(request.prefixes),
  };
  const { peel, symrefs, unborn, prefixes } = asked;
  const key = `ls-refs\n${context.repository.id}\n${refs.key}\n${snapshot.refs.version}\n${peel} ${symrefs} ${unborn} ${prefixes.length}\n${prefixes.join("\n")}`;
  return renderedReply(key, () => render(snapshot, refs, asked));
}

type Asked = Pick<LsRefsArguments, "peel" | "symrefs" | "unborn" | "prefixes">;

async function render(snapshot: Snapshot, refs: VisibleRefs, asked: Asked): Promise<Buffer> {
  const { objects } = snapshot;
  let text = "";
  const add = (ref: Ref, peeled: string | undefined): void => {
    const symrefTarget = asked.symrefs ? ref.symbolicTarget : undefined;
    text += formatPktText(formatLsRefsLine({ name: ref.name, oid: ref.oid, symrefTarget, peeled })) ?? "";
  };
  for (const ref of selected(refs, asked.prefixes)) {
    const peeled = asked.peel ? peeledOf(objects, ref) : undefined;
    add(ref, isPromise(peeled) ? await peeled : peeled);
  }
  return Buffer.from(`${unbornHead(refs, asked)}${text}0000`);
}

/** A branch that HEAD names and that has no commit yet: told to those who ask for symbolic refs. */
function unbornHead(refs: VisibleRefs, asked: Asked): string {
  const { oid, symbolicTarget } = refs.head;
  if (oid !== undefined || symbolicTarget === undefined || !asked.unborn || !asked.symrefs) return "";
  if (!headIsAsked(asked.prefixes)) return "";
  return (
    formatPktText(formatLsRefsLine({ name: "HEAD", oid: undefined, symrefTarget: symbolicTarget })) ?? ""
  );
}

function headIsAsked(prefixes: readonly string[]): boolean {
  return prefixes.length === 0 || prefixes.some((prefix) => "HEAD".startsWith(prefix));
}

/** HEAD, then refs in order of their names. */
function* selected(refs: VisibleRefs, prefixes: readonly string[]): Generator<Ref, void, void> {
  const head = headIsAsked(prefixes) ? headAsRef(refs) : undefined;
  if (head !== undefined) yield head;
  if (prefixes.length === 0) yield* refs.all;
  else for (const prefix of prefixes) yield* refs.startingWith(prefix);
}

/** In order, without those that another one covers: so every ref is found once, by binary search. */
function distinctPrefixes(prefixes: readonly string[]): string[] {
  if (prefixes.length === 0) return [];
  const distinct: string[] = [];
  for (const prefix of prefixes.toSorted()) {
    const last = distinct.at(-1);
    if (last === undefined || !prefix.startsWith(last)) distinct.push(prefix);
  }
  // The empty prefix covers everything, which is what none at all asks for.
  return distinct[0] === "" ? [] : distinct;
}
