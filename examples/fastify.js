// gitwharf under /git in Fastify: git push http://127.0.0.1:5000/git/demo.git main
import Fastify from "fastify";
import { createGitServer } from "gitwharf";

export const git = createGitServer({ repositories: "./repositories", autoCreate: "push" });
export const app = Fastify();
app.get("/", () => "an application with a Git server in it");
// Fastify parses bodies; inside this scope it leaves them alone, and the raw request goes to gitwharf.
await app.register(async (scope) => {
  const handler = git.handlerUnder("/git");
  scope.removeAllContentTypeParsers();
  scope.addContentTypeParser("*", (_request, _payload, done) => done(null));
  scope.all("/git/*", (request, reply) => {
    reply.hijack();
    handler(request.raw, reply.raw);
  });
});

if (process.argv[1] === import.meta.filename) await app.listen({ port: 5000, host: "127.0.0.1" });
