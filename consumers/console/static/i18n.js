// Which language, and its words.

import en from "./en.js";
import zh from "./zh.js";

const DICTIONARIES = { en, zh };
const KEPT = "eni-ledger.language";

let current = chosen();
document.documentElement.lang = current === "zh" ? "zh-CN" : "en";

function chosen() {
  const kept = localStorage.getItem(KEPT);
  if (kept in DICTIONARIES) return kept;
  return (navigator.languages ?? [navigator.language]).some((each) => /^zh\b/i.test(each)) ? "zh" : "en";
}

export function language() {
  return current;
}

export function locale() {
  return current === "zh" ? "zh-CN" : "en-GB";
}

export function setLanguage(wanted) {
  current = wanted;
  localStorage.setItem(KEPT, wanted);
  document.documentElement.lang = wanted === "zh" ? "zh-CN" : "en";
}

/** The words for `key`, with `{name}` filled in. A key without words shows as itself. */
export function t(key, values = {}) {
  const words = DICTIONARIES[current][key] ?? en[key] ?? key;
  return words.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

/** The words for `key`, or `otherwise` where the dictionaries have none: for words of the ledger. */
export function tOr(key, otherwise) {
  return DICTIONARIES[current][key] ?? en[key] ?? otherwise;
}
