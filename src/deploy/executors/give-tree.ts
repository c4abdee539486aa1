/** Gives files to whom programs run as. Names are bytes: not every one is UTF-8. */
import { lchown, readdir } from "node:fs/promises";

/** The directory itself, too; links, not what they lead to. */
export async function giveTree(
  root: string,
  { uid, gid }: { readonly uid: number; readonly gid: number },
): Promise<void> {
  await lchown(root, uid, gid);
  const waiting = [Buffer.from(root)];
  for (let directory = waiting.pop(); directory !== undefined; directory = waiting.pop()) {
    for (const entry of await readdir(directory, { withFileTypes: true, encoding: "latin1" })) {
      const path = Buffer.concat([directory, Buffer.from(`/${entry.name}`, "latin1")]);
      await lchown(path, uid, gid);
      if (entry.isDirectory()) waiting.push(path);
    }
  }
}
