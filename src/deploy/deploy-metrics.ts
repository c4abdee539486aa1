/**
 * What builds and releases count, in Prometheus's text, in a registry of their own. Labels have few values, each from a list
 * of ours: never an app, a user or a commit.
 */
import { Counter, Gauge, Histogram, Registry } from "prom-client";
import type { DeployObserver } from "./deploy.js";
import type { Launcher } from "./launch/launcher.js";

export interface DeployMetrics extends Required<DeployObserver> {
  /** Prometheus's text format 0.0.4. */
  text(): Promise<string>;
}

const BUILD_BUCKETS = [0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800];
const LAUNCH_BUCKETS = [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

/** @param sources.processes of all apps @param sources.openBuilds of the database, which several servers may share */
export function createDeployMetrics(sources: {
  readonly processes: () => Promise<NonNullable<ReturnType<Launcher["processes"]>>>;
  readonly openBuilds: () => Promise<{ readonly queued: number; readonly running: number }>;
}): DeployMetrics {
  const registry = new Registry();
  const registers = [registry];
  const builds = new Counter({
    name: "gitwharf_builds_total",
    help: "Builds that are over, by how they ended.",
    labelNames: ["outcome"] as const,
    registers,
  });
  const buildSeconds = new Histogram({
    name: "gitwharf_build_duration_seconds",
    help: "From the beginning of a build to its end, without its time in the queue.",
    buckets: BUILD_BUCKETS,
    registers,
  });
  const releases = new Counter({
    name: "gitwharf_releases_total",
    help: "Releases of builds, by whether they came up.",
    labelNames: ["outcome"] as const,
    registers,
  });
  const launchSeconds = new Histogram({
    name: "gitwharf_launch_duration_seconds",
    help: "From the release to the first request that may come, or to its failure.",
    buckets: LAUNCH_BUCKETS,
    registers,
  });
  const open: Gauge<"state"> = new Gauge({
    name: "gitwharf_builds_open",
    help: "Builds that wait, and builds at work.",
    labelNames: ["state"] as const,
    registers,
    async collect() {
      const { queued, running } = await sources.openBuilds();
      open.set({ state: "queued" }, queued);
      open.set({ state: "running" }, running);
    },
  });
  const processes: Gauge<"state"> = new Gauge({
    name: "gitwharf_app_processes",
    help: "Processes of apps that are to run, by what they are doing.",
    labelNames: ["state"] as const,
    registers,
    async collect() {
      const all = await sources.processes();
      processes.reset();
      for (const { state } of all) processes.inc({ state });
    },
  });
  return {
    built({ status, milliseconds }) {
      builds.inc({ outcome: status });
      buildSeconds.observe(milliseconds / 1000);
    },
    released({ outcome, milliseconds }) {
      releases.inc({ outcome });
      launchSeconds.observe(milliseconds / 1000);
    },
    text: () => registry.metrics(),
  };
}
