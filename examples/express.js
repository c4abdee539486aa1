// gitwharf under /git in Express: git push http://127.0.0.1:5000/git/demo.git main
import express from "express";
import { createGitServer } from "gitwharf";

export const git = createGitServer({ repositories: "./repositories", autoCreate: "push" });
export const app = express();
app.get("/", (_request, response) => response.send("an application with a Git server in it"));
// Before any body parser: a push is a stream.
app.use("/git", git.handler);

if (process.argv[1] === import.meta.filename) app.listen(5000, "127.0.0.1");
