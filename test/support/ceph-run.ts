/**
 * One Ceph for a whole test run, started when the first test file wants it. Vitest's own process starts it, for it outlives
 * the files' processes; they ask over a Unix socket: `await cephOfRun(inject("cephSocket"))`.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestProject } from "vitest/node";
import { type CephAccess, startCeph, type TestCeph } from "./ceph.js";

declare module "vitest" {
  interface ProvidedContext {
    readonly cephSocket: string;
  }
}

/** @returns what stops it after the run */
export async function setup({ provide }: Pick<TestProject, "provide">): Promise<() => Promise<void>> {
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-ceph-socket-"));
  const socket = join(directory, "ceph");
  let ceph: Promise<TestCeph> | undefined;
  const server = createServer((connection) => {
    connection.on("error", () => undefined);
    ceph ??= startCeph();
    ceph.then(
      ({ endpoint, accessKeyId, secretAccessKey }) =>
        connection.end(JSON.stringify({ endpoint, accessKeyId, secretAccessKey })),
      (error: unknown) => connection.end(JSON.stringify({ error: whole(error) })),
    );
  });
  server.listen(socket);
  server.unref();
  await once(server, "listening");
  provide("cephSocket", socket);
  return async () => {
    server.close();
    rmSync(directory, { recursive: true, force: true });
    const started = await ceph?.catch(() => undefined);
    await started?.stop();
  };
}

/** Starts it, for the first who asks. Installing its packages may take a minute or two. */
export async function cephOfRun(socket: string): Promise<CephAccess> {
  const connection = connect(socket);
  const chunks: Buffer[] = [];
  for await (const chunk of connection) chunks.push(chunk as Buffer);
  const answer = JSON.parse(Buffer.concat(chunks).toString()) as CephAccess | { readonly error: string };
  if ("error" in answer) throw new Error(answer.error);
  return answer;
}

function whole(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error.cause === undefined ? error.message : `${error.message}: ${whole(error.cause)}`;
}
