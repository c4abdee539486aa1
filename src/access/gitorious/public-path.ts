/**
 * What a Gitorious application calls its repositories: `project/repository.git`, `~user/project/repository.git`,
 * `+team/…`. It is handed to the application as it came and never becomes a path of this machine.
 */
import { GitwharfError } from "../../base/errors.js";

const LENGTH_MAX = 1024;
const SEGMENT = /^[A-Za-z0-9_.~+@-]+$/;

/**
 * @param transport over HTTP the name ends with `.git`: that is what tells it from the rest of the address
 * @throws storage/bad-name
 */
export function parsePublicPath(text: string, transport: "http" | "ssh" | "git"): string {
  const segments = text.split("/");
  const isGood =
    text.length <= LENGTH_MAX &&
    segments.every((each) => SEGMENT.test(each) && each !== "." && each !== "..") &&
    (transport !== "http" || /[^/]\.git$/.test(text));
  if (isGood) return text;
  const shown = JSON.stringify(text.slice(0, 120)).slice(1, -1);
  throw new GitwharfError("storage/bad-name", `'${shown}' is no path of a repository`);
}
