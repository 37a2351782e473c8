// Who is signed in, how they like the page, where else they may go, and the way out.
import type { VNode } from "preact";
import { Choice, ChoiceLink, Menu, Segments } from "../controls/menu";
import { Plain } from "../text/text";
import { theme, zone } from "../theme/preferences";
import styles from "./account-menu.module.css";
import { isAdmin, operatedNames, sessionState, signOut } from "./session";

export function AccountMenu(props: { page: "logs" | "audit"; help?: () => void }): VNode {
  const state = sessionState.value;
  const user = state.kind === "in" ? state.session.user : "";
  const initial = [...user][0]?.toUpperCase() ?? "?";
  const mayAudit = isAdmin.value || operatedNames.value.length > 0;
  return (
    <Menu
      label={
        <span class={styles["avatar"]}>
          <Plain text={initial} />
        </span>
      }
      name="Settings and sign out"
      picture
      align="end"
    >
      {(close) => (
        <>
          <div class={styles["who"]}>
            <Plain text={user} />
            {isAdmin.value && <span>administrator</span>}
          </div>
          <div class={styles["setting"]}>
            <span>Theme</span>
            <Segments name="Theme" value={theme.value} choices={[["system", "System"], ["light", "Light"], ["dark", "Dark"]]} onChange={(value) => (theme.value = value)} />
          </div>
          <div class={styles["setting"]}>
            <span>Times</span>
            <Segments name="Times" value={zone.value} choices={[["local", "Local"], ["utc", "UTC"]]} onChange={(value) => (zone.value = value)} />
          </div>
          {props.help && (
            <Choice
              hint={<kbd>?</kbd>}
              onClick={() => {
                close();
                props.help?.();
              }}
            >
              Keys and queries
            </Choice>
          )}
          {props.page === "audit" && <ChoiceLink href="/">Logs</ChoiceLink>}
          {props.page === "logs" && mayAudit && <ChoiceLink href="/audit">Audit log</ChoiceLink>}
          <Choice onClick={() => void signOut()}>Sign out</Choice>
        </>
      )}
    </Menu>
  );
}
