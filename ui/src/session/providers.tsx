// The ways in by an identity provider: each is an address that the browser goes to.
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import * as api from "../api/client";
import type { Provider } from "../api/types";
import controls from "../controls/controls.module.css";
import styles from "./sign-in.module.css";

/** Nothing where there are none, or where the server does not say. */
export function Providers(props: { returnTo: string }): VNode | null {
  const [providers, setProviders] = useState<readonly Provider[]>([]);
  useEffect(() => {
    const left = new AbortController();
    api.getProviders(left.signal).then(setProviders, () => {});
    return () => left.abort();
  }, []);
  if (providers.length === 0) return null;
  return (
    <nav class={styles["providers"]} aria-label="Other ways to sign in">
      <p class={styles["or"]}>or</p>
      {providers.map((provider) => (
        <a key={provider.name} class={`${controls["button"]} ${styles["provider"]}`} href={api.loginUrl(provider.name, props.returnTo)}>
          Continue with {provider.display_name}
        </a>
      ))}
    </nav>
  );
}
