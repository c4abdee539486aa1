/**
 * A container for each program, by the command line that podman and Docker share: read-only root, no capabilities, no
 * network unless asked for. Its name is how it is ended. Specification: podman-run(1), docker run.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { GitwharfError } from "../../base/errors.js";
import { attendProcess } from "./attend-process.js";
import type { Execution, ExecutionEnd, Executor } from "./executor.js";

export interface ContainerOptions {
  /** `heroku/heroku:24-build`; it must have what buildpacks call. */
  readonly image: string;
  /** `podman`, `docker`, or a path. @default "podman" */
  readonly program?: string;
  /** Before `run`: `["--runtime", "runc"]`. */
  readonly programArguments?: readonly string[];
  /** Who runs inside. @default the server's own ids; 65534 for both where it is root */
  readonly user?: { readonly uid: number; readonly gid: number };
}

/** What `run` ends with when it is the program that failed, not what ran in the container. */
const PROGRAM_FAILED = 125;

export function createContainerExecutor(options: ContainerOptions): Executor {
  const { image, program = "podman", programArguments = [] } = options;
  const ownId = process.getuid?.() ?? 0;
  const user =
    options.user ??
    (ownId === 0 ? { uid: 65_534, gid: 65_534 } : { uid: ownId, gid: process.getgid?.() ?? ownId });
  const call = (...args: readonly string[]): ChildProcess => {
    const child = spawn(program, [...programArguments, ...args], { stdio: "ignore" });
    // It has gone already, or the program has: whoever waits for the container sees it.
    child.on("error", () => undefined);
    return child;
  };
  return {
    name: "container",
    isIsolating: true,
    user: ownId === 0 ? user : undefined,
    async check() {
      try {
        await promisify(execFile)(program, [...programArguments, "version"], { timeout: 10_000 });
      } catch (cause) {
        throw new GitwharfError(
          "server/bad-configuration",
          `containers cannot be used: '${program} version' failed; install it, or choose another executor`,
          { cause },
        );
      }
    },
    placeOf: (mount) => mount.target,
    async run(execution): Promise<ExecutionEnd> {
      const name = `gitwharf-${execution.name}-${randomUUID().slice(0, 8)}`;
      // Arguments are everybody's to read, and the program's own environment is not for others to set.
      const directory = await mkdtemp(join(tmpdir(), "gitwharf-container-"));
      let end: ExecutionEnd;
      try {
        const file = join(directory, "environment");
        await writeFile(file, fileOf(execution.environment), { mode: 0o600 });
        const child = spawn(
          program,
          [
            ...programArguments,
            ...runArguments(name, image, user, execution, file, program.endsWith("podman")),
          ],
          { stdio: ["ignore", "pipe", "pipe"], detached: true },
        );
        end = await attendProcess({
          child,
          execution,
          terminate: () => void call("kill", "--signal", "TERM", name),
          kill: () => void call("rm", "--force", name),
        });
      } finally {
        await rm(directory, { recursive: true, force: true });
      }
      return end.status === PROGRAM_FAILED
        ? { status: undefined, ended: `the container could not be started (${program})` }
        : end;
    },
  };
}

function runArguments(
  name: string,
  image: string,
  user: { readonly uid: number; readonly gid: number },
  execution: Execution,
  environmentFile: string,
  isPodman: boolean,
): readonly string[] {
  const { limits, mounts, environment } = execution;
  const when = (value: number, ...args: readonly string[]): readonly string[] =>
    value === Infinity ? [] : args;
  const memory = Math.floor(limits.memoryBytesMax);
  const size = Math.floor(Math.min(limits.diskBytesMax, limits.memoryBytesMax / 2));
  const inMemory = (path: string): string => `${path}:rw,exec,nosuid,nodev,mode=1777,size=${size}`;
  return [
    "run",
    "--rm",
    "--init",
    // Without it the server's user would be another one inside.
    ...(process.getuid?.() !== 0 && isPodman ? ["--userns=keep-id"] : []),
    "--pull=missing",
    "--name",
    name,
    `--user=${user.uid}:${user.gid}`,
    "--read-only",
    "--cap-drop=ALL",
    "--security-opt=no-new-privileges",
    `--network=${execution.network ? "bridge" : "none"}`,
    "--hostname=build",
    ...["/tmp", "/app"].flatMap((path) => ["--tmpfs", inMemory(path)]),
    ...when(limits.memoryBytesMax, `--memory=${memory}`, `--memory-swap=${memory}`),
    ...when(limits.processesMax, `--pids-limit=${Math.floor(limits.processesMax)}`),
    ...when(limits.processors, `--cpus=${limits.processors}`),
    ...when(limits.openFilesMax, `--ulimit=nofile=${limits.openFilesMax}:${limits.openFilesMax}`),
    ...when(limits.fileBytesMax, `--ulimit=fsize=${limits.fileBytesMax}:${limits.fileBytesMax}`),
    "--ulimit=core=0:0",
    ...mounts.flatMap(({ source, target, isWritable }) => [
      "--mount",
      `type=bind,source=${source},target=${target}${isWritable ? "" : ",readonly"}`,
    ]),
    `--workdir=${execution.directory}`,
    `--env-file=${environmentFile}`,
    ...Object.entries(environment).flatMap(([variable, value]) =>
      fitsOnALine(value) ? [] : ["--env", `${variable}=${value}`],
    ),
    "--entrypoint=",
    image,
    ...execution.command,
  ];
}

function fileOf(environment: Readonly<Record<string, string>>): string {
  return Object.entries(environment)
    .filter(([, value]) => fitsOnALine(value))
    .map(([variable, value]) => `${variable}=${value}\n`)
    .join("");
}

/** The file has no way to write any other. */
function fitsOnALine(value: string): boolean {
  return !/[\r\n]/.test(value);
}
