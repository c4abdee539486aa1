// node examples/classroom/server.js class.json [DEADLINE]: class.json is { "teacher": "PASSWORD", "ada": "PASSWORD", … }
import { readFile } from "node:fs/promises";
import { createClassroom } from "./classroom.js";

const [file = "class.json", deadline] = process.argv.slice(2);
const git = createClassroom({
  passwords: JSON.parse(await readFile(file, "utf8")),
  deadline: deadline === undefined ? undefined : new Date(deadline),
  directory: ".",
});
const { http } = await git.listen({ http: process.env.PORT ?? 5000 });
console.log(`Serving ${http.url}`);
