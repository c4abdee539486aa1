/** The option `openruko`, turned into a way to sign in and into what answers commands over SSH. */
import { createOpenrukoAccess } from "../access/openruko/openruko-access.js";
import { checkOpenrukoOptions } from "../access/openruko/openruko-options.js";
import type { Authenticator } from "../access/authenticator.js";
import { DEFAULT_EXEMPT } from "../access/rates/rates.js";
import { compileAddresses } from "../access/trusted-addresses.js";
import { createAppCommandFront } from "../transport/openruko/command-front.js";
import type { ServiceLogEntry } from "../transport/service-host.js";
import type { CommandFront } from "../transport/ssh/serve-command.js";
import type { GitServerOptions } from "./git-server-options.js";

export interface OpenrukoFront {
  readonly authenticators: readonly Authenticator[];
  readonly front: CommandFront | undefined;
}

/** @throws server/bad-configuration */
export function createOpenrukoFront(
  { openruko, rates }: Pick<GitServerOptions, "openruko" | "rates">,
  log: (entry: ServiceLogEntry) => void,
): OpenrukoFront {
  if (openruko === undefined) return { authenticators: [], front: undefined };
  const options = checkOpenrukoOptions(openruko);
  const isListed = compileAddresses((rates === false ? undefined : rates?.exempt) ?? DEFAULT_EXEMPT);
  const access = createOpenrukoAccess({
    options,
    isExempt: (address) => rates === false || address === undefined || isListed(address),
    log,
  });
  return { authenticators: [access.authenticator], front: createAppCommandFront(access, options) };
}
