const { createServer } = require("node:http");

createServer((request, response) => {
  response.setHeader("Content-Type", "text/plain");
  response.end(`${process.env.GREETING ?? "Hello"} from ${process.env.GITWHARF_RELEASE}\n`);
}).listen(process.env.PORT);
