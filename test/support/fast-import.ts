/** Input for `git fast-import`, and repositories made of it. */
import type { GitClient } from "./git-client.js";

/** A `data` command. */
export const data = (text: string): string => `data ${Buffer.byteLength(text)}\n${text}\n`;

/** The head of a commit, `seconds` after a fixed time; file commands may follow. */
export const commitHead = (branch: string, seconds: number, message: string): string =>
  `commit ${branch}\ncommitter Ada <ada@example.org> ${1_600_000_000 + seconds} +0000\n${data(message)}`;

/** A bare repository `NAME.git` in the client's directory. */
export async function importRepository(
  workspace: GitClient,
  name: string,
  stream: string,
): Promise<GitClient> {
  await workspace.run("init", "-q", "--bare", `${name}.git`);
  const repository = workspace.in(`${name}.git`);
  const imported = await repository.tryWith(
    { input: stream },
    "-c",
    "core.fsync=none",
    "fast-import",
    "--quiet",
  );
  if (imported.status !== 0) throw new Error(imported.stderr);
  return repository;
}
