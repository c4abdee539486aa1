/** Names of users as arguments of commands that sshd runs. */
import { isUserName, USER_NAME_RULE } from "../access/user-name.js";
import { GitwharfError } from "../base/errors.js";

/** @throws server/bad-configuration */
export function checkUserName(user: string): void {
  if (!isUserName(user)) throw new GitwharfError("server/bad-configuration", USER_NAME_RULE);
}
