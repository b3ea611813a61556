// The frame: who is signed in, where one is, and what stays on every page.

import { ask, Problem, signedIn, signOut } from "./api.js";
import { attentionPage } from "./attention.js";
import { fill, h } from "./dom.js";
import { explainPage } from "./explain.js";
import { fleetPage } from "./fleet.js";
import { historyPage } from "./history.js";
import { language, setLanguage, t } from "./i18n.js";
import { interfacesPage } from "./interfaces.js";
import { loginPage } from "./login.js";
import { searchPage } from "./search.js";

const page = document.getElementById("page");
const PLACES = [
  ["fleet", "#/", "fleet"],
  ["interfaces", "#/interfaces", "interfaces"],
  ["attention", "#/attention", "attention"],
  ["explain", "#/explain", "explain"],
];

let me = null;
let arrived = false;
let turning = new AbortController();

/** Where the address bar says one is: {name, parts, query}. */
function place() {
  const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...parts] = path.split("/").map(decoded);
  return { name: name || "fleet", parts, query: new URLSearchParams(query ?? "") };
}

function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const PAGES = {
  fleet: fleetPage,
  interfaces: interfacesPage,
  attention: attentionPage,
  explain: explainPage,
  t: historyPage,
  search: searchPage,
};

async function show() {
  turning.abort();
  turning = new AbortController();
  const signal = turning.signal;
  if (!signedIn()) return login("");
  try {
    me ??= await ask("whoami", {}, signal);
  } catch (failed) {
    return trouble(failed, null);
  }
  const here = place();
  const main = frame(here);
  const view = PAGES[here.name] ?? fleetPage;
  fill(main, h("p", { class: "loading", role: "status" }, t("loading")));
  try {
    const shown = await view({ ...here, me, signal });
    if (signal.aborted) return;
    fill(main, shown.body);
    document.title = `${shown.title} · eni-ledger`;
    // Who follows a link is taken to what it leads to; who has just arrived starts at the top.
    if (arrived) main.focus({ preventScroll: true });
    arrived = true;
    scrollTo(0, 0);
  } catch (failed) {
    trouble(failed, main);
  }
}

function trouble(failed, main) {
  if (failed.name === "AbortError") return;
  if (failed instanceof Problem && failed.status === 401) {
    signOut();
    const known = me !== null;
    me = null;
    login(t(known ? "login.again" : "login.wrong"));
    return;
  }
  const told = h(
    "section",
    { class: "problem", role: "alert" },
    h("h1", null, t("problem")),
    h("p", null, failed.message),
    h("button", { type: "button", class: "quiet", onclick: show }, t("retry")),
  );
  if (main) fill(main, told);
  else fill(page, h("main", { class: "content" }, told));
  if (!(failed instanceof Problem)) throw failed;
}

function login(said) {
  document.title = "eni-ledger";
  arrived = false;
  fill(page, languageButton(), loginPage(said, show));
  document.getElementById("token")?.focus();
}

function frame(here) {
  const main = h("main", { class: "content", id: "content", tabindex: "-1" });
  const q = h("input", {
    type: "search",
    id: "q",
    name: "q",
    placeholder: t("search.label"),
    "aria-label": t("search.label"),
    autocomplete: "off",
    spellcheck: "false",
    autocapitalize: "none",
    enterkeyhint: "search",
  });
  if (here.name === "t") q.value = here.parts.slice(1).join("/");
  if (here.name === "search") q.value = here.query.get("q") ?? "";
  fill(
    page,
    h(
      "a",
      {
        class: "skip",
        href: "#content",
        onclick: (event) => {
          event.preventDefault();
          main.focus();
        },
      },
      t("nav.skip"),
    ),
    h(
      "header",
      { class: "top" },
      h(
        "a",
        { class: "brand", href: "#/" },
        h("img", { src: "static/mark.svg", alt: "", width: "26", height: "26" }),
        "eni-ledger",
      ),
      h(
        "nav",
        { "aria-label": t("nav.main") },
        h(
          "ul",
          null,
          PLACES.map(([name, href, words]) =>
            h(
              "li",
              null,
              h("a", { href, "aria-current": here.name === name ? "page" : null }, t(`nav.${words}`)),
            ),
          ),
        ),
      ),
      h(
        "form",
        { class: "find", role: "search", onsubmit: search },
        q,
        h("button", { type: "submit", class: "unseen" }, t("search.go")),
      ),
      h(
        "div",
        { class: "session" },
        languageButton(),
        h("button", { type: "button", class: "quiet", onclick: leave }, t("nav.out")),
      ),
    ),
    main,
    h("footer", null, t("nav.whoami", { name: me.name, cluster: me.cluster }), " · eni-ledger ", me.version),
  );
  return main;
}

function languageButton() {
  const other = language() === "zh" ? "en" : "zh";
  return h(
    "button",
    {
      type: "button",
      class: "quiet language",
      lang: other === "zh" ? "zh-CN" : "en",
      title: t("nav.languageLabel"),
      onclick: () => {
        setLanguage(other);
        show();
      },
    },
    t("nav.language"),
  );
}

function search(event) {
  event.preventDefault();
  const q = new FormData(event.target).get("q").trim();
  if (q) location.hash = `#/search?q=${encodeURIComponent(q)}`;
}

function leave() {
  signOut();
  me = null;
  location.hash = "#/";
  show();
}

addEventListener("hashchange", show);
show();
