/**
 * `gitwharf.yml`: how to build and run what was pushed, for those who need no buildpack.
 *
 *     build: npm ci && npm run build     a command of the shell, or a list of them
 *     static: dist                       this directory is served as it is
 *     processes: { web: node server.js } as in a Procfile
 *     buildpack: https://…               or a name that the server knows
 *     network: true                      the build needs the network
 */
import { GitwharfError } from "../../base/errors.js";
import { isYamlMap, readYaml, type YamlValue } from "./read-yaml.js";
import { checkProcessTypes, type ProcessTypes } from "./procfile.js";

export const SETTINGS_FILE = "gitwharf.yml";

const COMMANDS_MAX = 100;

export interface BuildSettings {
  /** One after the other; the first that fails ends the build. */
  readonly commands: readonly string[];
  /** Relative, `.` for all of it; undefined: no static site. */
  readonly staticDirectory: string | undefined;
  readonly processTypes: ProcessTypes;
  readonly buildpack: string | undefined;
  readonly network: boolean;
}

/** @throws object/malformed */
export function parseBuildSettings(text: string): BuildSettings {
  const wrong = (why: string): GitwharfError =>
    new GitwharfError("object/malformed", `${SETTINGS_FILE}: ${why}`);
  const file = readYaml(text, SETTINGS_FILE) ?? new Map<string, YamlValue>();
  if (!isYamlMap(file)) throw wrong("it is no list of `key: value`");
  const known = ["build", "static", "processes", "buildpack", "network"];
  for (const key of file.keys())
    if (!known.includes(key)) throw wrong(`there is no '${key.slice(0, 80)}'; known are ${known.join(", ")}`);
  const textOf = (key: string): string | undefined => {
    const value = file.get(key) ?? undefined;
    if (value !== undefined && typeof value !== "string") throw wrong(`${key} is a text`);
    return value;
  };
  const build = file.get("build") ?? [];
  const commands = typeof build === "string" ? [build] : build;
  if (!Array.isArray(commands) || !commands.every((one) => typeof one === "string"))
    throw wrong("build is a command, or a list of commands");
  // Each has the time and the output of one.
  if (commands.length > COMMANDS_MAX) throw wrong(`build has more than ${COMMANDS_MAX} commands`);
  const processes = file.get("processes") ?? new Map<string, YamlValue>();
  if (!isYamlMap(processes)) throw wrong("processes are `type: command`");
  const types = [...processes].map(([type, command]): readonly [string, string] => {
    if (typeof command !== "string") throw wrong(`the process ${type.slice(0, 80)} has no command`);
    return [type, command];
  });
  const network = textOf("network") ?? "false";
  if (network !== "true" && network !== "false") throw wrong("network is true or false");
  const staticDirectory = textOf("static");
  return {
    commands: commands as readonly string[],
    staticDirectory: staticDirectory === undefined ? undefined : checkInside(staticDirectory, wrong),
    processTypes: checkProcessTypes(types, SETTINGS_FILE),
    buildpack: textOf("buildpack"),
    network: network === "true",
  };
}

function checkInside(directory: string, wrong: (why: string) => GitwharfError): string {
  const parts = directory.split("/").filter((part) => part !== "" && part !== ".");
  if (directory.startsWith("/") || parts.includes("..") || directory.includes("\0"))
    throw wrong("static is a directory of what is pushed: `dist`");
  return parts.length === 0 ? "." : parts.join("/");
}
