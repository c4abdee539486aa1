/**
 * upload-pack on one repository over standard input and output, for `git clone -u "node …/stdio-upload-pack.js"`.
 * GIT_PROTOCOL says the version. Options of tests come in GITWHARF_TEST_*: they change what is served.
 */
import { once } from "node:events";
import { DEFAULT_LIMITS } from "../../src/base/limits.js";
import { closeWorkerPool } from "../../src/base/worker-pool.js";
import { advertiseUploadPack } from "../../src/protocol/upload-pack/advertise-upload-pack.js";
import { serveUploadPack } from "../../src/protocol/upload-pack/serve-upload-pack.js";
import type { UploadPackContext } from "../../src/protocol/upload-pack/upload-pack-context.js";
import { openDiskRepositoryAt } from "../../src/storage/disk/disk-repository-store.js";

const gone = new AbortController();
process.stdout.once("error", () => gone.abort());

const output = {
  write(...chunks: Uint8Array[]): Promise<void> | undefined {
    let ready = true;
    for (const chunk of chunks) ready = process.stdout.write(chunk);
    return ready ? undefined : once(process.stdout, "drain", { signal: gone.signal }).then(() => undefined);
  },
};

function protocolVersion(text: string): 0 | 1 | 2 {
  const items = text.split(":");
  return items.includes("version=2") ? 2 : items.includes("version=1") ? 1 : 0;
}

const repository = await openDiskRepositoryAt(process.argv.at(-1) ?? "");
const snapshot = await repository.snapshot();
const version = protocolVersion(process.env["GIT_PROTOCOL"] ?? "");
const context: UploadPackContext = {
  repository,
  settings: await repository.settings(),
  limits: DEFAULT_LIMITS,
  identity: { user: undefined },
  agent: "gitwharf/test",
  version,
  signal: gone.signal,
  sessionId: "session-1",
  ...(version === 2 ? {} : { snapshot }),
};
await output.write(...(await advertiseUploadPack(context)));
const outcome = await serveUploadPack(context, { input: process.stdin, output, statelessRpc: false });
await new Promise<void>((resolve) => process.stdout.write("", () => resolve()));
snapshot.release();
await repository.close();
await closeWorkerPool();
process.stdin.destroy();
if (outcome.failure !== undefined) {
  console.error(outcome.failure);
  process.exitCode = 128;
}
