/** A process that changes refs, for tests of several at once. It sends how many of its changes were made. */
import type { RefStore } from "../../contracts/ref-store.js";
import { createRandom } from "./git-refs.test.support.js";
import { openFilesRefStore } from "./files-ref-store.js";
import { openReftableRefStore } from "./reftable/reftable-ref-store.js";

export interface ChangeRefsTask {
  readonly gitDirectory: string;
  readonly commits: readonly string[];
  /** `count`: swap refs/heads/main for the next commit, `rounds` times. `create-many`: make the same refs as others. */
  readonly action: "count" | "create-many" | "churn";
  readonly rounds: number;
  readonly seed: number;
  /** @default "files" */
  readonly refFormat?: "files" | "reftable";
}

async function count(store: RefStore, { commits, rounds }: ChangeRefsTask): Promise<number> {
  let won = 0;
  while (won < rounds) {
    const oldOid = (await store.snapshot()).get("refs/heads/main")?.oid ?? "";
    const newOid = commits[(commits.indexOf(oldOid) + 1) % commits.length] ?? "";
    const [result] = await store.transact({
      updates: [{ name: "refs/heads/main", oldOid, newOid }],
      atomic: false,
    });
    if (result?.ok === true) won++;
  }
  return won;
}

async function createMany(store: RefStore, { commits, seed }: ChangeRefsTask): Promise<number> {
  let won = 0;
  for (let batch = 0; batch < 4; batch++) {
    const updates = Array.from({ length: 100 }, (_, i) => ({
      name: `refs/heads/many/${batch}-${i}`,
      oldOid: null,
      newOid: commits[seed] ?? "",
    }));
    for (let left = updates; left.length > 0; ) {
      const results = await store.transact({ updates: left, atomic: false });
      won += results.filter(({ ok }) => ok).length;
      left = left.filter((_, i) => {
        const result = results[i];
        return result?.ok === false && result.code === "locked";
      });
    }
  }
  return won;
}

/** Until it is killed: makes, moves and deletes, one and many. */
async function churn(store: RefStore, { commits, rounds, seed }: ChangeRefsTask): Promise<number> {
  const random = createRandom(seed);
  let won = 0;
  for (let round = 0; round < rounds; round++) {
    const many = random(4) === 0 ? 60 : 3;
    const updates = Array.from({ length: many }, (_, i) => ({
      name: `refs/heads/churn/${i}`,
      oldOid: undefined,
      newOid: random(3) === 0 ? null : (commits[random(commits.length)] ?? ""),
    }));
    const results = await store.transact({ updates, atomic: random(2) === 0 });
    won += results.filter(({ ok }) => ok).length;
  }
  return won;
}

const task = JSON.parse(process.argv[2] ?? "{}") as ChangeRefsTask;
const options = { gitDirectory: task.gitDirectory, objectFormat: "sha1" } as const;
const store = task.refFormat === "reftable" ? openReftableRefStore(options) : openFilesRefStore(options);
const actions = { count, "create-many": createMany, churn };
process.send?.(await actions[task.action](store, task));
await store.close();
process.disconnect?.();
