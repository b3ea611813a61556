// What a person should look at: quarantine, dead letters, what waits and what is parked, each with why.

import { ask, askAll } from "./api.js";
import { code, h, table } from "./dom.js";
import { moment } from "./format.js";
import { t, tOr } from "./i18n.js";
import { linkTo } from "./search.js";

export async function attentionPage({ me, signal }) {
  const [drift, letters, waiting, parked, calls] = await Promise.all([
    askAll("drift", {}, signal, 1000),
    askAll("dead-letters", { redriven: false }, signal, 1000),
    askAll("waiting", {}, signal, 1000),
    askAll("allocations", { parked: true }, signal, 1000),
    ask("calls", { outcome: "open", limit: 100 }, signal),
  ]);
  const open = drift.items.filter((each) => !each.accepted_at);
  const calm = !(
    open.length +
    letters.items.length +
    waiting.items.length +
    parked.items.length +
    calls.items.length
  );
  const body = [
    h(
      "header",
      { class: "page-head" },
      h("h1", null, t("attention.title")),
      h("p", { class: "lead" }, t(calm ? "attention.calm" : "attention.lead")),
    ),
    section(
      "drift",
      drift.items.length && t("attention.driftNext"),
      table(
        t("attention.drift"),
        heads("eni", "what", "reason", "first", "last"),
        drift.items.map((each) => quarantined(each, me)),
        { empty: t("attention.noDrift") },
      ),
    ),
    section(
      "letters",
      letters.items.length && t("attention.lettersNext"),
      table(
        t("attention.letters"),
        ["ID", ...heads("from", "key", "what", "reason", "at")],
        letters.items.map(letter),
        { empty: t("attention.noLetters") },
      ),
    ),
    section(
      "waiting",
      null,
      table(
        t("attention.waiting"),
        heads("who", "reason", "tries", "next"),
        waiting.items.map((each) => waits(each, me)),
        { empty: t("attention.noWaiting") },
      ),
    ),
    section(
      "parked",
      parked.items.length && t("attention.parkedNext"),
      table(
        t("attention.parked"),
        heads("who", "interface", "reason"),
        parked.items.map((each) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, pod(each.namespace, each.pod, me)),
            h("td", null, each.interface),
            h("td", { class: "reason" }, each.parked),
          ),
        ),
        { empty: t("attention.noParked") },
      ),
    ),
    section(
      "calls",
      null,
      table(
        t("attention.calls"),
        heads("call", "who", "at"),
        calls.items.map((each) =>
          h(
            "tr",
            null,
            h("th", { scope: "row" }, code(each.api)),
            h("td", null, pod(each.namespace, each.pod, me)),
            h("td", { class: "when" }, moment(each.intended_at)),
          ),
        ),
        { empty: t("attention.noCalls") },
      ),
    ),
  ];
  return { title: t("attention.title"), body };
}

function section(name, next, content) {
  return h(
    "section",
    { "aria-labelledby": `a-${name}` },
    h("h2", { id: `a-${name}` }, t(`attention.${name}`)),
    content,
    next ? h("p", { class: "small next" }, next) : null,
  );
}

function heads(...names) {
  return names.map((name) => t(`col.${name}`));
}

function pod(namespace, name, me) {
  return h("a", { href: linkTo("pod", `${namespace}/${name}`, me) }, `${namespace}/${name}`);
}

function quarantined(each, me) {
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, h("a", { href: linkTo("eni", each.eni, me) }, code(each.eni))),
    h(
      "td",
      null,
      h("span", { class: each.accepted_at ? "tag" : "tag warn" }, tOr(`drift.${each.kind}`, each.kind)),
      each.accepted_at ? [" ", t("attention.accepted", { by: each.accepted_by })] : null,
    ),
    h("td", { class: "reason" }, each.detail),
    h("td", { class: "when" }, moment(each.first_seen)),
    h("td", { class: "when" }, moment(each.last_seen)),
  );
}

function letter(each) {
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, String(each.id)),
    h("td", null, code(`${each.topic}[${each.partition}]@${each.offset}`)),
    h("td", null, code(each.key ?? "–")),
    h("td", null, h("span", { class: "tag warn" }, each.error_class)),
    h("td", { class: "reason" }, each.message),
    h("td", { class: "when" }, moment(each.recorded_at)),
  );
}

function waits(each, me) {
  const named = each.kind === "pod" ? pod(each.namespace, each.name, me) : `${each.kind} ${each.name}`;
  return h(
    "tr",
    null,
    h("th", { scope: "row" }, named),
    h("td", { class: "reason" }, each.waiting_for),
    h("td", null, String(each.attempts)),
    h("td", { class: "when" }, moment(each.next_try_at)),
  );
}
