/**
 * The refs and capabilities that a v0 or v1 server begins with. Specification: gitprotocol-pack "Reference Discovery".
 *
 *     <oid> SP <name> NUL <capabilities> LF      the first line; `<zeros> capabilities^{}` when there is no ref
 *     <oid> SP <name> LF                          the others; `<name>^{}` behind a tag is what it leads to
 *     shallow SP <oid> LF                         the boundary of a shallow repository
 *     0000
 */
import { GitwharfError } from "../../base/errors.js";
import { nullObjectId, isObjectId, type ObjectId } from "../../object/object-id.js";
import type { ObjectFormat } from "../../object/object-format.js";
import { type Capabilities, parseCapabilities } from "./capabilities.js";
import { formatPktText, packetText } from "./pkt-line.js";
import { objectIdInLine, quoteLine } from "./request-line.js";

export interface AdvertisedRef {
  readonly name: string;
  readonly oid: ObjectId;
  readonly peeled?: ObjectId | undefined;
}

/** The pkt-line that carries the capabilities. @param ref undefined when there is none to show */
export function formatFirstAdvertisedRef(
  ref: AdvertisedRef | undefined,
  about: { readonly capabilities: string; readonly objectFormat: ObjectFormat },
): string {
  const { name, oid } = ref ?? { name: "capabilities^{}", oid: nullObjectId(about.objectFormat) };
  return formatPktText(`${oid} ${name}\0${about.capabilities}\n`) ?? "";
}

/** The pkt-lines of a ref that is not the first; nothing for a name too long to be sent. */
export function formatAdvertisedRef(ref: AdvertisedRef): string {
  return `${formatPktText(`${ref.oid} ${ref.name}\n`) ?? ""}${formatPeeledRef(ref)}`;
}

/** The pkt-line behind a tag's. */
export function formatPeeledRef(ref: AdvertisedRef): string {
  return ref.peeled === undefined ? "" : (formatPktText(`${ref.peeled} ${ref.name}^{}\n`) ?? "");
}

export interface RefAdvertisement {
  readonly capabilities: Capabilities;
  readonly refs: readonly AdvertisedRef[];
  readonly shallow: readonly ObjectId[];
}

/** @param payloads of the data packets up to the flush @throws protocol/bad-request */
export function parseRefAdvertisement(payloads: readonly Buffer[], format: ObjectFormat): RefAdvertisement {
  let capabilities: Capabilities = new Map();
  const refs: { name: string; oid: ObjectId; peeled?: ObjectId }[] = [];
  const shallow: ObjectId[] = [];
  payloads.forEach((payload, i) => {
    const text = packetText(payload);
    const nul = text.indexOf("\0");
    if (i === 0 && nul >= 0) capabilities = parseCapabilities(text.slice(nul + 1));
    const line = nul < 0 ? text : text.slice(0, nul);
    if (line.startsWith("shallow ")) {
      shallow.push(objectIdInLine(line, "shallow ".length, format));
      return;
    }
    const space = line.indexOf(" ");
    const oid = line.slice(0, Math.max(0, space));
    const name = line.slice(space + 1);
    if (!isObjectId(oid, format)) {
      throw new GitwharfError(
        "protocol/bad-request",
        `'${quoteLine(line)}' is no line of a ref advertisement`,
      );
    }
    const last = refs.at(-1);
    if (name === "capabilities^{}") return;
    if (last !== undefined && name === `${last.name}^{}`) last.peeled = oid;
    else refs.push({ name, oid });
  });
  return { capabilities, refs, shallow };
}
