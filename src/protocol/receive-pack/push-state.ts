/** What the stages of a push hand on to each other. */
import type { PushView } from "../../engine/pushed/create-push.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { PushRequest } from "./push-request.js";
import type { ReceivePackContext } from "./receive-pack-context.js";
import type { PushRejections } from "./push-rejections.js";
import type { CommandResult } from "./report-status.js";

/** One push under way, and how handlers without a time limit see it. */
export interface PushState extends PushView {
  readonly context: ReceivePackContext;
  readonly request: PushRequest;
  readonly snapshot: Snapshot;
  readonly results: readonly CommandResult[];
  /** The same push with another signal. */
  viewFor(signal: AbortSignal): PushView;
  readonly rejections: PushRejections;
  readonly quarantine: Quarantine | undefined;
  readonly atomic: boolean;
}

/** True when proc-receive has dealt with the command: no ref of its name moves. */
export function isSubstituted(result: CommandResult): boolean {
  return result.substitutes.length > 0 && !result.substitutes.some((answer) => answer.fallThrough === true);
}

/**
 * The results that nobody has refused so far. With `atomic`, one refusal refuses the others first, but for what
 * proc-receive says it has done: that cannot be undone.
 */
export function standing(state: PushState): readonly CommandResult[] {
  const { results } = state;
  if (state.atomic && results.some((result) => result.refusal !== undefined)) {
    for (const result of results) if (!isSubstituted(result)) result.refusal ??= "atomic push failure";
  }
  return results.filter((result) => result.refusal === undefined);
}
