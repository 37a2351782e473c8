// Where the page begins: asks who we are, then shows sign-in or the page.
import { signal } from "@preact/signals";
import { render, type VNode } from "preact";
import "./theme/theme.css";
import { AuditPage } from "./audit/audit-page";
import { ErrorMessage } from "./controls/message";
import { Page } from "./page";
import { refresh, sessionState } from "./session/session";
import { arrival } from "./session/arrival";
import { Invitation } from "./session/invitation";
import { SignIn } from "./session/sign-in";

const invited = signal(arrival.invitation);

function App(): VNode | null {
  const state = sessionState.value;
  switch (state.kind) {
    case "asking":
      return null;
    case "out":
      return invited.value !== null ? (
        <Invitation token={invited.value} leave={() => void (invited.value = null)} />
      ) : (
        <SignIn expired={state.expired} elsewhere={state.elsewhere} refused={arrival.refused} />
      );
    case "failed":
      return <ErrorMessage error={state.error} again={() => void refresh()} />;
    case "in":
      return location.pathname === "/audit" ? <AuditPage /> : <Page />;
  }
}

const root = document.getElementById("page");
if (root) render(<App />, root);
void refresh();
