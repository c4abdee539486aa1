/** What the stages of a push hand on to each other. */
import type { Push } from "../../engine/push.js";
import type { Quarantine } from "../../storage/contracts/quarantine.js";
import type { Snapshot } from "../../storage/contracts/repository.js";
import type { PushRequest } from "./push-request.js";
import type { ReceivePackContext } from "./receive-pack-context.js";
import type { CommandResult } from "./report-status.js";

/** One push under way. */
export interface PushState {
  readonly context: ReceivePackContext;
  readonly request: PushRequest;
  readonly snapshot: Snapshot;
  readonly results: readonly CommandResult[];
  readonly push: Push;
  readonly quarantine: Quarantine | undefined;
  readonly atomic: boolean;
}

/** The results that nobody has refused so far. With `atomic`, one refusal refuses the others first. */
export function standing(state: PushState): readonly CommandResult[] {
  const { results } = state;
  if (state.atomic && results.some((result) => result.refusal !== undefined)) {
    for (const result of results) result.refusal ??= "atomic push failure";
  }
  return results.filter((result) => result.refusal === undefined);
}
