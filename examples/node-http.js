// gitwharf in a plain Node server: node examples/node-http.js, then git push http://127.0.0.1:5000/demo.git main
import { createServer } from "node:http";
import { createGitServer } from "gitwharf";

export const git = createGitServer({ repositories: "./repositories", autoCreate: "push" });
export const server = createServer(git.handler);

if (process.argv[1] === import.meta.filename) server.listen(5000, "127.0.0.1");
