// How src/ becomes dist/: one script, one style sheet, one icon, each named by its content,
// and nothing inline, so that the page runs under the content security policy the server sends.
import { defineConfig } from "vite";

export default defineConfig({
  base: "/",
  build: {
    target: ["chrome123", "firefox121", "safari17.5"],
    // The polyfill would be an extra script, and every browser above preloads modules by itself.
    modulePreload: { polyfill: false },
    // A data: address would keep the icon out of the cache and grow the style sheet.
    assetsInlineLimit: 0,
    cssCodeSplit: false,
    reportCompressedSize: true,
  },
  css: {
    modules: { generateScopedName: "[name]_[local]" },
  },
});
