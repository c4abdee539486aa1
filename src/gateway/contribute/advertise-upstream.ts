/**
 * The upstream's heads and tags, as a push to the gateway is told of them. Specification: gitprotocol-pack "Reference Discovery".
 *
 *     <oid> SP <name> NUL <capabilities> LF …  0000        of an upstream without commits: the null id and `capabilities^{}`
 */
import { GitwharfError } from "../../base/errors.js";
import type { RemoteRefs } from "../../client/remote-refs.js";
import { nullObjectId } from "../../object/object-id.js";
import { encodePktLine, FLUSH } from "../../protocol/wire/pkt-line.js";

export const UPSTREAM_PREFIXES = ["refs/heads/", "refs/tags/"];

const CAPABILITIES = "report-status delete-refs side-band-64k quiet ofs-delta push-options";

/** @throws protocol/unsupported */
export function advertiseUpstream({ refs, objectFormat }: RemoteRefs): readonly Buffer[] {
  if (objectFormat !== "sha1")
    throw new GitwharfError(
      "protocol/unsupported",
      `the upstream's objects are of ${objectFormat}; contributions are taken to those of sha1`,
    );
  const lines = refs.map(({ oid, name }) => `${oid} ${name}`);
  const [first = `${nullObjectId(objectFormat)} capabilities^{}`, ...rest] = lines;
  return [
    encodePktLine("# service=git-receive-pack\n"),
    FLUSH,
    encodePktLine(`${first}\0${CAPABILITIES}\n`),
    ...rest.map((line) => encodePktLine(`${line}\n`)),
    FLUSH,
  ];
}
