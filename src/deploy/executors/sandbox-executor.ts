/**
 * A sandbox by bubblewrap: namespaces of its own for users, processes, files, network, IPC and host name. The program sees
 * the system's programs read-only, its mounts, and directories in memory; it is not root, not even inside; when it ends, the
 * kernel ends all that it has started, daemons among them. Specification: bwrap(1), user_namespaces(7), pid_namespaces(7).
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, lstatSync, readlinkSync } from "node:fs";
import { isAbsolute } from "node:path";
import type { Readable, Writable } from "node:stream";
import { setTimeout } from "node:timers/promises";
import { GitwharfError } from "../../base/errors.js";
import { attendProcess } from "./attend-process.js";
import { type ControlGroup, createControlGroup, removeGroupsLeftBehind } from "./control-group.js";
import { executionName } from "./execution-names.js";
import { DEFAULT_EXECUTION_LIMITS, type Execution, type Executor } from "./executor.js";
import { endLeftBehind } from "./left-behind.js";
import { ONE_OUTPUT } from "./one-output.js";
import { childrenOf, COOKIE_VARIABLE, descendantsOf, isAlive, sendSignal } from "./process-tree.js";
import { limitingCommand } from "./resource-limits.js";

export interface SandboxOptions {
  /** @default "bwrap", from the PATH */
  readonly program?: string;
  /** Directories and files of the system that programs need and that are not in `/usr`: `/opt/node`. */
  readonly readOnlyPaths?: readonly string[];
  /**
   * Who runs the sandbox when the server is root: nobody else should run under this id.
   * @default 65534 (nobody), for both
   */
  readonly user?: { readonly uid: number; readonly gid: number };
  /** "require": no sandbox without them; "never": only limits of each process. @default "try" */
  readonly controlGroups?: "try" | "require" | "never";
}

/** What of /etc a program may need to know. Who the machine's users are is not among it. */
const ETC = [
  "alternatives",
  "ca-certificates",
  "hosts",
  "ld.so.cache",
  "ld.so.conf",
  "ld.so.conf.d",
  "localtime",
  "mime.types",
  "nsswitch.conf",
  "os-release",
  "pki",
  "protocols",
  "resolv.conf",
  "services",
  "ssl/certs",
  "ssl/openssl.cnf",
];
/** In the order in which they are looked at; links are made again as links. */
const SYSTEM = ["/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32"];

/** The descriptor on which bubblewrap tells what it has started. */
const INFORMATION = 6;
const LOOK_AGAIN_MS = 5;
const LOOKS_MAX = 1000;

/** Puts itself into the groups that it is told of, then becomes the program. */
const ENTER_GROUPS =
  'n=$1; shift; while [ "$n" -gt 0 ]; do echo $$ > "$1" || exit 125; shift; n=$((n-1)); done; exec "$@"';

export function createSandboxExecutor(options: SandboxOptions = {}): Executor {
  const { program = "bwrap", readOnlyPaths = [], controlGroups = "try" } = options;
  const isRoot = process.getuid?.() === 0;
  const user = isRoot ? (options.user ?? { uid: 65_534, gid: 65_534 }) : undefined;
  for (const path of readOnlyPaths) {
    if (!isAbsolute(path))
      throw new GitwharfError("server/bad-configuration", `readOnlyPaths: '${path}' is not absolute`);
  }
  const groupOf = async (name: string, { limits }: Execution): Promise<ControlGroup | undefined> =>
    controlGroups === "never" ? undefined : createControlGroup(name, limits);

  const executor: Executor = {
    name: "sandbox",
    isIsolating: true,
    user,
    async check() {
      let output = "";
      const { status, ended } = await executor.run({
        name: "check",
        command: ["true"],
        directory: "/tmp",
        environment: { PATH: "/usr/bin:/bin" },
        mounts: [],
        network: false,
        limits: { ...DEFAULT_EXECUTION_LIMITS, timeoutMs: 10_000, killAfterMs: 1000 },
        print: (bytes) => void (output += Buffer.from(bytes).toString("utf8")),
        signal: new AbortController().signal,
      });
      if (status === 0) return;
      const why = (output.trim() || ended) ?? `status ${status}`;
      throw new GitwharfError(
        "server/bad-configuration",
        `the sandbox cannot be used: ${why}; install bubblewrap and allow user namespaces, or choose another executor`,
      );
    },
    async tidy() {
      endLeftBehind();
      await removeGroupsLeftBehind();
    },
    placeOf: (mount) => mount.target,
    async run(execution) {
      const name = executionName(execution.name);
      const group = await groupOf(name, execution);
      if (group === undefined && controlGroups === "require")
        return { status: undefined, ended: "there are no control groups that the server may use" };
      const counted = group !== undefined;
      const command = [
        ...ONE_OUTPUT,
        ...(group === undefined
          ? []
          : ["/bin/sh", "-c", ENTER_GROUPS, "sh", String(group.processFiles.length), ...group.processFiles]),
        ...(user === undefined
          ? []
          : ["setpriv", `--reuid=${user.uid}`, `--regid=${user.gid}`, "--clear-groups", "--"]),
        program,
        // For those who find it when the server is no more; `--clearenv`, which comes after it, takes it from the program.
        "--setenv",
        COOKIE_VARIABLE,
        name,
        "--args",
        "3",
        "--",
        ...limitingCommand(execution.limits, { memory: counted, processes: counted }),
        ...execution.command,
      ];
      let child: ChildProcess;
      try {
        child = spawn(command[0] as string, command.slice(1), {
          cwd: "/",
          // Nothing of the program's: an LD_PRELOAD of it would be read by what is not yet in the sandbox.
          env: { PATH: process.env["PATH"] ?? "/usr/bin:/bin" },
          stdio: ["ignore", "pipe", "pipe", "pipe", "pipe", "pipe", "pipe"],
          detached: true,
        });
      } catch (error) {
        await group?.remove();
        return {
          status: undefined,
          ended: `it could not be started: ${error instanceof Error ? error.message : String(error)}`,
        };
      }
      // Not among the arguments, which everybody on the machine may read.
      const { uid, gid } = user ?? { uid: process.getuid?.() ?? 0, gid: process.getgid?.() ?? 0 };
      const texts = [
        sandboxArguments(execution, readOnlyPaths)
          .map((text) => `${text}\0`)
          .join(""),
        `build:x:${uid}:${gid}:build:/app:/bin/sh\n`,
        `build:x:${gid}:\n`,
      ];
      const pipes: readonly unknown[] = child.stdio;
      for (const [i, text] of texts.entries()) {
        const pipe = pipes[i + 3] as Writable | null | undefined;
        pipe?.on("error", () => undefined);
        pipe?.end(text);
      }
      const { pid } = child;
      // The first process of the sandbox: with it the kernel ends all others.
      let first: number | undefined;
      const told = pipes[INFORMATION] as Readable | null | undefined;
      told?.on("error", () => undefined);
      told?.once("data", (chunk: Buffer) => {
        const said = Number(/"child-pid": (\d+)/.exec(chunk.toString("latin1"))?.[1] ?? 0);
        if (pid !== undefined && childrenOf(pid).includes(said)) first = said;
        told.resume();
      });
      const inside = (): readonly number[] => {
        if (pid === undefined) return [];
        // The first below bubblewrap is the one that the kernel ends the sandbox with; it takes no SIGTERM.
        const firsts = new Set(childrenOf(pid));
        return descendantsOf(pid).filter((each) => !firsts.has(each));
      };
      const killAll = (): void => {
        if (pid !== undefined && child.exitCode === null && child.signalCode === null) {
          const all = descendantsOf(pid);
          sendSignal(pid, "SIGKILL");
          for (const each of all) sendSignal(each, "SIGKILL");
        }
        group?.kill();
      };
      const end = await attendProcess({
        child,
        execution,
        processes: inside,
        terminate() {
          const all = inside();
          for (const each of all) sendSignal(each, "SIGTERM");
          // It has not got that far.
          if (all.length === 0) killAll();
        },
        kill: killAll,
        ...(group === undefined ? {} : { explain: group.explain }),
      });
      if (first !== undefined) await gone(first);
      await group?.remove();
      return end;
    },
  };
  return executor;
}

/** bubblewrap itself ends a moment before what it has started. */
async function gone(pid: number): Promise<void> {
  for (let looks = 0; looks < LOOKS_MAX && isAlive(pid); looks++) await setTimeout(LOOK_AGAIN_MS);
}

function sandboxArguments(execution: Execution, readOnlyPaths: readonly string[]): readonly string[] {
  const { mounts, limits, environment } = execution;
  const inMemory = (directory: string): readonly string[] => [
    ...(limits.diskBytesMax === Infinity ? [] : ["--size", String(Math.floor(sizeInMemory(limits)))]),
    "--tmpfs",
    directory,
  ];
  const system = SYSTEM.flatMap((path) => {
    if (!existsSync(path)) return [];
    return lstatSync(path).isSymbolicLink()
      ? ["--symlink", readlinkSync(path), path]
      : ["--ro-bind", path, path];
  });
  return [
    "--info-fd",
    String(INFORMATION),
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    ...(execution.network ? ["--share-net"] : []),
    "--hostname",
    "build",
    "--die-with-parent",
    "--new-session",
    "--cap-drop",
    "ALL",
    "--clearenv",
    ...Object.entries(environment).flatMap(([name, value]) => ["--setenv", name, value]),
    "--ro-bind",
    "/usr",
    "/usr",
    ...system,
    ...ETC.flatMap((name) => ["--ro-bind-try", `/etc/${name}`, `/etc/${name}`]),
    "--ro-bind-data",
    "4",
    "/etc/passwd",
    "--ro-bind-data",
    "5",
    "/etc/group",
    ...readOnlyPaths.flatMap((path) => ["--ro-bind", path, path]),
    "--dev",
    "/dev",
    "--proc",
    "/proc",
    ...inMemory("/tmp"),
    ...inMemory("/app"),
    ...inMemory("/dev/shm"),
    ...mounts.flatMap(({ source, target, isWritable }) => [
      isWritable ? "--bind" : "--ro-bind",
      source,
      target,
    ]),
    // Nobody writes next to what is mounted.
    "--remount-ro",
    "/",
    "--chdir",
    execution.directory,
  ];
}

/** Memory that holds files is memory. */
function sizeInMemory(limits: Execution["limits"]): number {
  return Math.min(limits.diskBytesMax, limits.memoryBytesMax / 2);
}
