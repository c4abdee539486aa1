/**
 * A server with push to deploy, in a process of its own, for tests that kill it: `node deploy-server.js DIRECTORY EXECUTOR`.
 * Prints its address on a line.
 */
import { join } from "node:path";
import { createPlainExecutor, createSandboxExecutor, openDeploy } from "../../src/index.js";
import { createGitServer } from "../../src/server/git-server.js";
import { createDiskRepositoryStore } from "../../src/storage/disk/disk-repository-store.js";

const [directory = "", executor] = process.argv.slice(2);
const repositories = createDiskRepositoryStore({ directory: join(directory, "served") });
const deploy = await openDeploy({
  database: `sqlite:${join(directory, "state/deploy.sqlite")}`,
  directory: join(directory, "deploy"),
  executor: executor === "sandbox" ? createSandboxExecutor() : createPlainExecutor({ warn: () => undefined }),
  leaseMs: 1500,
  repositories,
});
if ((await deploy.state.apps.find("shop")) === undefined) await deploy.state.createApp({ name: "shop" });
const server = createGitServer({ repositories, autoCreate: "push", handlers: deploy.handlers });
await deploy.recover();
process.stdout.write(`${(await server.listen({ http: 0 })).http.url}\n`);
