/**
 * A container for each program, by the command line that podman and Docker share: read-only root, no capabilities, no
 * network unless asked for. Its name is how it is ended, also when the server that began it is no more.
 * Specification: podman-run(1), docker run.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { GitwharfError } from "../../base/errors.js";
import { attendProcess } from "./attend-process.js";
import { executionName, isLeftBehind } from "./execution-names.js";
import type { Execution, ExecutionEnd, Executor } from "./executor.js";
import { removeDirectoriesLeftBehind } from "./left-behind.js";
import { ONE_OUTPUT } from "./one-output.js";
import { descendantsOf, sendSignal } from "./process-tree.js";
import { hardLimits } from "./resource-limits.js";

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
const USER_PROCESSES_MAX = 16_384;
const QUESTION_TIMEOUT_MS = 10_000;
const CALL_TIMEOUT_MS = 30_000;
const PULL_TIMEOUT_MS = 600_000;
/** As every process of the container: its first one and the one that says it are not among them. */
const TERMINATE_ALL = "kill -TERM -1";
/** A line of 64 KiB is too long for who reads the file of variables. */
const LINE_BYTES_MAX = 32_768;
const SCRIPT = "/run/gitwharf-variables";
const WITH_SCRIPT = ["/bin/sh", "-c", `. ${SCRIPT}; exec "$@"`, "sh"];

export function createContainerExecutor(options: ContainerOptions): Executor {
  const { image, program = "podman", programArguments = [] } = options;
  const ownId = process.getuid?.() ?? 0;
  const user =
    options.user ??
    (ownId === 0 ? { uid: 65_534, gid: 65_534 } : { uid: ownId, gid: process.getgid?.() ?? ownId });
  const call = (...args: readonly string[]): Promise<boolean> =>
    new Promise((resolve) => {
      const child = spawn(program, [...programArguments, ...args], {
        stdio: "ignore",
        timeout: CALL_TIMEOUT_MS,
        killSignal: "SIGKILL",
      });
      child.once("error", () => resolve(false));
      child.once("exit", (status) => resolve(status === 0));
    });
  const ask = async (timeout: number, ...args: readonly string[]): Promise<string> =>
    (await promisify(execFile)(program, [...programArguments, ...args], { timeout })).stdout;
  /** `kill` tells the first program only. */
  const terminate = async (name: string): Promise<void> => {
    if (!(await call("exec", name, "/bin/sh", "-c", TERMINATE_ALL)))
      await call("kill", "--signal", "TERM", name);
  };
  const processesOf = async (name: string): Promise<readonly number[]> => {
    const said = await ask(QUESTION_TIMEOUT_MS, "inspect", "--format", "{{.State.Pid}}", name).catch(
      () => "",
    );
    const first = Number(said.trim());
    return first > 0 ? [first, ...descendantsOf(first)] : [];
  };
  /** Whatever has become of it: it may not have got as far as a container. */
  const remove = async (child: ChildProcess, name: string): Promise<void> => {
    // It removes what has ended by itself.
    if (child.exitCode !== null && child.exitCode < PROGRAM_FAILED) return;
    // `rm --force` of podman asks first, and waits.
    await call("kill", "--signal", "KILL", name);
    await call("rm", "--force", name);
    // It waits for something else, an image for instance.
    if (child.pid !== undefined && child.exitCode === null) sendSignal(-child.pid, "SIGKILL");
  };
  return {
    name: "container",
    isIsolating: true,
    user: ownId === 0 ? user : undefined,
    async check() {
      const must = async (timeout: number, ...args: readonly string[]): Promise<string> => {
        try {
          return await ask(timeout, ...args);
        } catch (cause) {
          throw new GitwharfError(
            "server/bad-configuration",
            `containers cannot be used: '${[program, ...args].join(" ")}' failed; see to it, or choose another executor`,
            { cause },
          );
        }
      };
      await must(QUESTION_TIMEOUT_MS, "version");
      // No build has to wait for it.
      if (!(await call("image", "inspect", image))) await must(PULL_TIMEOUT_MS, "pull", image);
    },
    async tidy() {
      const names = await ask(QUESTION_TIMEOUT_MS, "ps", "--all", "--format", "{{.Names}}");
      for (const name of names.split("\n").filter(isLeftBehind)) {
        await call("kill", "--signal", "KILL", name);
        await call("rm", "--force", name);
      }
      await removeDirectoriesLeftBehind();
    },
    placeOf: (mount) => mount.target,
    async run(execution): Promise<ExecutionEnd> {
      const name = executionName(execution.name);
      // Arguments are everybody's to read, and the program's own environment is not for others to set.
      const directory = await mkdtemp(join(tmpdir(), `${name}-`));
      let end: ExecutionEnd;
      try {
        const file = join(directory, "environment");
        await writeFile(file, fileOf(execution.environment), { mode: 0o600 });
        const script = join(directory, "script");
        await writeFile(script, scriptOf(execution.environment), { mode: 0o600 });
        if (ownId === 0) await chown(script, user.uid, user.gid);
        const child = spawn(
          program,
          [
            ...programArguments,
            ...runArguments(name, image, user, execution, { file, script }, program.endsWith("podman")),
          ],
          { stdio: ["ignore", "pipe", "pipe"], detached: true },
        );
        end = await attendProcess({
          child,
          execution,
          processes: () => processesOf(name),
          terminate: () => void terminate(name),
          kill: () => void remove(child, name),
        });
        // However it ended: nothing writes to what is mounted from here on.
        if (end.status === undefined || end.status >= PROGRAM_FAILED) await call("rm", "--force", name);
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
  variables: { readonly file: string; readonly script: string },
  isPodman: boolean,
): readonly string[] {
  const { limits, mounts, environment } = execution;
  const when = (value: number, ...args: readonly string[]): readonly string[] =>
    value === Infinity ? [] : args;
  const hard = hardLimits();
  const ulimit = (name: string, row: string, wanted: number): readonly string[] => {
    const value = Math.min(wanted, hard.get(row) ?? Infinity);
    return when(value, `--ulimit=${name}=${value}:${value}`);
  };
  const isSaidByScript = Object.entries(environment).some((variable) => !fitsOnALine(variable));
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
    // Who is to reach a process of a release looks for it on this machine.
    `--network=${execution.network ? "host" : "none"}`,
    "--hostname=build",
    ...["/tmp", "/app"]
      .filter((path) => !mounts.some(({ target }) => target === path))
      .flatMap((path) => ["--tmpfs", inMemory(path)]),
    ...when(limits.memoryBytesMax, `--memory=${memory}`, `--memory-swap=${memory}`),
    ...when(limits.processesMax, `--pids-limit=${Math.floor(limits.processesMax)}`),
    ...when(limits.processors, `--cpus=${limits.processors}`),
    ...ulimit("nofile", "Max open files", limits.openFilesMax),
    ...ulimit("fsize", "Max file size", limits.fileBytesMax),
    // `--pids-limit` counts those of the container. This is of the user's on the whole machine, and podman asks for more than
    // a server that is bounded itself may give.
    ...(hard.has("Max processes") ? ulimit("nproc", "Max processes", USER_PROCESSES_MAX) : []),
    "--ulimit=core=0:0",
    ...mounts.flatMap(({ source, target, isWritable }) => [
      "--mount",
      `type=bind,source=${source},target=${target}${isWritable ? "" : ",readonly"}`,
    ]),
    `--workdir=${execution.directory}`,
    `--env-file=${variables.file}`,
    ...(isSaidByScript ? ["--mount", `type=bind,source=${variables.script},target=${SCRIPT},readonly`] : []),
    "--entrypoint=",
    image,
    ...(isSaidByScript ? WITH_SCRIPT : []),
    ...ONE_OUTPUT,
    ...execution.command,
  ];
}

function fileOf(environment: Readonly<Record<string, string>>): string {
  return Object.entries(environment)
    .filter(fitsOnALine)
    .map(([variable, value]) => `${variable}=${value}\n`)
    .join("");
}

/** For a shell: what the file has no way to write. */
function scriptOf(environment: Readonly<Record<string, string>>): string {
  return Object.entries(environment)
    .filter((variable) => !fitsOnALine(variable))
    .map(([variable, value]) => `export ${variable}='${value.replaceAll("'", "'\\''")}'\n`)
    .join("");
}

function fitsOnALine([variable, value]: readonly [string, string]): boolean {
  return !/[\r\n]/.test(value) && Buffer.byteLength(variable + value) < LINE_BYTES_MAX;
}
