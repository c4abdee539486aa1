/** Which handler's procReceive a command is for: by its own prefixes, else by the repository's configuration. */
import type { PushCommand, PushHandlers } from "../../engine/push.js";
import { matchesProcReceive } from "./proc-receive-refs.js";
import type { ReceivePackContext } from "./receive-pack-context.js";

/** `handlers` is undefined when the configuration asks for a handler that nobody has. */
export interface ProcReceiveOwner {
  readonly handlers: PushHandlers | undefined;
}

type Context = Pick<ReceivePackContext, "handlers" | "settings">;

/** undefined: the command is an ordinary one. */
export function procReceiveOwner(
  { handlers, settings }: Context,
  command: PushCommand,
): ProcReceiveOwner | undefined {
  for (const one of handlers) {
    if (one.procReceiveRefs === undefined || one.procReceive === undefined) continue;
    if (matchesProcReceive(one.procReceiveRefs, command)) return { handlers: one };
  }
  if (!matchesProcReceive(settings.receive.procReceiveRefs, command)) return undefined;
  return {
    handlers: handlers.find((one) => one.procReceive !== undefined && one.procReceiveRefs === undefined),
  };
}
