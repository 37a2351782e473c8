// How much of a message a line shows.

/** A line in the list shows so much; the opened line has the rest. */
const LINE_CHARACTERS = 2_000;
const WRAPPED_CHARACTERS = 4_000;

export interface Shown {
  text: string;
  /** Lines of the message that are not shown; only where it is not wrapped. */
  moreLines: number;
  /** The last line: of a traceback, the one that says what happened. */
  last: string;
  /** Characters that are not shown. */
  cut: number;
}

export function shownMessage(message: string, wrapped: boolean): Shown {
  const whole = message.replace(/\s+$/, "");
  if (wrapped) return { ...bounded(whole, WRAPPED_CHARACTERS), moreLines: 0, last: "" };
  const border = whole.indexOf("\n");
  if (border === -1) return { ...bounded(whole, LINE_CHARACTERS), moreLines: 0, last: "" };
  const last = whole.slice(whole.lastIndexOf("\n") + 1).trim();
  const first = whole.slice(0, border).trimEnd();
  return { ...bounded(first, LINE_CHARACTERS), moreLines: whole.split("\n").length - 1, last: last.slice(0, LINE_CHARACTERS) };
}

function bounded(text: string, characters: number): { text: string; cut: number } {
  if (text.length <= characters) return { text, cut: 0 };
  return { text: text.slice(0, characters), cut: text.length - characters };
}
