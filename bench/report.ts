/** The result page: figures of both servers side by side, and ratios. */
import { cpus, totalmem } from "node:os";
import type { Figures, Measurement } from "./measure.js";

export interface ReportSection {
  readonly title: string;
  readonly remarks: string;
  readonly measurements: readonly Measurement[];
}

export function formatReport(
  sections: readonly ReportSection[],
  about: { readonly command: string; readonly git: string },
): string {
  const machine = `${cpus().length} × ${cpus()[0]?.model ?? "unknown CPU"}, ${Math.round(totalmem() / 2 ** 30)} GiB`;
  return [
    "# Benchmarks",
    "",
    `Written by \`${about.command}\` on ${new Date().toISOString().slice(0, 10)}: ${machine}, Node ${process.version}, ${about.git}.`,
    "",
    "Both servers run at the same time on the same repositories and are asked in turn by a raw client that reads and drops the",
    "answer. `git http-backend` stands behind nginx and fcgiwrap. Wall time, server CPU (all processes the server starts) and peak",
    "resident memory are medians of the rounds, for one operation; *first* is the first round, with nothing about the repository",
    "warm. Ratios are gitwharf / git http-backend: below 1 gitwharf needs less. Absolute figures drift with the machine.",
    "",
    ...sections.flatMap((section) => [
      `## ${section.title}`,
      "",
      section.remarks,
      "",
      ...formatTable(section.measurements),
      "",
    ]),
  ].join("\n");
}

function formatTable(measurements: readonly Measurement[]): readonly string[] {
  return [
    "| work | gitwharf wall | git wall | ratio | gitwharf CPU | git CPU | ratio | gitwharf RSS | git RSS | first: wall ratio | first: CPU ratio |",
    "| --- | --: | --: | --: | --: | --: | --: | --: | --: | --: | --: |",
    ...measurements.map((m) => {
      const ours = m.median.get("gitwharf");
      const git = m.median.get("git http-backend");
      const firstOurs = m.first.get("gitwharf");
      const firstGit = m.first.get("git http-backend");
      const cells = [
        m.scenario,
        milliseconds(ours?.wallMs),
        milliseconds(git?.wallMs),
        `**${ratio(ours, git, "wallMs")}**`,
        milliseconds(ours?.cpuMs),
        milliseconds(git?.cpuMs),
        `**${ratio(ours, git, "cpuMs")}**`,
        mebibytes(ours?.peakRssBytes),
        mebibytes(git?.peakRssBytes),
        ratio(firstOurs, firstGit, "wallMs"),
        ratio(firstOurs, firstGit, "cpuMs"),
      ];
      return `| ${cells.join(" | ")} |`;
    }),
  ];
}

function milliseconds(value: number | undefined): string {
  if (value === undefined) return "–";
  return value >= 1000 ? `${(value / 1000).toFixed(2)} s` : `${value.toFixed(value < 10 ? 2 : 0)} ms`;
}

function mebibytes(value: number | undefined): string {
  return value === undefined ? "–" : `${Math.round(value / 2 ** 20)} MiB`;
}

function ratio(a: Figures | undefined, b: Figures | undefined, key: keyof Figures): string {
  return a === undefined || b === undefined ? "–" : (a[key] / b[key]).toFixed(2);
}
