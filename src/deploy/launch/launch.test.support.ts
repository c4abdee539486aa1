/** What the tests of launching stand on: processes without a sandbox, state in memory, slugs of a few files. */
import { spawn, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as setTimeoutPromise } from "node:timers/promises";
import type { Formation, LaunchRecords, LaunchRelease } from "./launch-release.js";
import type { ProcessEnd, ProcessRunner } from "./process-runner.js";

/** SIGTERM to the group, SIGKILL after a second. */
export const plainRunner: ProcessRunner = {
  run: ({ directory, command, environment, signal, onOutput }) =>
    new Promise<ProcessEnd>((resolve) => {
      if (signal.aborted) {
        resolve({ status: undefined, ended: "it was not to begin" });
        return;
      }
      const child = spawn("/bin/sh", ["-c", command], {
        cwd: directory,
        env: { ...environment },
        detached: true,
        stdio: ["ignore", "pipe", "pipe"],
      });
      const kill = (name: NodeJS.Signals): void => {
        try {
          if (child.pid !== undefined) process.kill(-child.pid, name);
        } catch {
          // It has gone.
        }
      };
      let killer: NodeJS.Timeout | undefined;
      const onAbort = (): void => {
        kill("SIGTERM");
        killer = setTimeout(() => kill("SIGKILL"), 1000);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      const hand = async (stream: NodeJS.ReadableStream): Promise<void> => {
        for await (const chunk of stream) await onOutput(chunk as Buffer);
      };
      const outputs = Promise.all([hand(child.stdout), hand(child.stderr)]).catch(() => undefined);
      const end = (status: number | undefined): void => {
        clearTimeout(killer);
        signal.removeEventListener("abort", onAbort);
        kill("SIGKILL");
        void outputs.then(() => resolve({ status }));
      };
      child.once("error", () => end(undefined));
      child.once("exit", (status) => end(status ?? undefined));
    }),
};

export interface Workshop {
  readonly directory: string;
  /** A tar of these files. */
  slug(files: Readonly<Record<string, string>>): string;
  remove(): void;
}

export function createWorkshop(): Workshop {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-launch-"));
  let slugs = 0;
  return {
    directory,
    slug(files) {
      const from = join(directory, `slug-${++slugs}`);
      mkdirSync(from);
      for (const [path, text] of Object.entries(files)) {
        mkdirSync(dirname(join(from, path)), { recursive: true });
        writeFileSync(join(from, path), text);
      }
      const { status } = spawnSync("tar", ["--create", "--file", `${from}.tar`, "--directory", from, "."]);
      if (status !== 0) throw new Error("tar failed");
      return `${from}.tar`;
    },
    remove: () => rmSync(directory, { recursive: true, force: true, maxRetries: 3 }),
  };
}

let numbers = 0;

/** A release of its own number. */
export function releaseOf(
  given: Partial<LaunchRelease> & Pick<LaunchRelease, "slugPath" | "processTypes">,
): LaunchRelease {
  const number = given.number ?? ++numbers;
  return {
    id: `release-${number}`,
    app: "shop",
    number,
    commit: "0123456789".repeat(4),
    config: {},
    createdAt: 0,
    createdBy: "ada",
    status: "pending",
    ...given,
  };
}

export interface MemoryRecords extends LaunchRecords {
  /** As a build would. */
  add(release: LaunchRelease): void;
}

export function createMemoryRecords(): MemoryRecords {
  let releases: readonly LaunchRelease[] = [];
  const current = new Map<string, string>();
  const formations = new Map<string, Formation>();
  const configs = new Map<string, Readonly<Record<string, string>>>();
  const ofApp = (app: string): readonly LaunchRelease[] =>
    releases.filter((one) => one.app === app).toSorted((a, b) => b.number - a.number);
  const copy = (from: LaunchRelease, changes: Partial<LaunchRelease>): LaunchRelease => {
    const number = (ofApp(from.app)[0]?.number ?? 0) + 1;
    const made = { ...from, ...changes, id: `${from.app}-${number}`, number, status: "pending" };
    releases = [...releases, made];
    return made;
  };
  const currentOf = (app: string): LaunchRelease | undefined =>
    releases.find(({ id }) => id === current.get(app));
  return {
    add: (release) => {
      releases = [...releases, release];
    },
    listApps: async () => [...new Set(releases.map(({ app }) => app))],
    listReleases: async (app, max) => ofApp(app).slice(0, max),
    currentRelease: async (app) => currentOf(app),
    formationOf: async (app) => formations.get(app),
    async setFormation(app, formation) {
      formations.set(app, formation);
    },
    configOf: async (app) => configs.get(app) ?? {},
    async changeConfig(app, changes, by) {
      const merged = Object.entries({ ...configs.get(app), ...changes });
      const config = Object.fromEntries(
        merged.filter((entry): entry is [string, string] => entry[1] !== null),
      );
      configs.set(app, config);
      const from = currentOf(app);
      return from === undefined ? undefined : copy(from, { config, createdBy: by });
    },
    async copyRelease(app, number, by) {
      const from = ofApp(app).find((one) => one.number === number && one.status === "launched");
      return from === undefined ? undefined : copy(from, { createdBy: by });
    },
    async unfinishedRelease(app) {
      const [newest] = ofApp(app);
      return newest?.status === "pending" && newest.number > (currentOf(app)?.number ?? 0)
        ? newest
        : undefined;
    },
    async settleRelease(id, outcome) {
      releases = releases.map((one) => (one.id === id ? { ...one, status: outcome } : one));
      const app = releases.find((one) => one.id === id)?.app;
      if (app !== undefined && outcome === "launched") current.set(app, id);
    },
  };
}

/** Looks again until it holds, for twenty seconds at least. */
export async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  for (let looks = 0; !(await holds()); looks++) {
    if (looks > 2000) throw new Error("it does not happen");
    await setTimeoutPromise(10);
  }
}
