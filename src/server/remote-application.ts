/** The option `remote`, turned into the callbacks that it stands for. */
import { createRemoteApplication } from "../access/remote/remote-application.js";
import { GitwharfError } from "../base/errors.js";
import type { ServiceLogEntry } from "../transport/service-host.js";
import type { GitServerOptions } from "./git-server-options.js";

/** @throws server/bad-configuration when it is wrong, or stands beside a callback that answers the same question */
export function withRemoteApplication(
  options: GitServerOptions,
  log: (entry: ServiceLogEntry) => void,
): GitServerOptions {
  if (options.remote === undefined) return options;
  const application = createRemoteApplication(options.remote, log);
  const { authenticate = options.authenticate, authorize = options.authorize } = application;
  for (const name of ["authenticate", "authorize"] as const)
    if (options[name] !== undefined && application[name] !== undefined)
      throw new GitwharfError(
        "server/bad-configuration",
        `both ${name} and remote would answer: leave one out, or set remote.${name} to false`,
      );
  return {
    ...options,
    ...(authenticate === undefined ? {} : { authenticate }),
    ...(authorize === undefined ? {} : { authorize }),
  };
}
