/**
 * What git's sample post-update hook does: `info/refs` and `objects/info/packs` for clients that read a repository as
 * plain files, from whatever serves those. Specification: git-update-server-info, gitprotocol-http ("Dumb Clients").
 *
 *     info/refs            ID TAB NAME LF, of each ref by name; after a tag ID TAB NAME ^{} LF of what it leads to
 *     objects/info/packs   P SPACE FILE LF, of each pack; an empty line
 */
import { randomUUID } from "node:crypto";
import { mkdir, readdir, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { peelTag } from "../engine/peel.js";
import type { Repository, Snapshot } from "../storage/contracts/repository.js";
import { findCommonDirectory } from "./hook-caller.js";

/** Refs that move while they are written down are written down again. */
const ROUNDS_MAX = 10;

type InfoRepository = Pick<Repository, "name" | "gitDirectory" | "snapshot">;

/** One at a time for a repository; who comes meanwhile is served by one round more. */
export function createServerInfo(): (repository: InfoRepository) => Promise<void> {
  const running = new Map<string, Promise<void>>();
  return async (repository) => {
    const { gitDirectory } = repository;
    if (gitDirectory === undefined) return;
    const before = running.get(gitDirectory) ?? Promise.resolve();
    const mine = before.catch(() => undefined).then(() => write(repository, gitDirectory));
    running.set(gitDirectory, mine);
    try {
      await mine;
    } finally {
      if (running.get(gitDirectory) === mine) running.delete(gitDirectory);
    }
  };
}

async function write(repository: InfoRepository, gitDirectory: string): Promise<void> {
  const common = await findCommonDirectory(gitDirectory);
  let written: string | undefined;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const snapshot = await repository.snapshot();
    try {
      if (snapshot.refs.version === written) break;
      await replace(join(common, "info", "refs"), await formatRefs(snapshot));
      written = snapshot.refs.version;
    } finally {
      snapshot.release();
    }
  }
  await replace(join(common, "objects", "info", "packs"), await formatPacks(join(common, "objects", "pack")));
}

async function formatRefs({ refs, objects }: Snapshot): Promise<string> {
  const lines: string[] = [];
  for (const { oid, name } of refs.all) {
    lines.push(`${oid}\t${name}\n`);
    const peeled = await peelTag(objects, oid);
    if (peeled !== undefined && peeled.oid !== oid) lines.push(`${peeled.oid}\t${name}^{}\n`);
  }
  return lines.join("");
}

/** Those of the repository itself. */
async function formatPacks(directory: string): Promise<string> {
  const names = new Set(await readdir(directory).catch(() => [] as string[]));
  const packs = [...names].filter(
    (name) => /^pack-[0-9a-f]+\.pack$/.test(name) && names.has(name.replace(/\.pack$/, ".idx")),
  );
  return `${packs
    .toSorted()
    .map((name) => `P ${name}\n`)
    .join("")}\n`;
}

/** Readers find the old file or the new one. */
async function replace(path: string, text: string): Promise<void> {
  const temporary = `${path}-${randomUUID()}`;
  await mkdir(dirname(path), { recursive: true });
  try {
    await writeFile(temporary, text);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}
