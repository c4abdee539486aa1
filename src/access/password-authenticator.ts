/** A name and a password. Comes last of those that read Basic credentials: whoever it is, it answers. */
import type { MaybePromise } from "../base/maybe-promise.js";
import type { Grant } from "../engine/identity.js";
import type { Authenticator } from "./authenticator.js";
import type { PasswordChecker } from "./password-checker.js";
import { isUserName } from "./user-name.js";

export interface PasswordUser {
  /** undefined: signs in by other means only. */
  readonly password: string | undefined;
  readonly grant?: Grant | undefined;
}

export interface PasswordAuthenticatorOptions {
  readonly checker: PasswordChecker;
  /** undefined: there is no such user. */
  readonly findUser: (name: string) => MaybePromise<PasswordUser | undefined>;
  /** True: who is not known here, or has no password here, may be known to those who are asked later. @default false */
  readonly passesUnknown?: boolean;
}

export function createPasswordAuthenticator(options: PasswordAuthenticatorOptions): Authenticator {
  const { checker, findUser, passesUnknown = false } = options;
  return {
    name: "password",
    async authenticate({ credentials, address }) {
      if (typeof credentials !== "object" || credentials.kind !== "basic") return undefined;
      const { user, password } = credentials;
      const found = isUserName(user) ? await findUser(user) : undefined;
      if (found?.password === undefined && passesUnknown) return undefined;
      const isRight = await checker.check({ user, password, stored: found?.password, address });
      // A name that nobody has may be somebody's password or token, in the wrong place.
      if (!isRight) return { refused: found === undefined ? "no such user" : `wrong password of '${user}'` };
      const grant = found?.grant;
      return { identity: { user, method: "password", ...(grant === undefined ? {} : { grant }) } };
    },
  };
}
