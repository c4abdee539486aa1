/**
 * Objects with something wrong: at least one for each message that the checks can give. What git says of them is not
 * written here: git is asked.
 */
import { hashObject, type ObjectId, type ObjectType } from "../object-id.js";

export interface SampleObject {
  readonly title: string;
  readonly type: ObjectType;
  readonly data: Buffer;
  /** What we say where git 2.39 says something else: what newer versions say, or what is safer. */
  readonly ours?: string;
}

/** Of no object. One for each type: git remembers what an id was referred to as. */
export const ABSENT = {
  blob: "b0".repeat(20),
  tree: "c0".repeat(20),
  commit: "d0".repeat(20),
  tag: "e0".repeat(20),
} as const;

export const IDENTITY = "Ada <ada@example.org> 1700000000 +0100";

export function bytes(text: string): Buffer {
  return Buffer.from(text, "latin1");
}

function utf8Bytes(text: string): string {
  return Buffer.from(text).toString("latin1");
}

export function treeOf(...entries: readonly (readonly [mode: string, name: string, oid?: string])[]): Buffer {
  return Buffer.concat(
    entries.flatMap(([mode, name, oid]) => [
      bytes(`${mode} ${name}\0`),
      Buffer.from(oid ?? (/^0*40000$/.test(mode) ? ABSENT.tree : ABSENT.blob), "hex"),
    ]),
  );
}

export function commitWith(lines: readonly string[], message = "\n\nmessage\n"): Buffer {
  return bytes(lines.join("\n") + message);
}

const TREE = `tree ${ABSENT.tree}`;
const PARENT = `parent ${ABSENT.commit}`;
const AUTHOR = `author ${IDENTITY}`;
const COMMITTER = `committer ${IDENTITY}`;
const OBJECT = [`object ${ABSENT.commit}`, "type commit"];
const TAG = [...OBJECT, "tag v1"];
const TAGGER = `tagger ${IDENTITY}`;

export const GOOD = {
  commit: commitWith([TREE, PARENT, AUTHOR, COMMITTER]),
  tag: commitWith([...TAG, TAGGER]),
  tree: treeOf(
    ["100644", ".gitignore"],
    ["100644", "a"],
    ["40000", "b"],
    ["100755", "b0"],
    ["120000", "link"],
    ["160000", "module"],
  ),
} as const;

const IDENTITIES: Readonly<Record<string, string>> = {
  "no space before the e-mail": "Ada<a@b> 1 +0000",
  "no name": "<a@b> 1 +0000",
  "a blank for a name": " <a@b> 1 +0000",
  "no e-mail": "Ada 1 +0000",
  "an empty line": "",
  "an e-mail without end": "Ada <a@b 1 +0000",
  "an e-mail begun twice": "Ada <a<b> 1 +0000",
  "a name with an end of e-mail": "Ada> <a@b> 1 +0000",
  "two e-mails": "Ada <a@b> <c@d> 1 +0000",
  "an empty e-mail": "Ada <> 1 +0000",
  "no space before the date": "Ada <a@b>1 +0000",
  "nothing behind the e-mail": "Ada <a@b>",
  "no digits": "Ada <a@b> yesterday +0000",
  "letters behind the digits": "Ada <a@b> 12x +0000",
  "no zone": "Ada <a@b> 12",
  "an empty zone": "Ada <a@b> 12 ",
  "a zero": "Ada <a@b> 0 +0000",
  "a zero with nothing behind it": "Ada <a@b> 0",
  "a zero in front": "Ada <a@b> 0123 +0000",
  "the last second": "Ada <a@b> 9223372036854775807 +0000",
  "a second more": "Ada <a@b> 9223372036854775808 +0000",
  "2^64": "Ada <a@b> 18446744073709551616 +0000",
  "a date of many digits": `Ada <a@b> ${"9".repeat(500)} +0000`,
  "a date too large with letters behind it": "Ada <a@b> 9223372036854775808x +0000",
  "a zone of three digits": "Ada <a@b> 12 +000",
  "a zone of five digits": "Ada <a@b> 12 +00000",
  "a zone without sign": "Ada <a@b> 12 0000",
  "a zone of letters": "Ada <a@b> 12 +00x0",
  "an odd zone": "Ada <a@b> 12 +9999",
  "two blanks before the date": "Ada <a@b>  12 +0000",
  "a tab before the date": "Ada <a@b> \t12 +0000",
  "two blanks before the zone": "Ada <a@b> 12  +0000",
  "a blank at the end": "Ada <a@b> 12 +0000 ",
  "a carriage return at the end": "Ada <a@b> 12 +0000\r",
  "bytes that are no UTF-8": "Ad\xff <a@b> 12 +0000",
};

const NO_DIGIT = "badDate: invalid author/committer line - bad date";
/** Git 2.39 read the number with `strtoumax`, which takes signs and white space, line feeds among it. */
const NEWER_IDENTITIES: Readonly<Record<string, readonly [line: string, ours: string]>> = {
  "a date with a minus": ["Ada <a@b> -12 +0000", NO_DIGIT],
  "a date with a plus": ["Ada <a@b> +12 +0000", NO_DIGIT],
  "a vertical tab before the date": ["Ada <a@b> \v12 +0000", NO_DIGIT],
};

function identitySamples(): SampleObject[] {
  const samples = (title: string, line: string, ours?: string): SampleObject[] => {
    const more = ours === undefined ? {} : { ours };
    return [
      {
        title: `author: ${title}`,
        type: "commit",
        data: commitWith([TREE, `author ${line}`, COMMITTER]),
        ...more,
      },
      {
        title: `committer: ${title}`,
        type: "commit",
        data: commitWith([TREE, AUTHOR, `committer ${line}`]),
        ...more,
      },
      { title: `tagger: ${title}`, type: "tag", data: commitWith([...TAG, `tagger ${line}`]), ...more },
    ];
  };
  return [
    ...Object.entries(IDENTITIES).flatMap(([title, line]) => samples(title, line)),
    ...Object.entries(NEWER_IDENTITIES).flatMap(([title, [line, ours]]) => samples(title, line, ours)),
  ];
}

function commitSamples(): SampleObject[] {
  const all: Readonly<Record<string, Buffer>> = {
    "in order": GOOD.commit,
    "no message": commitWith([TREE, AUTHOR, COMMITTER], "\n"),
    "a root": commitWith([TREE, AUTHOR, COMMITTER]),
    "further headers": commitWith([TREE, AUTHOR, COMMITTER, "encoding latin1", "gpgsig x", " y"]),
    "no tree": commitWith([PARENT, AUTHOR, COMMITTER]),
    "a tree's id cut short": commitWith([`tree ${ABSENT.tree.slice(1)}`, AUTHOR, COMMITTER]),
    "a tree's id too long": commitWith([`${TREE}0`, AUTHOR, COMMITTER]),
    "a tree's id in upper case": commitWith([`tree ${ABSENT.tree.toUpperCase()}`, AUTHOR, COMMITTER]),
    "a parent's id that is none": commitWith([TREE, `parent ${"x".repeat(40)}`, AUTHOR, COMMITTER]),
    "a parent's id cut short": commitWith([TREE, "parent 12"], "\n"),
    "no author": commitWith([TREE, PARENT, COMMITTER]),
    "a parent behind the author": commitWith([TREE, AUTHOR, PARENT, COMMITTER]),
    "two authors": commitWith([TREE, AUTHOR, AUTHOR, COMMITTER]),
    "two authors, the second one bad": commitWith([TREE, AUTHOR, "author x", COMMITTER]),
    "no committer": commitWith([TREE, AUTHOR]),
    "only a tree": commitWith([TREE], "\n"),
    "committer before author": commitWith([TREE, COMMITTER, AUTHOR]),
    "a NUL in the message": commitWith([TREE, AUTHOR, COMMITTER], "\n\na\0b\n"),
    "a NUL in the header": commitWith([TREE, AUTHOR, `${COMMITTER}\0`]),
    "a NUL and no message": commitWith([TREE, AUTHOR, `${COMMITTER}\0`], "\n"),
    "a header without end": commitWith([TREE, AUTHOR, COMMITTER], ""),
  };
  return Object.entries(all).map(([title, data]) => ({ title, type: "commit", data }));
}

function tagSamples(): SampleObject[] {
  const named = (name: string): Buffer => commitWith([...OBJECT, `tag ${name}`, TAGGER]);
  const all: Readonly<Record<string, Buffer>> = {
    "in order": GOOD.tag,
    "no message": commitWith([...TAG, TAGGER], "\n"),
    "no object": commitWith(["type commit", "tag v1", TAGGER]),
    "an id cut short": commitWith(["object 12", "type commit", "tag v1", TAGGER]),
    "an id too long": commitWith([`object ${ABSENT.commit}0`, "type commit", "tag v1", TAGGER]),
    "no type": commitWith([`object ${ABSENT.commit}`, "tag v1", TAGGER]),
    "a type that does not exist": commitWith([`object ${ABSENT.commit}`, "type branch", "tag v1", TAGGER]),
    "no name": commitWith([...OBJECT, TAGGER]),
    "an empty name": named(""),
    "a name with a blank": named("v 1"),
    "a name with two dots": named("v..1"),
    "a name with a colon": named("v:1"),
    "a name that is a lock": named("v1.lock"),
    "a name that begins with a dot": named(".v1"),
    "a name that is no UTF-8": named("v\xff"),
    "a name with a control character": named("v\x01"),
    "no tagger": commitWith(TAG),
    "no tagger and no message": commitWith(TAG, "\n"),
    "further headers": commitWith([...TAG, TAGGER, "color blue"]),
    "further headers instead of a tagger": commitWith([...TAG, "color blue"]),
    "a NUL in the header": commitWith([...TAG, `${TAGGER}\0`]),
    "a NUL in the message": commitWith([...TAG, TAGGER], "\n\na\0b\n"),
    "a header without end": commitWith([...TAG, TAGGER], ""),
  };
  return Object.entries(all).map(([title, data]) => ({ title, type: "tag", data }));
}

function treeSamples(): SampleObject[] {
  const all: Readonly<Record<string, Buffer>> = {
    "in order": GOOD.tree,
    empty: Buffer.alloc(0),
    "the null id": treeOf(["100644", "a", "00".repeat(20)]),
    "a path": treeOf(["100644", "a/b"]),
    "no name": treeOf(["100644", ""]),
    "no name behind another": treeOf(["100644", "a"], ["100644", ""]),
    "a dot": treeOf(["40000", "."]),
    "two dots": treeOf(["40000", ".."]),
    "a mode with zeros": treeOf(["040000", "a"]),
    "a mode with many zeros": treeOf(["00100644", "a"]),
    "a mode of old": treeOf(["100664", "a"]),
    "an odd mode": treeOf(["100600", "a"]),
    "an odd directory's mode": treeOf(["40755", "a"]),
    "a mode of zero": treeOf(["0", "a"]),
    "a mode of more than 16 bits": treeOf(["1100644", "a"]),
    "a directory's mode of more than 16 bits": treeOf(["100644", "a.b"], ["1040000", "a"]),
    "a directory of many zeros, ordered as a file": treeOf(["0040000", "a"], ["100644", "a.b"]),
    "a directory of more than 16 bits, ordered as a file": treeOf(["1040000", "a"], ["100644", "a.b"]),
    "a directory of many zeros and a file of its name": treeOf(
      ["100644", "a"],
      ["100644", "a.b"],
      ["0040000", "a"],
    ),
    "an odd link's mode": treeOf(["120755", ".gitmodules"]),
    "a mode that is not octal": treeOf(["100684", "a"]),
    "no mode": treeOf(["", "a"]),
    "not in order": treeOf(["100644", "b"], ["100644", "a"]),
    "a directory ordered as a file": treeOf(["40000", "a"], ["100644", "a.b"]),
    "a file ordered as a directory": treeOf(["100644", "a.b"], ["100644", "a"]),
    "twice a file": treeOf(["100644", "a"], ["100644", "a"]),
    "a file and a directory": treeOf(["100644", "a"], ["40000", "a"]),
    "a file and a directory, others between them": treeOf(["100644", "a"], ["100644", "a.b"], ["40000", "a"]),
    "a directory and a file, others between them": treeOf(["40000", "a"], ["100644", "a0"], ["100644", "a"]),
    "file and directory in two places": treeOf(
      ["100644", "foo"],
      ["100644", "foo.bar"],
      ["100644", "foo.bar.baz"],
      ["40000", "foo.bar"],
      ["40000", "foo"],
    ),
    "twice a file, not in order": treeOf(["100644", "a"], ["100644", "b"], ["100644", "a"]),
    "names that are no UTF-8 and look alike": treeOf(["100644", "a\xfe"], ["100644", "a\xff"]),
    "a long name": treeOf(["100644", "a".repeat(4096)]),
    "cut short": GOOD.tree.subarray(0, -5),
    "one byte": bytes("1"),
    "an end without a name": Buffer.concat([GOOD.tree, bytes("100644 x")]),
    "wrong at the end": Buffer.concat([treeOf(["100600", "."]), treeOf(["x", "b"])]),
    "wrong at the end, and odd before": Buffer.concat([
      treeOf(["100600", "a"], ["100600", "b"]),
      treeOf(["x", "c"]),
    ]),
  };
  return [
    ...Object.entries(all).map(([title, data]): SampleObject => ({ title, type: "tree", data })),
    {
      title: "a longer name",
      type: "tree",
      data: treeOf(["100644", "a".repeat(4097)]),
      ours: "largePathname: contains excessively large pathname",
    },
  ];
}

const IGNORED_BY_HFS = ["\u200c", "\u200f", "\u202a", "\u202e", "\u206a", "\u206f", "\ufeff"];
const NOT_IGNORED = ["\u200b", "\u2010", "\u2029", "\u202f", "\u2069", "\u2070", "\ufefe", "\ufffd"];

/** Names like `.git`: most are caught, some only look so. */
const LIKE_GIT: readonly string[] = [
  ".git .GIT .gIt .git. git~1 GIT~1 git~1. git~2 git~10 git .git2 .gi .git:x .git::$INDEX_ALLOCATION git~1:x".split(
    " ",
  ),
  [
    ".git ",
    ".git. . ",
    "git~1 ",
    " .git",
    ".git.x",
    ".git/x",
    ".git\\x",
    "x\\.git",
    "x\\y\\git~1",
    "x\\git",
    "\\.git",
  ],
  [
    "x\\.git\\y",
    "x\\.git. \\y",
    ".git. /",
    ".git \\",
    "x/.git",
    ".git\xff",
    ".git\xef\xbf\xbe",
    ".g\xffit",
    ".git\xc3",
  ],
  [
    ".git\xc3\xa4",
    ".git\xf5",
    ".git\xed\xa0\x80",
    ".git\xe2\x80",
    ".git\xe2\x80\x8c\xff",
    ".\u0131git".slice(0, 2),
  ],
  [...IGNORED_BY_HFS, ...NOT_IGNORED].flatMap((c) =>
    [`${c}.git`, `.g${c}iT`, `.git${c}`, `.git${c}/x`].map(utf8Bytes),
  ),
].flat();

const FILES = { gitmodules: "gi7eba", gitattributes: "gi7d29", gitignore: "gi250a", mailmap: "maba30" };

function likeFile(name: string, hashed: string): readonly string[] {
  const short = name.slice(0, 6);
  const upper = name.toUpperCase();
  return [
    `.${name}`,
    `.${upper}`,
    name,
    `.${name}.`,
    `.${name} . `,
    `.${name}:x`,
    `.${name}x`,
    `.${name}/x`,
    `${short}~1`,
    `${short}~4`,
    `${short}~5`,
    `${short}~0`,
    `${short}~1.`,
    `${short}~1:x`,
    `${short}~11`,
    `${hashed}~1`,
    `${hashed}~9`,
    `${hashed}~0`,
    `${hashed.toUpperCase()}~1 `,
    `${hashed}~1x`,
    `${hashed}~12`,
    `${hashed.slice(0, 4)}~123`,
    `${hashed.slice(0, 2)}~10000`,
    `${hashed.slice(0, 1)}~100000`,
    "~1000000",
    `${hashed.slice(0, 3)}0~12`,
    `${hashed.slice(0, 4)}~012`,
    `${hashed.slice(0, 5)}~1`,
    `${hashed.slice(0, 5)}~1:`,
    `x\\.${name}`,
    `x\\${short}~1`,
    `.${name}\\x`,
    `x\\.${name}\\y`,
    `.${name}\xff`,
    utf8Bytes(`\u200c.${name}`),
    utf8Bytes(`.${name}\u206f`),
    utf8Bytes(`.${name}\u200b`),
  ];
}

function nameSamples(): SampleObject[] {
  const names = Object.entries(FILES).flatMap(([name, hashed]) => likeFile(name, hashed));
  return [
    ...LIKE_GIT.map(
      (name): SampleObject => ({ title: `name: ${name}`, type: "tree", data: treeOf(["40000", name]) }),
    ),
    ...names.map(
      (name): SampleObject => ({ title: `link: ${name}`, type: "tree", data: treeOf(["120000", name]) }),
    ),
    // Of a file it shows in that the blob is asked for.
    ...names.map(
      (name, i): SampleObject => ({
        title: `file: ${name}`,
        type: "tree",
        data: treeOf(["100644", name, `f1${i.toString(16).padStart(4, "0")}`.padEnd(40, "0")]),
      }),
    ),
    ...["40000", "160000", "100755"].map(
      (mode, i): SampleObject => ({
        title: `mode ${mode} of .gitmodules`,
        type: "tree",
        data: treeOf([mode, ".gitmodules", `f2${i}`.padEnd(40, "0")]),
      }),
    ),
  ];
}

const URLS: readonly string[] = [
  "https://example.org/a.git http://example.org https://example.org:8080/a https://example.org:",
  "https://example.org:000080/ https:///a https:// https:/a https:a https://user@example.org/",
  "https://u%0aser@example.org/ https://@/ https://[::1]/a https://[::1]:80/a https://a/b/../c",
  "https://a/b%0ac https://a/b%0Ac https://a/%0a/../c https://a/b%250a https://a/?q=%0a https://a/#%0a",
  "HTTPS://a/%0a http::https://a/b http::https://a/%0a http::x https::file:///a http::-x http::http::",
  "ftp://a/%0a ftps://a/ git://a/b git://a/%0a git://%0a git%0a://a ssh://a/%0a user@host:a%0a",
  "file:///a%0a ext::sh ./a ../a ../../a ../:a ..//a ./:a .//a ../a%0a ./%0a:a ./a:%0a .\\..\\:a",
  "..\\a%0a ..\\:a ../../:a ././../:x -a ./-a - a-b /abs /abs%0a https://a//../b https://?x https://#x",
  "https://a?/../../b https://a:b@c/ https://a]:1/ https://a:@b/",
].flatMap((line) => line.split(" "));

/** Git 2.39 read http URLs as those of credentials; newer versions want them to be whole. */
const URLS_NEWER: readonly string[] = [
  "https://example.org:0/a https://example.org:70000/ https://example.org:x/ https://u%ser@example.org/",
  "https://ex%61mple.org/ https://exa$mple.org/ https://a/../b https://a/b/../../c https://a/%2e%2e/b",
  "https://a/?%zz https://a/% https::file://:1/a https://a/./../b https://a//../../b https://a:b:c/",
  "https://a/b/./../.. https://a@b@c/ https://a@:80/ https://a:+1/ https://a:1\\ https://a\\b/",
].flatMap((line) => line.split(" "));

const MODULES: readonly string[] = [
  "",
  "# nothing\n; here",
  '[submodule ".."]\n\turl = a\n',
  '[submodule "a/../b"]\n\turl\n',
  '[submodule "a\\\\..\\\\b"]\n\turl = a\n',
  '[submodule "a/..b"]\n\turl = a\n',
  '[submodule "../a"]\n\tpath = -b\n\tupdate = !c\n',
  '[submodule ""]\n\turl = a\n',
  '[submodule ".."]\n',
  "[submodule] url = -a\n",
  "[submodule.a] url = -a\n",
  "[submodule.] url = a\n",
  '[submodule.x "y"] url = -a\n',
  '[SubModule "a"] URL = -a',
  '[submodule "a.b"] url = -a',
  '[other "a"] url = -a\n[submodules ".."] x = y\n',
  '[submodule "a"] url = ok # -a\n path = a ; -b\n',
  '[submodule "a"] url = "-a"\n',
  '[submodule "a"] url = \\\n-a\n',
  '[submodule "a"] url = "\\"-a\n',
  '[submodule "a"] url = "a\n"\n',
  '[submodule "a"] url = ./a\\x\n',
  '[submodule "a"] url = -a\n[broken\n',
  '[submodule "a"]url=-a\r\n',
  '[submodule "a" ] url = -a\n',
  '[submodule"a"] url = -a\n',
  '[ submodule "a"] url = -a\n',
  '[submodule "a] url = -a\n',
  '[submodule "a\n"] url = -a\n',
  '[submodule\n"a"] url = -a\n',
  '[submodule "a"] url -a\n',
  '[submodule "a"] url\n',
  '[submodule "a"] url # x\n',
  '[submodule "a"] 1url = -a\n',
  '[submodule "a"] u_rl = -a\n',
  '[submodule "a"] update = checkout\n update = "!rm"\n',
  '[submodule "a"] update = \\!rm\n',
  '[submodule "a"] path = a\\\n',
  '[submodule "a"] path = a\\',
  '[submodule "a"] path = -a\\',
  "[]\n",
  '[submodule "a\\"b"] url = -a\n',
  '[submodule "a\\.."] url = a\n',
  '[submodule "\\../"] url = a\n',
  "url = -a\n",
  '[submodule "a"]\nurl = a\n\0\n',
  '[submodule "a"]\nurl = -a\0b\n',
  '[submodule "..\0b"]\nurl = a\n',
  "= x\n",
];

/** Blobs, and the trees that name them. */
function blobSamples(): SampleObject[] {
  const named = (title: string, name: string, data: Buffer, ours?: string): SampleObject[] => {
    const oid = hashObject("sha1", "blob", data);
    return [
      { title, type: "blob", data, ...(ours === undefined ? {} : { ours }) },
      { title: `the tree of ${title}`, type: "tree", data: treeOf(["100644", name, oid]) },
    ];
  };
  const withUrl = (url: string): Buffer => bytes(`[submodule "a"]\n\turl = ${JSON.stringify(url)}\n`);
  const badUrl = "gitmodulesUrl: disallowed submodule url:";
  const attributes: Readonly<Record<string, string>> = {
    "a line of 2047 bytes": "a".repeat(2047),
    "a line of 2048 bytes": `x\n${"a".repeat(2048)}\n`,
    "a long line behind a NUL": `x\0\n${"a".repeat(2048)}`,
  };
  return [
    ...MODULES.flatMap((text, i) => named(`.gitmodules ${i}: ${text}`, ".gitmodules", Buffer.from(text))),
    ...URLS.flatMap((url) => named(`url ${url}`, ".gitmodules", withUrl(url))),
    ...URLS_NEWER.flatMap((url) => named(`url ${url}`, ".gitmodules", withUrl(url), `${badUrl} ${url}`)),
    // Git shows the line feed as it is; newer versions mask it.
    ...named("a line feed in a URL", ".gitmodules", withUrl("./a\nb"), `${badUrl} ./a?b`),
    // In a file git skips the mark, in a blob it does not: what a checkout makes of it counts.
    ...named(
      "a byte order mark",
      ".gitmodules",
      Buffer.from(`\ufeff${withUrl("-a").toString()}`),
      `${badUrl} -a`,
    ),
    ...Object.entries(attributes).flatMap(([title, text]) => named(title, ".gitattributes", bytes(text))),
    {
      title: ".gitmodules that is a tree",
      type: "tree",
      data: treeOf(["40000", ".gitmodules", hashObject("sha1", "tree", GOOD.tree)]),
    },
    {
      title: ".gitattributes that is a tree",
      type: "tree",
      data: treeOf(["40000", ".gitattributes", hashObject("sha1", "tree", GOOD.tree)]),
    },
  ];
}

export function malformedObjects(): readonly (SampleObject & { readonly oid: ObjectId })[] {
  return [
    ...commitSamples(),
    ...tagSamples(),
    ...identitySamples(),
    ...treeSamples(),
    ...nameSamples(),
    ...blobSamples(),
  ].map((sample) => ({ ...sample, oid: hashObject("sha1", sample.type, sample.data) }));
}
