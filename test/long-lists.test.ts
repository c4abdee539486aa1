/** Long lists and long files are looked through in slices, or in a worker: others have their turn meanwhile. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { planDigest } from "../src/engine/fetch/plan-request.js";
import { checkSpecialBlobs } from "../src/engine/ingest/special-blobs.js";
import { createNegotiation } from "../src/engine/negotiation.js";
import { areReachable } from "../src/engine/reachability.js";
import type { Repository, Snapshot } from "../src/storage/contracts/repository.js";
import { openDiskRepositoryAt } from "../src/storage/disk/disk-repository-store.js";
import { commitHead, importRepository } from "./support/fast-import.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

/** Far more than fits one slice on any machine. */
const COMMITS = 40_000;

let workspace: GitClient;
let repository: Repository;
let snapshot: Snapshot;
let all: readonly string[];
let tip: string;

beforeAll(async () => {
  workspace = createWorkspace();
  const stream = Array.from({ length: COMMITS }, (_, i) => commitHead("refs/heads/main", i, "x")).join("");
  const served = await importRepository(workspace, "app", stream);
  all = (await served.run("rev-list", "main")).split("\n");
  tip = all[0] as string;
  repository = await openDiskRepositoryAt(served.directory);
  snapshot = await repository.snapshot();
});
afterAll(async () => {
  snapshot.release();
  await repository.close();
  removeDirectory(workspace);
});

/** How often others had a turn while `work` went on. */
async function turnsDuring(work: () => Promise<unknown>): Promise<number> {
  let turns = -1;
  let going = true;
  const turn = (): void => {
    turns++;
    if (going) setImmediate(turn);
  };
  turn();
  await work();
  going = false;
  return turns;
}

describe("others have their turn", () => {
  it("while many objects are looked for, whether or not the answer is known", async () => {
    for (const _ of ["walked", "known"]) {
      const turns = await turnsDuring(async () => {
        expect(await areReachable(snapshot, [...all.slice(1), "e".repeat(40)], [tip])).toEqual([
          "e".repeat(40),
        ]);
      });
      expect(turns).toBeGreaterThan(2);
    }
  });

  it("while the wants of a negotiation are looked at", async () => {
    const negotiation = createNegotiation({ snapshot, wants: all.slice(0, -1) });
    await negotiation.addHave(all.at(-1) as string);
    expect(await turnsDuring(async () => expect(await negotiation.isReady()).toBe(true))).toBeGreaterThan(2);
  });

  it("while a file is looked through that a tree names .gitmodules", async () => {
    const oids: string[] = [];
    for (let i = 0; i < 2; i++) {
      const input = `${`[a]\n\tnumber = ${i}\n`.repeat(100_000)}[submodule "a"]\n\turl = -u\n`;
      const written = await workspace.in("app.git").tryWith({ input }, "hash-object", "-w", "--stdin");
      oids.push(written.stdout.trim());
    }
    const later = await repository.snapshot();
    try {
      const examined = {
        links: { oids: new Uint8Array(0), kinds: new Uint8Array(0) },
        warnings: ["one of a tree"],
        namedBlobs: { gitmodules: new Set(oids), gitattributes: new Set<string>() },
      };
      const check = async (
        severity: "warn" | "error",
        skipList: readonly string[] = [],
      ): Promise<unknown> => {
        const policy = {
          severities: new Map([["gitmodulesurl", severity]]),
          skipList: new Set(skipList),
          strict: true,
        };
        try {
          return await checkSpecialBlobs(later.objects, [examined], { policy });
        } catch (error) {
          return error;
        }
      };
      const said = oids.map((oid) => expect.stringMatching(`^${oid}: gitmodulesUrl: `) as string);
      const turns = await turnsDuring(async () =>
        expect(await check("warn")).toEqual(["one of a tree", ...said]),
      );
      // On this thread it would be one for each read.
      expect(turns).toBeGreaterThan(20);
      expect(await check("error")).toMatchObject({
        code: "object/malformed",
        details: { fsck: "gitmodulesUrl", findings: [expect.stringContaining(`error: object ${oids[0]}`)] },
      });
      expect(await check("error", oids)).toEqual(["one of a tree"]);
    } finally {
      later.release();
    }
  });

  it("while a request is made into a key", async () => {
    const many = Array.from({ length: 1_000_000 }, (_, i) => i.toString(16).padStart(40, "0"));
    const request = {
      wants: [tip],
      haves: many,
      cutAt: [],
      filter: undefined,
      sparseBlobs: [],
      thinPack: true,
      ofsDelta: true,
      tags: [],
      seeds: [],
    };
    const keys = new Set<string>();
    const turns = await turnsDuring(async () => {
      keys.add(await planDigest(snapshot.objects, request, { tagsDigest: "" }));
    });
    expect(turns).toBeGreaterThan(2);
    // All of it counts, and in short lists not the order.
    for (const haves of [many.slice(1), ["1", "2"], ["2", "1"], ["1\n2"], ["1", "2", "3"]])
      keys.add(await planDigest(snapshot.objects, { ...request, haves }, { tagsDigest: "" }));
    expect(keys.size).toBe(5);
  });
});
