import { describe, expect, it } from "vitest";
import { GitwharfError } from "../base/errors.js";
import type { Push, PushedRef } from "../engine/push.js";
import { appNameOf, createNewAppHandlers, type NewApps } from "./new-apps.js";
import type { DeployState } from "./state/deploy-state.js";

interface Made {
  readonly name: string;
  readonly repository: string;
  readonly branch: string;
  readonly createdBy: string;
}

/** What one push of `main` makes, and what its pusher reads. */
async function push(about: {
  readonly newApps?: NewApps;
  readonly repository?: string;
  readonly files?: readonly string[];
  readonly ref?: Partial<PushedRef>;
  readonly there?: readonly Pick<Made, "name" | "repository">[];
}): Promise<{ readonly made: readonly Made[]; readonly printed: string }> {
  const { newApps = "declared", repository = "shop", files = ["Procfile"], there = [] } = about;
  const made: Made[] = [];
  let printed = "";
  const state = {
    apps: { findByRepository: async (name: string) => there.find((one) => one.repository === name) },
    async createApp(app: Made) {
      if (there.some(({ name }) => name === app.name)) throw new GitwharfError("storage/exists", "taken");
      made.push(app);
      return app;
    },
  } as unknown as DeployState;
  const given = {
    repository: { name: repository },
    identity: { user: "ada" },
    print: async (text: string) => void (printed += text),
  } as unknown as Push;
  const update = {
    kind: "branch",
    shortName: "main",
    deleted: false,
    file: async (path: string) => (files.includes(path) ? {} : undefined),
    ...about.ref,
  } as unknown as PushedRef;
  const handlers = createNewAppHandlers({ state, newApps, branch: "main" });
  expect(await handlers.update?.(given, update)).toBeUndefined();
  return { made, printed };
}

describe("a first push", () => {
  it("makes an app of what says how it is built or run, of everything, or of nothing", async () => {
    const app = { name: "shop", repository: "shop", branch: "main", createdBy: "ada" };
    const creates = { made: [app], printed: "-----> Creating app shop\n" };
    const leaves = { made: [], printed: "" };
    expect(await push({ files: ["Procfile"] })).toEqual(creates);
    expect(await push({ files: ["gitwharf.yml"] })).toEqual(creates);
    expect(await push({ files: ["README.md", "index.html"] })).toEqual(leaves);
    expect(await push({ newApps: "always", files: [] })).toEqual(creates);
    expect(await push({ newApps: "never" })).toEqual(leaves);
  });

  it("makes none of another branch, of a tag, of one that goes, and none a second time", async () => {
    for (const ref of [{ shortName: "next" }, { kind: "tag" as const }, { deleted: true }])
      expect((await push({ newApps: "always", ref })).made).toEqual([]);
    expect(await push({ there: [{ name: "other", repository: "shop" }] })).toEqual({ made: [], printed: "" });
  });

  it("is stored and says why when no app can be called so, or another one is", async () => {
    const taken = await push({ repository: "team/shop", there: [{ name: "team-shop", repository: "x" }] });
    expect(taken).toEqual({
      made: [],
      printed:
        " !     Not deployed: there is another app called team-shop; `gitwharf apps create NAME --repository team/shop`\n",
    });
    const odd = await push({ repository: "2048" });
    expect([odd.made, odd.printed]).toEqual([[], expect.stringContaining("no app can be called 2048")]);
  });
});

it.each([
  ["shop", "shop"],
  ["team/Shop_2.0", "team-shop-2-0"],
  ["2048", undefined],
  ["-a", undefined],
  ["a_", undefined],
  ["x".repeat(64), undefined],
])("the app of %s is called %s", (repository, name) => expect(appNameOf(repository)).toBe(name));
