/** When a server folds by itself, and when it leaves a repository alone. */
import { describe, expect, it } from "vitest";
import type {
  GarbageCollection,
  PackMaintenance,
  PackSurvey,
} from "../../storage/contracts/pack-maintenance.js";
import type { Repository } from "../../storage/contracts/repository.js";
import type { RepositorySettings } from "../../storage/contracts/repository-settings.js";
import { createMemoryRepositoryStore } from "../../storage/memory/memory-repository-store.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../../storage/repository-settings-defaults.js";
import { type BackgroundMaintenance, createBackgroundMaintenance } from "./background-maintenance.js";

interface Watched {
  readonly maintenance: BackgroundMaintenance;
  /** Names of repositories, as their packs were asked for. */
  readonly begun: string[];
  /** The same of whose garbage was to be collected. */
  readonly collected: string[];
  readonly failures: string[];
  readonly opened: () => number;
}

function watch(options: {
  readonly packCount: number;
  readonly settings?: Partial<RepositorySettings>;
  readonly begin?: (name: string) => ReturnType<PackMaintenance["begin"]>;
  /** Where garbage can be collected. */
  readonly survey?: () => Partial<PackSurvey>;
  readonly onCollection?: () => void;
  readonly quietMs?: number;
}): Watched {
  const begun: string[] = [];
  const collected: string[] = [];
  const failures: string[] = [];
  let open = 0;
  const store = createMemoryRepositoryStore();
  const maintenance = createBackgroundMaintenance({
    store: {
      async open(name) {
        const inner = (await store.open(name)) ?? (await store.create(name));
        open++;
        const { survey } = options;
        const garbage: GarbageCollection = {
          graceMs: 1000,
          survey: async () => ({
            newPacks: 1,
            newBytes: 0,
            bytes: 1,
            unreachableForMs: undefined,
            ...survey?.(),
          }),
          async begin() {
            collected.push(name);
            options.onCollection?.();
            return undefined;
          },
        };
        const packMaintenance: PackMaintenance = {
          ...(survey === undefined ? {} : { garbage }),
          countFoldable: async () => options.packCount,
          async begin() {
            begun.push(name);
            return options.begin?.(name);
          },
        };
        const close = async (): Promise<void> => void open--;
        return Object.assign(Object.create(inner) as Repository, { packMaintenance, close });
      },
    },
    ...(options.quietMs === undefined ? {} : { quietMs: options.quietMs }),
    settingsOf: async () => ({ ...DEFAULT_REPOSITORY_SETTINGS, ...options.settings }),
    onFailure: (name) => failures.push(name),
  });
  return { maintenance, begun, collected, failures, opened: () => open };
}

describe("maintenance in the background", () => {
  it("begins above the limit only, once for many pushes, and gives the repository back", async () => {
    const few = watch({ packCount: 50 });
    few.maintenance.afterPush("app");
    await few.maintenance.settled();
    expect(few.begun).toEqual([]);
    const many = watch({ packCount: 51 });
    for (let i = 0; i < 5; i++) many.maintenance.afterPush("app");
    many.maintenance.afterPush("other");
    expect(many.begun).toEqual([]);
    await many.maintenance.settled();
    expect(many.begun).toEqual(["app", "other"]);
    expect([few.opened(), many.opened()]).toEqual([0, 0]);
  });

  it.each<[string, Partial<RepositorySettings>]>([
    ["gc.auto = 0", { gc: { auto: 0, autoPackLimit: 50 } }],
    ["gc.auto = -1", { gc: { auto: -1, autoPackLimit: 50 } }],
    ["gc.autoPackLimit = 0", { gc: { auto: 1, autoPackLimit: 0 } }],
    ["receive.autogc = false", { receive: { ...DEFAULT_REPOSITORY_SETTINGS.receive, autoGc: false } }],
  ])("does nothing with %s", async (_, settings) => {
    const { maintenance, begun } = watch({ packCount: 1000, settings });
    maintenance.afterPush("app");
    await maintenance.settled();
    expect(begun).toEqual([]);
  });

  it("works on one repository at a time", async () => {
    let atWork = 0;
    let most = 0;
    const { maintenance, begun } = watch({
      packCount: 99,
      async begin() {
        most = Math.max(most, ++atWork);
        await new Promise((resolve) => setImmediate(resolve));
        atWork--;
        return undefined;
      },
    });
    for (const name of ["a", "b", "c"]) maintenance.afterPush(name);
    await maintenance.settled();
    expect(begun).toEqual(["a", "b", "c"]);
    expect(most).toBe(1);
  });

  it("tells of a failure once and leaves that repository alone for a while", async () => {
    const { maintenance, begun, failures, opened } = watch({
      packCount: 99,
      async begin(name) {
        if (name === "bad") throw new Error("damaged");
        return undefined;
      },
    });
    for (let i = 0; i < 3; i++) {
      maintenance.afterPush("bad");
      maintenance.afterPush("good");
      await maintenance.settled();
    }
    expect(failures).toEqual(["bad"]);
    expect(begun.filter((name) => name === "bad")).toHaveLength(1);
    expect(begun.filter((name) => name === "good")).toHaveLength(3);
    expect(opened()).toBe(0);
  });

  it("waits for what runs when it is closed, and begins nothing more", async () => {
    let ended = false;
    let entered: (() => void) | undefined;
    const inside = new Promise<void>((resolve) => (entered = resolve));
    const { maintenance, begun, failures } = watch({
      packCount: 99,
      async begin() {
        entered?.();
        await new Promise((resolve) => setImmediate(resolve));
        ended = true;
        throw new Error("too late to matter");
      },
    });
    maintenance.afterPush("app");
    maintenance.afterPush("other");
    await inside;
    await maintenance.close();
    expect(ended).toBe(true);
    maintenance.afterPush("third");
    await maintenance.settled();
    expect(begun).toEqual(["app"]);
    expect(failures).toEqual([]);
  });

  it("collects the garbage of what was pushed when nobody pushes any more, and of many packs at once", async () => {
    const much = { newBytes: 16 * 1024 * 1024, bytes: 16 * 1024 * 1024 };
    const early = watch({ packCount: 1, survey: () => much });
    for (let i = 0; i < 3; i++) {
      early.maintenance.afterPush("app");
      await early.maintenance.settled();
    }
    expect([early.collected, early.begun, early.opened()]).toEqual([[], [], 0]);
    await early.maintenance.close();
    let reached = (): void => undefined;
    const collection = new Promise<void>((resolve) => (reached = resolve));
    const later = watch({ packCount: 1, survey: () => much, quietMs: 1, onCollection: () => reached() });
    later.maintenance.afterPush("app");
    await collection;
    await later.maintenance.close();
    expect([later.collected, later.failures, later.opened()]).toEqual([["app"], [], 0]);
    for (const survey of [{ ...much, newPacks: 51 }, { unreachableForMs: 1000 }]) {
      const { maintenance, collected, begun } = watch({ packCount: 51, survey: () => survey });
      maintenance.afterPush("app");
      await maintenance.settled();
      expect([collected, begun]).toEqual([["app"], []]);
    }
  });

  it("asks now and then for those that nobody pushes to", async () => {
    const opened: string[] = [];
    let asked = 0;
    let enough = (): void => undefined;
    const twice = new Promise<void>((resolve) => (enough = resolve));
    const maintenance = createBackgroundMaintenance({
      store: {
        async open(name) {
          opened.push(name);
          if (opened.length >= 4) enough();
          return undefined;
        },
        async *unattended() {
          if (++asked === 2) throw new Error("the database is away");
          yield "quiet";
          yield "silent";
        },
      },
      everyMs: 1,
      settingsOf: async () => DEFAULT_REPOSITORY_SETTINGS,
      onFailure: (name) => expect.fail(name),
    });
    await twice;
    await maintenance.close();
    expect(asked).toBeGreaterThanOrEqual(3);
    expect(new Set(opened)).toEqual(new Set(["quiet", "silent"]));
  });
});
