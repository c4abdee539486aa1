/**
 * A control group for one execution: memory, processes and processors of all that it starts, counted by the kernel.
 * Version 2 below a directory that is delegated to the server, or the controllers of version 1. Where there is none, or it
 * may not be written to, limits of each process have to do.
 * Specification: Linux, admin-guide/cgroup-v2 and cgroup-v1.
 */
import { access, constants, mkdir, readdir, readFile, rmdir, writeFile } from "node:fs/promises";
import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { isLeftBehind } from "./execution-names.js";
import type { ExecutionLimits } from "./executor.js";
import { sendSignal } from "./process-tree.js";

export interface ControlGroup {
  /** A process that writes its id into each of these is in it, with all that it starts from then on. */
  readonly processFiles: readonly string[];
  /** Ends everything in it. */
  kill(): void;
  /** What was used up. */
  explain(): string | undefined;
  /** Once nothing is in it. */
  remove(): Promise<void>;
}

const ROOT = "/sys/fs/cgroup";
const OWN_FILE = "/proc/self/cgroup";
const PERIOD_US = 100_000;
const REMOVAL_ATTEMPTS = 50;

/** @returns undefined where there are none to be had */
export async function createControlGroup(
  name: string,
  limits: ExecutionLimits,
  { root = ROOT, ownFile = OWN_FILE } = {},
): Promise<ControlGroup | undefined> {
  try {
    const own = await readFile(ownFile, "utf8");
    return (
      (await createUnified(name, limits, root, own)) ?? (await createByController(name, limits, root, own))
    );
  } catch {
    return undefined;
  }
}

/** Empty ones of servers that were killed. */
export async function removeGroupsLeftBehind({ root = ROOT, ownFile = OWN_FILE } = {}): Promise<void> {
  const own = await readFile(ownFile, "utf8").catch(() => "");
  const unified = /^0::(\/.*)$/m.exec(own)?.[1];
  const parents = unified === undefined ? [] : [join(root, unified), join(root, dirname(unified))];
  for (const controller of ["memory", "pids", "cpu"]) {
    const parent = await parentIn(controller, own, root).catch(() => undefined);
    if (parent !== undefined) parents.push(parent);
  }
  for (const parent of new Set(parents)) {
    const names = await readdir(parent).catch(() => []);
    for (const name of names.filter(isLeftBehind)) await rmdir(join(parent, name)).catch(() => undefined);
  }
}

async function createUnified(
  name: string,
  limits: ExecutionLimits,
  root: string,
  groups: string,
): Promise<ControlGroup | undefined> {
  const own = /^0::(\/.*)$/m.exec(groups)?.[1];
  if (own === undefined) return undefined;
  // A group that has processes hands no controllers on: the server stands in one beside (systemd's DelegateSubgroup).
  for (const parent of [join(root, own), join(root, dirname(own))]) {
    const handedOn = await handOn(parent);
    const has = (controller: string): boolean => handedOn.has(controller);
    if (has("memory") && has("pids")) return createBelow(parent, name, limits, has);
  }
  return undefined;
}

/** What is delegated is for its owner to hand on. @returns the controllers that groups below have */
async function handOn(parent: string): Promise<ReadonlySet<string>> {
  const wordsIn = async (file: string): Promise<Set<string>> =>
    new Set((await readFile(join(parent, file), "utf8").catch(() => "")).split(/\s+/));
  const available = await wordsIn("cgroup.controllers");
  const handedOn = await wordsIn("cgroup.subtree_control");
  for (const controller of ["memory", "pids", "cpu"]) {
    if (!available.has(controller) || handedOn.has(controller)) continue;
    try {
      await writeFile(join(parent, "cgroup.subtree_control"), `+${controller}`);
      handedOn.add(controller);
    } catch {
      // It has processes, or is not for us.
    }
  }
  return handedOn;
}

async function createBelow(
  parent: string,
  name: string,
  limits: ExecutionLimits,
  has: (controller: string) => boolean,
): Promise<ControlGroup> {
  const directory = join(parent, name);
  await mkdir(directory);
  const group = groupOf([directory], () => numberIn(join(directory, "memory.events"), /^oom_kill (\d+)$/m));
  try {
    await set(directory, "memory.max", limits.memoryBytesMax);
    await writeFile(join(directory, "memory.swap.max"), "0").catch(() => undefined);
    await set(directory, "pids.max", limits.processesMax);
    if (has("cpu") && limits.processors !== Infinity)
      await writeFile(
        join(directory, "cpu.max"),
        `${Math.round(limits.processors * PERIOD_US)} ${PERIOD_US}`,
      );
    return group;
  } catch (error) {
    await group.remove();
    throw error;
  }
}

async function createByController(
  name: string,
  limits: ExecutionLimits,
  root: string,
  own: string,
): Promise<ControlGroup | undefined> {
  const memory = join(await parentIn("memory", own, root), name);
  const pids = join(await parentIn("pids", own, root), name);
  const made: string[] = [];
  const group = groupOf(made, () => numberIn(join(memory, "memory.oom_control"), /^oom_kill (\d+)$/m));
  try {
    for (const directory of [memory, pids]) {
      await mkdir(directory);
      made.push(directory);
    }
    await set(memory, "memory.limit_in_bytes", limits.memoryBytesMax);
    if (limits.memoryBytesMax !== Infinity)
      await writeFile(
        join(memory, "memory.memsw.limit_in_bytes"),
        String(Math.floor(limits.memoryBytesMax)),
      ).catch(() => undefined);
    await set(pids, "pids.max", limits.processesMax);
    if (limits.processors !== Infinity) {
      const cpu = join(await parentIn("cpu", own, root), name);
      await mkdir(cpu);
      made.push(cpu);
      await writeFile(join(cpu, "cpu.cfs_period_us"), String(PERIOD_US));
      await writeFile(join(cpu, "cpu.cfs_quota_us"), String(Math.round(limits.processors * PERIOD_US)));
    }
    return group;
  } catch (error) {
    await group.remove();
    throw error;
  }
}

/**
 * Below the server's own, whose limits hold for what it starts, too; in a container that is mounted as the root.
 * @throws when it may not be written to
 */
async function parentIn(controller: string, own: string, root: string): Promise<string> {
  const path = own
    .split("\n")
    .map((line) => line.split(":"))
    .find(([, controllers]) => controllers?.split(",").includes(controller))
    ?.slice(2)
    .join(":");
  const writable = (directory: string): Promise<boolean> =>
    access(directory, constants.W_OK).then(
      () => true,
      () => false,
    );
  if (path !== undefined && (await writable(join(root, controller, path))))
    return join(root, controller, path);
  await access(join(root, controller), constants.W_OK);
  return join(root, controller);
}

/** @param directories filled while they are made */
function groupOf(directories: readonly string[], oomKills: () => number): ControlGroup {
  return {
    get processFiles() {
      return directories.map((directory) => join(directory, "cgroup.procs"));
    },
    kill() {
      for (const directory of directories) {
        try {
          for (const pid of readFileSync(join(directory, "cgroup.procs"), "utf8").split("\n"))
            if (pid !== "" && pid !== "0") sendSignal(Number(pid), "SIGKILL");
        } catch {
          // It has gone.
        }
      }
    },
    explain: () => (oomKills() > 0 ? "it used more memory than it may" : undefined),
    async remove() {
      for (const directory of directories) {
        for (let attempt = 0; attempt < REMOVAL_ATTEMPTS; attempt++) {
          try {
            await rmdir(directory);
            break;
          } catch (error) {
            if (error instanceof Error && "code" in error && error.code === "ENOENT") break;
            // What was killed is still on its way out.
            await setTimeout(20);
          }
        }
      }
    },
  };
}

async function set(directory: string, file: string, value: number): Promise<void> {
  if (value !== Infinity) await writeFile(join(directory, file), String(Math.floor(value)));
}

function numberIn(path: string, pattern: RegExp): number {
  try {
    return Number(pattern.exec(readFileSync(path, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
