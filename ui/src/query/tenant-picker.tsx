// Whose lines are shown: one tenant, several, or all that the user may read.
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Choice, Menu } from "../controls/menu";
import { refresh, sessionState, tenantNames } from "../session/session";
import { escaped } from "../text/escapes";
import { Plain } from "../text/text";
import { show, view } from "./location";
import styles from "./pickers.module.css";

/** From so many tenants on, a field to find one by its name is worth its place. */
const FILTER_FROM = 8;

export function TenantPicker(): VNode {
  const { tenants } = view.value;
  const [first] = tenants;
  const label = first === undefined ? "All tenants" : tenants.length === 1 ? <Plain text={first} /> : `${tenants.length} tenants`;
  const text = <span class={styles["label"]}>{label}</span>;
  return (
    <Menu label={text} name="Tenant" class={styles["tenants"]}>
      {(close) => <Tenants close={close} />}
    </Menu>
  );
}

function Tenants({ close }: { close: () => void }): VNode {
  const [filter, setFilter] = useState("");
  const names = tenantNames.value;
  // Tenants and roles come and go while a page stays open.
  useEffect(() => void refresh(), []);
  const chosen = new Set(view.value.tenants);
  // A shared address may name a tenant that is not ours: it is shown, so that it can be left.
  const foreign = view.value.tenants.filter((name) => !names.includes(name));
  const found = [...foreign, ...names].filter((name) => name.includes(filter.trim().toLowerCase()));
  const only = (tenants: string[]) => {
    show({ tenants, line: null });
    close();
  };
  const toggle = (name: string) => {
    const next = new Set(chosen);
    if (!next.delete(name)) next.add(name);
    show({ tenants: [...next].toSorted(), line: null });
  };
  return (
    <>
      {names.length >= FILTER_FROM && (
        <input
          class={styles["filter"]}
          type="text"
          placeholder="Find a tenant"
          aria-label="Find a tenant"
          value={filter}
          ref={(element) => element?.focus()}
          onInput={(event) => setFilter(event.currentTarget.value)}
          onKeyDown={(event) => {
            if (event.key === "Enter" && found[0] !== undefined) only([found[0]]);
          }}
        />
      )}
      {filter === "" && (
        <Choice chosen={chosen.size === 0} onClick={() => only([])} hint={names.length}>
          All that I may read
        </Choice>
      )}
      <div class={styles["list"]}>
        {found.map((name) => (
          <div key={name} class={styles["tenant"]}>
            <input type="checkbox" checked={chosen.has(name)} aria-label={`Show ${escaped(name)} too`} title="Show it beside others" onChange={() => toggle(name)} />
            <button type="button" onClick={() => only([name])} title={`Only ${escaped(name)}`}>
              <Plain text={name} />
              <span class={styles["workspace"]}>
                <Plain text={workspaceOf(name)} />
              </span>
            </button>
          </div>
        ))}
        {found.length === 0 && <p class={styles["nothing"]}>No tenant of that name.</p>}
      </div>
    </>
  );
}

function workspaceOf(name: string): string {
  const state = sessionState.value;
  if (state.kind !== "in") return "";
  return state.session.tenants.find((tenant) => tenant.name === name)?.workspace ?? "";
}
