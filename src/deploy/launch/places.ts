/** Where apps are on the disk, beside the repositories: no repository can be called `.gitwharf`. */
import { join, resolve } from "node:path";

/** Files of the releases that run, and logs: `APP/releases/`, `APP/log/`. */
export function appsDirectoryOf(repositories: string): string {
  return join(resolve(repositories), ".gitwharf", "apps");
}

export function logDirectoryOf(appsDirectory: string, app: string): string {
  return join(appsDirectory, app, "log");
}

/** A socket on which the server takes the commands of operators. */
export function controlSocketOf(repositories: string): string {
  return join(resolve(repositories), ".gitwharf", "apps.sock");
}
