/**
 * One decision for a push, whoever asks for which of its refs: the authorization point before the objects are there,
 * policies ref by ref on the quarantine. With exact actions the question waits for the objects.
 */
import type { AuthorizationAnswer, AuthorizationRequest, Authorize } from "../../engine/authorization.js";
import type { RefAction } from "../../engine/identity.js";
import type { Push, PushCommand, Verdict } from "../../engine/push.js";
import { actionOf } from "../push-action.js";

export interface ExactPush {
  /** Before anybody asks about the refs of this push. */
  learn(push: Push): Promise<void>;
  /** For who has no policies that would. @returns why not */
  ask(push: Push): Promise<Verdict>;
}

export interface PushDecisions {
  readonly authorize: Authorize;
  readonly exactPush: ExactPush | undefined;
}

type Decide = (
  request: AuthorizationRequest,
  actions?: ReadonlyMap<PushCommand, RefAction>,
) => Promise<AuthorizationAnswer>;

export function createPushDecisions(decide: Decide, exactActions: boolean): PushDecisions {
  // The commands of a push are its own: what was decided about them goes with them.
  const decided = new WeakMap<PushCommand, Promise<AuthorizationAnswer>>();
  const learned = new WeakMap<PushCommand, ReadonlyMap<PushCommand, RefAction>>();

  const authorize: Authorize = (request) => {
    const { commands = [] } = request;
    const [first] = commands;
    if (first === undefined) return decide(request);
    const before = decided.get(first);
    if (before !== undefined && commands.every((command) => decided.get(command) === before)) return before;
    const actions = learned.get(first);
    // Whether this caller may push at all was asked before; `preReceive` asks again.
    if (exactActions && actions === undefined) return { allowed: true };
    const all = actions === undefined ? commands : [...actions.keys()];
    const answer = decide({ ...request, commands: all }, actions);
    for (const command of all) decided.set(command, answer);
    return answer;
  };
  if (!exactActions) return { authorize, exactPush: undefined };

  return {
    authorize,
    exactPush: {
      async learn(push) {
        const actions = new Map<PushCommand, RefAction>();
        for (const command of push.commands) actions.set(command, await actionOf(push, command));
        for (const command of actions.keys()) {
          learned.set(command, actions);
          decided.delete(command);
        }
      },
      async ask({ identity, repository, commands, address, transport }) {
        const answer = await authorize({
          identity,
          repository: repository.name,
          operation: "push",
          commands,
          address,
          transport,
        });
        return answer.allowed ? undefined : answer.reason;
      },
    },
  };
}
