/** A conversation of version 0 or 1 over standard input and output, with refs that change in its midst: as git answers. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { pktLine } from "./support/raw-http.js";

const CLI = fileURLToPath(new URL("../src/cli/gitwharf.js", import.meta.url));
const SERVERS = {
  gitwharf: [process.execPath, CLI, "upload-pack"],
  git: ["git", "upload-pack"],
} as const;

let workspace: GitClient;
let app: GitClient;
let tip: string;
let running: ChildProcess | undefined;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "--bare", "app.git");
  app = workspace.in("app.git");
  const tree = await app.run("hash-object", "-t", "tree", "-w", "/dev/null");
  await app.run("update-ref", "refs/heads/main", await app.run("commit-tree", "-m", "kept", tree));
  tip = await app.run("commit-tree", "-m", "on a branch that goes", tree);
  await app.run("update-ref", "refs/heads/topic", tip);
});
afterEach(() => {
  running?.kill();
  removeDirectory(workspace);
});

/** Reads the advertisement, lets `change` happen, asks for `oid`. @returns all that was said */
async function ask(
  name: keyof typeof SERVERS,
  version: 0 | 1 | 2,
  change: () => Promise<unknown>,
  request: string,
): Promise<string> {
  const [program, ...args] = SERVERS[name];
  const child = spawn(program, [...args, app.directory], {
    env: { PATH: process.env["PATH"], ...(version === 0 ? {} : { GIT_PROTOCOL: `version=${version}` }) },
    stdio: ["pipe", "pipe", "ignore"],
  });
  running = child;
  let said = "";
  let changed: Promise<void> | undefined;
  child.stdout.setEncoding("latin1");
  child.stdin.on("error", () => undefined);
  child.stdout.on("data", (text: string) => {
    said += text;
    // Where the advertisement ends.
    if (changed === undefined && said.endsWith("0000"))
      changed = change().then(() => void child.stdin.end(request));
  });
  await once(child, "close");
  await changed;
  return said;
}

const wanting = (oid: string): string => `${pktLine(`want ${oid} ofs-delta\n`)}0000${pktLine("done\n")}`;
const fetching = (oid: string): string =>
  `${pktLine("command=fetch\n")}0001${pktLine(`want ${oid}\n`)}${pktLine("done\n")}0000`;

describe.each(Object.keys(SERVERS) as (keyof typeof SERVERS)[])("%s", (name) => {
  it.each([0, 1] as const)(
    "gives what it advertised in version %i, when the ref is deleted",
    async (version) => {
      const said = await ask(
        name,
        version,
        () => app.run("update-ref", "-d", "refs/heads/topic"),
        wanting(tip),
      );
      expect(said).toContain("NAK\nPACK");
    },
  );

  it("gives what it advertised when the ref has moved", async () => {
    const main = await app.run("rev-parse", "main");
    const said = await ask(name, 0, () => app.run("update-ref", "refs/heads/topic", main), wanting(tip));
    expect(said).toContain("NAK\nPACK");
  });

  it("does not give what came to be a tip after it advertised", async () => {
    const tree = await app.run("rev-parse", "main^{tree}");
    const later = await app.run("commit-tree", "-m", "later", tree);
    const said = await ask(name, 0, () => app.run("update-ref", "refs/heads/later", later), wanting(later));
    expect(said).toContain(`ERR upload-pack: not our ref ${later}`);
  });

  it("gives in version 2 what is there when it is asked", async () => {
    const tree = await app.run("rev-parse", "main^{tree}");
    const later = await app.run("commit-tree", "-m", "later", tree);
    const said = await ask(name, 2, () => app.run("update-ref", "refs/heads/later", later), fetching(later));
    expect(said).toContain("PACK");
  });
});
