// What stands in place of a list: what happened, and what to do about it.
import type { ComponentChildren, VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { type ApiError, UNREACHABLE } from "../api/error";
import styles from "./controls.module.css";

export interface Action {
  text: string;
  act(): void;
}

export function Message(props: { title: string; children?: ComponentChildren; actions?: readonly Action[] }): VNode {
  return (
    <div class={styles["message"]} role="status">
      <h2>{props.title}</h2>
      {props.children}
      {props.actions && props.actions.length > 0 && (
        <div class={styles["actions"]}>
          {props.actions.map((action, index) => (
            <button key={action.text} type="button" class={`${styles["button"]} ${index === 0 ? styles["primary"] : ""}`} onClick={() => action.act()}>
              {action.text}
            </button>
          ))}
        </div>
      )}
    </div>
  );
}

/** The words for a call that failed. A mistake in the query has its own place, under the query. */
export function ErrorMessage(props: { error: ApiError; again(): void; actions?: readonly Action[] }): VNode {
  const { error, actions = [] } = props;
  const words = explained(error);
  const wait = useCountdown(error);
  const again: Action = { text: wait > 0 ? `Try again (${wait} s)` : "Try again", act: () => props.again() };
  return (
    <Message title={words.title} actions={error.status === 403 ? [...actions, again] : [again, ...actions]}>
      <p>{words.advice}</p>
      {error.hint !== undefined && <p>{error.hint}</p>}
    </Message>
  );
}

function explained(error: ApiError): { title: string; advice: string } {
  if (error.code === UNREACHABLE) {
    return { title: "The server does not answer", advice: `Check the network and that Heliograph runs. The browser said: ${error.message}` };
  }
  if (error.status === 403) {
    return { title: "Not yours to read", advice: "This tenant does not exist, or you have no role in it. Choose another tenant, or ask an administrator for the role viewer." };
  }
  if (error.status === 404) return { title: "Not there any more", advice: "It was removed, its time of retention is over, or the address is wrong." };
  if (error.status === 429) return { title: "Too many requests", advice: "Your share of the server is used up for the moment. Wait, or ask for a shorter time range." };
  if (error.status === 503 || error.status === 504) return { title: "The server is busy", advice: `Try again in a moment, or ask for a shorter time range. It said: ${error.message}` };
  return { title: "That did not work", advice: `The server said: ${error.message}` };
}

/** Seconds until the server wants to hear from us again. */
function useCountdown(error: ApiError): number {
  const [left, setLeft] = useState(error.retryAfterSeconds ?? 0);
  useEffect(() => {
    const until = Date.now() + (error.retryAfterSeconds ?? 0) * 1000;
    const tick = () => setLeft(Math.max(0, Math.ceil((until - Date.now()) / 1000)));
    tick();
    const timer = setInterval(tick, 1000);
    return () => clearInterval(timer);
  }, [error]);
  return left;
}
