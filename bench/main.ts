/**
 * `npm run bench -- [--repository PATH]… [--commits N] [--only TEXT] [--write]`: gitwharf beside git http-backend.
 * Needs Linux, root (control groups) and the Debian packages nginx-light and fcgiwrap. `--write` writes
 * docs/benchmarks.md.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { copyRepository, makeGeneratedRepository } from "./data.js";
import { measureScenario, type Measurement } from "./measure.js";
import { formatReport, type ReportSection } from "./report.js";
import { pushScenarios, readingScenarios, refScenarios, type Scenario } from "./scenarios.js";
import { startGitwharf, startHttpBackend } from "./servers.js";

const { values } = parseArgs({
  options: {
    repository: { type: "string", multiple: true, default: [] },
    commits: { type: "string", default: "5000" },
    only: { type: "string" },
    write: { type: "boolean", default: false },
  },
});

const work = mkdtempSync(join(tmpdir(), "gitwharf-bench-"));
const repositories = join(work, "repositories");
const scratch = join(repositories, "scratch");
mkdirSync(scratch, { recursive: true });

const generated = "generated.git";
makeGeneratedRepository(join(repositories, generated), Number(values.commits));
const sources = [{ repository: generated, label: `generated (${values.commits} commits)` }];
for (const path of values.repository) {
  const name = `${basename(resolve(path)).replace(/\.git$/, "")}.git`;
  try {
    copyRepository(resolve(path), join(repositories, name));
  } catch {
    // Another file system: hard links do not reach there.
    symlinkSync(resolve(path), join(repositories, name));
  }
  sources.push({ repository: name, label: name.replace(/\.git$/, "") });
}

const gitwharf = await startGitwharf({ repositories, port: 17_811, directory: join(work, "gitwharf") });
const undetecting = await startGitwharf({
  repositories,
  port: 17_813,
  directory: join(work, "undetecting"),
  arguments: ["--no-collision-detection"],
});
const backend = await startHttpBackend({ repositories, port: 17_812, directory: join(work, "backend") });

async function section(
  title: string,
  remarks: string,
  scenarios: readonly Scenario[],
  ours = gitwharf,
): Promise<ReportSection> {
  const measurements: Measurement[] = [];
  for (const scenario of scenarios) {
    if (values.only !== undefined && !scenario.name.includes(values.only)) continue;
    const measured = await measureScenario(scenario, [ours, backend], repositories);
    const [a, b] = [measured.median.get("gitwharf"), measured.median.get("git http-backend")];
    const show = (n: number | undefined): string => (n ?? Number.NaN).toFixed(1);
    console.log(
      `${scenario.name}: wall ${show(a?.wallMs)} / ${show(b?.wallMs)} ms, CPU ${show(a?.cpuMs)} / ${show(b?.cpuMs)} ms`,
    );
    measurements.push(measured);
  }
  return { title, remarks, measurements };
}

try {
  const pushes = sources.flatMap((source) => pushScenarios(repositories, source, scratch));
  const sections = [
    await section(
      "Reading",
      "Clones and fetches. The generated repository is one pack with a bitmap, as `git repack -ad` leaves it; others are served as they were given.",
      sources.flatMap((source) => readingScenarios(repositories, source)),
    ),
    await section(
      "Listing refs",
      "Discovery and ls-refs, protocol v2, refs packed.",
      refScenarios(repositories, generated),
    ),
    await section(
      "Pushing",
      "Every push goes to a fresh copy. Both compute SHA-1 with collision detection; gitwharf runs fsck on the objects and syncs packs, indexes, refs and directories to the disk, which git http-backend does only for packs.",
      pushes,
    ),
    await section(
      "Pushing without collision detection",
      "The same with `gitwharf serve --no-collision-detection`; git has no such switch.",
      pushes,
      undetecting,
    ),
  ];
  const git = execFileSync("git", ["--version"], { encoding: "utf8" }).trim();
  const report = formatReport(sections, { command: "npm run bench -- --write", git });
  if (values.write) writeFileSync("docs/benchmarks.md", report);
  else console.log(report);
} finally {
  gitwharf.stop();
  undetecting.stop();
  backend.stop();
  rmSync(work, { recursive: true, force: true });
}
