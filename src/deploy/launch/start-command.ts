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
  return `${PROFILES}${isProgram(command) ? "exec " : ""}${command}`;
}

/** Words with which a line begins that is no program's. */
const SHELL_WORDS = new Set(
  (
    "alias bg break case cd command continue eval exec exit export false fg for getopts hash if jobs local read readonly " +
    "return set shift source times trap true type ulimit umask unalias unset until wait while"
  ).split(" "),
);

/** A shell that waits for a program takes the SIGTERM that is meant for it; where there is one program, it takes its place. */
function isProgram(command: string): boolean {
  const [first = ""] = command.trim().split(/[ \t]/, 1);
  return (
    /^[A-Za-z0-9_/.-]*[A-Za-z0-9_]$/.test(first) && !SHELL_WORDS.has(first) && !/[;&|()\n`]/.test(command)
  );
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
