/** Runs a scenario against the servers in turn and takes medians. */
import { dropConnections } from "./raw-client.js";
import type { BenchServer } from "./servers.js";
import type { RunContext, Scenario } from "./scenarios.js";

export interface Figures {
  readonly wallMs: number;
  readonly cpuMs: number;
  readonly peakRssBytes: number;
}

export interface Measurement {
  readonly scenario: string;
  /** The first run of the server in this scenario: nothing about the repository was warm. */
  readonly first: ReadonlyMap<string, Figures>;
  readonly median: ReadonlyMap<string, Figures>;
}

/** Alternates the servers, so that drift of the machine meets both. */
export async function measureScenario(
  scenario: Scenario,
  servers: readonly BenchServer[],
  repositories: string,
): Promise<Measurement> {
  const all = new Map<string, Figures[]>(servers.map((server) => [server.name, []]));
  for (let round = 0; round < scenario.rounds; round++) {
    for (const server of servers) {
      const run: RunContext = { port: server.port, repositories, id: `run-${process.hrtime.bigint()}` };
      all.get(server.name)?.push(await measureRun(scenario, server, run));
    }
  }
  const first = new Map<string, Figures>();
  const median = new Map<string, Figures>();
  for (const [name, figures] of all) {
    if (figures[0] !== undefined) first.set(name, figures[0]);
    median.set(name, {
      wallMs: middle(figures.map((f) => f.wallMs)),
      cpuMs: middle(figures.map((f) => f.cpuMs)),
      peakRssBytes: middle(figures.map((f) => f.peakRssBytes)),
    });
  }
  return { scenario: scenario.name, first, median };
}

async function measureRun(scenario: Scenario, server: BenchServer, run: RunContext): Promise<Figures> {
  await scenario.prepare?.(run);
  dropConnections();
  let peakRssBytes = server.group.residentBytes();
  const sampler = setInterval(() => {
    peakRssBytes = Math.max(peakRssBytes, server.group.residentBytes());
  }, 10);
  const cpuBefore = server.group.cpuSeconds();
  const started = performance.now();
  try {
    await scenario.work(run);
  } finally {
    clearInterval(sampler);
  }
  const wallMs = performance.now() - started;
  // Work that outlives the answer (closing files, worker threads) belongs to the run as well.
  await new Promise((resolve) => setTimeout(resolve, 100));
  const cpuMs = (server.group.cpuSeconds() - cpuBefore) * 1000;
  scenario.cleanUp?.(run);
  return { wallMs: wallMs / scenario.repeat, cpuMs: cpuMs / scenario.repeat, peakRssBytes };
}

function middle(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}
