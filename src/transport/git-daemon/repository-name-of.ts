/**
 * Which repository a path names, also by the host that was asked for (git-daemon's `--interpolated-path`). What comes
 * out is a name of the store, whatever was sent: no path of this machine is made of it.
 *
 *     %H   the host that the client named      %CH  the same (no name is looked up on a client's word)
 *     %IP  the address that it reached         %P   the port that it named, or else the one that it reached
 *     %D   the path                            %%   a percent sign
 */
import { GitwharfError } from "../../base/errors.js";
import { parseRepositoryName } from "../../storage/contracts/repository-name.js";
import type { DaemonRequest } from "./daemon-request.js";

export interface ReachedAddress {
  readonly address: string;
  readonly port: number;
}

/** @throws server/bad-configuration */
export function checkInterpolatedPath(format: string): void {
  if (/%(?!H|CH|IP|P|D|%)/.test(format) || !format.includes("%D")) {
    throw new GitwharfError(
      "server/bad-configuration",
      `the interpolated path '${format.slice(0, 200)}' needs %D and knows %H, %CH, %IP, %P and %% beside it`,
    );
  }
}

/** @throws storage/bad-name */
export function repositoryNameOf(
  request: Pick<DaemonRequest, "path" | "host" | "port">,
  interpolatedPath: string | undefined,
  reached: ReachedAddress,
  parseName: (text: string) => string = parseRepositoryName,
): string {
  const { path, host, port } = request;
  // Of `git://host/~user/…` git sends no slash.
  if (!/^[/~]/.test(path))
    throw new GitwharfError("storage/bad-name", "the path of a repository begins with /");
  const full =
    interpolatedPath === undefined || host === undefined
      ? path
      : interpolatedPath.replace(/%(H|CH|IP|P|D|%)/g, (_, what: string) => {
          switch (what) {
            case "H":
            case "CH":
              return host;
            case "IP":
              return reached.address;
            case "P":
              return port ?? String(reached.port);
            case "D":
              return path;
            default:
              return "%";
          }
        });
  return parseName(full.replace(/^\/+/, "").replace(/\/+/g, "/").replace(/\/$/, ""));
}
