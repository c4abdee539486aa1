/**
 * `npm run bench:deploy -- [--rounds N] [--executor sandbox|plain]`: what a deploy of examples/deploy-node takes beside its
 * build. Each round commits, pushes with the git client and asks the app once; beside it the same push to a branch that is
 * not deployed, and the build's own command by itself. docs/deploy.md has the figures.
 */
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { chmodSync, cpSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { get, type IncomingMessage } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { createPlainExecutor, createSandboxExecutor, openDeployment } from "../src/index.js";
import { createGitServer } from "../src/server/git-server.js";
import { createDiskRepositoryStore } from "../src/storage/disk/disk-repository-store.js";
import { git } from "./data.js";

const { values } = parseArgs({
  options: {
    rounds: { type: "string", default: "15" },
    executor: { type: "string", default: "plain" },
  },
});
const ROUNDS = Number(values.rounds);
const APP = fileURLToPath(new URL("../../examples/deploy-node/app", import.meta.url));
/** Of its gitwharf.yml. */
const BUILD = ["node", "--check", "server.js"] as const;

const work = mkdtempSync(join(tmpdir(), "gitwharf-bench-deploy-"));
chmodSync(work, 0o711);
const checkout = join(work, "shop");
cpSync(APP, checkout, { recursive: true });
git(checkout, "init", "-q", "-b", "main");
const repositories = createDiskRepositoryStore({ directory: join(work, "repositories") });
const deployment = await openDeployment({
  repositories,
  database: `sqlite:${join(work, "state", "deploy.sqlite")}`,
  directory: join(work, "deploy"),
  executor:
    values.executor === "sandbox" ? createSandboxExecutor() : createPlainExecutor({ warn: () => undefined }),
  apps: ["shop"],
});
const server = createGitServer({
  repositories,
  autoCreate: "push",
  handlers: deployment.handlers,
  front: deployment.frontFor,
});

/** Milliseconds. */
async function timed(act: () => Promise<void>): Promise<number> {
  const begun = performance.now();
  await act();
  return performance.now() - begun;
}

function commit(text: string): void {
  writeFileSync(join(checkout, "round"), text);
  git(checkout, "add", "-A");
  git(checkout, "-c", "user.name=bench", "-c", "user.email=bench@localhost", "commit", "-q", "-m", text);
}

async function push(url: string, ref: string): Promise<void> {
  const child = spawn("git", ["push", "-q", url, ref], {
    cwd: checkout,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let text = "";
  child.stderr.on("data", (chunk: Buffer) => (text += chunk.toString()));
  const [status] = (await once(child, "close")) as [number | null];
  if (status !== 0) throw new Error(text);
}

async function answerOf(port: number): Promise<string> {
  const asked = get({ port, host: "127.0.0.1", headers: { host: `shop.localhost:${port}` }, agent: false });
  const [answer] = (await once(asked, "response")) as [IncomingMessage];
  let body = "";
  for await (const chunk of answer as AsyncIterable<Buffer>) body += chunk.toString();
  return body;
}

function middle(figures: readonly number[]): number {
  return figures.toSorted((a, b) => a - b)[Math.floor(figures.length / 2)] ?? 0;
}

try {
  const { http } = await server.listen({ http: 0 });
  await deployment.start();
  const builds: number[] = [];
  const stored: number[] = [];
  const deployed: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    const url = `${http.url}/shop.git`;
    const build = await timed(async () => {
      const { status } = spawnSync(BUILD[0], BUILD.slice(1), { cwd: checkout });
      if (status !== 0) throw new Error(`the build ended with ${status}`);
    });
    commit(`stored ${round}`);
    const plain = await timed(() => push(url, "main:refs/heads/elsewhere"));
    commit(`deployed ${round}`);
    const whole = await timed(() => push(url, "main"));
    const answer = await answerOf(http.port);
    if (!answer.endsWith(`v${round + 1}\n`)) throw new Error(`round ${round}: ${answer}`);
    // In the first one everything is made for the first time.
    if (round === 0) continue;
    builds.push(build);
    stored.push(plain);
    deployed.push(whole);
  }
  const shown = (figures: readonly number[]): string =>
    `${middle(figures).toFixed(0)} (${Math.min(...figures).toFixed(0)}–${Math.max(...figures).toFixed(0)})`;
  const beside = deployed.map((whole, i) => whole - (builds[i] ?? 0));
  process.stdout.write(
    `${ROUNDS} rounds, ${values.executor}; milliseconds: median (least–most)\n` +
      `the build's command by itself   ${shown(builds)}\n` +
      `a push that is only stored      ${shown(stored)}\n` +
      `a push that is deployed         ${shown(deployed)}\n` +
      `what a deploy takes beside its build ${shown(beside)}\n`,
  );
} finally {
  await server.close({ graceMs: 0 });
  await deployment.close();
  await repositories.close();
  rmSync(work, { recursive: true, force: true });
}
