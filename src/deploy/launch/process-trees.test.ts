/** Processes of an app by a real executor: what they leave behind ends with them, whatever they make of SIGTERM. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { DEFAULT_EXECUTION_LIMITS } from "../executors/executor.js";
import { createPlainExecutor } from "../executors/plain-executor.js";
import { isAlive } from "../executors/process-tree.js";
import { runRelease } from "../executors/run-release.js";
import { createLauncher, type Launcher } from "./launcher.js";
import { createWorkshop, releaseOf, until, type Workshop } from "./launch.test.support.js";

let workshop: Workshop;
let launcher: Launcher;

beforeEach(() => {
  workshop = createWorkshop();
  const executor = createPlainExecutor({ warn: () => undefined });
  const limits = { ...DEFAULT_EXECUTION_LIMITS, killAfterMs: 200 };
  launcher = createLauncher({
    directory: join(workshop.directory, "apps"),
    runner: {
      run: ({ limits: _limits, ...run }) =>
        runRelease(executor, { ...run, limits: { ...limits, timeoutMs: Infinity } }),
    },
    log: () => undefined,
    restartDelayMs: () => 60_000,
  });
});
afterEach(async () => {
  await launcher.close();
  workshop.remove();
});

/** Those who have written their ids there; one line each. */
async function pidsIn(path: string, count: number): Promise<readonly number[]> {
  let lines: readonly string[] = [];
  await until(() => {
    lines = existsSync(path) ? readFileSync(path, "utf8").trim().split("\n") : [];
    return lines.length === count;
  });
  return lines.map(Number);
}

/** Ignores SIGTERM, with a child that does and a daemon in a session of its own. */
const STUBBORN = `
trap '' TERM
echo $$ >> "$PIDS"
sh -c 'trap "" TERM; echo $$ >> "$PIDS"; while true; do sleep 0.05; done' &
setsid sh -c 'trap "" TERM; echo $$ >> "$PIDS"; while true; do sleep 0.05; done' &
while true; do sleep 0.05; done
`;

describe("a process of an app", () => {
  it("is ended with all that it has started, when it is told to and when the server closes", async () => {
    const slugPath = workshop.slug({ "stubborn.sh": STUBBORN });
    const pids = (name: string): string => join(workshop.directory, name);
    const release = (name: string): ReturnType<typeof releaseOf> =>
      releaseOf({ slugPath, processTypes: { worker: "sh stubborn.sh" }, config: { PIDS: pids(name) } });
    await launcher.launch(release("first"), { formation: { worker: 1 } });
    const first = await pidsIn(pids("first"), 3);
    expect(first.every(isAlive)).toBe(true);
    await launcher.scale("shop", { worker: 0 });
    expect(first.filter(isAlive)).toEqual([]);
    await launcher.launch(release("second"), { formation: { worker: 1 } });
    const second = await pidsIn(pids("second"), 3);
    await launcher.close();
    expect(second.filter(isAlive)).toEqual([]);
  });

  it("that ends by itself takes along what it has left behind", async () => {
    const path = join(workshop.directory, "pids");
    const left = `setsid sh -c 'echo $$ >> "$PIDS"; exec sleep 600' & until test -s "$PIDS"; do sleep 0.01; done; exit 3`;
    const release = releaseOf({
      slugPath: workshop.slug({ a: "" }),
      processTypes: { worker: left },
      config: { PIDS: path },
    });
    await launcher.launch(release, { formation: { worker: 1 } });
    const [pid = 0] = await pidsIn(path, 1);
    await until(() => launcher.processes("shop")?.[0]?.state === "crashed");
    expect(isAlive(pid)).toBe(false);
  });
});
