// A browser and a server for the checks: Debian's chromium, and ours or the one the environment names.
// @ts-check
import { chromium } from "playwright-core";
import { start } from "../tests/fake/server.mjs";

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

/** @typedef {import("playwright-core").Page} Page */

export const real = process.env["HELIOGRAPH_URL"] !== undefined;
export const user = process.env["HELIOGRAPH_USER"] ?? "admin";
export const password = process.env["HELIOGRAPH_PASSWORD"] ?? "admin";

export async function open() {
  const fake = real ? null : await start(0);
  const url = (process.env["HELIOGRAPH_URL"] ?? fake?.url ?? "").replace(/\/$/, "");
  const browser = await chromium.launch({ executablePath: process.env["CHROMIUM"] ?? "/usr/bin/chromium", args: FLAGS });
  /** What no page may ever do, whatever a check is about. @type {string[]} */
  const complaints = [];

  /**
   * A page of someone signed in, or of no one; with its own cookies. `told`: where complaints go that are meant to come.
   * @param {string} path @param {{ signedIn?: boolean, as?: string, width?: number, height?: number, told?: string[], scheme?: "light" | "dark" }} [options] @returns {Promise<Page>}
   */
  const page = async (path, { signedIn = true, as = user, width = 1280, height = 800, told = complaints, scheme = "light" } = {}) => {
    const context = await browser.newContext({ viewport: { width, height }, colorScheme: scheme, permissions: ["clipboard-read", "clipboard-write"] });
    const opened = await context.newPage();
    opened.setDefaultTimeout(15_000);
    opened.on("pageerror", (error) => told.push(`script error: ${error.message}`));
    opened.on("console", (message) => {
      if (/Content.Security.Policy|TrustedHTML|Trusted Type|Refused to/i.test(message.text())) told.push(message.text());
    });
    await opened.addInitScript(() => {
      addEventListener("securitypolicyviolation", (event) => console.error(`Content Security Policy: ${event.violatedDirective} ${event.blockedURI}`));
    });
    if (signedIn) {
      const answer = await context.request.post(`${url}/api/v1/session`, { data: { user: as, password: as === user ? password : as }, headers: { origin: url } });
      if (!answer.ok()) throw new Error(`sign-in was answered ${answer.status()}`);
    }
    await opened.goto(url + path);
    return opened;
  };
  /** @param {Record<string, unknown>} wish */
  const fault = async (wish) => {
    await fetch(`${url}/fake`, { method: "POST", body: JSON.stringify(wish) });
  };
  const close = async () => {
    await browser.close();
    fake?.close();
  };
  return { url, page, fault, close, complaints };
}

/** Until something holds; says what it waited for. @param {string} what @param {() => Promise<unknown>} holds @param {number} [ms] */
export async function until(what, holds, ms = 15_000) {
  const end = Date.now() + ms;
  for (;;) {
    if (await holds()) return;
    if (Date.now() > end) throw new Error(`waited ${ms} ms for: ${what}`);
    await new Promise((resolve) => void setTimeout(resolve, 50));
  }
}
