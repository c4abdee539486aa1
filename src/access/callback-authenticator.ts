/** The `authenticate` callback of an application as one authenticator among others: the last, it answers for all. */
import type { MaybePromise } from "../base/maybe-promise.js";
import type { Identity } from "../engine/identity.js";
import type { Authenticator } from "./authenticator.js";
import type { Credentials } from "./credentials.js";

/** @param authenticate undefined says that the credentials are wrong */
export function createCallbackAuthenticator(
  authenticate: (
    credentials: Credentials,
    caller: { readonly address: string | undefined; readonly transport: "http" | "ssh" },
  ) => MaybePromise<Identity | undefined>,
): Authenticator {
  return {
    name: "callback",
    async authenticate({ credentials, address, transport }) {
      if (credentials === undefined || credentials === "malformed") return undefined;
      const identity = await authenticate(credentials, { address, transport });
      // JavaScript says null as well.
      return (identity ?? undefined) === undefined
        ? { refused: "the callback does not know them" }
        : { identity: identity as Identity };
    },
  };
}
