/**
 * Which files are written for a control group, in a directory that looks like the kernel's: of version 2, where it is
 * delegated, and of version 1. That the kernel then does what it is told is seen in test/deploy-escapes.test.ts.
 */
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createControlGroup, removeGroupsLeftBehind } from "./control-group.js";
import { executionName } from "./execution-names.js";
import { DEFAULT_EXECUTION_LIMITS } from "./executor.js";

const LIMITS = { ...DEFAULT_EXECUTION_LIMITS, memoryBytesMax: 1000, processesMax: 10, processors: 1.5 };
let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "gitwharf-test-"));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

function write(path: string, text: string): void {
  mkdirSync(dirname(join(root, path)), { recursive: true });
  writeFileSync(join(root, path), text);
}
const read = (path: string): string => readFileSync(join(root, path), "utf8");
const create = (own: string) => {
  write("own", own);
  return createControlGroup("one", LIMITS, { root, ownFile: join(root, "own") });
};

it("is made beside the server's own, where version 2 hands controllers on", async () => {
  write("system/app/server/cgroup.controllers", "");
  write("system/app/cgroup.controllers", "cpu memory pids\n");
  write("system/app/cgroup.subtree_control", "memory pids cpu\n");
  const group = await create("0::/system/app/server\n");
  expect(group?.processFiles).toEqual([join(root, "system/app/one/cgroup.procs")]);
  expect(read("system/app/one/memory.max")).toBe("1000");
  expect(read("system/app/one/memory.swap.max")).toBe("0");
  expect(read("system/app/one/pids.max")).toBe("10");
  expect(read("system/app/one/cpu.max")).toBe("150000 100000");
  expect(group?.explain()).toBeUndefined();
  write("system/app/one/memory.events", "oom 1\noom_kill 1\n");
  expect(group?.explain()).toBe("it used more memory than it may");
  // The kernel's files go with their directory.
  for (const name of readdirSync(join(root, "system/app/one")))
    unlinkSync(join(root, "system/app/one", name));
  await group?.remove();
  expect(readdirSync(join(root, "system/app")).toSorted()).toEqual([
    "cgroup.controllers",
    "cgroup.subtree_control",
    "server",
  ]);
});

it("hands on what is delegated and nobody has handed on", async () => {
  write("app/cgroup.controllers", "memory pids\n");
  write("app/cgroup.subtree_control", "");
  const group = await create("0::/app/server\n");
  expect(group?.processFiles).toEqual([join(root, "app/one/cgroup.procs")]);
  // Each by itself: of several none is handed on when one cannot be.
  expect(read("app/cgroup.subtree_control")).toBe("+pids");
});

it("is made below the server's own of each controller of version 1", async () => {
  for (const path of ["memory/app", "pids", "cpu"]) mkdirSync(join(root, path), { recursive: true });
  const group = await create("3:memory:/app\n2:cpu,cpuacct:/\n1:pids:/elsewhere\n0::/\n");
  expect(group?.processFiles).toEqual(
    ["memory/app", "pids", "cpu"].map((path) => join(root, path, "one", "cgroup.procs")),
  );
  expect(read("memory/app/one/memory.limit_in_bytes")).toBe("1000");
  expect(read("pids/one/pids.max")).toBe("10");
  expect(read("cpu/one/cpu.cfs_quota_us")).toBe("150000");
});

it("goes when its server has been killed", async () => {
  const living = executionName("x");
  const [, space = ""] = /^gitwharf-(\d+)\./.exec(living) ?? [];
  const dead = `gitwharf-${space}.${process.pid}.1-x-12345678`;
  for (const parent of ["app", "app/server", "pids", "memory"])
    for (const name of [living, dead, "another"]) mkdirSync(join(root, parent, name), { recursive: true });
  write("own", "2:memory:/\n1:pids:/elsewhere\n0::/app/server\n");
  await removeGroupsLeftBehind({ root, ownFile: join(root, "own") });
  for (const parent of ["app", "app/server", "pids", "memory"])
    expect(
      readdirSync(join(root, parent))
        .filter((name) => name !== "server")
        .toSorted(),
    ).toEqual(["another", living].toSorted());
});

it("is not made where there are none", async () => {
  expect(await create("0::/\n")).toBeUndefined();
  expect(await create("")).toBeUndefined();
});
