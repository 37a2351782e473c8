// A button that opens a panel beneath it. Esc, a click elsewhere, or leaving it with Tab closes it.
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";
import styles from "./controls.module.css";

interface MenuProps {
  label: ComponentChildren;
  /** What the button is for. */
  name: string;
  /** The label is a picture: the name is also said to those who hear the page. */
  picture?: boolean;
  align?: "start" | "end";
  class?: string | undefined;
  /** Drawn only while open; `close` is for choices that end it. */
  children(close: () => void): ComponentChildren;
}

export function Menu(props: MenuProps): VNode {
  const [open, setOpen] = useState(false);
  const root = useRef<HTMLDivElement>(null);
  const button = useRef<HTMLButtonElement>(null);
  const close = () => {
    setOpen(false);
    button.current?.focus({ preventScroll: true });
  };
  useEffect(() => {
    if (!open) return undefined;
    const away = (event: Event) => {
      if (!root.current?.contains(event.target as Node)) setOpen(false);
    };
    addEventListener("pointerdown", away, true);
    addEventListener("focusin", away);
    return () => {
      removeEventListener("pointerdown", away, true);
      removeEventListener("focusin", away);
    };
  }, [open]);
  const escape = (event: KeyboardEvent) => {
    if (event.key !== "Escape" || !open) return;
    event.preventDefault();
    event.stopPropagation();
    close();
  };
  return (
    <div ref={root} class={`${styles["menu"]} ${props.class ?? ""}`} onKeyDown={escape}>
      <button ref={button} type="button" class={styles["button"]} aria-expanded={open} aria-label={props.picture ? props.name : undefined} title={props.name} onClick={() => setOpen(!open)}>
        {props.label}
        <span class={styles["arrow"]} aria-hidden="true" />
      </button>
      {open && <div class={`${styles["panel"]} ${props.align === "end" ? styles["panelEnd"] : ""}`}>{props.children(close)}</div>}
    </div>
  );
}

/** One of several choices in a menu. */
export function Choice(props: { chosen?: boolean; onClick: () => void; children: ComponentChildren; hint?: ComponentChildren }): VNode {
  return (
    <button type="button" class={styles["choice"]} aria-pressed={props.chosen} onClick={props.onClick}>
      <span class={styles["tick"]} aria-hidden="true">
        {props.chosen ? "✓" : ""}
      </span>
      <span class={styles["choiceText"]}>{props.children}</span>
      {props.hint !== undefined && <span class={styles["choiceHint"]}>{props.hint}</span>}
    </button>
  );
}

/** A way to another page of ours, among choices. */
export function ChoiceLink(props: { href: string; children: ComponentChildren }): VNode {
  return (
    <a class={styles["choice"]} href={props.href}>
      <span class={styles["tick"]} aria-hidden="true" />
      <span class={styles["choiceText"]}>{props.children}</span>
    </a>
  );
}

/** A few choices side by side, one of which is chosen. */
export function Segments<T extends string>(props: { name: string; value: T; choices: readonly (readonly [T, string])[]; onChange(value: T): void }): VNode {
  return (
    <div class={styles["segments"]} role="group" aria-label={props.name}>
      {props.choices.map(([value, text]) => (
        <button key={value} type="button" aria-pressed={value === props.value} onClick={() => props.onChange(value)}>
          {text}
        </button>
      ))}
    </div>
  );
}
