/** Repositories in which unreachable objects have waited long enough by now, as was noted of them: nobody may push there any more. */
import { findGitDirectory } from "./git-directory.js";
import { listRepositories } from "./list-repositories.js";
import { readUpkeepNotes } from "./upkeep-notes.js";

/** Names in byte order. @throws storage/io */
export async function* listExpiring(root: string, nowMs = Date.now()): AsyncIterable<string> {
  for await (const name of listRepositories(root)) {
    for (const candidate of [`${root}/${name}.git`, `${root}/${name}/.git`, `${root}/${name}`]) {
      const found = await findGitDirectory(candidate);
      if (found === undefined) continue;
      const { expiresMs } = await readUpkeepNotes(found.commonDirectory);
      if (expiresMs !== undefined && expiresMs <= nowMs) yield name;
      break;
    }
  }
}
