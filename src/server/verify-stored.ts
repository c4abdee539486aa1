/**
 * `verify` of the object store, deeply: when all bytes are those that the root names, what is in them. Each pack is gone
 * through against its index, each object is read and hashed, and all that refs lead to has to be there.
 */
import { isGitwharfError } from "../base/errors.js";
import type { Pack } from "../pack/pack.js";
import { checkPackEntries } from "../engine/pack-entries.js";
import { fsckRepository } from "../engine/repository-fsck.js";
import type { Repository } from "../storage/contracts/repository.js";
import type { ObjectStore } from "../storage/object-store/object-store.js";
import type { Verification, VerifyFinding, VerifyOptions } from "../storage/object-store/verify-state.js";

export interface DeepVerifyOptions extends VerifyOptions {
  /** Objects are read and hashed, too. @default false */
  readonly deep?: boolean | undefined;
}

/** @throws storage/not-found, storage/io, base/aborted */
export async function verifyStored(
  store: Pick<ObjectStore, "verify" | "openAt">,
  name: string,
  { deep = false, ...options }: DeepVerifyOptions = {},
): Promise<Verification> {
  const seen = await store.verify(name, options);
  // Where bytes are missing or wrong, everything that needs them would be told of once more.
  if (!deep || seen.findings.length > 0) return seen;
  const findings: VerifyFinding[] = [];
  try {
    const repository = await store.openAt(name, { generation: seen.generation });
    try {
      const objects = await lookInside(repository, findings, options);
      return { ...seen, objects, findings };
    } finally {
      await repository.close();
    }
  } catch (error) {
    if (!isGitwharfError(error, "pack/bad-index", "object/corrupt", "storage/corrupt")) throw error;
    findings.push({ what: "repository", where: name, message: error.message });
    return { ...seen, findings };
  }
}

/** @returns how many objects were read */
async function lookInside(
  repository: Repository,
  findings: VerifyFinding[],
  { signal }: VerifyOptions,
): Promise<number> {
  const snapshot = await repository.snapshot();
  try {
    for (const pack of snapshot.objects.packs) await lookIntoPack(pack, findings, signal);
    const { objectCount } = await fsckRepository(repository, {
      onFinding: ({ severity, message }) => {
        if (severity !== "error") return;
        const [id = repository.name] = /[0-9a-f]{64}|[0-9a-f]{40}/.exec(message) ?? [];
        findings.push({ what: "repository", where: id, message });
      },
      mayLackUnreachable: true,
      ...(signal === undefined ? {} : { signal }),
    });
    return objectCount;
  } finally {
    snapshot.release();
  }
}

async function lookIntoPack(
  pack: Pack,
  findings: VerifyFinding[],
  signal: AbortSignal | undefined,
): Promise<void> {
  for (const message of await checkPackEntries(pack, signal))
    findings.push({ what: "pack", where: pack.key, message });
}
