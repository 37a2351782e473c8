// The query text cut into tokens: to colour it while it is typed, to add a term to it, and to mark
// what it matched. It only has to be right about tokens; what a query means is the server's to say.

export type TokenKind = "field" | "word" | "string" | "regex" | "operator" | "range" | "bracket";

export interface Token {
  kind: TokenKind;
  start: number;
  end: number;
  text: string;
}

const TOKEN = new RegExp(
  [
    String.raw`(?<field>[A-Za-z_@][\w.@-]*:(?=\S|$))`,
    String.raw`(?<string>"(?:[^"\\]|\\.)*"?)`,
    String.raw`(?<regex>(?<=^|[\s:(\-])/(?:[^/\\]|\\.)+/)`,
    String.raw`(?<range>[[{][^\]}]*[\]}]?|[<>]=?[^\s()]+)`,
    String.raw`(?<bracket>[()])`,
    String.raw`(?<operator>(?<=^|[\s(])(?:AND|OR|NOT)(?=$|[\s(])|(?<=^|[\s(])[-+!](?=\S))`,
    String.raw`(?<word>(?:[^\s()"\\]|\\.)+)`,
  ].join("|"),
  "gu",
);

export function tokens(query: string): Token[] {
  const found: Token[] = [];
  for (const match of query.matchAll(TOKEN)) {
    const kind = Object.entries(match.groups ?? {}).find(([, text]) => text !== undefined)?.[0];
    found.push({ kind: kind as TokenKind, start: match.index, end: match.index + match[0].length, text: match[0] });
  }
  return found;
}

/** `field:"value"`, with the quotes and backslashes of the value escaped. */
export function term(field: string, value: string | number | boolean): string {
  return `${field}:"${String(value).replace(/["\\]/g, String.raw`\$&`)}"`;
}

/** The query narrowed by one more term; itself, where the term already stands in it. */
export function withTerm(query: string, added: string): string {
  const before = query.trim();
  if (before === "") return added;
  if (holds(before, added)) return before;
  const wrapped = hasTopLevelOr(before) ? `(${before})` : before;
  return `${wrapped} ${added}`;
}

function holds(query: string, added: string): boolean {
  for (let at = query.indexOf(added); at !== -1; at = query.indexOf(added, at + 1)) {
    const before = query[at - 1] ?? " ";
    const after = query[at + added.length] ?? " ";
    if (/\s/.test(before) && /\s/.test(after)) return !hasTopLevelOr(query);
  }
  return false;
}

function hasTopLevelOr(query: string): boolean {
  let depth = 0;
  for (const token of tokens(query)) {
    if (token.text === "(") depth += 1;
    else if (token.text === ")") depth -= 1;
    else if (token.kind === "operator" && token.text === "OR" && depth === 0) return true;
  }
  return false;
}

/**
 * A pattern for what the query's words and phrases match in a message; null if it has none.
 *
 * Made of escaped text only: the user's own `/regex/` is not run here, as one that backtracks
 * without end, in a shared address, would hang the page of whoever opens it.
 */
export function matchPattern(query: string): RegExp | null {
  const needles = new Set<string>();
  let negated = false;
  let field: string | null = null;
  for (const token of tokens(query)) {
    if (token.kind === "operator") {
      negated = token.text === "NOT" || token.text === "-" || token.text === "!";
      continue;
    }
    if (token.kind === "field") {
      field = token.text.slice(0, -1);
      continue;
    }
    const inMessage = (field === null || field === "message") && !negated;
    if (inMessage && token.kind === "word") needles.add(wordPattern(token.text));
    if (inMessage && token.kind === "string") needles.add(phrasePattern(token.text));
    field = null;
    if (token.kind !== "bracket") negated = false;
  }
  needles.delete("");
  return needles.size === 0 ? null : new RegExp([...needles].join("|"), "giu");
}

const EDGE_BEFORE = String.raw`(?<![\p{L}\p{N}_])`;
const EDGE_AFTER = String.raw`(?![\p{L}\p{N}_])`;
const REST_OF_WORD = String.raw`[\p{L}\p{N}_]*`;
/** What a star within a word stands for; bounded, as a long line would else be gone through time and again. */
const GAP = String.raw`\S{0,200}?`;

function wordPattern(word: string): string {
  const bare = word.replace(/\\(.)/g, "$1");
  if (!/[\p{L}\p{N}_]/u.test(bare)) return "";
  const body = bare.replace(/^\*+|\*+$/g, "").split("*").map(literal).join(GAP);
  return `${bare.startsWith("*") ? "" : EDGE_BEFORE}${body}${bare.endsWith("*") ? REST_OF_WORD : EDGE_AFTER}`;
}

function phrasePattern(quoted: string): string {
  const words = quoted.replace(/^"|"$/g, "").replace(/\\(.)/g, "$1").trim().split(/\s+/);
  return words[0] === "" ? "" : `${EDGE_BEFORE}${words.map(literal).join(String.raw`\s+`)}${EDGE_AFTER}`;
}

function literal(text: string): string {
  return text.replace(/[\\^$.*+?()[\]{}|/-]/g, (character) => (character === "-" ? String.raw`\x2d` : `\\${character}`));
}

/** How many marks one line gets: past this a reader gains nothing, and the page slows down. */
const MATCHES_MAX = 200;

export function findMatches(text: string, pattern: RegExp | null): { start: number; end: number }[] {
  const found: { start: number; end: number }[] = [];
  if (!pattern) return found;
  for (const match of text.matchAll(pattern)) {
    if (match[0] === "") continue;
    found.push({ start: match.index, end: match.index + match[0].length });
    if (found.length >= MATCHES_MAX) break;
  }
  return found;
}
