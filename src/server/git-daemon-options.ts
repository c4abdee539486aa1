/** What the options say about git://, put together: what is exported, and what may be done. */
import { access } from "node:fs/promises";
import { join } from "node:path";
import type { IsListedAddress } from "../access/trusted-addresses.js";
import { GitwharfError } from "../base/errors.js";
import { type DaemonListener, listenDaemon } from "../transport/git-daemon/listener.js";
import { checkInterpolatedPath } from "../transport/git-daemon/repository-name-of.js";
import type { ServiceHost } from "../transport/service-host.js";
import type { ListenAddress } from "./listen-address.js";

export interface GitDaemonOptions {
  /**
   * Serve every repository. Otherwise only those whose directory holds a file `git-daemon-export-ok`.
   * @default false
   */
  readonly exportAll?: boolean;
  /**
   * The repository's name, made of what the client asks for: `/%H/%D` keeps the hosts apart. Of %H, %CH, %IP, %P, %D.
   * @default "%D"
   */
  readonly interpolatedPath?: string;
  /** Take pushes. Nobody signs in over git://: `authorize` is asked about an anonymous caller. @default false */
  readonly receivePack?: boolean;
  /** Answer `git archive --remote`. @default true */
  readonly uploadArchive?: boolean;
}

const SWITCHES = ["exportAll", "receivePack", "uploadArchive"] as const;

/** @throws server/bad-configuration */
export function checkGitDaemonOptions(options: GitDaemonOptions | undefined): void {
  if (options === undefined) return;
  if (typeof options !== "object" || options === null) throw wrong("gitDaemon is an object");
  for (const name of Object.keys(options)) {
    if (name !== "interpolatedPath" && !SWITCHES.some((known) => known === name))
      throw wrong(
        `there is no option '${name}' of gitDaemon; known are ${SWITCHES.join(", ")}, interpolatedPath`,
      );
  }
  for (const name of SWITCHES) {
    const value: unknown = options[name];
    if (value !== undefined && typeof value !== "boolean") throw wrong(`gitDaemon.${name} is true or false`);
  }
  const path: unknown = options.interpolatedPath;
  if (path === undefined) return;
  if (typeof path !== "string") throw wrong("gitDaemon.interpolatedPath is a text");
  checkInterpolatedPath(path);
}

/** @throws server/bad-configuration */
export function listenDaemonFor(
  options: GitDaemonOptions | undefined,
  host: ServiceHost,
  { proxies, ...address }: ListenAddress & { readonly proxies?: IsListedAddress | undefined },
): Promise<DaemonListener> {
  const { exportAll = false, interpolatedPath, receivePack = false, uploadArchive = true } = options ?? {};
  return listenDaemon({
    host,
    address,
    proxies,
    interpolatedPath,
    receivePack,
    uploadArchive,
    isExported: async (name) => exportAll || isMarked(host, name),
  });
}

async function isMarked(host: ServiceHost, name: string): Promise<boolean> {
  const repository = await host.store.open(name);
  try {
    if (repository?.gitDirectory === undefined) return false;
    await access(join(repository.gitDirectory, "git-daemon-export-ok"));
    return true;
  } catch {
    return false;
  } finally {
    await repository?.close();
  }
}

function wrong(message: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", message);
}
