/**
 * `transfer.advertiseSID`: the word is there only with it, in every version of both services, new each time; and what
 * the client sends in answer.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type PushBesideGit, startPushBesideGit } from "./support/push-beside-git.js";
import { type GitResult, removeDirectory } from "./support/git-client.js";

let pair: PushBesideGit;
beforeEach(async () => (pair = await startPushBesideGit()));
afterEach(() => pair.close());

const ours = (trace: string): string[] =>
  [...trace.matchAll(/< .*session-id=(\S+)/g)].map(([, id = ""]) => id);
const clients = (trace: string): string[] =>
  [...trace.matchAll(/> .*session-id=(\S+)/g)].map(([, id = ""]) => id.replace(/\\0$/, ""));

/** What the packets of one command of the client say. */
async function traced(advertises: boolean, ...args: readonly string[]): Promise<GitResult> {
  const result = await pair.app.tryWith(
    { env: { GIT_TRACE_PACKET: "1" } },
    "-c",
    `transfer.advertiseSID=${advertises}`,
    ...args,
  );
  expect(result.status, result.stderr).toBe(0);
  return result;
}

interface Conversation {
  readonly title: string;
  readonly run: (advertises: boolean, side: "ours" | "theirs", branch: string) => Promise<GitResult>;
}

const conversations: readonly Conversation[] = [
  ...[0, 1, 2].map((version) => ({
    title: `upload-pack v${version}`,
    run: async (advertises: boolean, side: "ours" | "theirs") => {
      await pair.workspace.run("init", "-q", "copy");
      const copy = pair.workspace.in("copy");
      const result = await copy.tryWith(
        { env: { GIT_TRACE_PACKET: "1" } },
        "-c",
        `protocol.version=${version}`,
        "-c",
        `transfer.advertiseSID=${advertises}`,
        "fetch",
        pair[side].url,
        "main",
      );
      removeDirectory(copy);
      expect(result.status, result.stderr).toBe(0);
      return result;
    },
  })),
  {
    title: "receive-pack",
    run: (advertises, side, branch) => traced(advertises, "push", pair[side].url, `two:${branch}`),
  },
];

describe("transfer.advertiseSID", () => {
  for (const { title, run } of conversations) {
    it(`${title}: neither side names its session unless both are told to`, async () => {
      for (const side of ["ours", "theirs"] as const) {
        const without = await run(true, side, "a");
        expect(ours(without.stderr), side).toEqual([]);
        expect(clients(without.stderr), side).toEqual([]);

        await pair[side].repository.run("config", "transfer.advertiseSID", "true");
        const silent = await run(false, side, "b");
        expect(ours(silent.stderr).length, side).toBeGreaterThan(0);
        expect(clients(silent.stderr), side).toEqual([]);

        const both = await run(true, side, "c");
        expect(clients(both.stderr).length, side).toBeGreaterThan(0);
        expect(clients(both.stderr)[0]).toMatch(/^[\x21-\x7e]+$/);
        // No two sessions have the same name.
        expect(ours(both.stderr)[0]).toMatch(/^[\x21-\x7e]+$/);
        expect(ours(both.stderr)[0]).not.toBe(ours(silent.stderr)[0]);

        await pair[side].repository.run("config", "transfer.advertiseSID", "false");
        expect(ours((await run(true, side, "d")).stderr), side).toEqual([]);
      }
    });
  }
});
