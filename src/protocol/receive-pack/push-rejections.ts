/** What handlers refuse by `reject`, until it is taken into the results. */
import type { PushCommand } from "../../engine/push.js";
import type { CommandResult } from "./report-status.js";

export interface PushRejections {
  /** @param name undefined: all commands. @throws Error once the refs have moved */
  add(name: string | undefined, reason: string): void;
  /** Refuses what was rejected since and stands; the first reason counts. @returns the reason for all of them */
  apply(results: readonly CommandResult[]): string | undefined;
  /** True when one of them was rejected. */
  includes(commands: readonly PushCommand[]): boolean;
  /** From here on nothing can be refused. */
  close(): void;
}

export function createPushRejections(): PushRejections {
  let all: string | undefined;
  const reasons = new Map<string, string>();
  let isClosed = false;
  return {
    add(name, reason) {
      if (isClosed) throw new Error("the refs have moved: it is too late to reject the push");
      if (name === undefined) all ??= reason;
      else if (!reasons.has(name)) reasons.set(name, reason);
    },
    apply(results) {
      if (all !== undefined || reasons.size > 0)
        for (const result of results) result.refusal ??= reasons.get(result.command.name) ?? all;
      return all;
    },
    includes: (commands) => all !== undefined || commands.some(({ name }) => reasons.has(name)),
    close: () => (isClosed = true),
  };
}
