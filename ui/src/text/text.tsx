// Text that others wrote, drawn as text nodes only.
import type { JSX, VNode } from "preact";
import { findMatches } from "../query/terms";
import { type AnsiStyle, parseAnsi } from "./ansi";
import { type Piece, pieces } from "./pieces";
import styles from "./text.module.css";

/** A log message: colour codes applied, matches marked, hidden characters shown. */
export function LogText(props: { text: string; pattern: RegExp | null }): VNode {
  const ansi = parseAnsi(props.text);
  return <span class={styles["isolate"]}>{pieces(ansi, findMatches(ansi.plain, props.pattern)).map(drawn)}</span>;
}

/** A name or value: hidden characters shown, nothing else. */
export function Plain(props: { text: string }): VNode {
  return <span class={styles["isolate"]}>{pieces({ plain: props.text, runs: [] }).map(drawn)}</span>;
}

function drawn(piece: Piece, index: number): VNode | string {
  if (piece.escape === undefined && piece.style === undefined && !piece.match) return piece.text;
  const classes = [piece.escape !== undefined && styles["escape"], piece.match && styles["match"]].filter(Boolean).join(" ");
  const style = piece.style && css(piece.style);
  const shared = { key: index, ...(classes !== "" && { class: classes }), ...(style && { style }) };
  if (piece.match) return <mark {...shared}>{piece.text}</mark>;
  return <span {...shared} {...(piece.escape !== undefined && { title: piece.escape })}>{piece.text}</span>;
}

/** Set through the style object, never as an attribute: the content security policy forbids that. */
function css(style: AnsiStyle): JSX.CSSProperties {
  const made: JSX.CSSProperties = {};
  const front = style.inverse ? (style.background ?? "var(--bg)") : style.color;
  const back = style.inverse ? (style.color ?? "var(--text)") : style.background;
  if (front !== undefined) made.color = color(front);
  if (back !== undefined) made.backgroundColor = color(back);
  if (style.bold) made.fontWeight = "600";
  if (style.dim) made.opacity = "0.7";
  if (style.italic) made.fontStyle = "italic";
  if (style.underline || style.strike) {
    made.textDecoration = [style.underline && "underline", style.strike && "line-through"].filter(Boolean).join(" ");
  }
  return made;
}

function color(value: number | string): string {
  return typeof value === "number" ? `var(--ansi-${value})` : value;
}
