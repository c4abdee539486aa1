/**
 * A server with push to deploy, in a process of its own, for tests that kill it: `node deploy-server.js DIRECTORY EXECUTOR [OPTIONS]`.
 * Prints its address on a line.
 */
import { join } from "node:path";
import {
  createDynoExecutor,
  createPlainExecutor,
  createSandboxExecutor,
  type DynoOptions,
  openDeploy,
} from "../../src/index.js";
import { createGitServer } from "../../src/server/git-server.js";
import { createDiskRepositoryStore } from "../../src/storage/disk/disk-repository-store.js";

const [directory = "", executor, options = "{}"] = process.argv.slice(2);
const repositories = createDiskRepositoryStore({ directory: join(directory, "served") });
const executors = {
  sandbox: () => createSandboxExecutor(),
  dyno: () => createDynoExecutor(JSON.parse(options) as DynoOptions),
  plain: () => createPlainExecutor({ warn: () => undefined }),
};
const deploy = await openDeploy({
  database: `sqlite:${join(directory, "state/deploy.sqlite")}`,
  directory: join(directory, "deploy"),
  executor: executors[executor === "sandbox" || executor === "dyno" ? executor : "plain"](),
  leaseMs: 1500,
  repositories,
});
if ((await deploy.state.apps.find("shop")) === undefined) await deploy.state.createApp({ name: "shop" });
const server = createGitServer({ repositories, autoCreate: "push", handlers: deploy.handlers });
await deploy.recover();
process.stdout.write(`${(await server.listen({ http: 0 })).http.url}\n`);
