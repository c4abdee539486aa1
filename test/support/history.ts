/**
 * A small history with everything that a fetch treats specially: merges, several roots, annotated tags and a tag of
 * a tag, a tag of a blob, directories, a large file, refs to be hidden. Commit i of main is one thousand seconds
 * after the one before.
 */
import type { GitClient } from "./git-client.js";

export const FIRST_COMMIT_SECONDS = 1_600_000_000;
export const SECONDS_BETWEEN_COMMITS = 1000;

export interface HistoryOptions {
  readonly objectFormat?: "sha1" | "sha256";
  /** Commits on main. @default 40 */
  readonly commits?: number;
}

/** Makes the bare repository `name` in the client's directory. */
export async function createHistory(
  client: GitClient,
  name: string,
  options: HistoryOptions = {},
): Promise<GitClient> {
  const { objectFormat = "sha1", commits = 40 } = options;
  await client.run("init", "-q", "--bare", `--object-format=${objectFormat}`, name);
  const repository = client.in(name);
  const imported = await repository.tryWith({ input: stream(commits) }, "fast-import", "--quiet");
  if (imported.status !== 0) throw new Error(imported.stderr);
  return repository;
}

function stream(commits: number): string {
  const out: string[] = [];
  const data = (text: string): void => void out.push(`data ${Buffer.byteLength(text)}\n${text}\n`);
  const who = (i: number): string =>
    `Ada <ada@example.org> ${FIRST_COMMIT_SECONDS + i * SECONDS_BETWEEN_COMMITS} +0000`;
  let mark = 0;
  const commit = (
    branch: string,
    i: number,
    files: Record<string, string>,
    parents: readonly string[],
  ): number => {
    out.push(`commit ${branch}\nmark :${++mark}\nauthor ${who(i)}\ncommitter ${who(i)}\n`);
    data(`commit ${i} of ${branch}`);
    const [first, ...others] = parents;
    if (first !== undefined) out.push(`from ${first}\n`);
    for (const other of others) out.push(`merge ${other}\n`);
    for (const [path, content] of Object.entries(files)) {
      out.push(`M 100644 inline ${path}\n`);
      data(content);
    }
    return mark;
  };
  const large = Array.from({ length: 20_000 }, (_, i) => `line ${i}`).join("\n");
  let main: number | undefined;
  let side: number | undefined;
  for (let i = 0; i < commits; i++) {
    const files = {
      [`dir${i % 5}/sub/file${i % 7}.txt`]: `content ${i}\n`,
      ...(i % 10 === 3 ? { "large.txt": `${large}\n${i}` } : {}),
      README: `version ${i}\n`,
    };
    const parents = main === undefined ? [] : [`:${main}`];
    if (i % 8 === 7 && side !== undefined) parents.push(`:${side}`);
    main = commit("refs/heads/main", i, files, parents);
    if (i % 8 === 4)
      side = commit(
        "refs/heads/side",
        i,
        { [`side/${i}`]: `${i}\n` },
        side === undefined ? [] : [`:${side}`],
      );
    if (i % 10 === 9) {
      out.push(`tag v${i}\nmark :${++mark}\nfrom :${main}\ntagger ${who(i)}\n`);
      data(`release ${i}`);
      if (i === 19) {
        out.push(`tag nested\nfrom :${mark}\ntagger ${who(i)}\n`);
        data("a tag of a tag");
      }
    }
  }
  commit("refs/pull/1/head", commits, { proposal: "what if\n" }, [`:${main}`]);
  commit("refs/hidden/secret", commits, { secret: "do not tell\n" }, []);
  out.push(`reset refs/tags/light\nfrom :${main}\n`);
  out.push("blob\nmark :1000000\n");
  data("a blob of its own");
  out.push(`tag of-blob\nfrom :1000000\ntagger ${who(0)}\n`);
  data("a tag of a blob");
  out.push("done\n");
  return out.join("");
}
