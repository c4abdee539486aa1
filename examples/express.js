// gitwharf under /git in Express: git push http://127.0.0.1:5000/git/demo.git main, and http://127.0.0.1:5000 shows it.
import express from "express";
import { createGitServer } from "gitwharf";

const pushes = [];

export const git = createGitServer({
  repositories: "./repositories",
  autoCreate: "push",
  handlers: {
    async postReceive(push, updates) {
      for (const { shortName, newOid, deleted } of updates)
        pushes.unshift(`${push.repository.name} ${shortName} ${deleted ? "deleted" : newOid.slice(0, 7)}`);
      pushes.length = Math.min(pushes.length, 20);
      await push.print("It is on the front page.\n");
    },
  },
});

export const app = express();
app.get("/", (_request, response) => response.type("text").send(`Latest pushes:\n${pushes.join("\n")}\n`));
// Before any body parser: a push is a stream.
app.use("/git", git.handler);

if (process.argv[1] === import.meta.filename) app.listen(5000, "127.0.0.1");
