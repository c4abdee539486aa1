/** Metrics of a server, asked for by its application. */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

let workspace: GitClient;
let server: GitServer;
let url: string;

beforeEach(async () => {
  workspace = createWorkspace();
  await workspace.run("init", "-q", "work");
  await workspace.in("work").run("commit", "-q", "--allow-empty", "-m", "first");
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    log: () => undefined,
  });
  ({ url } = (await server.listen({ http: 0 })).http);
});
afterEach(async () => {
  await server.close({ graceMs: 0 });
  removeDirectory(workspace);
});

/** `name{a="b"}` → value. */
async function metrics(of = server): Promise<ReadonlyMap<string, number>> {
  const text = await of.metrics();
  return new Map(
    [...text.matchAll(/^([a-z][^ ]*) ([-+.\deNInfa]+)$/gm)].map(([, name = "", value]) => [
      name,
      Number(value),
    ]),
  );
}
const request = (service: string, outcome: string): string =>
  `gitwharf_requests_total{transport="http",service="${service}",outcome="${outcome}"}`;

describe("metrics", () => {
  it("count requests, bytes, objects and time, and nobody's names", async () => {
    await workspace.in("work").run("push", "-q", `${url}/very/own-name.git`, "main");
    await workspace.run("clone", "-q", `${url}/very/own-name.git`, "copy");
    await expect.poll(async () => (await metrics()).get(request("upload-pack", "ok"))).toBe(2);
    const counted = await metrics();
    expect(counted.get(request("receive-pack", "ok"))).toBe(1);
    expect(counted.get(request("receive-pack-refs", "ok"))).toBe(1);
    expect(counted.get("gitwharf_push_objects_sum")).toBe(2);
    expect(counted.get('gitwharf_requests_active{transport="http"}')).toBe(0);
    expect(counted.get("gitwharf_requests_waiting")).toBe(0);
    const labels = '{transport="http",service="receive-pack"}';
    expect(counted.get(`gitwharf_received_bytes_total${labels}`)).toBeGreaterThan(100);
    expect(counted.get(`gitwharf_request_duration_seconds_count${labels}`)).toBe(1);
    for (const name of ["gitwharf_worker_threads", "nodejs_eventloop_lag_p99_seconds", "process_open_fds"])
      expect(counted.has(name), name).toBe(true);
    expect(await server.metrics()).not.toContain("own-name");
  });

  it("have as many rows after many names as after one", async () => {
    const ask = async (path: string): Promise<void> => void (await (await fetch(url + path)).text());
    await ask("/none.git/info/refs?service=git-upload-pack");
    const settled = async (count: number): Promise<ReadonlyMap<string, number>> => {
      await expect
        .poll(async () => (await metrics()).get(request("upload-pack-refs", "not-found")))
        .toBe(count);
      return metrics();
    };
    const own = (all: ReadonlyMap<string, number>): number =>
      [...all.keys()].filter((name) => name.startsWith("gitwharf_")).length;
    const before = own(await settled(1));
    for (let i = 0; i < 20; i++) await ask(`/none-${i}.git/info/refs?service=git-upload-pack`);
    expect(own(await settled(21))).toBe(before);
  });

  it("have the application's behind them, and do without when it fails", async () => {
    const logged: string[] = [];
    let further = (): string => "shop_orders_total 3\n";
    const other = createGitServer({
      repositories: createMemoryRepositoryStore(),
      furtherMetrics: () => further(),
      log: ({ message }) => logged.push(message),
    });
    expect(await other.metrics()).toMatch(/^gitwharf_requests_waiting 0\n[^]*^shop_orders_total 3\n$/m);
    further = () => {
      throw new Error("no database");
    };
    expect(await other.metrics()).toMatch(/^gitwharf_requests_waiting 0$/m);
    expect(logged).toEqual(["further metrics cannot be told"]);
    await other.close();
  });

  it("are each server's own", async () => {
    await (await fetch(`${url}/nothing`)).text();
    await expect.poll(async () => (await metrics()).get(request("other", "not-found"))).toBe(1);
    const other = createGitServer({ repositories: createMemoryRepositoryStore() });
    expect((await metrics(other)).has(request("other", "not-found"))).toBe(false);
    await other.close();
  });
});
