// From a word to the page about it; a choice where it may mean several things.

import { ask } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

/** The page about something: its history, or for a node without one, what is on it. */
export function linkTo(key, value, me) {
  const named = encodeURIComponent(value).replace(/%2F/g, "/");
  if (key === "node" && !me.keys.includes("node")) return `#/interfaces?node=${encodeURIComponent(value)}`;
  return `#/t/${key}/${named}`;
}

export async function searchPage({ query, me, signal }) {
  const q = query.get("q") ?? "";
  const title = t("search.title");
  const found = q ? (await ask("search", { q }, signal)).items : [];
  if (found.length === 1) {
    location.replace(linkTo(found[0].key, found[0].value, me));
    return { title, body: h("p", { class: "loading" }, t("loading")) };
  }
  const body = found.length
    ? [
        h("h1", null, t("search.several", { q })),
        h(
          "ul",
          { class: "choices" },
          found.map((each) =>
            h(
              "li",
              null,
              h(
                "a",
                { href: linkTo(each.key, each.value, me) },
                h("span", { class: "tag" }, t(`key.${each.key}`)),
                h("span", { class: "mono" }, each.value),
              ),
            ),
          ),
        ),
      ]
    : [h("h1", null, t("search.none", { q })), h("p", { class: "lead" }, t("search.try"))];
  return { title, body };
}
