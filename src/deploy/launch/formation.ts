/** The processes of one release: how many of which type, started, changed in number and ended together. */
import { GitwharfError } from "../../base/errors.js";
import { STATIC_TYPE, WEB_TYPE, type Formation, type LaunchRelease } from "./launch-release.js";
import { createRequestsAtWork, type RequestsAtWork } from "./requests-at-work.js";
import { type ProcessHost, superviseProcess, type SupervisedProcess } from "./supervised-process.js";

export interface RunningFormation {
  readonly release: LaunchRelease;
  readonly directory: string;
  processes(): readonly SupervisedProcess[];
  /** What is at work in the files without being one of the processes. */
  readonly guests: RequestsAtWork;
  /**
   * Starts what is missing of these types and ends what is too much.
   * @param drainMs requests at work have so long to end before their processes are told to
   * @returns when the new web processes are up and the others have ended. @throws deploy/launch-failed
   */
  scale(formation: Formation, drainMs: number): Promise<void>;
  stop(types: "web" | "others", drainMs: number): Promise<void>;
}

/** Of one type. */
export const PROCESSES_MAX = 100;

export function createFormation(
  host: ProcessHost,
  release: LaunchRelease,
  directory: string,
): RunningFormation {
  let running: SupervisedProcess[] = [];

  const begin = (type: string, index: number): SupervisedProcess => {
    const started = superviseProcess(
      host,
      { release, directory, type, index },
      release.processTypes[type] ?? "",
    );
    running.push(started);
    return started;
  };
  const end = async (those: readonly SupervisedProcess[], drainMs: number): Promise<void> => {
    await Promise.all(those.map((one) => one.stop(drainMs)));
    running = running.filter((one) => !those.includes(one));
  };
  return {
    release,
    directory,
    guests: createRequestsAtWork(),
    processes: () =>
      running.toSorted((a, b) => (a.type === b.type ? a.index - b.index : a.type < b.type ? -1 : 1)),
    async scale(formation, drainMs) {
      const begun: SupervisedProcess[] = [];
      const surplus: SupervisedProcess[] = [];
      for (const [type, count] of Object.entries(formation)) checkCount(release, type, count);
      for (const [type, count] of Object.entries(formation)) {
        const there = running.filter((one) => one.type === type);
        surplus.push(...there.filter(({ index }) => index > count));
        for (let index = 1; index <= count; index++)
          if (!there.some((one) => one.index === index)) begun.push(begin(type, index));
      }
      const ending = end(surplus, drainMs);
      try {
        await Promise.all(begun.filter(({ type }) => type === WEB_TYPE).map((one) => one.firstUp));
      } finally {
        await ending;
      }
    },
    stop(types, drainMs) {
      const those = running.filter(({ type }) => (type === WEB_TYPE) === (types === "web"));
      return end(those, drainMs);
    },
  };
}

/** @throws protocol/bad-request */
export function checkCount({ processTypes, app }: LaunchRelease, type: string, count: number): void {
  if (!Object.hasOwn(processTypes, type) || type === STATIC_TYPE) {
    const known = Object.keys(processTypes).filter((one) => one !== STATIC_TYPE);
    throw wrong(`'${app}' has no processes '${type}'; its Procfile has ${known.join(", ") || "none"}`);
  }
  checkNumber(type, count);
}

/** Of processes of which nobody knows yet whether there will be such. @throws protocol/bad-request */
export function checkNumber(type: string, count: number): void {
  if (!Number.isInteger(count) || count < 0 || count > PROCESSES_MAX)
    throw wrong(`there may be 0 to ${PROCESSES_MAX} processes '${type}'`);
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("protocol/bad-request", why);
}
