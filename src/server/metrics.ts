/**
 * What the server counts, in Prometheus's text. In a registry of the server's own; what belongs to the process (CPU, memory,
 * event loop, garbage collection) is kept once for all servers in it. Labels have few values, each from a list of ours:
 * never a repository, a user, a ref or an address.
 */
import { Counter, Gauge, Histogram, Registry, collectDefaultMetrics } from "prom-client";
import type { RequestObserver, TransportLabel } from "../base/activity.js";
import type { SharedBudget } from "../base/shared-budget.js";
import { workerPoolState } from "../base/worker-pool.js";
import type { RepositoryGate } from "../transport/repository-gate.js";

export interface ServerMetrics extends RequestObserver {
  /** Prometheus's text format 0.0.4. */
  text(): Promise<string>;
}

export const METRICS_CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

/** From answers out of memory to clones of large repositories over slow lines. */
const DURATION_BUCKETS = [0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800];
const OBJECT_BUCKETS = [1, 10, 100, 1000, 10_000, 100_000, 1_000_000];

export interface MetricsSources {
  readonly gate: Pick<RepositoryGate, "active" | "waiting">;
  readonly requestBytes: SharedBudget;
  readonly packObjects: SharedBudget;
  /** Has the audit log failed, and not been written since? @default there is none */
  readonly isAuditFailing?: (() => boolean) | undefined;
  /** Attempts to deliver events, by how they ended. @default there are no events */
  readonly deliveries?: Readonly<Record<string, number>> | undefined;
}

export function createServerMetrics(sources: MetricsSources): ServerMetrics {
  const registry = new Registry();
  const registers = [registry];
  const requests = new Counter({
    name: "gitwharf_requests_total",
    help: "Requests that are over, by how they ended.",
    labelNames: ["transport", "service", "outcome"] as const,
    registers,
  });
  const durations = new Histogram({
    name: "gitwharf_request_duration_seconds",
    help: "From the first byte of a request to the last of its answer.",
    labelNames: ["transport", "service"] as const,
    buckets: DURATION_BUCKETS,
    registers,
  });
  const bytes = {
    in: new Counter({
      name: "gitwharf_received_bytes_total",
      help: "Bytes of requests' bodies and conversations, gzip undone.",
      labelNames: ["transport", "service"] as const,
      registers,
    }),
    out: new Counter({
      name: "gitwharf_sent_bytes_total",
      help: "Bytes of answers, without heads.",
      labelNames: ["transport", "service"] as const,
      registers,
    }),
  };
  const active = new Gauge({
    name: "gitwharf_requests_active",
    help: "Requests that have begun and are not over, waiting ones included.",
    labelNames: ["transport"] as const,
    registers,
  });
  const pushedObjects = new Histogram({
    name: "gitwharf_push_objects",
    help: "Objects in a push.",
    buckets: OBJECT_BUCKETS,
    registers,
  });
  addGauges(registry, sources);
  if (sources.deliveries !== undefined) addDeliveries(registry, sources.deliveries);
  return {
    began: (transport: TransportLabel) => active.inc({ transport }),
    ended({ transport, service, outcome, milliseconds, bytesIn, bytesOut, pushedObjects: objects }) {
      active.dec({ transport });
      requests.inc({ transport, service, outcome });
      durations.observe({ transport, service }, milliseconds / 1000);
      bytes.in.inc({ transport, service }, bytesIn);
      bytes.out.inc({ transport, service }, bytesOut);
      if (objects !== undefined) pushedObjects.observe(objects);
    },
    text: async () => Registry.merge([registry, processRegistry()]).metrics(),
  };
}

/** What is looked up when somebody asks. */
function addGauges(
  registry: Registry,
  { gate, requestBytes, packObjects, isAuditFailing }: MetricsSources,
): void {
  const audit = "1 while the audit log cannot be written, as far as the last attempt tells.";
  const gauges: readonly (readonly [string, string, () => number])[] = [
    ...(isAuditFailing === undefined
      ? []
      : [["gitwharf_audit_failing", audit, () => (isAuditFailing() ? 1 : 0)] as const]),
    ["gitwharf_requests_at_work", "Requests that have a place in their repository.", () => gate.active],
    ["gitwharf_requests_waiting", "Requests in the queues of repositories.", () => gate.waiting],
    [
      "gitwharf_request_bytes_held",
      "Bytes of large requests in memory (requestBytesTotalMax).",
      () => requestBytes.held,
    ],
    [
      "gitwharf_pack_objects_held",
      "Objects of packs that are being received (packObjectsTotalMax).",
      () => packObjects.held,
    ],
    ["gitwharf_worker_threads", "Worker threads of the process.", () => workerPoolState().threads],
    [
      "gitwharf_worker_tasks_waiting",
      "Tasks that wait for a worker thread.",
      () => workerPoolState().waiting,
    ],
    [
      "gitwharf_worker_tasks_total",
      "Tasks that worker threads have finished.",
      () => workerPoolState().completed,
    ],
    [
      "gitwharf_worker_utilization",
      "Share of the worker threads' time that tasks took, since they began.",
      () => workerPoolState().utilization,
    ],
  ];
  for (const [name, help, value] of gauges) {
    const gauge: Gauge = new Gauge({
      name,
      help,
      registers: [registry],
      collect: () => gauge.set(value()),
    });
  }
}

function addDeliveries(registry: Registry, deliveries: Readonly<Record<string, number>>): void {
  const counter = new Counter({
    name: "gitwharf_deliveries_total",
    help: "Attempts to deliver events, by how they ended; dead: there is no other.",
    labelNames: ["outcome"] as const,
    registers: [registry],
    collect: () => {
      counter.reset();
      for (const [outcome, count] of Object.entries(deliveries)) counter.inc({ outcome }, count);
    },
  });
}

let ofProcess: Registry | undefined;

/** Begins with who first asks: it watches the event loop and the garbage collector from there on. */
function processRegistry(): Registry {
  if (ofProcess === undefined) {
    ofProcess = new Registry();
    collectDefaultMetrics({ register: ofProcess });
  }
  return ofProcess;
}
