/**
 * A process for `crash-safety.test.ts`: pushes commits to one ref of a repository, one after the other, and writes a
 * line for each that it would acknowledge, until it is killed.
 *
 *     node publish-forever.test.process.js DIRECTORY NAME REF
 */
import { writeSync } from "node:fs";
import { finishPack, sampleCommit } from "../contracts/suites/sample-objects.js";
import { createDiskRepositoryStore } from "./disk-repository-store.js";

const [directory = "", name = "", ref = "", countMax = "1000000"] = process.argv.slice(2);
const store = createDiskRepositoryStore({ directory });
const repository = await store.open(name);
if (repository === undefined) throw new Error(`there is no repository '${name}'`);
const { objectFormat } = repository;
const before = await repository.snapshot();
let parent = before.refs.get(ref)?.oid ?? null;
before.release();
for (let i = 0; i < Number(countMax); i++) {
  const { commit, objects } = sampleCommit(
    objectFormat,
    `${ref} ${process.pid} ${i}`,
    parent === null ? [] : [parent],
  );
  const quarantine = await repository.openQuarantine();
  await finishPack(await quarantine.createPack(), objectFormat, objects);
  await quarantine.publish();
  const update = { name: ref, oldOid: parent, newOid: commit.oid };
  const [result] = await repository.refs.transact({ updates: [update], atomic: true });
  await quarantine.discard();
  if (result?.ok !== true) throw new Error(`the push failed: ${JSON.stringify(result)}`);
  parent = commit.oid;
  writeSync(1, `${commit.oid}\n`);
}
await repository.close();
await store.close();
