// Push to deploy: `git push` to http://localhost:5000/shop.git builds the app `shop` and runs it on http://shop.localhost:5000.
import {
  controlSocketOf,
  appsDirectoryOf,
  createDiskRepositoryStore,
  createGitServer,
  createPlainExecutor,
  openDeployment,
} from "gitwharf";

const directory = "./repositories";
const repositories = createDiskRepositoryStore({ directory });

export const deployment = await openDeployment({
  repositories,
  database: "sqlite:./deploy/deploy.sqlite",
  directory: "./deploy",
  apps: ["shop"],
  // What is pushed runs as you. For anybody else's: createSandboxExecutor().
  executor: createPlainExecutor(),
  // For `gitwharf ps`, `logs`, `rollback` and the others.
  controlSocket: controlSocketOf(directory),
  logs: appsDirectoryOf(directory),
});

export const git = createGitServer({
  repositories,
  autoCreate: "push",
  handlers: deployment.handlers,
  front: deployment.frontFor,
});

export const { http } = await git.listen({ http: process.env.PORT ?? 5000 });
await deployment.start((app) => `http://${app}.localhost:${http.port}`);
console.log(`Serving ${http.url}`);

export async function close() {
  await git.close({ graceMs: 0 });
  await deployment.close();
  await repositories.close();
}
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, close);
