/** A repository as the API shows it to one caller. */
import { compileHiddenRefs } from "../protocol/hidden-refs.js";
import type { HttpExchange } from "../transport/http/answer-request.js";
import type { Repository, RepositoryEntry } from "../storage/contracts/repository.js";
import { entityTagOf } from "./conditions.js";

export interface RepositorySummary {
  /** Stays when the repository is renamed, where the store gives such ids; otherwise its name. */
  readonly id: string;
  readonly name: string;
}

export interface RepositoryRepresentation extends RepositorySummary {
  readonly objectFormat: "sha1" | "sha256";
  /** What HEAD names; null: no branch, or none that the caller may see. */
  readonly defaultBranch: string | null;
}

export interface TaggedRepresentation {
  readonly value: RepositoryRepresentation;
  readonly tag: string;
}

export function summaryOf({ name, stableId }: RepositoryEntry): RepositorySummary {
  return { id: stableId ?? name, name };
}

export async function representationOf(
  { host, caller }: HttpExchange,
  repository: Repository,
): Promise<TaggedRepresentation> {
  const { name, objectFormat } = repository;
  const { identity, address, transport } = caller;
  const isHidden = await host.hiddenRefsOf({
    identity,
    repository: name,
    operation: "fetch",
    address,
    transport,
  });
  const { hideRefs } = (await host.settingsOf(repository)).uploadPack;
  const isHiddenFromAll = compileHiddenRefs(hideRefs);
  const { symbolicTarget } = (await repository.refs.snapshot()).head;
  const isShown = ["HEAD", symbolicTarget ?? ""].every(
    (ref) => !isHiddenFromAll(ref) && isHidden?.(ref) !== true,
  );
  const branch = isShown ? /^refs\/heads\/(.+)$/s.exec(symbolicTarget ?? "")?.[1] : undefined;
  const value = { ...summaryOf(repository), objectFormat, defaultBranch: branch ?? null };
  return { value, tag: entityTagOf(value, repository.id) };
}
