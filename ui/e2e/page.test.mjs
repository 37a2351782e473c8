// The page in a real browser, as a reader uses it. Against the fake server, or the one that
// HELIOGRAPH_URL names: what needs the fake one's faults is then skipped.
// @ts-check
import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { open, password, real, until, user } from "./browser.mjs";

/** @typedef {import("playwright-core").Page} Page */

/** @type {Awaited<ReturnType<typeof open>>} */
let world;
before(async () => {
  world = await open();
});
after(async () => {
  await world.close();
});

const fakeOnly = real ? { skip: "needs the fake server's faults" } : {};
const lines = (/** @type {Page} */ page) => page.locator("[data-index] [data-level]");
const scroller = (/** @type {Page} */ page) => page.locator("[data-scroller]");
const times = (/** @type {Page} */ page) => page.locator("[data-index] time").evaluateAll((all) => all.map((one) => one.getAttribute("datetime") ?? ""));
const messages = (/** @type {Page} */ page) => page.locator("[data-index] [data-message]");
const pill = (/** @type {Page} */ page) => page.locator("[data-pill]");
const fromEnd = (/** @type {Page} */ page) => scroller(page).evaluate((element) => element.scrollHeight - element.clientHeight - element.scrollTop);
const dragOver = async (/** @type {Page} */ page, /** @type {number} */ from, /** @type {number} */ to) => {
  const box = await page.locator("[data-histogram]").boundingBox();
  assert.ok(box);
  await page.mouse.move(box.x + box.width * from, box.y + 20);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * to, box.y + 20, { steps: 4 });
  await page.mouse.up();
};

describe("sign-in", () => {
  it("refuses a wrong password, takes the right one, keeps the address, and lets go again", async () => {
    const page = await world.page("/?q=level%3A%3E%3Dinfo&start=now-6h", { signedIn: false });
    await page.fill("[name=username]", user);
    await page.fill("[name=password]", `not ${password}`);
    await page.keyboard.press("Enter");
    await page.getByRole("alert").filter({ hasText: "Wrong user or password" }).waitFor();
    await page.fill("[name=password]", password);
    await page.keyboard.press("Enter");
    await lines(page).first().waitFor();
    assert.equal(await page.inputValue("[name=q]"), "level:>=info");
    await page.click("[title='Settings and sign out']");
    await page.getByText("Sign out", { exact: true }).click();
    await page.locator("[name=password]").waitFor();
    await page.context().close();
  });

  it("leads to a provider and back to where it was", fakeOnly, async () => {
    const page = await world.page("/?q=level%3A%3E%3Dinfo&start=now-6h", { signedIn: false });
    await page.getByText("Continue with Some provider").click();
    await lines(page).first().waitFor();
    assert.equal(await page.inputValue("[name=q]"), "level:>=info");
    await page.context().close();
  });

  it("says why a provider's sign-in was refused, once", fakeOnly, async () => {
    const page = await world.page("/?sign_in=not_allowed", { signedIn: false });
    await page.getByRole("alert").filter({ hasText: "nothing lets you in here" }).waitFor();
    assert.ok(!page.url().includes("sign_in"), page.url());
    await page.reload();
    await page.locator("[name=password]").waitFor();
    assert.equal(await page.getByRole("alert").count(), 0);
    await page.context().close();
  });

  it("makes an account of an invitation, and hides its secret", fakeOnly, async () => {
    const secret = (/** @type {string} */ id) => `hgi_${id}_${"x".repeat(43)}`;
    const used = await world.page(`/#invitation=${secret("000000000000")}`, { signedIn: false });
    const fill = async (/** @type {Page} */ page, /** @type {string} */ again) => {
      await page.fill("[name=new-password]", "invited-person");
      await page.fill("[name=new-password-again]", again);
      await page.keyboard.press("Enter");
    };
    assert.ok(!used.url().includes("hgi_"), used.url());
    await fill(used, "another person");
    await used.getByRole("alert").filter({ hasText: "differ" }).waitFor();
    await fill(used, "invited-person");
    await used.getByRole("alert").filter({ hasText: "was used, taken back, or is too old" }).waitFor();
    await used.getByText("I have an account").click();
    await used.locator("[name=username]").waitFor();
    await used.context().close();
    const page = await world.page(`/#invitation=${secret("0123456789ab")}`, { signedIn: false });
    await fill(page, "invited-person");
    await page.locator("[title='Settings and sign out']").waitFor();
    await page.context().close();
  });

  it("comes back when the session is over, and goes on where it was", fakeOnly, async () => {
    const page = await world.page("/?q=rows&start=now-1h");
    await lines(page).first().waitFor();
    await world.fault({ signOut: true });
    await page.click("text=Newest first");
    await page.getByText("Your session has ended").waitFor();
    await page.fill("[name=username]", user);
    await page.fill("[name=password]", password);
    await page.keyboard.press("Enter");
    await lines(page).first().waitFor();
    assert.equal(await page.inputValue("[name=q]"), "rows");
    await page.context().close();
  });

  it("also ends a running tail", fakeOnly, async () => {
    const page = await world.page("/?live=1");
    await lines(page).first().waitFor();
    await world.fault({ signOut: true, drop: true });
    await page.getByText("Your session has ended").waitFor();
    await page.context().close();
  });
});

describe("search", () => {
  it("shows the newest first, with a level in letters", async () => {
    const page = await world.page("/?start=now-24h");
    await lines(page).first().waitFor();
    const shown = await times(page);
    assert.ok(shown.length > 5);
    assert.deepEqual(shown, shown.toSorted().toReversed());
    assert.match((await page.locator("[data-index] abbr").first().textContent()) ?? "", /^(TRC|DBG|INF|WRN|ERR|CRT|···)$/);
    await page.click("text=Newest first");
    await page.getByText("Oldest first").waitFor();
    await until("the oldest first", async () => {
      const now = await times(page);
      return now.length > 5 && now.join(" ") === now.toSorted().join(" ") && now[0] !== shown[0];
    });
    await page.context().close();
  });

  it("loads more by scrolling, with few elements, and gives the way back", fakeOnly, async () => {
    const page = await world.page("/?start=now-24h");
    await lines(page).first().waitFor();
    const first = (await times(page))[0];
    for (let round = 0; round < 70; round += 1) {
      await scroller(page).evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
      await page.waitForTimeout(40);
    }
    await until("far down", async () => Number(await page.locator("[data-index]").last().getAttribute("data-index")) > 8000, 30_000);
    assert.ok((await page.locator("[data-index]").count()) < 150);
    const shown = await times(page);
    assert.deepEqual(shown, shown.toSorted().toReversed());
    await until("the first line again", async () => {
      await scroller(page).evaluate((element) => element.scrollTo({ top: 0 }));
      return (await times(page))[0] === first;
    });
    await page.context().close();
  });

  it("keeps rows in order and without gaps under a fast wheel", fakeOnly, async () => {
    const page = await world.page("/?start=now-7d&order=asc");
    await lines(page).first().waitFor();
    let last = -1;
    for (let round = 0; round < 60; round += 1) {
      await page.mouse.move(600, 500);
      await page.mouse.wheel(0, 6000);
      await page.waitForTimeout(30);
      const indices = await page.locator("[data-index]").evaluateAll((all) => all.map((one) => Number(one.getAttribute("data-index"))));
      for (let at = 1; at < indices.length; at += 1) assert.equal(indices[at], (indices[at - 1] ?? 0) + 1);
      assert.ok((indices[0] ?? 0) >= last - 1);
      last = indices[0] ?? 0;
    }
    assert.ok(last > 1000);
    await page.context().close();
  });

  it("holds what is read in its place while wrapped rows above get their height", fakeOnly, async () => {
    const page = await world.page("/?start=now-24h&q=level%3A%3E%3Dwarning");
    await lines(page).first().waitFor();
    await page.keyboard.press("w");
    for (let round = 0; round < 6; round += 1) {
      await scroller(page).evaluate((element) => element.scrollBy({ top: 5000 }));
      await page.waitForTimeout(150);
    }
    /** Where each row stands in the view. */
    const places = () => page.locator("[data-index]").evaluateAll((all) => all.map((one) => /** @type {[string, number]} */ ([one.getAttribute("data-index") ?? "", one.getBoundingClientRect().top])));
    await page.mouse.move(600, 500);
    for (let round = 0; round < 25; round += 1) {
      const before = (await places()).find(([, top]) => top >= 250);
      await page.mouse.wheel(0, -250);
      await page.waitForTimeout(120);
      const after = (await places()).find(([index]) => index === before?.[0]);
      assert.ok(before && after && Math.abs(after[1] - before[1] - 250) < 2, `moved by ${(after?.[1] ?? 0) - (before?.[1] ?? 0)}, not by 250`);
    }
    await page.context().close();
  });

  it("opens a line, adds a value to the query, and the address holds it all", async () => {
    const page = await world.page("/?start=now-24h");
    await messages(page).first().click();
    const value = page.locator("[data-details] button[title^='Only lines with']").first();
    const added = ((await value.getAttribute("title")) ?? "").replace("Only lines with ", "");
    await value.click();
    await until("the query to hold the value", async () => (await page.inputValue("[name=q]")) === added);
    await lines(page).first().waitFor();
    const shared = await world.page(new URL(page.url()).pathname + new URL(page.url()).search);
    await lines(shared).first().waitFor();
    assert.equal(await shared.inputValue("[name=q]"), added);
    await page.goBack();
    await until("the query before", async () => (await page.inputValue("[name=q]")) === "");
    await shared.context().close();
    await page.context().close();
  });

  it("copies a record, and several lines as a file would have them", async () => {
    const page = await world.page("/?start=now-24h");
    await messages(page).first().click();
    await page.click("text=Copy JSON");
    await page.getByText("Copied").waitFor();
    const record = JSON.parse(await page.evaluate(() => navigator.clipboard.readText()));
    assert.equal(record["@timestamp"], (await times(page))[0]);
    await messages(page).first().click();
    await page.evaluate(() => {
      const rows = document.querySelectorAll("[data-index]");
      const range = document.createRange();
      const [from, to] = [rows[0], rows[2]];
      if (!from || !to) return;
      range.setStart(from, 0);
      range.setEnd(to, to.childNodes.length);
      getSelection()?.removeAllRanges();
      getSelection()?.addRange(range);
    });
    await page.keyboard.press("Control+c");
    const copied = await page.evaluate(() => navigator.clipboard.readText());
    assert.match(copied, /^\d{4}-\d\d-\d\dT[\d:.]+Z [A-Z-]+ /);
    assert.ok(copied.split("\n").length >= 3);
    await page.context().close();
  });

  it("shows where a query can't be read", async () => {
    const page = await world.page("/?start=now-1h");
    await page.fill("[name=q]", "timeout (level:error");
    await page.keyboard.press("Enter");
    const alert = page.getByRole("alert");
    await alert.waitFor();
    assert.match((await alert.textContent()) ?? "", /timeout \(level:error/);
    assert.ok(await alert.locator("[class*=caret]").isVisible());
    if (!real) assert.equal(await alert.locator("[class*=caret]").textContent(), "(");
    await page.click("[title='Clear the query']");
    await lines(page).first().waitFor();
    assert.equal(await alert.count(), 0);
    await page.context().close();
  });

  it("says what to do when nothing matches", async () => {
    const page = await world.page("/?start=now-15m&q=%22no+such+line+xq7%22");
    await page.getByText("No lines match").waitFor();
    await page.getByText("Search the last 24 hours").click();
    await until("the wider range", async () => page.url().includes("now-24h"));
    await page.context().close();
  });

  it("says what to do when the server has trouble, and tries again", fakeOnly, async () => {
    const page = await world.page("/?start=now-1h");
    await lines(page).first().waitFor();
    await world.fault({ fail: 503 });
    await page.click("text=Newest first");
    await page.getByText("The server is busy").waitFor();
    await page.getByRole("button", { name: "Try again" }).click();
    await lines(page).first().waitFor();
    await page.context().close();
  });

  it("offers a way out of a tenant that is not one's own", async () => {
    const page = await world.page("/?tenant=no-such-tenant-xq7");
    await page.getByText("Not yours to read").waitFor();
    await page.getByText("Show all that I may read").click();
    await until("all tenants", async () => !page.url().includes("tenant="));
    await page.context().close();
  });

  it("chooses tenants and ranges", async () => {
    const page = await world.page("/?start=now-24h");
    await lines(page).first().waitFor();
    await page.click("[title=Tenant]");
    const first = page.locator("button[title^='Only ']").first();
    const name = ((await first.getAttribute("title")) ?? "").replace("Only ", "");
    await first.click();
    await until("one tenant", async () => page.url().includes(`tenant=${name}`));
    await lines(page).first().waitFor();
    await page.click("[title='Time range']");
    await page.getByText("Last 6 hours").click();
    await until("six hours", async () => page.url().includes("start=now-6h"));
    await page.click("[title='Time range']");
    await page.keyboard.press("Escape");
    assert.equal(await page.getByText("Last 7 days").count(), 0);
    await page.context().close();
  });

  it("looks closer by dragging over the bars", async () => {
    const page = await world.page("/?start=now-24h");
    await until("bars", async () => Number(await page.locator("[data-histogram]").getAttribute("data-histogram")) > 0);
    await dragOver(page, 0.6, 0.99);
    await until("a range of its own", async () => /start=\d{4}-.*end=\d{4}-/.test(page.url()));
    const [start, end] = [...new URLSearchParams(new URL(page.url()).search).entries()].filter(([key]) => key === "start" || key === "end").map(([, value]) => Date.parse(value));
    assert.ok((end ?? 0) - (start ?? 0) < 14 * 3_600_000);
    await page.context().close();
  });
});

describe("what others wrote", () => {
  it("is text, with hidden characters shown", fakeOnly, async () => {
    const page = await world.page("/?start=now-24h&q=lost");
    await lines(page).first().waitFor();
    const text = (await messages(page).first().textContent()) ?? "";
    assert.match(text, /ok\\r2026.*lost\\u\{200b\} <script>alert\(1\)<\/script> <img src=x/);
    assert.equal(await page.locator("[data-index] script, [data-index] img").count(), 0);
    await page.goto(`${world.url}/?start=now-24h&q=owned`);
    await lines(page).first().waitFor();
    assert.match((await messages(page).first().textContent()) ?? "", /\\u\{202e\}gnp\.exe.*\\e\]0;owned\\x07/);
    await page.context().close();
  });

  it("reaches no text, title or name of the page unescaped", fakeOnly, async () => {
    const page = await world.page("/?start=now-24h&q=owned");
    await messages(page).first().click();
    await page.locator("[data-details]").waitFor();
    const { seen, hidden } = await page.evaluate(() => {
      // oxlint-disable-next-line no-control-regex -- such characters are what this looks for
      const bad = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2066-\u2069\u061c\ufeff]/;
      const texts = [document.title];
      const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
      for (let node = walker.nextNode(); node; node = walker.nextNode()) {
        if (node instanceof Element) texts.push(...["title", "aria-label", "placeholder", "alt"].map((name) => /** @type {Element} */ (node).getAttribute(name) ?? ""));
        else texts.push(node.nodeValue ?? "");
      }
      return { seen: texts.filter((text) => text.includes("\\u{202e}")).length, hidden: texts.filter((text) => bad.test(text)) };
    });
    assert.deepEqual(hidden, []);
    // In the message, in values, and in what is told of them: the line has it in a name and a value of its fields, too.
    assert.ok(seen >= 5, `${seen}`);
    const badge = page.locator("[data-details] span[title='right-to-left override']").first();
    assert.equal(await badge.textContent(), "\\u{202e}");
    assert.notEqual(await badge.evaluate((element) => getComputedStyle(element).backgroundColor), "rgba(0, 0, 0, 0)");
    await page.getByText("Copy message", { exact: true }).click();
    const copied = () => page.evaluate(() => navigator.clipboard.readText());
    await until("the message", async () => /\\u\{202e\}gnp\.exe/.test(await copied()));
    await page.getByText("Copy JSON", { exact: true }).click();
    await until("the record", async () => (await copied()).startsWith("{"));
    const json = await copied();
    assert.ok(!json.includes("\u202e"));
    assert.match(JSON.parse(json).message, /\u202egnp\.exe/);
    await page.context().close();
  });

  it("has its colours", fakeOnly, async () => {
    const page = await world.page("/?start=now-24h&q=DeprecationWarning");
    await lines(page).first().waitFor();
    const colored = messages(page).first().locator("[style*='--ansi-3']").first();
    assert.equal(await colored.textContent(), "DeprecationWarning");
    await page.context().close();
  });
});

describe("a shared address", () => {
  it("cannot hide what it asks for", async () => {
    const page = await world.page(`/?start=now-24h&q=${encodeURIComponent("dag_id:a\u202e\u200b")}`);
    const told = page.getByRole("status").filter({ hasText: "characters that do not show" });
    await told.waitFor();
    assert.match((await told.textContent()) ?? "", /dag_id:a\\u\{202e\}\\u\{200b\}/);
    assert.match(await page.title(), /dag_id:a\\u\{202e\}\\u\{200b\}/);
    await page.context().close();
  });
});

describe("markup and script that somebody brings in", () => {
  it("are refused by the browser", async () => {
    /** @type {string[]} */
    const told = [];
    const page = await world.page("/?start=now-24h", { told });
    await lines(page).first().waitFor();
    const tried = await page.evaluate(async () => {
      const global = /** @type {any} */ (globalThis);
      /** @param {() => unknown} what */
      const attempt = (what) => {
        try {
          return String(what());
        } catch (error) {
          return /** @type {Error} */ (error).name;
        }
      };
      /** @type {Record<string, string>} */
      const results = {
        innerHTML: attempt(() => (document.body.lastElementChild ?? document.body).innerHTML = "<img src=x onerror=owned()>"),
        outerHTML: attempt(() => (document.createElement("p").outerHTML = "<b></b>")),
        insertAdjacentHTML: attempt(() => document.body.insertAdjacentHTML("beforeend", "<b></b>")),
        write: attempt(() => document.write("<b></b>")),
        srcdoc: attempt(() => (document.createElement("iframe").srcdoc = "<b></b>")),
        parser: attempt(() => new DOMParser().parseFromString("<b></b>", "text/html")),
        scriptText: attempt(() => (document.createElement("script").text = "globalThis.owned = 1")),
        scriptSource: attempt(() => (document.createElement("script").src = "https://evil.example/x.js")),
        policy: attempt(() => global.trustedTypes.createPolicy("mine", { createHTML: (/** @type {string} */ text) => text })),
        defaultPolicy: attempt(() => global.trustedTypes.createPolicy("default", { createHTML: (/** @type {string} */ text) => text })),
      };
      // Later, as the debugger that we come by may evaluate at once.
      await new Promise((resolve) => {
        setTimeout(() => {
          results["eval"] = attempt(() => global.eval("1"));
          results["function"] = attempt(() => new global.Function("return 1")());
          resolve(undefined);
        });
      });
      // What has no sink of its own is refused when it would run, load or show.
      const image = document.createElement("img");
      attempt(() => image.setAttribute("onerror", "globalThis.owned = 1"));
      image.src = "https://evil.example/x.png";
      const styled = document.createElement("p");
      attempt(() => styled.setAttribute("style", "position: fixed"));
      const sheet = document.createElement("style");
      sheet.textContent = "body { display: none }";
      const frame = document.createElement("iframe");
      frame.src = "https://evil.example/";
      const base = document.createElement("base");
      base.href = "https://evil.example/";
      document.body.append(image, styled, sheet, frame, base);
      results["fetch"] = await fetch("https://evil.example/").then(() => "sent", () => "refused");
      await new Promise((resolve) => void setTimeout(resolve, 300));
      results["style"] = getComputedStyle(styled).position + getComputedStyle(document.body).display;
      results["base"] = new URL("x", document.baseURI).origin === location.origin ? "refused" : "taken";
      results["owned"] = String(global.owned);
      return results;
    });
    assert.deepEqual(tried, {
      innerHTML: "TypeError", outerHTML: "TypeError", insertAdjacentHTML: "TypeError", write: "TypeError", srcdoc: "TypeError", parser: "TypeError",
      eval: "EvalError", function: "EvalError", scriptText: "TypeError", scriptSource: "TypeError", policy: "TypeError", defaultPolicy: "TypeError",
      fetch: "refused", style: "staticblock", base: "refused", owned: "undefined",
    });
    for (const directive of ["require-trusted-types-for", "trusted-types", "img-src", "style-src", "connect-src", "base-uri"]) {
      assert.ok(told.some((text) => text.includes(`Content Security Policy: ${directive}`)), `${directive} in ${told.join("\n")}`);
    }
    await page.context().close();
  });

  it("cannot put the page into a frame, nor be read by another origin", async () => {
    const page = await world.page("/?start=now-24h");
    const answers = await page.evaluate(async () => {
      const all = await Promise.all(["/", "/api/v1/session", "/api/v1/nothing"].map((path) => fetch(path)));
      return all.map((answer) => [answer.headers.get("cross-origin-resource-policy"), answer.headers.get("x-frame-options"), /frame-ancestors 'none'/.test(answer.headers.get("content-security-policy") ?? "")]);
    });
    for (const answer of answers) assert.deepEqual(answer, ["same-origin", "DENY", true]);
    assert.equal(await page.evaluate(() => globalThis.crossOriginIsolated === false && globalThis.opener === null), true);
    await page.context().close();
  });
});

describe("context", () => {
  it("shows a line among its neighbours, and grows", async () => {
    const page = await world.page("/?start=now-24h");
    await lines(page).first().waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("c");
    const dialog = page.getByRole("dialog");
    await dialog.locator("[data-marked=true]").waitFor();
    const shown = await dialog.locator("[data-index] time").evaluateAll((all) => all.map((one) => one.getAttribute("datetime") ?? ""));
    if (!real) assert.deepEqual(shown, shown.toSorted());
    assert.match(page.url(), /line=/);
    const shared = await world.page(new URL(page.url()).pathname + new URL(page.url()).search);
    await shared.getByRole("dialog").locator("[data-marked=true]").waitFor();
    await page.keyboard.press("Escape");
    await until("it to close", async () => (await dialog.count()) === 0);
    assert.doesNotMatch(page.url(), /line=/);
    await shared.context().close();
    await page.context().close();
  });
});

describe("live tail", () => {
  it("follows, pauses when the reader scrolls away, and goes on with End", async () => {
    const page = await world.page("/?live=1");
    await lines(page).first().waitFor();
    await page.locator("[data-tail=on]").waitFor();
    const before = Number(await page.locator("[data-index]").last().getAttribute("data-index"));
    await until("new lines", async () => Number(await page.locator("[data-index]").last().getAttribute("data-index")) > before, 30_000);
    await until("the end", async () => (await fromEnd(page)) < 2);
    await page.mouse.move(600, 500);
    await page.mouse.wheel(0, -500);
    await page.locator("[data-tail=paused]").waitFor();
    const top = await scroller(page).evaluate((element) => element.scrollTop);
    await until("lines that wait", async () => /\d+ new line/.test((await pill(page).textContent()) ?? ""), 30_000);
    assert.equal(await scroller(page).evaluate((element) => element.scrollTop), top);
    await page.keyboard.press("End");
    await page.locator("[data-tail=on]").waitFor();
    assert.equal(await pill(page).count(), 0);
    await until("the end again", async () => (await fromEnd(page)) < 2);
    await page.keyboard.press("f");
    await page.locator("[data-tail=paused]").waitFor();
    await pill(page).click();
    await page.locator("[data-tail=on]").waitFor();
    await page.context().close();
  });

  it("says what was skipped, and where to find it", fakeOnly, async () => {
    const page = await world.page("/?live=1");
    await page.locator("[data-tail=on]").waitFor();
    await world.fault({ skip: 1234 });
    await page.locator("[data-note=skipped]").filter({ hasText: "1,234 lines skipped" }).waitFor();
    await page.click("text=Search them");
    await until("a search of that time", async () => /start=\d{4}/.test(page.url()) && !page.url().includes("live"));
    await lines(page).first().waitFor();
    await page.context().close();
  });

  it("goes on after a break without gap or repeat", fakeOnly, async () => {
    const page = await world.page("/?live=1&tenant=acme");
    await page.locator("[data-tail=on]").waitFor();
    await lines(page).first().waitFor();
    await world.fault({ down: 2500 });
    await page.locator("[data-tail=waiting]").waitFor();
    await page.locator("[data-tail=on]").waitFor({ timeout: 30_000 });
    await page.waitForTimeout(1500);
    await page.keyboard.press("f");
    const shown = await times(page);
    // What a search finds for the same time is what the tail must have shown, each line once.
    const answer = await page.request.get(`${world.url}/api/v1/search?tenant=acme&order=asc&limit=5000&start=${shown[0]}&end=${shown.at(-1)}`);
    const { records } = await answer.json();
    assert.deepEqual(shown, records.map((/** @type {any} */ record) => record["@timestamp"]));
    await page.context().close();
  });

  it("stays quick and small when far more comes than anyone reads", fakeOnly, async () => {
    const page = await world.page("/?live=1");
    await page.locator("[data-tail=on]").waitFor();
    for (let round = 0; round < 12; round += 1) await world.fault({ burst: 4000 });
    await until("the bound", async () => ((await page.locator("[role=status]").first().textContent()) ?? "").includes("10,000 lines"), 30_000);
    assert.ok((await page.locator("[data-index]").count()) < 150);
    await until("the end", async () => (await fromEnd(page)) < 2);
    await page.keyboard.press("f");
    for (let round = 0; round < 4; round += 1) await world.fault({ burst: 4000 });
    await until("the bound of what waits", async () => ((await pill(page).textContent()) ?? "").includes("+ new lines"), 30_000);
    await page.context().close();
  });

  it("loads what was before when the reader scrolls up", fakeOnly, async () => {
    const page = await world.page("/?live=1");
    await page.locator("[data-tail=on]").waitFor();
    await lines(page).first().waitFor();
    await page.mouse.move(600, 500);
    await page.mouse.wheel(0, -300);
    await page.locator("[data-tail=paused]").waitFor();
    for (let round = 0; round < 10; round += 1) {
      await page.mouse.wheel(0, -1500);
      await page.waitForTimeout(60);
    }
    await until("older lines in front", async () => Number(await page.locator("[data-index]").first().getAttribute("data-index")) < -50);
    const shown = await times(page);
    assert.deepEqual(shown, shown.toSorted());
    await page.context().close();
  });

  it("shows where a query can't be read", async () => {
    const page = await world.page(`/?live=1&q=${encodeURIComponent('dag_id:"open')}`);
    await page.getByRole("alert").locator("[class*=caret]").waitFor();
    await page.context().close();
  });
});

describe("keys", () => {
  it("search, wrap, help, tail", async () => {
    const page = await world.page("/?start=now-24h");
    await lines(page).first().waitFor();
    await page.keyboard.press("/");
    assert.ok(await page.locator("[name=q]").evaluate((element) => element === document.activeElement));
    await page.keyboard.type("w?f");
    assert.equal(await page.inputValue("[name=q]"), "w?f");
    await page.keyboard.press("Escape");
    await page.keyboard.press("Escape");
    await page.keyboard.press("w");
    await page.locator("[data-wrap=true]").first().waitFor();
    await page.keyboard.press("w");
    await page.locator("[data-wrap=false]").first().waitFor();
    await page.keyboard.press("j");
    await page.locator("[data-selected=true]").waitFor();
    await page.keyboard.press("Enter");
    await page.locator("[data-details]").waitFor();
    await page.keyboard.press("?");
    await page.getByRole("dialog").waitFor();
    await page.keyboard.press("Escape");
    await until("the help to close", async () => (await page.getByRole("dialog").count()) === 0);
    await page.keyboard.press("f");
    await page.locator("[data-tail]").waitFor();
    await page.context().close();
  });
});

describe("audit log", () => {
  const rows = (/** @type {Page} */ page) => page.locator("[data-event]");
  const rowTimes = (/** @type {Page} */ page) => page.locator("[data-event] time").evaluateAll((all) => all.map((one) => one.getAttribute("datetime") ?? ""));

  it("is found by who may read it, and shows the newest rows first", async () => {
    const page = await world.page("/?start=now-24h");
    await page.click("[title='Settings and sign out']");
    await page.getByText("Audit log", { exact: true }).click();
    await rows(page).first().waitFor();
    assert.equal(new URL(page.url()).pathname, "/audit");
    assert.equal(await page.title(), "Audit log · Heliograph");
    const shown = await rowTimes(page);
    assert.deepEqual(shown, shown.toSorted().toReversed());
    // Signing in was recorded.
    if (real) await page.locator("[data-event]", { hasText: "session.create" }).first().waitFor();
    await page.context().close();
  });

  it("opens rows by keys, and narrows by what stands in them", async () => {
    const page = await world.page("/audit?start=now-24h");
    await rows(page).first().waitFor();
    await page.keyboard.press("j");
    await page.keyboard.press("j");
    await page.keyboard.press("k");
    await page.locator("[data-event][data-selected=true]").waitFor();
    await page.keyboard.press("Enter");
    const details = page.locator("[data-event-details]");
    await details.waitFor();
    const action = ((await details.locator("[title='Only rows with this action']").textContent()) ?? "").trim();
    await details.locator("[title='Only rows with this action']").click();
    await until("the action in the address", async () => new URL(page.url()).searchParams.get("action") === action);
    await rows(page).first().waitFor();
    assert.equal(await page.inputValue("[name=action]"), action);
    assert.equal(await details.count(), 0);
    await page.keyboard.press("/");
    await page.keyboard.type("xq7");
    await page.keyboard.press("Enter");
    await page.getByText("No rows", { exact: true }).waitFor();
    assert.equal(new URL(page.url()).searchParams.get("actor"), "user:xq7");
    await page.getByText("Clear the filters").click();
    await rows(page).first().waitFor();
    await page.goBack();
    await page.getByText("No rows", { exact: true }).waitFor();
    await page.context().close();
  });

  it("gives older rows page by page, and all of them as a file", fakeOnly, async () => {
    const page = await world.page("/audit?start=all&action=session.refused");
    await rows(page).first().waitFor();
    await until("older rows by scrolling", async () => {
      await page.getByRole("region").evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
      return (await page.locator("[data-foot=end]").count()) === 1;
    });
    assert.ok((await rows(page).count()) > 400);
    const shown = await rowTimes(page);
    assert.equal(new Set(shown).size, shown.length);
    assert.deepEqual(shown, shown.toSorted().toReversed());
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByText("Export", { exact: true }).click()]);
    assert.equal(download.suggestedFilename(), "audit.ndjson");
    const address = new URL(download.url());
    assert.equal(address.pathname + address.search, "/api/v1/admin/audit/export?action=session.refused");
    await page.context().close();
  });

  it("holds so many rows, and says what to do for more", fakeOnly, async () => {
    const page = await world.page("/audit?start=all");
    await rows(page).first().waitFor();
    await until("the bound", async () => {
      await page.getByRole("region").evaluate((element) => element.scrollTo({ top: element.scrollHeight }));
      return (await page.locator("[data-foot=full]").count()) === 1;
    }, 60_000);
    assert.equal(await rows(page).count(), 2000);
    await page.context().close();
  });

  it("shows what misleads as what it is", fakeOnly, async () => {
    const page = await world.page(`/audit?start=all&actor=${encodeURIComponent("user:ann\u202enimda")}`);
    await rows(page).first().waitFor();
    const text = (await rows(page).first().textContent()) ?? "";
    assert.match(text, /user:ann\\u\{202e\}nimda.*\\e\]0;owned\\x07 =cmd <img src=x onerror=alert\(1\)>/);
    assert.equal(await page.locator("[data-event] img").count(), 0);
    await page.context().close();
  });

  it("is an operator's for the own tenants, and nobody else's", fakeOnly, async () => {
    const otto = await world.page("/audit?start=all", { as: "otto" });
    await rows(otto).first().waitFor();
    assert.deepEqual(await otto.locator("[name=tenant] option").allTextContents(), ["All that I operate", "acme"]);
    assert.deepEqual(new Set(await otto.locator("[data-event] td:nth-child(5)").allTextContents()), new Set(["acme"]));
    await otto.goto(`${world.url}/audit?tenant=globex`);
    await otto.getByText("Not yours to read").waitFor();
    await otto.getByText("Show all that I may read").click();
    await rows(otto).first().waitFor();
    await otto.context().close();
    const vera = await world.page("/?start=now-24h", { as: "vera" });
    await lines(vera).first().waitFor();
    await vera.click("[title='Settings and sign out']");
    await vera.getByText("Sign out", { exact: true }).waitFor();
    assert.equal(await vera.getByText("Audit log", { exact: true }).count(), 0);
    await vera.goto(`${world.url}/audit`);
    await vera.getByText("Not yours to read").waitFor();
    await vera.context().close();
  });

  it("says what to do when the server has trouble, and goes on", fakeOnly, async () => {
    const page = await world.page("/audit?start=all");
    await rows(page).first().waitFor();
    await world.fault({ fail: 503 });
    await page.keyboard.press("r");
    await page.getByText("The server is busy").waitFor();
    await page.getByRole("button", { name: "Try again" }).click();
    await rows(page).first().waitFor();
    await world.fault({ signOut: true });
    await page.keyboard.press("r");
    await page.getByText("Your session has ended").waitFor();
    await page.context().close();
  });
});

describe("at last", () => {
  it("no page broke the content security policy, or failed", () => {
    assert.deepEqual(world.complaints, []);
  });
});
