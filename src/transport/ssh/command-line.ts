/**
 * What a client asks to be run, by grammar: four commands and nothing else. No shell sees it.
 *
 *   COMMAND                                      ASKS FOR
 *   git-upload-pack 'PATH', git upload-pack …    a fetch
 *   git-receive-pack 'PATH', git receive-pack …  a push
 *   git-upload-archive 'PATH', git upload-archive …
 *   git-lfs-authenticate PATH download|upload    where the large files are
 *
 * PATH is quoted as git's sq_quote does: in single quotes, with ' as '\'' and ! as '\!'; or it is one plain word.
 */
import { GitwharfError } from "../../base/errors.js";
import { parseRepositoryName } from "../../storage/contracts/repository-name.js";

export type SshService =
  | "git-upload-pack"
  | "git-receive-pack"
  | "git-upload-archive"
  | "git-lfs-authenticate";

export interface SshCommand {
  readonly service: SshService;
  /** Checked name without `.git`. */
  readonly name: string;
  /** Of git-lfs-authenticate. */
  readonly lfsOperation?: "download" | "upload";
}

const COMMAND = /^git[- ](upload-pack|receive-pack|upload-archive|lfs-authenticate)[ ]+(.+)$/s;
const COMMAND_LENGTH_MAX = 4096;

/**
 * @param parseName what may be called a repository; the word comes without slashes around it
 * @throws protocol/bad-request when it is none of the four, storage/bad-name
 */
export function parseSshCommand(
  text: string,
  parseName: (word: string) => string = parseRepositoryName,
): SshCommand {
  const match = COMMAND.exec(text);
  if (match?.[1] === undefined || match[2] === undefined || text.length > COMMAND_LENGTH_MAX) throw unknown();
  const service = `git-${match[1]}` as SshService;
  const { word, rest } = readWord(match[2]);
  const name = parseName(word.replace(/^\//, "").replace(/\/$/, ""));
  const argument = rest.trim();
  if (service !== "git-lfs-authenticate") {
    if (argument !== "") throw unknown();
    return { service, name };
  }
  // Old clients of Git LFS send the object's id as well.
  const operation = /^(download|upload)(?: +[0-9a-f]{64})?$/.exec(argument)?.[1];
  if (operation !== "download" && operation !== "upload") throw unknown();
  return { service, name, lfsOperation: operation };
}

/** One word as a shell would read it, of the little that sq_quote writes. */
function readWord(text: string): { readonly word: string; readonly rest: string } {
  let word = "";
  let at = 0;
  while (at < text.length && text[at] !== " ") {
    if (text[at] === "'") {
      const end = text.indexOf("'", at + 1);
      if (end < 0) throw unknown();
      word += text.slice(at + 1, end);
      at = end + 1;
    } else if (text[at] === "\\") {
      const next = text[at + 1];
      if (next !== "'" && next !== "!") throw unknown();
      word += next;
      at += 2;
    } else {
      const plain = /^[A-Za-z0-9_./@~+:-]+/.exec(text.slice(at))?.[0];
      if (plain === undefined) throw unknown();
      word += plain;
      at += plain.length;
    }
  }
  return { word, rest: text.slice(at) };
}

function unknown(): GitwharfError {
  return new GitwharfError(
    "protocol/bad-request",
    "this command is not served here: only git-upload-pack, git-receive-pack, git-upload-archive and " +
      "git-lfs-authenticate with a repository are",
  );
}
