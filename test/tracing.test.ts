/** Spans through OpenTelemetry's API, seen by a provider that is written against that API alone. */
import {
  context,
  type Context,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  type SpanOptions,
  trace,
} from "@opentelemetry/api";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { createGitServer, type GitServer } from "../src/server/git-server.js";
import type { GitServerOptions } from "../src/server/git-server-options.js";
import { createMemoryRepositoryStore } from "../src/storage/memory/memory-repository-store.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

interface SeenSpan {
  name: string;
  readonly id: string;
  readonly parent: string | undefined;
  readonly attributes: Record<string, unknown>;
  status: number | undefined;
  ended: number;
}

const seen: SeenSpan[] = [];

function startSpan(name: string, options: SpanOptions = {}, parent: Context = context.active()): Span {
  const id = (seen.length + 1).toString(16).padStart(16, "0");
  const above = trace.getSpanContext(parent);
  const own: SeenSpan = {
    name,
    id,
    parent: above?.spanId,
    attributes: { ...options.attributes },
    status: undefined,
    ended: 0,
  };
  seen.push(own);
  const spanContext: SpanContext = {
    traceId: above?.traceId ?? id.padStart(32, "0"),
    spanId: id,
    traceFlags: 1,
  };
  const span: Span = {
    spanContext: () => spanContext,
    setAttribute: (key, value) => ((own.attributes[key] = value), span),
    setAttributes: (attributes) => (Object.assign(own.attributes, attributes), span),
    addEvent: () => span,
    addLink: () => span,
    addLinks: () => span,
    setStatus: ({ code }) => ((own.status = code), span),
    updateName: (to) => ((own.name = to), span),
    end: () => void own.ended++,
    isRecording: () => true,
    recordException: () => undefined,
  };
  return span;
}

let workspace: GitClient;
let work: GitClient;
let server: GitServer | undefined;

beforeAll(async () => {
  const startActiveSpan = (): never => {
    throw new Error("not used here");
  };
  trace.setGlobalTracerProvider({ getTracer: () => ({ startSpan, startActiveSpan }) });
  workspace = createWorkspace();
  await workspace.run("init", "-q", "work");
  work = workspace.in("work");
  await work.run("commit", "-q", "--allow-empty", "-m", "first");
});
afterEach(async () => {
  await server?.close({ graceMs: 0 });
  seen.length = 0;
});
afterAll(() => {
  trace.disable();
  removeDirectory(workspace);
});

async function start(options: Partial<GitServerOptions> = {}): Promise<string> {
  server = createGitServer({
    repositories: createMemoryRepositoryStore(),
    autoCreate: "push",
    log: () => undefined,
    ...options,
  });
  return (await server.listen({ http: 0 })).http.url;
}

async function spanOf(name: string): Promise<SeenSpan & { readonly steps: readonly string[] }> {
  const found = (): SeenSpan | undefined => seen.find((span) => span.name === name && span.ended > 0);
  await expect.poll(found).toBeDefined();
  const span = found() as SeenSpan;
  return { ...span, steps: seen.filter(({ parent }) => parent === span.id).map((child) => child.name) };
}

describe("spans", () => {
  it("tell the steps of a push and of a clone, each ended once", async () => {
    const url = await start();
    await work.run("push", "-q", `${url}/team/app.git`, "main");
    await workspace.run("clone", "-q", `${url}/team/app.git`, "copy");
    const push = await spanOf("git receive-pack");
    expect(push.steps).toEqual([
      "gitwharf.authorize",
      "gitwharf.authorize",
      "gitwharf.authorize",
      "gitwharf.ingest",
      "gitwharf.connectivity",
      "gitwharf.hooks",
      "gitwharf.publish",
      "gitwharf.refs",
      "gitwharf.post-receive",
    ]);
    expect(push.attributes).toMatchObject({
      "http.request.method": "POST",
      "http.response.status_code": 200,
      "url.path": "/team/app.git/git-receive-pack",
      "client.address": "127.0.0.1",
      "vcs.repository.name": "team/app",
      "gitwharf.transport": "http",
      "gitwharf.outcome": "ok",
      "gitwharf.pushed_objects": 2,
    });
    const fetches = seen.filter(({ name }) => name === "git upload-pack");
    await expect.poll(() => fetches.every(({ ended }) => ended === 1)).toBe(true);
    const steps = seen
      .filter(({ parent }) => fetches.some(({ id }) => id === parent))
      .map(({ name }) => name);
    for (const step of ["authorize", "negotiate", "plan", "send"])
      expect(steps).toContain(`gitwharf.${step}`);
    expect(seen.filter(({ ended }) => ended !== 1)).toEqual([]);
  });

  it("tell proc-receive and push-to-checkout, where there is something for them to do", async () => {
    const directory = join(workspace.directory, "repositories");
    await workspace.run("init", "-q", "repositories/app");
    const repository = workspace.in("repositories/app");
    await repository.run("config", "receive.procReceiveRefs", "refs/for");
    await repository.run("config", "receive.denyCurrentBranch", "updateInstead");
    const url = await start({
      repositories: directory,
      handlers: {
        procReceive: (_push, commands) => commands.map(({ name }) => ({ name, refName: "refs/changes/1" })),
        pushToCheckout: () => undefined,
      },
    });
    await work.run("push", "-q", `${url}/app.git`, "main", "main:refs/for/main");
    const { steps } = await spanOf("git receive-pack");
    expect(steps.slice(steps.indexOf("gitwharf.publish"))).toEqual([
      "gitwharf.publish",
      "gitwharf.proc-receive",
      "gitwharf.push-to-checkout",
      "gitwharf.refs",
      "gitwharf.post-receive",
    ]);
    expect(seen.filter(({ ended }) => ended !== 1)).toEqual([]);
  });

  it("are errors when the server is at fault, and not when the client is", async () => {
    const store = createMemoryRepositoryStore();
    const url = await start({
      repositories: { ...store, open: () => Promise.reject(new Error("the disk is on fire")) },
    });
    await work.try("push", `${url}/app.git`, "main");
    const failed = await spanOf("git receive-pack-refs");
    expect(failed).toMatchObject({ status: 2, attributes: { "error.type": "internal" } });
    await (await fetch(`${url}/app.txt`)).text();
    const missing = await spanOf("git request");
    expect(missing).toMatchObject({ status: undefined, attributes: { "error.type": "storage/not-found" } });
  });

  it("go on with a trace that a stranger names no more than with none", async () => {
    const url = await start();
    const traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    await (await fetch(`${url}/app.txt`, { headers: { traceparent } })).text();
    expect((await spanOf("git request")).parent).toBe(trace.getSpanContext(ROOT_CONTEXT)?.spanId);
  });
});
