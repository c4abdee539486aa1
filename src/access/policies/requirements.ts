/** What a rule requires of a push. @returns why it is not met */
import { isPromise, type MaybePromise } from "../../base/maybe-promise.js";
import { withinTime } from "../../base/within-time.js";
import type { Push, PushCommand } from "../../engine/push.js";
import { commitSignature } from "../../object/commit-signature.js";
import { isNullObjectId, type ObjectId } from "../../object/object-id.js";
import { type SshSigner, sshSignerOf } from "../ssh-file-signature.js";
import type { PolicyRequirements, PolicyRule } from "./policy-rule.js";
import { matchesRef } from "./match-rule.js";
import type { PushFacts } from "./push-facts.js";

/** Is the signature good, and the signer one who may? Without it a signature has only to be there. */
export type VerifyCommit = (commit: {
  readonly oid: ObjectId;
  /** The commit as it stands, its signature included. */
  readonly data: Buffer;
  /** What was signed. */
  readonly payload: Buffer;
  readonly signature: string;
  readonly committerEmail: string;
}) => MaybePromise<boolean>;

/** Has a user this SSH key? */
export type IsUserKey = (key: SshSigner) => Promise<boolean>;

export interface RequirementContext {
  readonly push: Push;
  readonly command: PushCommand;
  readonly facts: PushFacts;
  readonly verifyCommit: VerifyCommit | undefined;
  readonly isUserKey: IsUserKey | undefined;
  /** For each question to the callback. */
  readonly timeoutMs: number;
}

export async function checkRequirements(
  rule: PolicyRule,
  required: PolicyRequirements,
  context: RequirementContext,
): Promise<string | undefined> {
  const { facts, command } = context;
  if (isNullObjectId(command.newOid)) return undefined;
  const { pushBytesMax, fileBytesMax, signedCommits } = required;
  if (pushBytesMax !== undefined && facts.packBytes > pushBytesMax)
    return `the push has ${facts.packBytes} bytes, and ${pushBytesMax} are allowed`;
  if (fileBytesMax !== undefined) {
    const largest = await facts.largestFile();
    if (largest !== undefined && largest.sizeBytes > fileBytesMax)
      return `'${largest.path}' has ${largest.sizeBytes} bytes, and ${fileBytesMax} are allowed`;
  }
  if (signedCommits === undefined || signedCommits === false) return undefined;
  return checkSignatures(rule, signedCommits === "user-keys", context);
}

/** Of all commits that come to the ref, wherever in the repository they have been: but for what such a ref has already. */
async function checkSignatures(
  rule: PolicyRule,
  byUserKeys: boolean,
  context: RequirementContext,
): Promise<string | undefined> {
  const { push, facts, verifyCommit, isUserKey } = context;
  // What others may put there unsigned says nothing about a ref that the rule covers for some users only.
  const isCovered = rule.users === undefined || isNullObjectId(context.command.oldOid);
  const covered = push.snapshot.refs.all.filter(
    (ref) => isCovered && matchesRef(rule, ref.name, ["update"]) !== "no",
  );
  for (const { oid } of await facts.commits(covered.map((ref) => ref.oid))) {
    const read = push.objects.read(oid);
    const object = isPromise(read) ? await read : read;
    if (object === undefined) return `commit ${oid} cannot be read`;
    const { data } = object;
    const signed = commitSignature(data, push.objects.objectFormat);
    if (signed === undefined) return `commit ${oid} is not signed`;
    if (byUserKeys) {
      const signer = sshSignerOf(signed.signature, signed.payload, "git");
      if (signer === undefined) return `commit ${oid} has no good SSH signature`;
      if ((await isUserKey?.(signer)) !== true)
        return `commit ${oid} is signed with ${signer.fingerprint}, which is no user's key`;
    }
    // Configurations are JavaScript: what is not `true` says nothing good.
    if (verifyCommit === undefined) continue;
    const question = () => verifyCommit({ oid, data, ...signed });
    if ((await withinTime(context.timeoutMs, "verifyCommit", question)) !== true)
      return `the signature of commit ${oid} is not good`;
  }
  return undefined;
}
