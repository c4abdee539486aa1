/** Pushes as bytes, of commits that git has made: to be sent in pieces. */
import { randomBytes } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { spawnSync } from "node:child_process";
import type { GitClient } from "./git-client.js";
import { formatCommands } from "./raw-push.js";

export interface MadePush {
  readonly ref: string;
  readonly oid: string;
  /** The whole body of the request. */
  readonly body: Buffer;
}

/**
 * Commits on nothing but themselves, each with its own ref.
 * @param sizes bytes of the file in each of them; they do not deflate
 */
export async function makePushes(
  client: GitClient,
  sizes: readonly number[],
  capabilities = "report-status",
): Promise<readonly MadePush[]> {
  const pushes: MadePush[] = [];
  for (const [i, size] of sizes.entries()) {
    writeFileSync(join(client.directory, "file"), randomBytes(size));
    await client.run("add", "file");
    const tree = await client.run("write-tree");
    const oid = await client.run("commit-tree", "-m", `push ${i}`, tree);
    const packed = spawnSync("git", ["pack-objects", "-q", "--stdout", "--revs"], {
      cwd: client.directory,
      input: `${oid}\n`,
      maxBuffer: 1 << 28,
    });
    if (packed.status !== 0) throw new Error(packed.stderr.toString());
    const ref = `refs/heads/push-${i}`;
    const commands = Buffer.from(formatCommands([{ newOid: oid, name: ref }], capabilities));
    pushes.push({ ref, oid, body: Buffer.concat([commands, packed.stdout]) });
  }
  return pushes;
}
