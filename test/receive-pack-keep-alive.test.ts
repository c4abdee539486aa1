/** Signs of life while a push is worked on (`receive.keepAlive`): empty frames on band 2, which no client prints. */
import { request as httpRequest } from "node:http";
import { afterEach, expect, it } from "vitest";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { DEFAULT_REPOSITORY_SETTINGS } from "../src/storage/repository-settings-defaults.js";
import { createTestServer, type TestServer } from "../src/testing/test-server.js";
import { pushOfBlob, RECEIVE_PACK_TYPE } from "./support/raw-push.js";

const KEEP_ALIVE = "0005\u0002";
const REPORT = "ok refs/tags/a";

let server: TestServer;
afterEach(() => server.close());

/** Pushes, with a handler that waits until `mayEnd` says yes to what the answer holds so far. */
async function push(
  keepAliveSeconds: number,
  mayEnd: (text: string) => boolean | Promise<boolean>,
): Promise<string> {
  let release = (): void => undefined;
  const released = new Promise<void>((resolve) => (release = resolve));
  server = await createTestServer({
    repositories: createMemoryRepositoryStore({
      settings: () => ({
        ...DEFAULT_REPOSITORY_SETTINGS,
        receive: { ...DEFAULT_REPOSITORY_SETTINGS.receive, keepAliveSeconds },
      }),
    }),
    handlers: {
      async preReceive(push) {
        await push.print("at work\n");
        await released;
        return undefined;
      },
    },
  });
  return new Promise((resolve, reject) => {
    let text = "";
    const request = httpRequest(
      `${server.urlOf("app")}/git-receive-pack`,
      { method: "POST", headers: { "Content-Type": RECEIVE_PACK_TYPE } },
      (response) => {
        response.setEncoding("latin1");
        response.on("data", (chunk: string) => {
          text += chunk;
          void Promise.resolve(mayEnd(text)).then((ends) => (ends ? release() : undefined));
        });
        response.on("end", () => resolve(text));
        response.on("error", reject);
      },
    );
    request.on("error", reject);
    request.end(pushOfBlob("a", "a", "report-status side-band-64k"));
  });
}

// At git's own interval it would take longer.
it("go out at the interval that the repository names, until the report", { timeout: 14_000 }, async () => {
  const text = await push(0.005, (soFar) => soFar.split(KEEP_ALIVE).length > 3);
  expect(text).toContain(REPORT);
  expect(text.slice(text.indexOf(REPORT))).not.toContain(KEEP_ALIVE);
});

it.each([
  ["none", 0],
  ["less than none", -1],
  ["one longer than any timer", 2 ** 31],
])("are not sent with an interval of %s", async (_, seconds) => {
  // A timer that fires at once would have fired in so many turns.
  const text = await push(seconds, async (soFar) => {
    if (!soFar.includes("at work")) return false;
    for (let i = 0; i < 50; i++) await new Promise((resolve) => setTimeout(resolve));
    return true;
  });
  expect(text).toContain(REPORT);
  expect(text).not.toContain(KEEP_ALIVE);
});
