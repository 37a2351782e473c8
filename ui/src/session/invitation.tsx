// An invitation: a password makes an account of it, or a provider that knows the invited address.
import type { VNode } from "preact";
import { useState } from "preact/hooks";
import * as api from "../api/client";
import { UNREACHABLE, type ApiError, toApiError } from "../api/error";
import controls from "../controls/controls.module.css";
import { Logo } from "../theme/logo";
import { Providers } from "./providers";
import { signIn } from "./session";
import styles from "./sign-in.module.css";

const PASSWORD_CHARS_MIN = 8;

export function Invitation(props: { token: string; leave: () => void }): VNode {
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    if (password !== again) {
      setProblem("The two passwords differ.");
      return;
    }
    setBusy(true);
    setProblem(null);
    try {
      const { user } = await api.acceptInvitation(props.token, password);
      await signIn(user, password);
    } catch (thrown) {
      const error = toApiError(thrown);
      if (error) setProblem(explained(error));
      setBusy(false);
    }
  };
  return (
    <main class={styles["screen"]}>
      <div class={styles["card"]}>
        <div class={styles["brand"]}>
          <Logo />
          <h1>Heliograph</h1>
        </div>
        <p class={styles["note"]}>You are invited. Choose a password to make your account.</p>
        <form class={styles["fields"]} onSubmit={(event) => void submit(event)}>
          <Secret label="Password" name="new-password" value={password} change={setPassword} />
          <Secret label="Once more" name="new-password-again" value={again} change={setAgain} />
          {problem !== null && (
            <p class={styles["problem"]} role="alert">
              {problem}
            </p>
          )}
          <button type="submit" class={`${controls["button"]} ${controls["primary"]} ${styles["submit"]}`} disabled={busy}>
            {busy ? "Making your account…" : "Make my account"}
          </button>
        </form>
        <Providers returnTo="/" />
        <button type="button" class={styles["other"]} onClick={props.leave}>
          I have an account: sign in
        </button>
      </div>
    </main>
  );
}

function Secret(props: { label: string; name: string; value: string; change: (value: string) => void }): VNode {
  return (
    <label class={styles["label"]}>
      {props.label}
      <input
        class={styles["input"]}
        type="password"
        name={props.name}
        autocomplete="new-password"
        required
        minLength={PASSWORD_CHARS_MIN}
        value={props.value}
        onInput={(event) => props.change(event.currentTarget.value)}
      />
    </label>
  );
}

function explained(error: ApiError): string {
  if (error.status === 404) return "This invitation was used, taken back, or is too old. Ask for another one.";
  if (error.status === 409) return "There is an account of that name already: sign in with it, or ask for another invitation.";
  if (error.status === 429) return "Too many attempts. Try again in a minute.";
  if (error.code === UNREACHABLE) return "The server does not answer. Check that Heliograph runs, then try again.";
  return `That did not work: ${error.message}.`;
}
