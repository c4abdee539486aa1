/**
 * The one line with which a git:// conversation begins. Specification: gitprotocol-pack, "Git Transport".
 *
 *     git-SERVICE SP /PATH NUL [host=HOST[:PORT] NUL] [NUL (KEY=VALUE NUL)…]
 *
 * Example: `git-upload-pack /group/app.git\0host=git.example.org:9418\0\0version=2\0`
 */
import { GitwharfError } from "../../base/errors.js";

export type DaemonService = "git-upload-pack" | "git-receive-pack" | "git-upload-archive";

export interface DaemonRequest {
  readonly service: DaemonService;
  readonly path: string;
  /** In lower case; undefined: it was not sent. */
  readonly host: string | undefined;
  readonly port: string | undefined;
  /** What GIT_PROTOCOL would be. */
  readonly gitProtocol: string | undefined;
}

const SERVICES: readonly DaemonService[] = ["git-upload-pack", "git-receive-pack", "git-upload-archive"];
const PATH_CHARACTERS_MAX = 4096;
const HOST_CHARACTERS_MAX = 255;
const EXTRA_CHARACTERS_MAX = 256;

/** @throws protocol/bad-request */
export function parseDaemonRequest(payload: Buffer): DaemonRequest {
  const text = payload.toString("utf8").replace(/\n$/, "");
  const [line = "", ...after] = text.split("\0");
  const space = line.indexOf(" ");
  const service = SERVICES.find((known) => known === line.slice(0, space));
  const path = line.slice(space + 1);
  if (service === undefined || path === "") throw bad("it names no service and repository");
  if (path.length > PATH_CHARACTERS_MAX || /[\x01-\x1f\x7f]/.test(path)) throw bad("its path cannot be one");
  // Every part is ended by NUL.
  if (after.length > 0 && after.pop() !== "") throw bad("it does not end with NUL");
  const host = after[0] !== undefined && after[0] !== "" ? after.shift() : undefined;
  if (after.length > 0 && after.shift() !== "") throw bad("there is more than a host");
  for (const extra of after) {
    if (extra.length > EXTRA_CHARACTERS_MAX || !/^[\x21-\x7e]+$/.test(extra))
      throw bad("an extra parameter cannot be one");
  }
  return {
    service,
    path,
    ...parseHost(host),
    gitProtocol: after.length === 0 ? undefined : after.join(":"),
  };
}

function parseHost(argument: string | undefined): Pick<DaemonRequest, "host" | "port"> {
  if (argument === undefined) return { host: undefined, port: undefined };
  const match = /^host=(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]*))(?::([0-9]{0,5}))?$/i.exec(argument);
  const host = match?.[1] ?? match?.[2];
  if (match === null || host === undefined || host.length > HOST_CHARACTERS_MAX)
    throw bad("its host cannot be one");
  return { host: host.toLowerCase(), port: match[3] };
}

function bad(why: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", `the request is none of git://: ${why}`);
}
