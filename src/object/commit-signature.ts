/**
 * The signature in a commit's headers: `gpgsig`, in a SHA-256 repository `gpgsig-sha256`, its further lines indented by
 * one space. Specification: git-commit-tree, gitformat-signature. Not here: whether it is good.
 */
import type { ObjectFormat } from "./object-format.js";

export interface CommitSignature {
  /** PEM-like text: `-----BEGIN PGP SIGNATURE-----` and the like. */
  readonly signature: string;
  readonly committerEmail: string;
}

/** undefined when there is none. */
export function commitSignature(data: Buffer, format: ObjectFormat): CommitSignature | undefined {
  const end = data.indexOf("\n\n");
  const head = data.toString("utf8", 0, end < 0 ? data.length : end);
  const name = format === "sha1" ? "gpgsig" : "gpgsig-sha256";
  const found = new RegExp(`^${name} (.*(?:\\n .*)*)`, "m").exec(head)?.[1];
  const signature = found?.replaceAll("\n ", "\n");
  if (signature === undefined || !/^-----BEGIN [A-Z ]+-----\n/.test(signature)) return undefined;
  const committerEmail = /^committer .*<([^<>\n]*)>[^<>\n]*$/m.exec(head)?.[1] ?? "";
  return { signature, committerEmail };
}
