// A sheet over the page: one line among its neighbours, as its file has them.
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { ErrorMessage } from "../controls/message";
import { useKeys } from "../keys/keys";
import { Lines } from "../list/lines";
import type { ScrollerHandle } from "../list/scroller";
import { sourceInFull } from "../list/source";
import { show, view } from "../query/location";
import { Plain } from "../text/text";
import { wrap } from "../theme/preferences";
import { Context } from "./context";
import styles from "./context.module.css";

export function ContextView(props: { id: string }): VNode {
  const dialog = useRef<HTMLDialogElement>(null);
  const handle = useRef<ScrollerHandle>(null);
  const kept = useRef<Context | null>(null);
  kept.current ??= new Context();
  const context = kept.current;
  useEffect(() => {
    dialog.current?.showModal();
  }, []);
  useEffect(() => {
    void context.run(props.id);
    return () => context.stop();
  }, [context, props.id]);
  const close = () => show({ line: null });
  useKeys({ Escape: close, w: () => (wrap.value = !wrap.value) }, true);
  const center = context.center.value;
  return (
    <dialog
      ref={dialog}
      class={styles["dialog"]}
      aria-label="Context of a line"
      onCancel={(event) => {
        event.preventDefault();
        close();
      }}
      onClick={(event) => {
        if (event.target === dialog.current) close();
      }}
    >
      <div class={styles["sheet"]}>
        <header class={styles["head"]}>
          <strong>Context</strong>
          <span class={styles["source"]}>{center && <Plain text={sourceInFull(center.record)} />}</span>
          {center && (
            <button type="button" class={styles["back"]} onClick={() => handle.current?.show(center.index, true)}>
              Back to the line
            </button>
          )}
          <button type="button" class={styles["close"]} onClick={close} aria-label="Close" title="Close (Esc)">
            ×
          </button>
        </header>
        <Body context={context} id={props.id} handle={handle} />
      </div>
    </dialog>
  );
}

function Body(props: { context: Context; id: string; handle: { current: ScrollerHandle | null } }): VNode {
  const { context } = props;
  const state = context.state.value;
  if (state.kind === "failed" && context.rows.length === 0) return <ErrorMessage error={state.error} again={() => void context.run(props.id)} />;
  if (state.kind === "loading") return <div class={styles["wait"]} role="status" aria-label="Loading" />;
  const reached = context.reached.value;
  return (
    <Lines
      rows={context.rows}
      version={context.version}
      label="Lines around this one"
      q={view.value.q}
      days={false}
      tenants={false}
      sources={false}
      dialog
      onEdge={(edge) => void context.grow(edge)}
      begin={context.center.value?.index}
      marked={props.id}
      before={<div class={styles["edge"]}>{reached.start ? "Beginning of the file" : "…"}</div>}
      after={<div class={styles["edge"]}>{reached.end ? "End of the file so far" : "…"}</div>}
      handle={props.handle}
    />
  );
}
