/**
 * An S3 store of a test run's own: Ceph, with one monitor, one OSD that keeps everything in memory, and its RADOS gateway,
 * on free ports of loopback, in a temporary directory, without authentication between its parts. Its programs are
 * children of this process and end with it, however that ends.
 *
 * For a test file: `ceph-run.ts`, which starts one for the whole run when the first file wants it.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { randomInt, randomUUID } from "node:crypto";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  closeSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { installDebianPackage } from "./debian-package.js";

export interface CephAccess {
  /** `http://127.0.0.1:PORT` */
  readonly endpoint: string;
  readonly accessKeyId: string;
  readonly secretAccessKey: string;
}

export interface TestCeph extends CephAccess {
  stop(): Promise<void>;
}

/** GITWHARF_TEST_CEPH=skip leaves out what needs it. */
export const SKIP_CEPH = process.env["GITWHARF_TEST_CEPH"] === "skip";

const PACKAGES = "ceph-mon ceph-osd radosgw ceph-common";
const PROGRAMS = ["ceph-mon", "ceph-osd", "radosgw", "radosgw-admin", "monmaptool", "ceph", "setpriv"];
const ACCESS = { accessKeyId: "testaccess", secretAccessKey: "testsecret0123456789" };
const PORT_MIN = 20_000;
const PORTS = 12_000;
const PORT_TRIES = 100;
const READY_TRIES = 600;
const READY_EVERY_MS = 50;
const STEP_MS = 60_000;
const run = promisify(execFile);

export async function startCeph(): Promise<TestCeph> {
  await installDebianPackage(PACKAGES, () => PROGRAMS.every((program) => isInstalled(program))).catch(
    (cause: unknown) => {
      throw new Error(
        `this test needs an S3 store: install ${PACKAGES}, or set GITWHARF_TEST_CEPH=skip to leave such tests out`,
        { cause },
      );
    },
  );
  const directory = mkdtempSync(join(tmpdir(), "gitwharf-ceph-"));
  const running: ChildProcess[] = [];
  const stop = async (): Promise<void> => {
    const ended = running.map(async (child) => {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.ref();
      const exit = once(child, "exit");
      child.kill("SIGKILL");
      await exit;
    });
    await Promise.all(ended);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    const port = await startPrograms(directory, running);
    return { endpoint: `http://127.0.0.1:${port}`, ...ACCESS, stop };
  } catch (cause) {
    const said = ["ceph-mon", "ceph-osd", "radosgw"].map((program) => lastLines(directory, program)).join("");
    await stop();
    throw new Error(`Ceph did not start: ${said}`, { cause });
  }
}

async function startPrograms(directory: string, running: ChildProcess[]): Promise<number> {
  const [monitorPort, oldMonitorPort, port] = await freePorts();
  for (const name of ["mon", "osd", "rgw", "log", "run"]) mkdirSync(join(directory, name));
  const fsid = randomUUID();
  const configuration = join(directory, "ceph.conf");
  const monitor = `[v2:127.0.0.1:${monitorPort}/0,v1:127.0.0.1:${oldMonitorPort}/0]`;
  writeFileSync(configuration, configurationOf({ directory, fsid, monitor, port }));
  const step = (program: string, ...args: readonly string[]): Promise<unknown> =>
    run(program, args, { cwd: directory, timeout: STEP_MS, killSignal: "SIGKILL" });
  const begin = (program: string, ...args: readonly string[]): ChildProcess => {
    const log = openSync(join(directory, "log", `${program}.out`), "a");
    // Whatever ends this process, they end too.
    const child = spawn("setpriv", ["--pdeathsig", "SIGKILL", program, "-f", "-c", configuration, ...args], {
      cwd: directory,
      stdio: ["ignore", log, log],
    });
    closeSync(log);
    child.unref();
    running.push(child);
    return child;
  };

  const map = join(directory, "monmap");
  await step("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", monitor, map);
  await step("ceph-mon", "-c", configuration, "-i", "a", "--mkfs", "--monmap", map);
  begin("ceph-mon", "-i", "a");
  const osd = randomUUID();
  await step("ceph", "-c", configuration, "--connect-timeout", "30", "osd", "new", osd, "0");
  await step("ceph-osd", "-c", configuration, "-i", "0", "--mkfs", "--osd-uuid", osd);
  begin("ceph-osd", "-i", "0");
  const user = ["--uid=test", "--display-name=test"];
  const keys = [`--access-key=${ACCESS.accessKeyId}`, `--secret-key=${ACCESS.secretAccessKey}`];
  await step("radosgw-admin", "-c", configuration, "-n", "client.rgw.a", "user", "create", ...user, ...keys);
  const gateway = begin("radosgw", "-n", "client.rgw.a");
  await answering(port, gateway);
  return port;
}

async function answering(port: number, gateway: ChildProcess): Promise<void> {
  for (let tries = 0; tries < READY_TRIES; tries++) {
    if (gateway.exitCode !== null) throw new Error(`radosgw ended with ${gateway.exitCode}`);
    const answer = await fetch(`http://127.0.0.1:${port}/`).catch(() => undefined);
    await answer?.arrayBuffer();
    if (answer?.ok === true) return;
    await delay(READY_EVERY_MS);
  }
  throw new Error("radosgw does not answer");
}

/**
 * Ports that were free a moment ago, and that nobody gets who asks for any: below those that systems give out (32,768 and up,
 * RFC 6335's from 49,152), for the programs take seconds to come to theirs.
 */
async function freePorts(): Promise<readonly [number, number, number]> {
  const ports = new Set<number>();
  for (let tries = 0; ports.size < 3; tries++) {
    if (tries === PORT_TRIES) throw new Error("no ports are free");
    const port = PORT_MIN + randomInt(PORTS);
    if (await isFree(port)) ports.add(port);
  }
  const [one = 0, two = 0, three = 0] = ports;
  return [one, two, three];
}

async function isFree(port: number): Promise<boolean> {
  const server = createServer();
  server.listen(port, "127.0.0.1");
  try {
    await once(server, "listening");
  } catch {
    return false;
  }
  server.close();
  await once(server, "close");
  return true;
}

function isInstalled(program: string): boolean {
  const places = (process.env["PATH"] ?? "").split(delimiter);
  return places.some((place) => place !== "" && existsSync(join(place, program)));
}

function lastLines(directory: string, program: string): string {
  try {
    return `\n${program}: ${readFileSync(join(directory, "log", `${program}.out`), "utf8").slice(-1500)}`;
  } catch {
    return "";
  }
}

function configurationOf(options: {
  readonly directory: string;
  readonly fsid: string;
  readonly monitor: string;
  readonly port: number;
}): string {
  const { directory, fsid, monitor, port } = options;
  return `[global]
fsid = ${fsid}
mon host = ${monitor.replaceAll("/0", "")}
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 2
osd pool default pgp num = 2
osd pool default pg autoscale mode = off
osd crush chooseleaf type = 0
mon allow pool size one = true
mon warn on pool no redundancy = false
run dir = ${directory}/run
pid file = ${directory}/run/$type.$id.pid
admin socket = ${directory}/run/$type.$id.asok
log file = ${directory}/log/$type.$id.log
crash dir = ${directory}/log
mon cluster log file = ${directory}/log/cluster.log
log to syslog = false
mon max pg per osd = 1000
ms mon client mode = crc secure
ms cluster mode = crc
ms service mode = crc
ms client mode = crc
paxos propose interval = 0.02
paxos min wait = 0.005
[mon]
mon data = ${directory}/mon
mon data avail warn = 0
mon data avail crit = 0
mon initial members = a
mon osd reporter subtree level = osd
[osd]
osd data = ${directory}/osd
osd objectstore = memstore
memstore device bytes = 4G
osd class load list = *
osd class default list = *
osd op num shards = 2
osd crush update on start = true
[client]
keyring = /dev/null
[client.rgw.a]
rgw frontends = beast endpoint=127.0.0.1:${port} tcp_nodelay=1
rgw data = ${directory}/rgw
rgw thread pool size = 32
rgw enable usage log = false
rgw rados pool pg num min = 1
rgw override bucket index max shards = 1
`;
}
