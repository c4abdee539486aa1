/** A ref that procReceive moves in place of the one that was pushed. The handler is trusted: policies were asked before. */
import { throwIfAborted } from "../../base/errors.js";
import { isAncestor } from "../../engine/ancestry.js";
import type { ProcReceiveResult, PushCommand, RedirectOptions } from "../../engine/push.js";
import { isNullObjectId, nullObjectId } from "../../object/object-id.js";
import { checkRefName } from "../../object/ref-name.js";
import { transactRefs } from "./move-refs.js";
import type { PushState } from "./push-state.js";

/** @throws base/aborted when the handler has used up its time, or the client has gone */
export async function redirectRef(
  state: PushState,
  command: PushCommand,
  about: RedirectOptions & { readonly refName: string; readonly signal: AbortSignal },
): Promise<ProcReceiveResult> {
  const { context, push } = state;
  const { repository } = context;
  const { refName, newOid = command.newOid, force = false, signal } = about;
  const refuse = (refusal: string): ProcReceiveResult => ({ name: command.name, refusal });
  if (!refName.startsWith("refs/") || checkRefName(refName) !== undefined) return refuse("funny refname");
  if (isNullObjectId(newOid)) return refuse("a ref cannot be deleted by redirecting");
  if (!(await push.objects.has(newOid))) return refuse("bad pack");
  const now = (await repository.refs.snapshot()).get(refName)?.oid;
  const oldOid = now ?? nullObjectId(repository.objectFormat);
  const done = { name: command.name, refName, oldOid, newOid };
  if (now === newOid) return done;
  const shallow = new Set([...push.snapshot.shallow, ...push.newShallow]);
  const leaves = now !== undefined && !(await isAncestor(push.objects, now, newOid, { shallow, signal }));
  if (leaves && !force) return refuse("non-fast-forward");
  // A handler whose time is up has been told of as a failure: nothing moves for it any more.
  throwIfAborted(signal);
  const [answer] = await transactRefs(state, [{ name: refName, oldOid, newOid }]);
  if (answer?.ok !== true) return refuse(answer?.reason ?? "failed to update ref");
  return { ...done, ...(leaves ? { forcedUpdate: true } : {}) };
}
