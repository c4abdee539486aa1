/**
 * How a process of a release is started: its command behind what buildpacks leave in `.profile.d`, and its environment.
 * Specification: Heroku's buildpack API (.profile.d), Openruko's PORT and PS.
 */
import type { LaunchRelease } from "./launch-release.js";

const PROFILES =
  'if [ -d .profile.d ]; then for profile in .profile.d/*.sh; do if [ -r "$profile" ]; then . "$profile"; fi; done; fi\n' +
  "if [ -r .profile ]; then . ./.profile; fi\n";

/** A text for a POSIX shell. */
export function startCommand(command: string): string {
  return `${PROFILES}${command}`;
}

export interface EnvironmentOf {
  readonly release: LaunchRelease;
  /** `web.1` */
  readonly name: string;
  readonly directory: string;
  readonly port: number | undefined;
  /** What every process has: `PATH`, `LANG`, … */
  readonly base: Readonly<Record<string, string>>;
}

/** What the server says comes last: a configuration cannot make a process listen somewhere else. */
export function environmentOf({
  release,
  name,
  directory,
  port,
  base,
}: EnvironmentOf): Record<string, string> {
  return {
    ...base,
    HOME: directory,
    ...release.config,
    GITWHARF_APP: release.app,
    GITWHARF_RELEASE: `v${release.number}`,
    GITWHARF_COMMIT: release.commit,
    PS: name,
    DYNO: name,
    ...(port === undefined ? {} : { PORT: String(port) }),
  };
}
