// gitwharf under /git in Hono on Node: git push http://127.0.0.1:5000/git/demo.git main
import { serve } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono } from "hono";
import { createGitServer } from "gitwharf";

export const git = createGitServer({ repositories: "./repositories", autoCreate: "push" });
const handler = git.handlerUnder("/git");

export const app = new Hono();
app.get("/", (c) => c.text("an application with a Git server in it"));
app.all("/git/*", (c) => {
  handler(c.env.incoming, c.env.outgoing);
  return RESPONSE_ALREADY_SENT;
});

if (process.argv[1] === import.meta.filename) serve({ fetch: app.fetch, port: 5000, hostname: "127.0.0.1" });
