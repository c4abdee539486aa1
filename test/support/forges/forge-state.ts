/** What a stand-in for a forge has in it, whichever forge it stands in for. */
export interface StandInRepository {
  readonly id: number;
  readonly owner: string;
  name: string;
  defaultBranch: string;
  isEmpty: boolean;
  isPrivate: boolean;
  isArchived: boolean;
  sizeKiB: number;
  readonly files: Map<string, string>;
  readonly labels: string[];
  readonly parent: StandInRepository | undefined;
  /** How often a fork is looked at before it is there. */
  looksUntilReady: number;
  readonly pulls: StandInPull[];
  readonly issues: StandInIssue[];
  /** By number, GitHub's. */
  readonly discussions: Set<number>;
}

export interface StandInPull {
  readonly number: number;
  readonly author: string;
  readonly head: StandInRepository;
  readonly branch: string;
  readonly base: string;
  readonly title: string;
  readonly body: string;
  state: "open" | "closed" | "merged";
  updatedAt: string;
}

export interface StandInIssue {
  readonly number: number;
  readonly author: string;
  readonly title: string;
  readonly body: string;
  readonly labels: readonly string[];
}

export interface StandInComment {
  readonly id: number;
  readonly repository: StandInRepository;
  readonly on: "issue" | "pull" | "discussion";
  readonly number: number;
  readonly author: string;
  readonly body: string;
}

export interface ForgeState {
  readonly repositories: StandInRepository[];
  readonly comments: StandInComment[];
  /** A repository of that name is renamed: it is asked for by its old one. */
  readonly renamed: Map<string, StandInRepository>;
  nextId(): number;
  add(about: Pick<StandInRepository, "owner" | "name"> & Partial<StandInRepository>): StandInRepository;
  find(owner: string, name: string): StandInRepository | undefined;
  /** An account's fork of it, under any name. */
  forkOf(upstream: StandInRepository, account: string): StandInRepository | undefined;
  openPull(
    upstream: StandInRepository,
    pull: Omit<StandInPull, "number" | "state" | "updatedAt">,
  ): StandInPull;
  openIssue(repository: StandInRepository, issue: Omit<StandInIssue, "number">): StandInIssue;
  comment(comment: Omit<StandInComment, "id">): StandInComment;
}

export function createForgeState(): ForgeState {
  const repositories: StandInRepository[] = [];
  const comments: StandInComment[] = [];
  const renamed = new Map<string, StandInRepository>();
  let lastId = 1000;
  let seconds = 0;
  const now = (): string => new Date(1_800_000_000_000 + ++seconds * 1000).toISOString().replace(".000", "");
  const nextNumber = ({ pulls, issues }: StandInRepository): number => pulls.length + issues.length + 1;
  const state: ForgeState = {
    repositories,
    comments,
    renamed,
    nextId: () => ++lastId,
    add(about) {
      const repository: StandInRepository = {
        id: ++lastId,
        defaultBranch: "main",
        isEmpty: false,
        isPrivate: false,
        isArchived: false,
        sizeKiB: 12,
        files: new Map(),
        labels: [],
        parent: undefined,
        looksUntilReady: 0,
        pulls: [],
        issues: [],
        discussions: new Set(),
        ...about,
      };
      repositories.push(repository);
      return repository;
    },
    find: (owner, name) =>
      repositories.find(
        (each) =>
          each.owner.toLowerCase() === owner.toLowerCase() && each.name.toLowerCase() === name.toLowerCase(),
      ),
    forkOf: (upstream, account) =>
      repositories.find((each) => each.parent === upstream && each.owner === account),
    openPull(upstream, about) {
      const pull: StandInPull = { ...about, number: nextNumber(upstream), state: "open", updatedAt: now() };
      upstream.pulls.push(pull);
      return pull;
    },
    openIssue(repository, about) {
      const issue = { ...about, number: nextNumber(repository) };
      repository.issues.push(issue);
      return issue;
    },
    comment(about) {
      const comment = { ...about, id: ++lastId };
      comments.push(comment);
      return comment;
    },
  };
  return state;
}
