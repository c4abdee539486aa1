// Every *.md becomes public/*.html. Headings, paragraphs, lists, links, emphasis and code: enough for an example.
const { mkdirSync, readdirSync, readFileSync, writeFileSync } = require("node:fs");

const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll('"', "&quot;");

const inline = (text) =>
  escaped(text)
    .replace(/`([^`]+)`/g, "<code>$1</code>")
    .replace(/\*\*([^*]+)\*\*/g, "<strong>$1</strong>")
    .replace(/\*([^*]+)\*/g, "<em>$1</em>")
    .replace(/\[([^\]]+)\]\(((?:https?:\/\/|[./#\w])[^)\s]*)\)/g, '<a href="$2">$1</a>');

function block(text) {
  const heading = /^(#{1,6}) (.+)$/.exec(text);
  if (heading) return `<h${heading[1].length}>${inline(heading[2])}</h${heading[1].length}>`;
  const lines = text.split("\n");
  if (lines.every((line) => line.startsWith("- ")))
    return `<ul>\n${lines.map((line) => `<li>${inline(line.slice(2))}</li>`).join("\n")}\n</ul>`;
  return `<p>${inline(lines.join(" "))}</p>`;
}

mkdirSync("public", { recursive: true });
for (const name of readdirSync(".").filter((file) => file.endsWith(".md"))) {
  const text = readFileSync(name, "utf8");
  const title = /^# (.+)$/m.exec(text)?.[1] ?? name;
  const body = text.trim().split(/\n{2,}/).map(block).join("\n");
  const page = `${name.slice(0, -3)}.html`;
  writeFileSync(
    `public/${page}`,
    `<!doctype html>\n<meta charset="utf-8">\n<title>${escaped(title)}</title>\n${body}\n`,
  );
  console.log(`${name} -> ${page}`);
}
