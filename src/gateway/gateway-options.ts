/** The `gateway` option: contributions without an account, to repositories of forges. The same names in a configuration file. */
import { GitwharfError } from "../base/errors.js";
import type { ForgeSettings } from "./forges/forge-settings.js";
import type { Person } from "./rewrite/commit-parts.js";
import { checkIdentity } from "./rewrite/rewritten-commit.js";

export interface GatewayOptions {
  /** Whose repositories are contributed to, at most once each. */
  readonly forges: readonly ForgeSettings[];
  /** Author and committer of what is passed on. @default @gitgost-anonymous <anonymous@gitgost.local> */
  readonly identity?: Person;
  /** Of pull requests: the first line of the tip's message, or these words. @default "Anonymous contribution via gitGost" */
  readonly title?: string | { readonly from: "message" };
  /** What stands below the message in a pull request. */
  readonly disclaimer?: string;
  /** Before the time in the names of branches. @default "gitgost-" */
  readonly branchPrefix?: string;
  /** Identities, addresses and `Change-Id` go from messages. @default true */
  readonly scrubMessages?: boolean;
  /** One commit of all of a push, unless it says otherwise (`-o squash`, `-o no-squash`). @default false */
  readonly squash?: boolean;
  readonly limits?: Partial<GatewayLimits>;
}

export interface GatewayLimits {
  /** Of one push, as it arrives. @default 100 MiB */
  readonly pushBytesMax: number;
  /** That one commit brings, unpacked: its message and its files. @default 10 MiB */
  readonly commitBytesMax: number;
  /** Of an upstream, as its forge tells it. @default 500 MB */
  readonly repositoryBytesMax: number;
  /** What is fetched of an upstream for one push, beside its refs. @default 32 MiB */
  readonly fetchedBytesMax: number;
  /** Of a list of refs. @default 16 MiB */
  readonly refsBytesMax: number;
  /** That a fetch or clone through the gateway may bring. @default 1 GiB */
  readonly passedThroughBytesMax: number;
  /** Pushes at once; more are told to come again. @default 8 */
  readonly pushesMax: number;
  /** From the last byte of a push to its pull request. @default 300,000 */
  readonly pushTimeoutMs: number;
  /** After so long without a word, who was to open a pull request is dead, and another does it. @default 30,000 */
  readonly leaseMs: number;
  /** Until what could not be done is tried again. @default 60,000 */
  readonly retryMs: number;
  /** How often that is tried. @default 100 */
  readonly attemptsMax: number;
  /** How long what is known of an upstream is believed. @default 60,000 */
  readonly upstreamAgeMs: number;
}

export interface GatewaySettings extends Required<Omit<GatewayOptions, "limits">> {
  readonly limits: GatewayLimits;
}

const MiB = 1024 * 1024;

export const DEFAULT_GATEWAY_LIMITS: GatewayLimits = {
  pushBytesMax: 100 * MiB,
  commitBytesMax: 10 * MiB,
  repositoryBytesMax: 500_000_000,
  fetchedBytesMax: 32 * MiB,
  refsBytesMax: 16 * MiB,
  passedThroughBytesMax: 1024 * MiB,
  pushesMax: 8,
  pushTimeoutMs: 300_000,
  leaseMs: 30_000,
  retryMs: 60_000,
  attemptsMax: 100,
  upstreamAgeMs: 60_000,
};

const DEFAULTS: Omit<GatewaySettings, "forges" | "limits"> = {
  identity: { name: "@gitgost-anonymous", email: "anonymous@gitgost.local" },
  title: "Anonymous contribution via gitGost",
  disclaimer:
    "*This is an anonymous contribution made via a gateway. Who made it has chosen to stay anonymous; the account that has opened this pull request belongs to the gateway.*",
  branchPrefix: "gitgost-",
  scrubMessages: true,
  squash: false,
};

/** @throws server/bad-configuration */
export function gatewaySettings(options: GatewayOptions): GatewaySettings {
  const { forges, limits = {}, ...others } = options;
  const seen = new Set<string>();
  for (const { name, host } of forges) {
    const key = `${name} ${host ?? ""}`;
    if (seen.has(key)) throw wrong(`the forge ${name}${host === undefined ? "" : ` ${host}`} is there twice`);
    seen.add(key);
  }
  for (const [name, value] of Object.entries(limits)) {
    if (!Object.hasOwn(DEFAULT_GATEWAY_LIMITS, name)) throw wrong(`there is no limit '${name}'`);
    if (!Number.isSafeInteger(value) || value < 1)
      throw wrong(`limits.${name} is to be a whole number from 1 up`);
  }
  const settings: GatewaySettings = {
    ...DEFAULTS,
    ...others,
    forges,
    limits: { ...DEFAULT_GATEWAY_LIMITS, ...limits },
  };
  checkIdentity(settings.identity);
  if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,40}$/.test(settings.branchPrefix))
    throw wrong("branchPrefix is to be 1 to 41 letters, digits and hyphens");
  if (typeof settings.title === "string" && (settings.title.trim() === "" || settings.title.length > 255))
    throw wrong('title is to be 1 to 255 characters, or { from: "message" }');
  return settings;
}

function wrong(why: string): GitwharfError {
  return new GitwharfError("server/bad-configuration", `gateway: ${why}`);
}
