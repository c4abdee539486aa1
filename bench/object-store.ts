/**
 * `npm run bench:object-store -- [--part NAME]… [--bucket directory|ceph] [--write] [--results DIRECTORY]
 * [--repositories N] [--versions N] [--forks N]`: the object store beside gitwharf over directories, `git http-backend`, and a
 * bucket in which each object has a key of its own. Needs Linux, root (control groups) and the Debian packages nginx-light and
 * fcgiwrap; with `--bucket ceph` it starts Ceph's RADOS gateway and PostgreSQL, as the tests do.
 *
 * Each part takes some minutes on two cores and stands by itself. What it has found is kept in the directory of results, and
 * `--write` makes docs/benchmarks-object-store.md of all that is there (with `--part none`: of what is there already).
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { compareKeys } from "./object-store/compare-keys.js";
import { compare } from "./object-store/compare.js";
import type { Table } from "./object-store/figures.js";
import { type Ground, type GroundKind, openGround } from "./object-store/ground.js";
import { many } from "./object-store/many.js";
import { formatPage, keepResult, machine, type PartTitle } from "./object-store/results.js";
import { pushToForks, pushVersions } from "./object-store/versions.js";

interface Part extends PartTitle {
  readonly run: (ground: Ground) => Promise<readonly Table[]>;
}

const { values } = parseArgs({
  options: {
    part: { type: "string", multiple: true, default: [] },
    bucket: { type: "string", default: "directory" },
    write: { type: "boolean", default: false },
    results: { type: "string", default: join(tmpdir(), "gitwharf-bench-object-store-results") },
    repositories: { type: "string", default: "10000" },
    versions: { type: "string", default: "6" },
    forks: { type: "string", default: "5" },
  },
});
const versions = Number(values.versions);

const PARTS: readonly Part[] = [
  {
    part: "small",
    title: "A repository of 1,000 objects",
    run: (ground) => compare(ground, "small"),
  },
  {
    part: "large",
    title: "A repository of 100,000 objects",
    run: (ground) => compare(ground, "large"),
  },
  {
    part: "keys-small",
    title: "Beside one key an object: 1,000 objects",
    run: (ground) => compareKeys(ground, "small"),
  },
  {
    part: "keys-large",
    title: "Beside one key an object: 100,000 objects",
    run: (ground) => compareKeys(ground, "large"),
  },
  {
    part: "many",
    title: "Many repositories and forks",
    run: (ground) => many(ground, Number(values.repositories)),
  },
  {
    part: "whole",
    title: "Versions of a binary of 50 MiB, sent whole",
    run: (ground) => pushVersions(ground, { how: "whole", versions }),
  },
  {
    part: "deltas",
    title: "Versions of a binary of 50 MiB, sent as deltas",
    run: (ground) => pushVersions(ground, { how: "as deltas", versions }),
  },
  {
    part: "forks",
    title: "Forks of a repository with a binary of 50 MiB",
    run: (ground) => pushToForks(ground, { forks: Number(values.forks) }),
  },
];

const kind: GroundKind = values.bucket === "ceph" ? "ceph" : "directory";
const unknown = values.part.find((name) => name !== "none" && PARTS.every(({ part }) => part !== name));
if (unknown !== undefined)
  throw new Error(`there is no part ${unknown}, but ${PARTS.map(({ part }) => part).join(", ")}`);
const wanted = PARTS.filter(({ part }) => values.part.length === 0 || values.part.includes(part));
for (const { part, run } of wanted) await runPart(part, run);
if (values.write) writeFileSync("docs/benchmarks-object-store.md", formatPage(values.results, PARTS));

async function runPart(part: string, run: Part["run"]): Promise<void> {
  const work = mkdtempSync(join(tmpdir(), "gitwharf-bench-object-store-"));
  const [loadBefore = 0] = loadavg();
  const begun = performance.now();
  let ground: Ground | undefined;
  console.log(`${part} on ${kind}; load average ${loadBefore.toFixed(1)}`);
  try {
    ground = await openGround(kind, work);
    const tables = await run(ground);
    keepResult(values.results, {
      part,
      ground: kind,
      command: `npm run bench:object-store -- --part ${part}${kind === "ceph" ? " --bucket ceph" : ""}`,
      date: new Date().toISOString().slice(0, 10),
      seconds: (performance.now() - begun) / 1000,
      loadBefore,
      machine: machine(),
      tables,
    });
  } finally {
    await ground?.close();
    rmSync(work, { recursive: true, force: true });
  }
  console.log(`${part} on ${kind}: ${((performance.now() - begun) / 1000).toFixed(0)} s`);
}
