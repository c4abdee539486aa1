/** Users that stand in the configuration. Their passwords stand there as hashes: `gitwharf user hash` makes one. */
import { GitwharfError } from "../base/errors.js";
import type { Grant } from "../engine/identity.js";
import { checkGrant } from "./grant.js";
import type { PasswordUser } from "./password-authenticator.js";
import { isPasswordHash } from "./password-hash.js";
import { isUserName, USER_NAME_RULE } from "./user-name.js";

export type StaticUsers = Readonly<Record<string, StaticUser>>;

export interface StaticUser {
  /** `$scrypt$…` */
  readonly password: string;
  /** What the user is narrowed to. */
  readonly grant?: Grant;
}

/** @throws server/bad-configuration */
export function readStaticUsers(users: StaticUsers): (name: string) => PasswordUser | undefined {
  const known = new Map<string, PasswordUser>();
  for (const [name, user] of Object.entries(users)) {
    if (!isUserName(name))
      throw new GitwharfError(
        "server/bad-configuration",
        `users: '${name.slice(0, 128)}': ${USER_NAME_RULE}`,
      );
    if (typeof user?.password !== "string" || !isPasswordHash(user.password)) {
      throw new GitwharfError(
        "server/bad-configuration",
        `users: the password of '${name}' must be a hash that \`gitwharf user hash\` has printed`,
      );
    }
    const grant = user.grant === undefined ? {} : { grant: checkGrant(user.grant, `user '${name}'`) };
    known.set(name, { password: user.password, ...grant });
  }
  return (name) => known.get(name);
}
