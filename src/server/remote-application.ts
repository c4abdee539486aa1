/** The option `remote`, turned into the callbacks and the handler that it stands for. */
import { resolve } from "node:path";
import { createRemoteApplication } from "../access/remote/remote-application.js";
import { GitwharfError } from "../base/errors.js";
import type { PushHandlers } from "../engine/push.js";
import type { ServiceLogEntry } from "../transport/service-host.js";
import type { GitServerOptions } from "./git-server-options.js";

/** @throws server/bad-configuration when it is wrong, or stands beside a callback that answers the same question */
export function withRemoteApplication(
  options: GitServerOptions,
  log: (entry: ServiceLogEntry) => void,
): { readonly options: GitServerOptions; readonly handlers: readonly PushHandlers[] } {
  if (options.remote === undefined) return { options, handlers: [] };
  const { repositories } = options;
  const directory = typeof repositories === "string" ? resolve(repositories) : undefined;
  const application = createRemoteApplication(options.remote, log, directory);
  const {
    authenticate = options.authenticate,
    authorize = options.authorize,
    resolveRepository = options.resolveRepository,
  } = application;
  for (const name of ["authenticate", "authorize", "resolveRepository"] as const)
    if (options[name] !== undefined && application[name] !== undefined)
      throw new GitwharfError(
        "server/bad-configuration",
        `both ${name} and remote would answer: leave one out, or set remote.${name === "resolveRepository" ? "resolve" : name} to false`,
      );
  const { exactPush } = application;
  const hasPolicies = (options.policies ?? []).length > 0;
  const handler: PushHandlers = {
    async preReceive(push) {
      await exactPush?.learn(push);
      // Policies ask themselves, about what none of them decides.
      return hasPolicies ? undefined : exactPush?.ask(push);
    },
  };
  return {
    options: {
      ...options,
      ...(authenticate === undefined ? {} : { authenticate }),
      ...(authorize === undefined ? {} : { authorize }),
      ...(resolveRepository === undefined ? {} : { resolveRepository }),
    },
    handlers: exactPush === undefined ? [] : [handler],
  };
}
