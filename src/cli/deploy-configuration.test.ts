import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { checkDeployConfiguration, DEPLOY_KEYS } from "./deploy-configuration.js";

const problemOf = (value: unknown): string => {
  try {
    checkDeployConfiguration(value);
    return "";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

/** What is good and what is not, of every option. */
const CASES: Readonly<
  Record<string, { readonly good: readonly unknown[]; readonly bad: readonly unknown[] }>
> = {
  executor: {
    good: ["sandbox", "dyno", { run: () => undefined }, { meet: () => undefined }],
    bad: ["docker", {}, 1, ""],
  },
  sandbox: {
    good: [{}, { readOnlyPaths: ["/opt"], user: { uid: 1, gid: 1 }, controlGroups: "never" }],
    bad: [[], "bwrap", { programm: "bwrap" }, { controlGroups: "yes" }, { user: { uid: "1", gid: 1 } }],
  },
  container: {
    good: [{ image: "node", program: "docker" }],
    bad: [{}, { image: "" }, { image: "a", network: 1 }],
  },
  dyno: {
    good: [{}, { apiKey: "a", rendezvousPort: 4000, idleTimeoutMs: 1 }],
    bad: [[], "key", { apiKey: "" }, { apiserverKey: "a" }, { rendezvousPort: "4000" }],
  },
  database: { good: ["sqlite:x"], bad: ["", {}] },
  directory: { good: ["deploy"], bad: ["", 1] },
  apps: { good: [[], ["shop"]], bad: ["shop", [1], [""]] },
  newApps: { good: ["declared", "always", "never"], bad: [true, "push"] },
  branch: { good: ["main"], bad: ["", 1] },
  buildpacks: { good: [[{ name: "a", directory: "b" }]], bad: [{}, [{ name: "a" }], ["a"]] },
  allowedBuildpacks: { good: [["https://github.com/heroku/*"]], bad: ["*", [null]] },
  network: { good: [true, false, "when-asked"], bad: ["asked", 1] },
  buildLimits: {
    good: [{ timeoutMs: 1 }, { processors: 1.5 }],
    bad: [[], { timeout: 1 }, { timeoutMs: "1" }, { timeoutMs: 0 }],
  },
  processLimits: { good: [{ memoryBytesMax: 1 }], bad: [{ memory: 1 }] },
  stack: { good: ["heroku-24"], bad: [24] },
  path: { good: ["/bin"], bad: [["/bin"]] },
  onBuildFailure: { good: ["refuse", "accept"], bad: [true, "reject"] },
  concurrencyMax: { good: [1], bad: [0, 1.5, "1"] },
  pushTimeoutMs: { good: [1, Infinity], bad: [0, -1, Number.NaN, "1"] },
  leaseMs: { good: [1], bad: [0] },
  claimsMax: { good: [1], bad: [0] },
  releasesKept: { good: [1], bad: [0] },
  buildsKept: { good: [1], bad: [0] },
  domain: { good: ["example.org"], bad: ["", 1] },
  hosts: { good: [{ "www.example.org": "shop" }], bad: [["shop"], { "www.example.org": 1 }] },
  url: { good: ["https://APP.example.org"], bad: ["https://example.org", "APP", 1] },
  health: { good: [{ path: "/", timeoutMs: 1 }], bad: ["/", { pathh: "/" }, { timeoutMs: 0 }] },
  drainMs: { good: [1], bad: [-1] },
  environment: { good: [{ LANG: "C" }], bad: ["LANG=C", { LANG: 1 }] },
  times: { good: [{ connectMs: 1 }], bad: [1, { connect: 1 }, { connectMs: 0 }] },
  requestsMax: { good: [1], bad: [0, 1.5] },
};

describe("the configuration of push to deploy", () => {
  it("has a case here, and a row in docs/configuration.md, for every option", () => {
    expect(Object.keys(CASES).toSorted()).toEqual(DEPLOY_KEYS.toSorted());
    const page = readFileSync(new URL("../../../docs/configuration.md", import.meta.url), "utf8");
    const table = page.split("## Push to deploy")[1]?.split("\n## ")[0] ?? "";
    const rows = [...table.matchAll(/^\| (`[^|]*`) \|/gm)].flatMap(([, cell = ""]) =>
      [...cell.matchAll(/`(\w+)`/g)].map(([, name = ""]) => name),
    );
    expect(rows.toSorted()).toEqual(DEPLOY_KEYS.toSorted());
  });

  for (const [name, { good, bad }] of Object.entries(CASES)) {
    it(`takes a good ${name}, and says what is wrong with another`, () => {
      for (const value of good) expect([value, problemOf({ [name]: value })]).toEqual([value, ""]);
      for (const value of bad)
        expect([value, problemOf({ [name]: value })]).toEqual([
          value,
          expect.stringMatching(new RegExp(`^deploy\\.${name} is `)),
        ]);
    });
  }

  it("is all or nothing, and knows no other options", () => {
    expect(checkDeployConfiguration(undefined)).toBeUndefined();
    expect(checkDeployConfiguration(false)).toBeUndefined();
    expect(checkDeployConfiguration(true)).toEqual({});
    for (const value of [null, [], "sandbox", 1]) expect(problemOf(value)).toContain("deploy is true, false");
    expect(problemOf({ brnach: "main" })).toMatch(/^deploy has no 'brnach'; known are executor, /);
    expect(problemOf({ executor: "container" })).toContain("needs deploy.container.image");
  });
});
