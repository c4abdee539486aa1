/**
 * A push that names a symbolic ref and the ref that it leads to, as a mirror's push does: asked for the same change,
 * one of them moves and both are reported. Asked for different changes, neither moves.
 */
import { type PushState, standing } from "./push-state.js";

/** Before the commands are judged: finds those that only follow another one. */
export async function findAliasedUpdates(state: PushState): Promise<void> {
  const { snapshot, push } = state;
  const results = standing(state);
  const byName = new Map(results.map((result) => [result.command.name, result]));
  for (const result of results) {
    const { command } = result;
    let target = snapshot.refs.get(command.name)?.symbolicTarget;
    const seen = new Set([command.name]);
    while (target !== undefined && !seen.has(target) && !byName.has(target)) {
      seen.add(target);
      target = snapshot.refs.get(target)?.symbolicTarget;
    }
    const end = target === undefined ? undefined : byName.get(target);
    if (end === undefined || end === result) continue;
    if (command.oldOid === end.command.oldOid && command.newOid === end.command.newOid) {
      result.follows = end;
      continue;
    }
    await push.print(
      `error: '${command.name}' leads to '${end.command.name}', which is to change otherwise\n`,
    );
    result.refusal = "inconsistent aliased update";
    end.refusal = "inconsistent aliased update";
  }
}

/** Once the refs have moved: what follows another command ended as that one did. */
export function settleAliasedUpdates({ results }: PushState): void {
  for (const result of results) {
    let end = result.follows;
    for (let steps = results.length; end?.follows !== undefined && steps > 0; steps -= 1) end = end.follows;
    if (end?.refusal !== undefined) result.refusal ??= end.refusal;
  }
}
