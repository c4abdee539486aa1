/** examples/classroom: one template, thirty students, everything collected, and nobody reads the others'. */
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { GitServer } from "../src/index.js";
import { createWorkspace, type GitClient, removeDirectory } from "./support/git-client.js";

const STUDENTS = Array.from({ length: 30 }, (_, i) => `student-${String(i + 1).padStart(2, "0")}`);
const passwords = Object.fromEntries(["teacher", ...STUDENTS].map((name) => [name, `secret of ${name}`]));

type CreateClassroom = (options: {
  readonly passwords: Readonly<Record<string, string>>;
  readonly deadline?: Date;
  readonly directory: string;
}) => GitServer;

let workspace: GitClient;
let create: CreateClassroom;
let git: GitServer;
let port: number;

beforeAll(async () => {
  workspace = createWorkspace();
  const file = new URL("../../examples/classroom/classroom.js", import.meta.url).href;
  ({ createClassroom: create } = (await import(/* @vite-ignore */ file)) as {
    createClassroom: CreateClassroom;
  });
  await open();
});
afterAll(async () => {
  await git.close({ graceMs: 0 });
  removeDirectory(workspace);
});

async function open(deadline?: Date): Promise<void> {
  git = create({
    passwords,
    directory: workspace.directory,
    ...(deadline === undefined ? {} : { deadline }),
  });
  ({ port } = (await git.listen({ http: 0 })).http);
}

const urlOf = (user: string, repository: string): string =>
  `http://${user}:${encodeURIComponent(passwords[user] ?? "wrong")}@127.0.0.1:${port}/${repository}.git`;

function handedIn(student: string): { readonly commit: string; readonly isLate: boolean } {
  const file = join(workspace.directory, "collected", student, "handed-in.json");
  return JSON.parse(readFileSync(file, "utf8")) as { commit: string; isLate: boolean };
}

/** Work of a student in a clone of theirs. */
async function work(student: string, files: Record<string, string>): Promise<GitClient> {
  const clone = workspace.in(student);
  for (const [path, text] of Object.entries(files)) writeFileSync(join(clone.directory, path), text);
  await clone.run("add", "-A");
  await clone.run("commit", "-q", "--allow-empty", "-m", `work of ${student}`);
  return clone;
}

describe("examples/classroom", () => {
  it("gives every student a repository made from the template", async () => {
    await workspace.run("init", "-q", "lesson");
    const lesson = workspace.in("lesson");
    mkdirSync(join(lesson.directory, "tests"));
    writeFileSync(join(lesson.directory, "task.md"), "Write a sonnet.\n");
    writeFileSync(join(lesson.directory, "tests", "count-lines"), "14\n");
    await lesson.run("add", "-A");
    await lesson.run("commit", "-q", "-m", "the task");
    await lesson.run("push", "-q", urlOf("teacher", "template"), "main");
    for (const student of STUDENTS)
      await lesson.run("push", "-q", urlOf("teacher", `students/${student}`), "main");
    for (const student of STUDENTS) {
      await workspace.run("clone", "-q", urlOf(student, `students/${student}`), student);
      expect(readFileSync(join(workspace.directory, student, "task.md"), "utf8")).toBe("Write a sonnet.\n");
    }
  });

  it("collects what thirty students hand in at the same time", async () => {
    const heads = await Promise.all(
      STUDENTS.map(async (student) => {
        const clone = await work(student, { "sonnet.md": `by ${student}\n` });
        const { status, stderr } = await clone.try("push", "origin", "main");
        expect([status, stderr]).toEqual([0, expect.stringContaining("remote: Handed in.")]);
        return clone.run("rev-parse", "main");
      }),
    );
    const collected = join(workspace.directory, "collected");
    expect(readdirSync(collected).toSorted()).toEqual(STUDENTS);
    for (const [i, student] of STUDENTS.entries()) {
      expect(handedIn(student)).toMatchObject({ commit: heads[i], isLate: false });
      const file = join(collected, student, "work", "sonnet.md");
      expect(readFileSync(file, "utf8")).toBe(`by ${student}\n`);
    }
  });

  it("lets nobody read or write what is somebody else's", async () => {
    const [one = "", other = ""] = STUDENTS;
    for (const url of [urlOf(one, `students/${other}`), urlOf(one, "students/nobody")]) {
      expect((await workspace.try("ls-remote", url)).stderr).toContain("not found");
      expect((await workspace.in(one).try("push", url, "main")).status).not.toBe(0);
    }
    expect((await workspace.in(one).try("push", urlOf(one, "template"), "main")).status).not.toBe(0);
    expect((await workspace.try("ls-remote", urlOf(one, "template"))).stdout).toContain("refs/heads/main");
    const wrong = `http://${one}:${encodeURIComponent(passwords[other] ?? "")}@127.0.0.1:${port}/template.git`;
    expect((await workspace.try("ls-remote", wrong)).status).not.toBe(0);
  });

  it("keeps tests, history and branches as they are meant to be", async () => {
    const [student = ""] = STUDENTS;
    const clone = await work(student, { "tests/count-lines": "13\n" });
    expect((await clone.try("push", "origin", "main")).stderr).toContain(
      "tests/count-lines is the teacher's",
    );
    await clone.run("reset", "-q", "--hard", "HEAD~2");
    expect((await clone.try("push", "--force", "origin", "main")).stderr).toContain(
      "what was handed in stays: add commits",
    );
    expect((await clone.try("push", "origin", "main:other")).stderr).toContain("work is handed in on main");
    expect((await clone.try("push", "origin", ":main")).stderr).toContain("remote rejected");
  });

  it("takes work after the deadline, and marks it", async () => {
    await git.close({ graceMs: 0 });
    await open(new Date("2020-01-01T00:00:00Z"));
    const student = STUDENTS[1] ?? "";
    const clone = await work(student, { "sonnet.md": "late\n" });
    const { stderr } = await clone.try("push", urlOf(student, `students/${student}`), "main");
    expect(stderr).toContain("remote: Handed in, late.");
    expect(handedIn(student)).toMatchObject({ commit: await clone.run("rev-parse", "main"), isLate: true });
  });
});
