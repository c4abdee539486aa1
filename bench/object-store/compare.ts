/** Clone, fetch, push and fork: an object store beside gitwharf over directories and `git http-backend`. */
import { join } from "node:path";
import { fetchPack, listRefs, push, type Remote } from "../raw-client.js";
import { bytes, count, type Figures, medianOf, milliseconds, ratio, type Table } from "./figures.js";
import type { Ground } from "./ground.js";
import { type History, type HistorySize, makeHistory } from "./history.js";
import { type Served, startGit, startServed, type Who } from "./served.js";

const ROUNDS: Readonly<Record<HistorySize, number>> = { small: 3, large: 2 };
/** Once the first has found nothing there. */
const WARM_TIMES = 3;
const MAIN = "refs/heads/main";
/** Of the first requests to a server; those that follow are warm. */
const STATES = ["just started", "cold"] as const;
/** Two repositories with the same history. */
const PUSHED = { one: "pushed-0", other: "pushed-1" } as const;
type Which = keyof typeof PUSHED;

/** Work → who → what each run of it has cost. */
export type Measured = Map<string, Map<Who, Figures[]>>;

export async function compare(ground: Ground, size: HistorySize): Promise<readonly Table[]> {
  const { work } = ground;
  const history = makeHistory(work, size);
  const servers: Served[] = [];
  try {
    servers.push(
      await startServed({
        kind: "object store",
        place: ground.place("compare"),
        database: await ground.createDatabase(),
        localDirectory: join(work, "local"),
      }),
      await startServed({ kind: "disk", directory: join(work, "disk") }),
      await startGit(work),
    );
    const measured = await compareServers(servers, history, ROUNDS[size]);
    return [
      {
        remarks: `${count(history.objectCount)} objects; packs of ${bytes(history.firstPack.length)} for all but the last commit, and of ${bytes(history.lastPack.length)} for that one.`,
        ...tableOf(measured),
      },
    ];
  } finally {
    for (const served of servers) await served.close();
  }
}

async function compareServers(
  servers: readonly Served[],
  history: History,
  rounds: number,
): Promise<Measured> {
  const { tip, before } = history;
  const measured: Measured = new Map();
  const note = (work: string, who: Who, figures: Figures | undefined): void => {
    if (figures === undefined) return;
    const ofWork = measured.get(work) ?? new Map<Who, Figures[]>();
    measured.set(work, ofWork);
    ofWork.set(who, [...(ofWork.get(who) ?? []), figures]);
    console.log(`${work}, ${who}: ${milliseconds(figures.wallMs)}, CPU ${milliseconds(figures.cpuMs)}`);
  };
  /** In turn, the other way round every second time. */
  const inRounds = async (act: (served: Served, round: number) => Promise<void>): Promise<void> => {
    for (let round = 0; round < rounds; round++)
      for (const served of round % 2 === 0 ? servers : servers.toReversed()) await act(served, round);
  };
  /** First of another repository of the same kind, so that "cold" is a process that has run before. */
  const inAllStates = async (
    work: string,
    act: (remote: Remote) => Promise<unknown>,
    nameOf: (served: Served, which: Which, run: string) => Promise<string>,
  ): Promise<void> => {
    await inRounds(async (served, round) => {
      const names = [await nameOf(served, "other", `${round}`)];
      for (let i = 0; i <= WARM_TIMES; i++) names.push(await nameOf(served, "one", `${round}-${i}`));
      await served.restart();
      for (const [i, name] of names.entries()) {
        const figures = await served.measure(() => act(served.remote(name)));
        note(`${work}, ${STATES[i] ?? "warm"}`, served.who, figures);
      }
    });
  };
  const clone = async (remote: Remote): Promise<void> => {
    const wants = (await listRefs(remote)).map(({ oid }) => oid);
    await fetchPack(remote, [...new Set(wants)], []);
  };
  const asPushed = async (_: Served, which: Which): Promise<string> => PUSHED[which];

  await inRounds(async (served, round) => {
    await served.create(`pushed-${round}`);
    const figures = await served.measure(() => pushAll(served.remote(`pushed-${round}`), history));
    note("push of everything", served.who, figures);
  });
  await inAllStates("clone, as it was pushed", clone, asPushed);
  for (const name of Object.values(PUSHED))
    for (const served of servers) note("collection of garbage", served.who, await served.collect(name));
  await inAllStates("clone", clone, asPushed);
  await inAllStates(
    "push of one commit",
    (remote) => push(remote, { name: MAIN, oldOid: before, newOid: tip, pack: history.lastPack }),
    async (served, which, run) => {
      const name = `${which}-${run}`;
      await served.copy(PUSHED[which], name);
      return name;
    },
  );
  // It came in a pack of its own.
  await inAllStates(
    "fetch of one commit",
    (remote) => fetchPack(remote, [tip], [before]),
    async (_, which) => (which === "one" ? "one-0-0" : "other-0"),
  );
  await inRounds(async (served, round) => {
    for (let i = 0; i < WARM_TIMES; i++)
      note("fork", served.who, await served.fork("pushed-0", `fork-${round}-${i}`));
  });
  return measured;
}

export async function pushAll(remote: Remote, { before, firstPack }: History): Promise<void> {
  await push(remote, { name: MAIN, oldOid: "0".repeat(before.length), newOid: before, pack: firstPack });
}

function tableOf(measured: Measured): Table {
  return {
    head: [
      "work",
      "object store",
      "disk",
      "git",
      "to disk",
      "to git",
      "CPU: object store",
      "disk",
      "git",
      "to disk",
      "to git",
      "bucket: requests",
      "read",
      "written",
    ],
    rows: [...measured].map(([work, byWho]) => {
      const of = (who: Who): Figures | undefined => {
        const all = byWho.get(who);
        return all === undefined ? undefined : medianOf(all);
      };
      const [ours, disk, git] = [of("object store"), of("disk"), of("git http-backend")];
      if ((ours?.bucket?.lists ?? 0) > 0) throw new Error(`${work}: the bucket was listed`);
      return [
        work,
        milliseconds(ours?.wallMs),
        milliseconds(disk?.wallMs),
        milliseconds(git?.wallMs),
        ratio(ours?.wallMs, disk?.wallMs),
        ratio(ours?.wallMs, git?.wallMs),
        milliseconds(ours?.cpuMs),
        milliseconds(disk?.cpuMs),
        milliseconds(git?.cpuMs),
        ratio(ours?.cpuMs, disk?.cpuMs),
        ratio(ours?.cpuMs, git?.cpuMs),
        count(ours?.bucket?.requests),
        bytes(ours?.bucket?.readBytes),
        bytes(ours?.bucket?.writtenBytes),
      ];
    }),
  };
}
