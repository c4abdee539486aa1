/** Puts the ways to sign in together, and says whether there are any: without one the server is open. */
import { createCallbackAuthenticator } from "../access/callback-authenticator.js";
import {
  type AuthenticationAttempt,
  type Authenticator,
  createAuthenticationChain,
} from "../access/authenticator.js";
import type { MaybePromise } from "../base/maybe-promise.js";
import type { Identity } from "../engine/identity.js";
import type { ServiceLogEntry } from "../transport/service-host.js";
import type { GitServerOptions } from "./git-server-options.js";

export interface Identification {
  identify(attempt: AuthenticationAttempt): Promise<Identity>;
  isOpen(): MaybePromise<boolean>;
  close(): Promise<void>;
}

/** @throws server/bad-configuration */
export function createIdentification(
  options: GitServerOptions,
  log: (entry: ServiceLogEntry) => void,
): Identification {
  const authenticators: Authenticator[] = [...(options.authenticators ?? [])];
  if (options.authenticate !== undefined)
    authenticators.push(createCallbackAuthenticator(options.authenticate));
  const canSignIn = authenticators.length > 0;
  const ask = createAuthenticationChain({
    authenticators,
    onRefusal: (name, reason) =>
      log({ level: "info", message: `credentials were refused (${name}): ${reason}` }),
    onFailure: (name, error) => log({ level: "error", message: `the ${name} authenticator failed`, error }),
  });
  return {
    // Where nobody can be told apart, credentials that a client sends along decide nothing.
    identify: async (attempt) => (canSignIn ? ask(attempt) : { user: undefined }),
    isOpen: () => !canSignIn && options.authorize === undefined,
    async close() {
      for (const authenticator of authenticators) await authenticator.close?.();
    },
  };
}
