/** What every `RefStore` must keep. How to run it: suite-runner.ts; a backend here opens ref stores. */
import assert from "node:assert/strict";
import { hexLength, type ObjectFormat } from "../../../object/object-format.js";
import { nullObjectId, type ObjectId } from "../../../object/object-id.js";
import type { RefRefusalCode, RefStore, RefTransaction, RefUpdate, RefUpdateResult } from "../ref-store.js";
import type { SuiteRunner } from "./suite-runner.js";

export interface RefStoreBackend {
  /** Appears in the titles. */
  readonly name: string;
  /** False: it never keeps logs. @default true */
  readonly keepsReflogs?: boolean;
  /** An empty store whose HEAD names the unborn branch `main`. */
  open(options: { readonly objectFormat: ObjectFormat; readonly reflogs: boolean }): Promise<OpenedRefStore>;
}

export interface OpenedRefStore {
  readonly store: RefStore;
  /** A second store over the same refs, as another process has it; the same store where there is no other way. */
  reopen(): Promise<RefStore>;
  dispose(): Promise<void>;
}

const MAIN = "refs/heads/main";
const TOPIC = "refs/heads/topic";

export function refStoreSuite(
  runner: SuiteRunner,
  backend: RefStoreBackend,
  options: { readonly objectFormat?: ObjectFormat } = {},
): void {
  const { describe, it } = runner;
  const format = options.objectFormat ?? "sha1";
  const [A, B, C] = ["a1", "b2", "c3"].map((digits) => digits.repeat(hexLength(format) / 2)) as [
    ObjectId,
    ObjectId,
    ObjectId,
  ];
  const numbered = (n: number): ObjectId => n.toString(16).padStart(hexLength(format), "0");

  const withRefs =
    (body: (store: RefStore, opened: OpenedRefStore) => Promise<void>, reflogs = false) =>
    async (): Promise<void> => {
      const opened = await backend.open({ objectFormat: format, reflogs });
      try {
        await body(opened.store, opened);
      } finally {
        await opened.store.close();
        await opened.dispose();
      }
    };

  describe(`ref store: ${backend.name}, ${format}`, () => {
    describe("snapshot", () => {
      it(
        "of an empty store has an unborn HEAD",
        withRefs(async (store) => {
          const snapshot = await store.snapshot();
          assert.deepEqual(snapshot.head, { symbolicTarget: MAIN });
          assert.deepEqual([snapshot.all, snapshot.broken], [[], []]);
          assert.equal(snapshot.get(MAIN), undefined);
        }),
      );

      it(
        "is not changed by what happens later",
        withRefs(async (store) => {
          await set(store, MAIN, A);
          const before = await store.snapshot();
          await set(store, MAIN, B);
          await set(store, TOPIC, B);
          assert.deepEqual(names(before), [[MAIN, A]]);
          assert.deepEqual(names(await store.snapshot()), [
            [MAIN, B],
            [TOPIC, B],
          ]);
        }),
      );

      it(
        "sorts names by their bytes and finds them",
        withRefs(async (store) => {
          const sorted = [
            "refs/heads/A",
            "refs/heads/a",
            "refs/heads/a-",
            "refs/heads/a/b",
            "refs/heads/a0",
            "refs/heads/é",
          ];
          const high = ["refs/heads/\u{e000}", "refs/heads/\u{fffc}", "refs/heads/\u{10400}", "refs/tags/v1"];
          const expected = [...sorted.filter((name) => name !== "refs/heads/a"), ...high];
          await apply(
            store,
            [...expected].reverse().map((name) => create(name, A)),
          );
          const snapshot = await store.snapshot();
          assert.deepEqual(
            snapshot.all.map(({ name }) => name),
            expected,
          );
          for (const name of expected) assert.equal(snapshot.get(name)?.oid, A, name);
          assert.equal(snapshot.get("refs/heads/a"), undefined);
          assert.deepEqual(
            snapshot.startingWith("refs/tags/").map(({ name }) => name),
            ["refs/tags/v1"],
          );
          assert.deepEqual(
            snapshot.startingWith("refs/heads/a").map(({ name }) => name),
            sorted.slice(2, 5),
          );
          assert.deepEqual(snapshot.startingWith("refs/nothing"), []);
          assert.equal(snapshot.startingWith("").length, expected.length);
        }),
      );

      it(
        "has another version after each change, and the same without one",
        withRefs(async (store) => {
          const seen = new Set([(await store.snapshot()).version]);
          const changes: RefUpdate[] = [
            create(MAIN, A),
            move(MAIN, A, B),
            move(MAIN, B, A),
            { name: "HEAD", oldOid: undefined, newOid: null, symbolicTarget: TOPIC },
            { name: "HEAD", oldOid: undefined, newOid: null, symbolicTarget: MAIN },
            remove(MAIN, A),
          ];
          for (const [i, change] of changes.entries()) {
            await apply(store, [change]);
            const { version } = await store.snapshot();
            assert.equal(version, (await store.snapshot()).version);
            // A store may find that everything is as it was before; then so is what was cached by the version.
            if (i !== 2 && i !== 4 && i !== 5) assert.equal(seen.has(version), false, `after change ${i}`);
            seen.add(version);
          }
          await refuse(store, move(MAIN, A, B), "missing");
          assert.equal(seen.has((await store.snapshot()).version), true);
        }),
      );

      it(
        "of another store on the same refs sees what this one did",
        withRefs(async (store, { reopen }) => {
          const other = await reopen();
          await other.snapshot();
          for (const oid of [A, B, C, A]) {
            await apply(store, [{ name: MAIN, oldOid: undefined, newOid: oid }]);
            assert.equal((await other.snapshot()).get(MAIN)?.oid, oid);
            assert.equal((await other.snapshot()).head.oid, oid);
          }
          await apply(other, [remove(MAIN, A), create(TOPIC, B)]);
          assert.deepEqual(names(await store.snapshot()), [[TOPIC, B]]);
          if (other !== store) await other.close();
        }),
      );
    });

    describe("compare-and-swap", () => {
      it(
        "creates, moves and deletes what is as expected",
        withRefs(async (store) => {
          assert.deepEqual(await apply(store, [create(MAIN, A)]), [{ name: MAIN, ok: true }]);
          assert.deepEqual(await apply(store, [move(MAIN, A, B)]), [{ name: MAIN, ok: true }]);
          assert.equal((await store.snapshot()).head.oid, B);
          assert.deepEqual(await apply(store, [remove(MAIN, B)]), [{ name: MAIN, ok: true }]);
          assert.deepEqual(names(await store.snapshot()), []);
          await apply(store, [create(MAIN, C)]);
          assert.deepEqual(names(await store.snapshot()), [[MAIN, C]]);
        }),
      );

      it(
        "refuses what is not as expected, and changes nothing",
        withRefs(async (store) => {
          await set(store, MAIN, A);
          await refuse(store, create(MAIN, B), "exists");
          await refuse(store, create(MAIN, A), "exists");
          await refuse(store, move(MAIN, B, C), "stale");
          await refuse(store, remove(MAIN, B), "stale");
          await refuse(store, move(TOPIC, A, B), "missing");
          await refuse(store, remove(TOPIC, A), "missing");
          assert.deepEqual(names(await store.snapshot()), [[MAIN, A]]);
        }),
      );

      it(
        "checks nothing when no old value is given",
        withRefs(async (store) => {
          for (const newOid of [A, B, B, null, null])
            await apply(store, [{ name: MAIN, oldOid: undefined, newOid }]);
          assert.deepEqual(names(await store.snapshot()), []);
        }),
      );

      it(
        "lets exactly one of many win",
        withRefs(async (store, { reopen }) => {
          const other = await reopen();
          await set(store, MAIN, A);
          const rivals = Array.from({ length: 40 }, (_, i) =>
            (i % 2 === 0 ? store : other).transact({
              updates: [move(MAIN, A, numbered(i + 1))],
              atomic: i % 3 === 0,
            }),
          );
          const results = (await Promise.all(rivals)).flat();
          const winners = results.flatMap((result, i) => (result.ok ? [i] : []));
          assert.equal(winners.length, 1);
          assert.equal((await store.snapshot()).get(MAIN)?.oid, numbered((winners[0] ?? 0) + 1));
          for (const result of results) if (!result.ok) assert.match(result.code, /^(?:stale|locked)$/);
          if (other !== store) await other.close();
        }),
      );

      it(
        "loses no update when everybody tries again",
        withRefs(async (store, { reopen }) => {
          const other = await reopen();
          await set(store, MAIN, numbered(1));
          const count = async (own: RefStore): Promise<void> => {
            for (let done = 0; done < 10; ) {
              const oid = (await own.snapshot()).get(MAIN)?.oid ?? "";
              const [result] = await own.transact({
                updates: [move(MAIN, oid, numbered(Number.parseInt(oid, 16) + 1))],
                atomic: true,
              });
              if (result?.ok === true) done++;
            }
          };
          await Promise.all([store, other, store, other].map(count));
          assert.equal((await store.snapshot()).get(MAIN)?.oid, numbered(41));
          if (other !== store) await other.close();
        }),
      );
    });

    describe("transaction", () => {
      it(
        "changes all or nothing when atomic",
        withRefs(async (store) => {
          await set(store, MAIN, A);
          const results = await store.transact({
            updates: [create(TOPIC, B), move(MAIN, B, C), create("refs/tags/t", A)],
            atomic: true,
          });
          assert.deepEqual(codes(results), ["aborted", "stale", "aborted"]);
          assert.deepEqual(names(await store.snapshot()), [[MAIN, A]]);
          await apply(store, [create(TOPIC, B), move(MAIN, A, C)], true);
          assert.deepEqual(names(await store.snapshot()), [
            [MAIN, C],
            [TOPIC, B],
          ]);
        }),
      );

      it(
        "changes each on its own when not",
        withRefs(async (store) => {
          await set(store, MAIN, A);
          const results = await store.transact({
            updates: [create(TOPIC, B), move(MAIN, B, C), create("refs/tags/t", A)],
            atomic: false,
          });
          assert.deepEqual(codes(results), [undefined, "stale", undefined]);
          assert.deepEqual(
            results.map(({ name }) => name),
            [TOPIC, MAIN, "refs/tags/t"],
          );
          assert.deepEqual(names(await store.snapshot()), [
            [MAIN, A],
            [TOPIC, B],
            ["refs/tags/t", A],
          ]);
        }),
      );

      it(
        "of nothing does nothing",
        withRefs(async (store) => {
          assert.deepEqual(await store.transact({ updates: [], atomic: true }), []);
          assert.deepEqual(await store.transact({ updates: [], atomic: false }), []);
        }),
      );

      for (const atomic of [true, false]) {
        it(
          `refuses two updates of one ref (${atomic ? "atomic" : "per ref"})`,
          withRefs(async (store) => {
            const results = await store.transact({
              updates: [create(MAIN, A), create(MAIN, B), create(TOPIC, A)],
              atomic,
            });
            assert.deepEqual(codes(results), ["rejected", "rejected", atomic ? "aborted" : undefined]);
          }),
        );
      }

      it(
        "refuses names that are none",
        withRefs(async (store) => {
          const bad = [
            "refs/heads/a..b",
            "refs/heads/.a",
            "refs/heads/a.lock",
            "refs/heads/a b",
            "refs/heads/",
            "refs//a",
            "main",
            "ORIG_HEAD",
            "",
          ];
          const worse = [
            "refs/heads/a\0b",
            "refs/heads/\u001b[31m",
            "../config",
            "refs/../config",
            "refs/heads/a\\b",
            "objects/info/x",
            "refs/heads/@{",
            "refs/heads/\ufffd",
          ];
          for (const name of [...bad, ...worse]) await refuse(store, create(name, A), "bad-name");
          await refuse(
            store,
            { name: "refs/remotes/x/HEAD", oldOid: null, newOid: null, symbolicTarget: "../../x" },
            "bad-name",
          );
          await refuse(
            store,
            { name: "HEAD", oldOid: undefined, newOid: null, symbolicTarget: "config" },
            "bad-name",
          );
          const [result] = await store.transact({
            updates: [{ name: "HEAD", oldOid: undefined, newOid: null }],
            atomic: true,
          });
          assert.equal(result?.ok, false);
          assert.deepEqual(names(await store.snapshot()), []);
        }),
      );

      it(
        "accepts names that only look odd",
        withRefs(async (store) => {
          const odd = [
            "refs/heads/-rf",
            "refs/heads/HEAD",
            `refs/heads/${A}`,
            "refs/x",
            "refs/heads/$(id)",
            "refs/heads/a'b",
            "refs/heads/日本",
            "refs/heads/%2e%2e",
          ];
          await apply(
            store,
            odd.map((name) => create(name, A)),
          );
          assert.deepEqual(new Set((await store.snapshot()).all.map(({ name }) => name)), new Set(odd));
        }),
      );

      it(
        "that the signal ended changes nothing",
        withRefs(async (store) => {
          await assert.rejects(
            store.transact({ updates: [create(MAIN, A)], atomic: true, signal: AbortSignal.abort() }),
            { code: "base/aborted" },
          );
          assert.deepEqual(names(await store.snapshot()), []);
          await set(store, MAIN, A);
        }),
      );

      it(
        "of very many refs creates, moves and deletes them",
        withRefs(async (store, { reopen }) => {
          const many = Array.from({ length: 2000 }, (_, i) => `refs/changes/${i % 100}/${i}`);
          await apply(
            store,
            [...many.map((name, i) => create(name, numbered(i + 1))), create(MAIN, A)],
            true,
          );
          await refuse(store, create(many[7] ?? "", A), "exists");
          await refuse(store, create("refs/changes/7/7/1", A), "name-conflict");
          await apply(
            store,
            many.map((name, i) => move(name, numbered(i + 1), numbered(i + 9000))),
          );
          const other = await reopen();
          assert.equal((await other.snapshot()).get(many[1999] ?? "")?.oid, numbered(10999));
          assert.equal((await other.snapshot()).all.length, 2001);
          const wrong = many.map((name, i) => remove(name, i === 1234 ? A : numbered(i + 9000)));
          const results = await store.transact({ updates: wrong, atomic: false });
          assert.equal(results.filter(({ ok }) => ok).length, 1999);
          assert.deepEqual(names(await other.snapshot()), [
            ["refs/changes/34/1234", numbered(10234)],
            [MAIN, A],
          ]);
          if (other !== store) await other.close();
        }),
      );
    });

    describe("names in conflict", () => {
      it(
        "are refused against refs that exist",
        withRefs(async (store) => {
          await apply(store, [create("refs/heads/a", A), create("refs/heads/b/c", A)]);
          await refuse(store, create("refs/heads/a/b", A), "name-conflict");
          await refuse(store, create("refs/heads/a/b/c", A), "name-conflict");
          await refuse(store, create("refs/heads/b", A), "name-conflict");
          await apply(store, [create("refs/heads/a-b", A), create("refs/heads/b-", A)]);
          assert.equal((await store.snapshot()).all.length, 4);
        }),
      );

      it(
        "are refused within a transaction",
        withRefs(async (store) => {
          const clash = [create("refs/heads/a", A), create("refs/heads/a/b", A), create(MAIN, A)];
          const atomic = await store.transact({ updates: clash, atomic: true });
          assert.equal(codes(atomic).filter((code) => code === "name-conflict").length, 1);
          assert.deepEqual(names(await store.snapshot()), []);
          const each = await store.transact({ updates: clash, atomic: false });
          assert.equal(each.filter(({ ok }) => ok).length, 2);
          assert.equal((await store.snapshot()).all.length, 2);
        }),
      );

      it(
        "are free again after a deletion",
        withRefs(async (store) => {
          await set(store, "refs/heads/a", A);
          await apply(store, [remove("refs/heads/a", A)]);
          await set(store, "refs/heads/a/b/c", A);
          await apply(store, [remove("refs/heads/a/b/c", A)]);
          await set(store, "refs/heads/a", B);
          assert.deepEqual(names(await store.snapshot()), [["refs/heads/a", B]]);
        }),
      );

      it(
        "change places in one transaction when each stands on its own",
        withRefs(async (store) => {
          await set(store, "refs/heads/a", A);
          const swap = [create("refs/heads/a/b", A), remove("refs/heads/a", A)];
          const atomic = await store.transact({ updates: swap, atomic: true });
          assert.deepEqual(codes(atomic), ["name-conflict", "aborted"]);
          await apply(store, swap);
          assert.deepEqual(names(await store.snapshot()), [["refs/heads/a/b", A]]);
        }),
      );
    });

    describe("symbolic refs", () => {
      const point = (name: string, symbolicTarget: string, oldOid?: ObjectId | null): RefUpdate => ({
        name,
        oldOid,
        newOid: null,
        symbolicTarget,
      });

      it(
        "HEAD names another branch",
        withRefs(async (store) => {
          await set(store, TOPIC, A);
          await apply(store, [point("HEAD", TOPIC)]);
          assert.deepEqual((await store.snapshot()).head, { symbolicTarget: TOPIC, oid: A });
          await apply(store, [point("HEAD", "refs/heads/unborn")]);
          assert.deepEqual((await store.snapshot()).head, { symbolicTarget: "refs/heads/unborn" });
        }),
      );

      it(
        "an update through HEAD is one of the branch",
        withRefs(async (store) => {
          await apply(store, [create("HEAD", A)]);
          await apply(store, [move("HEAD", A, B)]);
          await refuse(store, move("HEAD", A, B), "stale");
          assert.deepEqual(names(await store.snapshot()), [[MAIN, B]]);
          assert.deepEqual((await store.snapshot()).head, { symbolicTarget: MAIN, oid: B });
          const results = await store.transact({
            updates: [move("HEAD", B, C), move(MAIN, B, C)],
            atomic: false,
          });
          assert.deepEqual(codes(results), ["rejected", "rejected"]);
        }),
      );

      it(
        "are read through, changed through and deleted through",
        withRefs(async (store) => {
          const alias = "refs/remotes/origin/HEAD";
          await apply(store, [
            create("refs/remotes/origin/main", A),
            point(alias, "refs/remotes/origin/main", null),
          ]);
          // Whether it is known what the ref peels to is the store's own business.
          const { peelKnown: _, ...found } = (await store.snapshot()).get(alias) ?? {};
          assert.deepEqual(found, { name: alias, oid: A, symbolicTarget: "refs/remotes/origin/main" });
          await refuse(store, point(alias, "refs/remotes/origin/x", null), "exists");
          await refuse(store, move(alias, B, C), "stale");
          await apply(store, [move(alias, A, B)]);
          assert.equal((await store.snapshot()).get("refs/remotes/origin/main")?.oid, B);
          await apply(store, [remove(alias, B)]);
          assert.deepEqual((await store.snapshot()).broken, [alias]);
          assert.deepEqual(names(await store.snapshot()), []);
          // Nothing is left to be deleted through it, so it goes itself.
          await apply(store, [{ name: alias, oldOid: undefined, newOid: null }]);
          assert.deepEqual((await store.snapshot()).broken, []);
        }),
      );

      it(
        "that go in circles or too far are broken",
        withRefs(async (store) => {
          await set(store, MAIN, A);
          const step = (i: number): string => `refs/x/s${i}`;
          await apply(store, [
            point("refs/x/loop", "refs/x/pool"),
            point("refs/x/pool", "refs/x/loop"),
            point("refs/x/self", "refs/x/self"),
          ]);
          await apply(store, [
            point(step(1), MAIN),
            ...[2, 3, 4, 5, 6].map((i) => point(step(i), step(i - 1))),
          ]);
          const { broken, all } = await store.snapshot();
          assert.deepEqual(broken, ["refs/x/loop", "refs/x/pool", step(6), "refs/x/self"]);
          assert.equal(all.length, 6);
          const [result] = await store.transact({
            updates: [{ name: "refs/x/loop", oldOid: undefined, newOid: A }],
            atomic: false,
          });
          assert.equal(result?.ok, false);
        }),
      );
    });

    describe("hook", () => {
      it(
        "is asked when everything is prepared and told when it is done",
        withRefs(async (store) => {
          await set(store, MAIN, A);
          const told: unknown[] = [];
          const updates = [create(TOPIC, B), move(MAIN, B, C)];
          await store.transact({
            updates,
            atomic: false,
            onState: async (state, about) => {
              told.push([state, about.map(({ name }) => name), (await store.snapshot()).get(TOPIC)?.oid]);
              return true;
            },
          });
          assert.deepEqual(told, [
            ["prepared", [TOPIC], undefined],
            ["committed", [TOPIC], B],
          ]);
        }),
      );

      it(
        "that says no ends it",
        withRefs(async (store) => {
          const states: string[] = [];
          const onState = (state: string): boolean => {
            states.push(state);
            return false;
          };
          const results = await store.transact({
            updates: [create(TOPIC, B), create(MAIN, C)],
            atomic: false,
            onState,
          });
          assert.deepEqual(codes(results), ["aborted", "aborted"]);
          assert.deepEqual(states, ["prepared", "aborted"]);
          assert.deepEqual(names(await store.snapshot()), []);
          await set(store, MAIN, A);
        }),
      );

      it(
        "that throws ends it and holds no lock",
        withRefs(async (store) => {
          const onState = (): never => {
            throw new Error("hook failed");
          };
          await assert.rejects(
            store.transact({ updates: [create(MAIN, B)], atomic: true, onState }),
            /hook failed/,
          );
          await set(store, MAIN, A);
        }),
      );

      it(
        "is not asked about what is refused",
        withRefs(async (store) => {
          const states: string[] = [];
          const onState = (state: string): boolean => states.push(state) > 0;
          await store.transact({ updates: [move(MAIN, A, B), create(TOPIC, A)], atomic: true, onState });
          await store.transact({ updates: [move(MAIN, A, B)], atomic: false, onState });
          assert.deepEqual(states, []);
        }),
      );
    });

    describe("reflog", () => {
      const committer = { name: "A <U> Thor", email: "author@example.com", timeSeconds: 1_700_000_000 };
      const log = (updates: readonly RefUpdate[], message: string): RefTransaction => ({
        updates: updates.map((update) => ({ ...update, reflogMessage: message })),
        atomic: true,
        committer,
      });

      const itKept = backend.keepsReflogs === false ? (): void => undefined : it;
      itKept(
        "tells what happened, oldest first, and ends with the ref",
        withRefs(async (store) => {
          await store.transact(log([create(TOPIC, A), create("refs/tags/v1", A)], "push"));
          await store.transact(log([move(TOPIC, A, B)], " two\n\tlines "));
          const about = { committer: "A U Thor <author@example.com> 1700000000 +0000" };
          assert.deepEqual(await store.readReflog(TOPIC), [
            { ...about, oldOid: nullObjectId(format), newOid: A, message: "push" },
            { ...about, oldOid: A, newOid: B, message: "two lines" },
          ]);
          assert.deepEqual(await store.readReflog("refs/tags/v1"), []);
          await apply(store, [remove(TOPIC, B)]);
          assert.deepEqual(await store.readReflog(TOPIC), []);
        }, true),
      );

      itKept(
        "of HEAD follows the branch that it names",
        withRefs(async (store) => {
          await store.transact(log([create(MAIN, A), create(TOPIC, A)], "one"));
          await store.transact(log([move("HEAD", A, B)], "two"));
          const messages = async (name: string): Promise<unknown> =>
            (await store.readReflog(name)).map(({ message, newOid }) => [message, newOid]);
          assert.deepEqual(await messages("HEAD"), [
            ["one", A],
            ["two", B],
          ]);
          assert.deepEqual(await messages(MAIN), [
            ["one", A],
            ["two", B],
          ]);
          assert.deepEqual(await messages(TOPIC), [["one", A]]);
        }, true),
      );

      it(
        "is not kept unless asked for",
        withRefs(async (store) => {
          await store.transact(log([create(MAIN, A)], "one"));
          assert.deepEqual(await store.readReflog(MAIN), []);
          assert.deepEqual(await store.readReflog("HEAD"), []);
        }),
      );
    });
  });
}

function create(name: string, newOid: ObjectId): RefUpdate {
  return { name, oldOid: null, newOid };
}

function move(name: string, oldOid: ObjectId, newOid: ObjectId): RefUpdate {
  return { name, oldOid, newOid };
}

function remove(name: string, oldOid: ObjectId): RefUpdate {
  return { name, oldOid, newOid: null };
}

async function apply(
  store: RefStore,
  updates: readonly RefUpdate[],
  atomic = false,
): Promise<readonly RefUpdateResult[]> {
  const results = await store.transact({ updates, atomic });
  assert.deepEqual(
    results.filter(({ ok }) => !ok),
    [],
  );
  return results;
}

function set(store: RefStore, name: string, newOid: ObjectId): Promise<unknown> {
  return apply(store, [{ name, oldOid: undefined, newOid }]);
}

async function refuse(store: RefStore, update: RefUpdate, code: RefRefusalCode): Promise<void> {
  const [result] = await store.transact({ updates: [update], atomic: false });
  assert.deepEqual(codes(result === undefined ? [] : [result]), [code], JSON.stringify([update, result]));
  assert.notEqual(result?.ok === false ? result.reason : "", "");
}

function codes(results: readonly RefUpdateResult[]): (RefRefusalCode | undefined)[] {
  return results.map((result) => (result.ok ? undefined : result.code));
}

function names({
  all,
}: {
  readonly all: readonly { readonly name: string; readonly oid: ObjectId }[];
}): [string, ObjectId][] {
  return all.map(({ name, oid }) => [name, oid]);
}
