// A programming class: the teacher's template, a repository for each student, and the latest work of all in one directory.
import { mkdir, mkdtemp, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createGitServer } from "gitwharf";

const TEACHER = "teacher";

/**
 * @param passwords { teacher: "…", ada: "…", … }: everybody else is a student
 * @param deadline what comes later is taken, and marked
 * @param directory where repositories and collected work are
 */
export function createClassroom({ passwords, deadline, directory }) {
  const collected = join(directory, "collected");

  return createGitServer({
    repositories: join(directory, "repositories"),
    autoCreate: "push",
    // One after the other in each student's repository; all students at once.
    serialPushes: ["students/*"],

    authenticate: (credentials) =>
      credentials.kind === "basic" &&
      Object.hasOwn(passwords, credentials.user) &&
      passwords[credentials.user] === credentials.password
        ? { user: credentials.user }
        : undefined,

    authorize({ identity: { user }, repository, operation }) {
      if (user === undefined) return { allowed: false, reason: "sign in", answer: "challenge" };
      if (user === TEACHER) return { allowed: true };
      if (repository === "template" && operation === "fetch") return { allowed: true };
      if (repository === `students/${user}` && operation !== "create") return { allowed: true };
      return { allowed: false, reason: "this is not yours", answer: "hide" };
    },

    handlers: {
      async update(push, update) {
        if (push.identity.user === TEACHER) return;
        if (update.name !== "refs/heads/main") return "work is handed in on main";
        if (update.deleted || (await update.forced())) return "what was handed in stays: add commits";
        for await (const { path } of update.changedPaths()) {
          if (path.startsWith("tests/")) return `${path} is the teacher's`;
        }
      },

      async postReceive(push, updates) {
        const student = /^students\/(.+)$/.exec(push.repository.name)?.[1];
        const main = updates.find(({ name }) => name === "refs/heads/main");
        if (student === undefined || main === undefined || push.identity.user !== student) return;
        const now = new Date();
        const isLate = deadline !== undefined && now > deadline;
        await mkdir(collected, { recursive: true });
        // Written beside it, then put in its place: whoever corrects never sees half of it.
        const fresh = await mkdtemp(join(collected, ".new-"));
        try {
          await main.checkout(join(fresh, "work"));
          await writeFile(
            join(fresh, "handed-in.json"),
            `${JSON.stringify({ student, commit: main.newOid, at: now.toISOString(), isLate })}\n`,
          );
          await rm(join(collected, student), { recursive: true, force: true });
          await rename(fresh, join(collected, student));
        } finally {
          await rm(fresh, { recursive: true, force: true });
        }
        await push.print(isLate ? "Handed in, late.\n" : "Handed in.\n");
      },
    },
  });
}
