// Rules that a reader can't see at a glance: no markup from strings, nothing inline, no host named, small.
import { readFileSync, readdirSync } from "node:fs";
import { basename, join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { ACTIONS } from "../src/audit/actions";
import { POLICY } from "./fake/server.mjs";

const root = join(import.meta.dirname, "..");

function files(folder: string): string[] {
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

const read = (path: string) => readFileSync(path, "utf8");

/** What makes markup or script of a string. */
const SINKS = /innerHTML|outerHTML|insertAdjacentHTML|setHTML|document\.write|dangerouslySetInnerHTML|createContextualFragment|DOMParser|\beval\(|\bFunction\(|srcdoc/g;

describe("source", () => {
  test("no markup is made of strings", () => {
    const found = files("src").flatMap((path) => [...read(path).matchAll(SINKS)].map(([sink]) => `${path}: ${sink}`));
    expect(found).toEqual([]);
  });
  test("no style, handler or script is made of a string", () => {
    const forbidden = [
      // A style is an object, set property by property; a handler is a function.
      /\sstyle=["'`]/, /\son[a-z]+=["'`]/i, /\son[A-Z]\w*=\{["'`]/, /setAttribute\(\s*["'`](style|on)/i, /\.cssText\b/, /javascript:/i,
      /set(Timeout|Interval)\(\s*["'`]/, /insertRule|<script|createElement\(\s*["'`]script/i, /trustedTypes/, /\bimport\(/,
    ];
    const found = files("src").filter((path) => /\.tsx?$/.test(path)).flatMap((path) => forbidden.filter((rule) => rule.test(read(path))).map((rule) => `${path}: ${rule}`));
    expect(found).toEqual([]);
  });
  test("every file says first what it owns", () => {
    const silent = files("src").filter((path) => /\.tsx?$/.test(path) && !read(path).startsWith("// "));
    expect(silent).toEqual([]);
  });
  test("files stay short enough to read", () => {
    const long = files("src").filter((path) => read(path).split("\n").length > 400);
    expect(long).toEqual([]);
  });
  test("every class that is used exists", () => {
    const missing: string[] = [];
    for (const path of files("src").filter((path) => path.endsWith(".tsx"))) {
      for (const [, name = "", sheet = ""] of read(path).matchAll(/import (\w+) from "(\.[^"]+\.module\.css)"/g)) {
        const css = read(join(path, "..", sheet));
        for (const [, used = ""] of read(path).matchAll(new RegExp(String.raw`\b${name}\["(\w+)"\]`, "g"))) {
          if (!new RegExp(String.raw`\.${used}\b`).test(css)) missing.push(`${path}: ${used}`);
        }
      }
    }
    expect(missing).toEqual([]);
  });
});

test("style sheets have names of their own, as their classes are named by them", () => {
  const names = files("src").filter((path) => path.endsWith(".module.css")).map((path) => basename(path));
  expect(names).toHaveLength(new Set(names).size);
});

describe("dist", () => {
  const html = read(join(root, "dist/index.html"));
  test("nothing stands inline", () => {
    expect(html).not.toMatch(/<style|style=|\son\w+=|javascript:/);
    for (const [tag] of html.matchAll(/<script[^>]*>/g)) expect(tag).toContain(" src=");
  });
  test("the script makes no markup of strings, but what its framework could, and nobody asks it to", () => {
    const sinks = (text: string) => [...text.matchAll(SINKS)].map(([sink]) => sink).toSorted();
    const built = files("dist").filter((path) => path.endsWith(".js")).flatMap((path) => sinks(read(path)));
    expect(built).toEqual(sinks(read(join(root, "node_modules/preact/dist/preact.module.js"))));
  });
  test("it runs under the policy that the server sends, and the fake one sends the same", () => {
    const source = read(join(root, "../query/src/http/assets.rs"));
    const policy = /const CONTENT_SECURITY_POLICY: &str = "([^"]+)"/.exec(source)?.[1]?.replace(/\\\n\s*/g, "");
    expect(POLICY).toBe(policy);
    expect(POLICY).not.toContain("unsafe");
    expect(POLICY).toContain("require-trusted-types-for 'script'; trusted-types 'none'");
  });
  test("nothing comes from elsewhere", () => {
    for (const path of files("dist")) {
      const outside = [...read(path).matchAll(/https?:\/\/[^\s"'`)]+/g)].map(([address]) => address).filter((address) => !address.startsWith("http://www.w3.org/"));
      expect(outside, path).toEqual([]);
    }
  });
  test("names tell the content, so that they may be cached for ever", () => {
    for (const path of files("dist/assets")) expect(path).toMatch(/-[\w-]{8}\.(js|css|svg)$/);
  });
  test("under 60 kB packed", () => {
    const packed = files("dist").reduce((sum, path) => sum + gzipSync(readFileSync(path), { level: 9 }).length, 0);
    expect(packed).toBeLessThan(60_000);
  });
});

test("the audit log's actions are those of the server", () => {
  const source = read(join(root, "../store/src/audit.rs"));
  const known = [...source.matchAll(/^ {4}\w+ = "([a-z.]+)",$/gm)].map(([, name]) => name);
  expect(known.length).toBeGreaterThan(20);
  expect(ACTIONS.flatMap(([, actions]) => actions).filter((name) => !known.includes(name))).toEqual([]);
});

test("the lock file names no host to fetch from", () => {
  expect(read(join(root, "package-lock.json"))).not.toContain('"resolved"');
});
