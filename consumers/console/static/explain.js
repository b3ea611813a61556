// Why a Pod has the network it has.

import { ask, Problem } from "./api.js";
import { code, h, table } from "./dom.js";
import { t } from "./i18n.js";

export async function explainPage({ parts, signal }) {
  const asked = parts.filter(Boolean).join("/");
  const input = h("input", {
    id: "pod",
    name: "pod",
    required: true,
    pattern: "[^\\/]+\\/[^\\/]+",
    title: t("explain.bad"),
    spellcheck: "false",
    autocapitalize: "none",
    autocomplete: "off",
    placeholder: "shop/web-0",
  });
  input.value = asked;
  const form = h(
    "form",
    { class: "ask", onsubmit: go },
    h("label", { for: "pod" }, t("explain.pod")),
    input,
    h("button", { type: "submit", class: "primary" }, t("explain.go")),
  );
  const head = h(
    "header",
    { class: "page-head" },
    h("h1", null, t("explain.title")),
    h("p", { class: "lead" }, t("explain.lead")),
    form,
  );
  const [namespace, name] = asked.split("/");
  if (!namespace || !name) return { title: t("explain.title"), body: [head] };
  let told;
  try {
    told = await ask(`pods/${encodeURIComponent(namespace)}/${encodeURIComponent(name)}/explain`, {}, signal);
  } catch (failed) {
    if (!(failed instanceof Problem) || failed.status === 401) throw failed;
    return {
      title: t("explain.title"),
      body: [head, h("section", { class: "notice warning", role: "alert" }, h("p", null, failed.message))],
    };
  }
  return { title: `${t("explain.title")} ${asked}`, body: [head, ...explained(told)] };
}

function go(event) {
  event.preventDefault();
  location.hash = `#/explain/${new FormData(event.target).get("pod").trim()}`;
}

function explained(told) {
  const list = (name, items) =>
    items.length
      ? h(
          "section",
          null,
          h("h2", null, t(`explain.${name}`)),
          h(
            "ul",
            { class: "plain" },
            items.map((each) => h("li", null, each)),
          ),
        )
      : null;
  return [
    h(
      "section",
      { class: told.refused ? "notice warning" : "notice" },
      h("h2", { class: "mono" }, told.pod),
      h("p", { class: "verdict" }, told.verdict),
      h("p", null, h("a", { href: `#/t/pod/${told.pod}` }, t("explain.history"))),
    ),
    list("warnings", told.warnings),
    h(
      "section",
      null,
      h("h2", null, t("explain.considered")),
      table(
        t("explain.considered"),
        ["podNetworking", "outcome", "why"].map((name) => t(`col.${name}`)),
        told.considered.map((each) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, code(each.podNetworking)),
            h("td", null, h("span", { class: "tag" }, each.outcome)),
            h("td", { class: "reason" }, each.reason),
          ),
        ),
        { empty: t("explain.noneConsidered") },
      ),
    ),
    told.networks.length
      ? h(
          "section",
          null,
          h("h2", null, t("explain.requested")),
          h(
            "dl",
            { class: "facts" },
            [
              ["resource", told.resource && `${told.networks.length} × ${told.resource}`],
              ["zones", told.zones.join(", ")],
              ["previous", told.previousZones.join(", ")],
            ]
              .filter(([, value]) => value)
              .map(([name, value]) =>
                h("div", null, h("dt", null, t(`explain.${name}`)), h("dd", null, value)),
              ),
          ),
          told.networks.map((each) => h("pre", { tabindex: "0" }, JSON.stringify(each, null, 2))),
        )
      : null,
    list("limits", told.limits),
    told.chosen
      ? h(
          "section",
          null,
          h("h2", null, t("explain.changes")),
          table(
            t("explain.changes"),
            [t("explain.field"), t("explain.when"), t("col.what")],
            told.changes.map((each) =>
              h(
                "tr",
                null,
                h("th", { scope: "row" }, code(each.field)),
                h("td", null, each.when),
                h("td", { class: "reason" }, each.what),
              ),
            ),
          ),
        )
      : null,
  ];
}
