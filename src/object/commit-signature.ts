/**
 * The signature in a commit's headers: `gpgsig`, in a SHA-256 repository `gpgsig-sha256`, its further lines indented by
 * one space. Specification: gitformat-signature. Not here: whether it is good.
 */
import type { ObjectFormat } from "./object-format.js";

export interface CommitSignature {
  /** `-----BEGIN PGP SIGNATURE-----`, `-----BEGIN SSH SIGNATURE-----` and the like. */
  readonly signature: string;
  /** What was signed: the commit without its signatures. */
  readonly payload: Buffer;
  readonly committerEmail: string;
}

const HEADERS = { sha1: "gpgsig", sha256: "gpgsig-sha256" } as const;

/** undefined when there is none, or more than one: which of them counts would be anybody's guess. */
export function commitSignature(data: Buffer, format: ObjectFormat): CommitSignature | undefined {
  const end = data.indexOf("\n\n");
  // One byte a character.
  const head = data.toString("latin1", 0, end < 0 ? data.length : end + 1);
  const found = [...head.matchAll(/^(gpgsig(?:-sha256)?) (.*\n(?: .*\n)*)/gm)];
  const own = found.filter(([, name]) => name === HEADERS[format]);
  const [, , value = ""] = own.length === 1 ? (own[0] ?? []) : [];
  const signature = value.replaceAll("\n ", "\n");
  if (!/^-----BEGIN [A-Z ]+-----\n/.test(signature)) return undefined;
  const signed = found.reduce((text, [header]) => text.replace(header, () => ""), head);
  const payload = Buffer.concat([
    Buffer.from(signed, "latin1"),
    data.subarray(Buffer.byteLength(head, "latin1")),
  ]);
  const committerEmail = /^committer .*<([^<>\n]*)>[^<>\n]*$/m.exec(head)?.[1] ?? "";
  return { signature, payload, committerEmail: Buffer.from(committerEmail, "latin1").toString("utf8") };
}
