/** Temporary directories of hooks and receivers, when the server that made them is killed. */
import { mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { basename } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import {
  makeKeptDirectory,
  makeTemporaryDirectory,
  sweepTemporaryDirectories,
} from "../src/hooks/temporary-directory.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";
import { becomes } from "./support/running.js";
import { type ServeProcess, startServe } from "./support/serve-process.js";
import { startPush } from "./support/start-push.js";

let workspace: GitClient;
let temporary: string;
let temporaryBefore: string | undefined;
const servers: ServeProcess[] = [];

beforeEach(() => {
  workspace = createWorkspace();
  temporary = `${workspace.directory}/tmp`;
  mkdirSync(temporary);
  temporaryBefore = process.env["TMPDIR"];
  process.env["TMPDIR"] = temporary;
});
afterEach(async () => {
  for (const server of servers.splice(0)) await server.end("SIGKILL");
  if (temporaryBefore === undefined) delete process.env["TMPDIR"];
  else process.env["TMPDIR"] = temporaryBefore;
  removeDirectory(workspace);
});

const left = (): readonly string[] => readdirSync(temporary).toSorted();

async function serve(...options: readonly string[]): Promise<ServeProcess> {
  const server = await startServe(`${workspace.directory}/served`, ...options);
  servers.push(server);
  return server;
}

describe("a server that is killed", () => {
  it.each([
    ["scripts", `hooks: { preReceive: "#!/bin/sh\\n" }`],
    ["a receiver", `handlers: createReceiver({ handler: () => undefined })`],
  ])("leaves directories, which the next one with %s removes as it starts", async (_what, next) => {
    const library = new URL("../src/index.js", import.meta.url).href;
    const configure = (name: string, options: string): string => {
      const file = `${workspace.directory}/${name}.mjs`;
      writeFileSync(
        file,
        `import { createReceiver } from ${JSON.stringify(library)};\nexport default { ${options} };\n`,
      );
      return file;
    };
    const first = await serve(
      "--config",
      configure(
        "first",
        `hooks: { preReceive: "#!/bin/sh\\n" },
         handlers: createReceiver({ checkout: true, handler: () => new Promise(() => undefined) })`,
      ),
    );
    await workspace.run("init", "-q", "app");
    const app = workspace.in("app");
    writeFileSync(`${app.directory}/README.md`, "hello\n");
    await app.run("add", ".");
    await app.run("commit", "-q", "-m", "first");
    const client = startPush(app, [`${first.url}/app.git`, "main"]);
    await becomes(
      () => readdirSync(temporary, { recursive: true }).some((name) => String(name).endsWith("README.md")),
      "the receiver has its files",
    );
    expect(left()).toEqual([
      expect.stringMatching(/^gitwharf-hooks-/),
      expect.stringMatching(/^gitwharf-receive-/),
    ]);
    await first.end("SIGKILL");
    await client.ended();
    expect(left()).toHaveLength(2);
    await serve("--config", configure("second", next));
    await becomes(() => left().length === 0, `${temporary} is empty`);
  });
});

describe("what is swept", () => {
  it("is of dead processes of this host only", async () => {
    const mine = basename(await makeTemporaryDirectory(temporary, "hooks"));
    const kept = basename(await makeKeptDirectory(temporary));
    const [, host = "", pid = "", start = ""] = /-([0-9a-f]{8})-(\d+)-(\d+)-/.exec(mine) ?? [];
    const make = (name: string): string => {
      mkdirSync(`${temporary}/${name}/inside`, { recursive: true });
      return name;
    };
    // No process has so high a number.
    const dead = make(`gitwharf-receive-${host}-4194305-${start}-abcdef`);
    const staying = [
      mine,
      kept,
      make(`gitwharf-receive-00000000-4194305-${start}-abcdef`),
      make(`gitwharf-other-${host}-4194305-${start}-abcdef`),
      make("gitwharf-hooks-abcdef"),
    ];
    symlinkSync(temporary, `${temporary}/gitwharf-hooks-${host}-4194305-1-link`);
    writeFileSync(`${temporary}/gitwharf-hooks-${host}-4194305-1-file`, "");
    staying.push(`gitwharf-hooks-${host}-4194305-1-link`, `gitwharf-hooks-${host}-4194305-1-file`);
    // This process has its number from one that died: a machine that was started again, a container.
    const before = make(`gitwharf-receive-${host}-${pid}-${Number(start) + 1}-abcdef`);
    expect(left()).toEqual([...staying, dead, before].toSorted());
    await sweepTemporaryDirectories(temporary);
    expect(left()).toEqual(staying.toSorted());
    await expect(sweepTemporaryDirectories(`${temporary}/none`)).resolves.toBeUndefined();
  });
});
