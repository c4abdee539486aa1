// The two-minute example: a server on http://localhost:5000 whose every push is greeted by a shell script.
import { createGitServer } from "gitwharf";

export const git = createGitServer({
  repositories: "./repositories",
  autoCreate: "read", // `git clone` of a repository that does not exist yet makes an empty one.
  hooks: {
    preReceive: `#!/bin/sh
echo "Hello World!"
`,
  },
});

export const { http } = await git.listen({ http: process.env.PORT ?? 5000 });
console.log(`Serving ${http.url}`);
