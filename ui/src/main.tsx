// Where the page begins: asks who we are, then shows sign-in or the page.
import { render, type VNode } from "preact";
import "./theme/theme.css";
import { AuditPage } from "./audit/audit-page";
import { ErrorMessage } from "./controls/message";
import { Page } from "./page";
import { refresh, sessionState } from "./session/session";
import { SignIn } from "./session/sign-in";

function App(): VNode | null {
  const state = sessionState.value;
  switch (state.kind) {
    case "asking":
      return null;
    case "out":
      return <SignIn expired={state.expired} />;
    case "failed":
      return <ErrorMessage error={state.error} again={() => void refresh()} />;
    case "in":
      return location.pathname === "/audit" ? <AuditPage /> : <Page />;
  }
}

const root = document.getElementById("page");
if (root) render(<App />, root);
void refresh();
