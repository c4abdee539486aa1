/**
 * Guessing over SSH, as every open port 22 sees it: passwords that nobody asked for, keys that nobody knows, from many
 * connections at once. None is looked at that cannot be right, each connection ends at its limit, and who has a key signs
 * in meanwhile.
 */
import { once } from "node:events";
import ssh2 from "ssh2";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Credentials } from "../src/access/credentials.js";
import { type Doors, openDoors } from "./support/doors.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const CONNECTIONS = 100;
const AT_ONCE = 20;
const TRIES_MAX = 100;

describe("who guesses over SSH", { timeout: 120_000 }, () => {
  let workspace: GitClient;
  let doors: Doors;
  let asked: Credentials[];

  beforeEach(() => {
    workspace = createWorkspace();
    asked = [];
  });
  afterEach(async () => {
    await doors.close();
    removeDirectory(workspace);
  });

  /** Tries until the server ends the connection. @returns how often, and whether it got in */
  async function attack(next: () => object): Promise<{ readonly tries: number; readonly isIn: boolean }> {
    const client = new ssh2.Client();
    client.on("error", () => undefined);
    let tries = 0;
    let isIn = false;
    client.on("ready", () => (isIn = true));
    const closed = once(client, "close");
    client.connect({
      host: "127.0.0.1",
      port: doors.sshPort,
      username: "ada",
      authHandler: ((_left: unknown, _partial: unknown, give: (method: unknown) => void) => {
        if (++tries > TRIES_MAX) client.destroy();
        else give({ username: "ada", ...next() });
      }) as never,
    });
    await closed;
    return { tries, isIn };
  }

  async function flood(
    next: () => object,
  ): Promise<readonly { readonly tries: number; readonly isIn: boolean }[]> {
    const results: { readonly tries: number; readonly isIn: boolean }[] = [];
    const ada = doors.sshAs("ada");
    let left = CONNECTIONS;
    const one = async (): Promise<void> => {
      while (left-- > 0) results.push(await attack(next));
    };
    const crowd = Array.from({ length: AT_ONCE }, one);
    expect((await ada.ssh(["git@127.0.0.1"])).stderr).toContain("hello ada");
    await Promise.all(crowd);
    expect((await ada.ssh(["git@127.0.0.1"])).stderr).toContain("hello ada");
    expect((await doors.sshAs("stranger").ssh(["git@127.0.0.1"])).stderr).toContain("Permission denied");
    return results;
  }

  it("passwords: nobody is asked about one", async () => {
    doors = await openDoors(workspace, {
      limits: { sshAttemptsMax: 10 },
      authenticate: (credentials) => {
        asked.push(credentials);
        return credentials.kind === "ssh-key" && isAda(credentials.line) ? { user: "ada" } : undefined;
      },
    });
    let number = 0;
    const results = await flood(() => ({ type: "password", password: `guess ${number++}` }));
    expect(results.filter(({ isIn }) => isIn)).toEqual([]);
    for (const { tries } of results) expect(tries).toBeLessThanOrEqual(11);
    expect(asked.every(({ kind }) => kind === "ssh-key")).toBe(true);
    // Ada twice, the stranger once.
    expect(asked).toHaveLength(3);
  });

  it("keys: each is asked about once it has signed, and only so many of a connection", async () => {
    doors = await openDoors(workspace, {
      limits: { sshAttemptsMax: 3 },
      authenticate: (credentials) => {
        asked.push(credentials);
        return credentials.kind === "ssh-key" && isAda(credentials.line) ? { user: "ada" } : undefined;
      },
    });
    const keys = Array.from({ length: 8 }, () => ssh2.utils.generateKeyPairSync("ed25519").private);
    let number = 0;
    const results = await flood(() => ({ type: "publickey", key: keys[number++ % keys.length] }));
    expect(results.filter(({ isIn }) => isIn)).toEqual([]);
    expect(asked.length).toBeLessThanOrEqual(CONNECTIONS * 3 + 3);
    expect(asked.length).toBeGreaterThanOrEqual(CONNECTIONS);
  });

  function isAda(line: string): boolean {
    return doors.keyOf("ada").line.startsWith(line);
  }
});
