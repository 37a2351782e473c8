// A line cut into pieces that are drawn alike: plain, coloured, matched by the query, or escaped.
import type { AnsiStyle, AnsiText } from "./ansi";
import { type Escape, findEscapes } from "./escapes";

export interface Piece {
  text: string;
  style?: AnsiStyle;
  /** Matched by the query. */
  match?: boolean;
  /** Set for a character that is shown as an escape; `text` is then what is shown. */
  escape?: string;
}

export interface Span {
  start: number;
  end: number;
}

/** Cuts `ansi` at every border of a style, a match or an escape. `matches` are sorted and apart. */
export function pieces(ansi: AnsiText, matches: readonly Span[] = []): Piece[] {
  const { plain, runs } = ansi;
  const escapes = findEscapes(plain);
  if (runs.length === 0 && matches.length === 0 && escapes.length === 0) return plain === "" ? [] : [{ text: plain }];
  const made: Piece[] = [];
  const run = cursorOver(runs);
  const match = cursorOver(matches);
  const escape = cursorOver<Escape>(escapes);
  for (let at = 0; at < plain.length; ) {
    const styled = run(at);
    const matched = match(at);
    const hidden = escape(at);
    const isHidden = hidden !== undefined && hidden.start <= at;
    // A character that is shown as an escape stays in one piece, also where a match begins in the middle of it.
    const end = isHidden ? hidden.end : Math.min(borderAfter(styled, at), borderAfter(matched, at), borderAfter(hidden, at), plain.length);
    const piece: Piece = { text: plain.slice(at, end) };
    if (isHidden) {
      piece.text = hidden.shown;
      piece.escape = hidden.title;
    }
    if (styled && styled.start <= at) piece.style = styled.style;
    if (matched && matched.start <= at) piece.match = true;
    made.push(piece);
    at = end;
  }
  return made;
}

/** Walks sorted spans forwards: the first one that does not end before `at`. */
function cursorOver<T extends Span>(spans: readonly T[]): (at: number) => T | undefined {
  let index = 0;
  return (at) => {
    while (index < spans.length && (spans[index]?.end ?? 0) <= at) index += 1;
    return spans[index];
  };
}

function borderAfter(span: Span | undefined, at: number): number {
  if (!span) return Infinity;
  return span.start > at ? span.start : span.end;
}
