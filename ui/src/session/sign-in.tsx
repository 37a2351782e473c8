// The way in: name and password, or a provider.
import type { VNode } from "preact";
import { useRef, useState } from "preact/hooks";
import { UNREACHABLE, type ApiError, toApiError } from "../api/error";
import type { SignedOut } from "../api/types";
import controls from "../controls/controls.module.css";
import { Logo } from "../theme/logo";
import { Providers } from "./providers";
import { signIn } from "./session";
import styles from "./sign-in.module.css";

export function SignIn(props: { expired: boolean; elsewhere: SignedOut | null; refused: string | null }): VNode {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [busy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string | null>(props.refused);
  const secret = useRef<HTMLInputElement>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    setBusy(true);
    setProblem(null);
    try {
      await signIn(user, password);
    } catch (thrown) {
      const error = toApiError(thrown);
      if (error) setProblem(explained(error));
      setPassword("");
      setBusy(false);
      secret.current?.focus();
    }
  };
  return (
    <main class={styles["screen"]}>
      <div class={styles["card"]}>
        <div class={styles["brand"]}>
          <Logo />
          <h1>Heliograph</h1>
        </div>
        <form class={styles["fields"]} onSubmit={(event) => void submit(event)}>
          {props.expired && problem === null && <p class={styles["note"]}>Your session has ended. Sign in to go on where you were.</p>}
          {props.elsewhere !== null && problem === null && (
            <p class={styles["note"]}>
              You are signed out here, and may still be signed in at the provider.{" "}
              <a href={props.elsewhere.sign_out_url} rel="noreferrer">
                Sign out at {props.elsewhere.provider}
              </a>
            </p>
          )}
          <label class={styles["label"]}>
            User
            <input
              class={styles["input"]}
              name="username"
              autocomplete="username"
              autocapitalize="none"
              spellcheck={false}
              required
              value={user}
              ref={focusOnce}
              onInput={(event) => setUser(event.currentTarget.value)}
            />
          </label>
          <label class={styles["label"]}>
            Password
            <input
              class={styles["input"]}
              type="password"
              ref={secret}
              name="password"
              autocomplete="current-password"
              required
              value={password}
              onInput={(event) => setPassword(event.currentTarget.value)}
            />
          </label>
          {problem !== null && (
            <p class={styles["problem"]} role="alert">
              {problem}
            </p>
          )}
          <button type="submit" class={`${controls["button"]} ${controls["primary"]} ${styles["submit"]}`} disabled={busy}>
            {busy ? "Signing in…" : "Sign in"}
          </button>
        </form>
        <Providers returnTo={location.pathname + location.search} />
      </div>
    </main>
  );
}

function focusOnce(element: HTMLInputElement | null): void {
  element?.focus();
}

function explained(error: ApiError): string {
  if (error.status === 401) return "Wrong user or password.";
  if (error.status === 429) {
    const wait = error.retryAfterSeconds;
    return `Too many attempts. Try again ${wait === undefined ? "in a minute" : `in ${wait} s`}.`;
  }
  if (error.code === UNREACHABLE) return "The server does not answer. Check that Heliograph runs, then try again.";
  return `That did not work: ${error.message}.`;
}
