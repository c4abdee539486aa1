/**
 * What a client asks to be run, by Openruko's grammar: `git-receive-pack '/*APP.git'` or `git-upload-pack '/*APP.git'`,
 * with the quotes, one space and nothing else.
 */
import type { GitAction } from "../../access/openruko/api-server.js";

export interface AppCommand {
  readonly action: GitAction;
  readonly app: string;
}

const COMMAND = /^(git-receive-pack|git-upload-pack) '\/*([a-zA-Z0-9][a-zA-Z0-9@_-]*)\.git'$/;
const COMMAND_LENGTH_MAX = 300;

/** undefined: it is not of the grammar. */
export function parseAppCommand(text: string): AppCommand | undefined {
  if (text.length > COMMAND_LENGTH_MAX) return undefined;
  const match = COMMAND.exec(text);
  const app = match?.[2];
  if (app === undefined) return undefined;
  return { action: match?.[1] === "git-receive-pack" ? "git-receive-pack" : "git-upload-pack", app };
}
