/**
 * Where the audit log of a directory of repositories is: a server writes it down beside them, so that commands that change
 * users, keys and the panic switch find the log without being told. `.gitwharf/audit-log`: one line, the path.
 */
import { mkdir, readFile, rename, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";

function placeFile(directory: string): string {
  return join(resolve(directory), ".gitwharf", "audit-log");
}

export async function rememberAuditPlace(directory: string, log: string): Promise<void> {
  if ((await findAuditPlace(directory)) === log) return;
  const file = placeFile(directory);
  const draft = `${file}.${process.pid}.new`;
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  await writeFile(draft, `${log}\n`, { mode: 0o600, flush: true });
  await rename(draft, file);
}

/** undefined: no server has written one there. */
export async function findAuditPlace(directory: string): Promise<string | undefined> {
  try {
    const line = (await readFile(placeFile(directory), "utf8")).split("\n", 1)[0] ?? "";
    return line === "" ? undefined : line;
  } catch (error) {
    if (error instanceof Error && "code" in error && (error.code === "ENOENT" || error.code === "ENOTDIR"))
      return undefined;
    throw error;
  }
}
