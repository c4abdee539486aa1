// Push markdown, see it served: `git push` to http://localhost:5000/site.git builds http://site.localhost:5000.
import { createDiskRepositoryStore, createGitServer, createPlainExecutor, openDeployment } from "gitwharf";

const repositories = createDiskRepositoryStore({ directory: "./repositories" });

export const deployment = await openDeployment({
  repositories,
  database: "sqlite:./deploy/deploy.sqlite",
  directory: "./deploy",
  apps: ["site"],
  // What is pushed is built as you. For anybody else's: createSandboxExecutor().
  executor: createPlainExecutor(),
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
