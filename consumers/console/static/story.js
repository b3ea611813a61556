// The story of one period: what it is, why it began and ended, and every entry of its allocation.

import { askAll } from "./api.js";
import { cause } from "./causes.js";
import { code, fill, h } from "./dom.js";
import { moment, span } from "./format.js";
import { t, tOr } from "./i18n.js";
import { linkTo } from "./search.js";
import { who } from "./timeline.js";

/** Fills `panel` with the story of a period; entries arrive when they were read. */
export async function tell(panel, period, asOf, me, signal) {
  const entries = h("div", { class: "told" }, h("p", { class: "loading", role: "status" }, t("loading")));
  fill(
    panel,
    h("h2", { id: "story-title" }, t("story.of", { who: who(period) })),
    h(
      "p",
      { class: "story-lead" },
      h("span", { class: `tag ${period.kind}` }, t(`kind.${period.kind}`)),
      " ",
      t(`means.${period.kind}`),
      " · ",
      span(Date.parse(period.until ?? asOf) - Date.parse(period.since)),
    ),
    facts(period, me),
    h(
      "dl",
      { class: "why" },
      h("dt", null, t("story.began")),
      h("dd", null, because(period.opened)),
      sources(period),
      h("dt", null, t("story.ended")),
      h("dd", null, period.closed ? because(period.closed) : t("story.lasts")),
    ),
    entries,
  );
  try {
    const found = await askAll(`allocations/${period.allocation_id}/entries`, {}, signal);
    const at = (each) =>
      each.entry < period.opened.entry
        ? "before"
        : period.closed && each.entry > period.closed.entry
          ? "after"
          : "within";
    const parts = Object.groupBy(found.items, at);
    fill(
      entries,
      others("before", parts.before),
      h("h3", null, t("story.within")),
      list("within", parts.within),
      others("after", parts.after),
    );
  } catch (failed) {
    if (failed.name !== "AbortError") fill(entries, h("p", { class: "said", role: "alert" }, failed.message));
  }
}

function list(name, entries = []) {
  return h("ol", { class: `entries ${name}` }, entries.map(entry));
}

/** What came before or after: there for who wants it, and not in the way. */
function others(name, entries = []) {
  if (!entries.length) return null;
  return h(
    "details",
    { class: "others" },
    h("summary", null, h("span", { class: "opens" }, t(`story.${name}`, { n: entries.length }))),
    list(name, entries),
  );
}

function facts(period, me) {
  const link = (key, value) => h("a", { href: linkTo(key, value, me) }, code(value));
  const rows = [
    [t("col.since"), moment(period.since)],
    [t("col.until"), moment(period.until)],
    [t("key.ip"), [period.ipv4, period.ipv6].filter(Boolean).map((ip) => [link("ip", ip), " "])],
    [t("key.pod"), [link("pod", who(period)), " ", period.interface]],
    [t("story.uid"), code(period.pod_uid)],
    [t("col.node"), link("node", period.node)],
    [t("key.eni"), link("eni", period.eni)],
    [t("story.mac"), link("mac", period.mac)],
    [t("story.vlan"), period.vlan ?? "–"],
    [t("col.vswitch"), link("vswitch", period.vswitch)],
    [t("story.vpc"), code(period.vpc)],
    [t("key.security-group"), period.security_groups.map((each) => [link("security-group", each), " "])],
  ];
  return h(
    "dl",
    { class: "facts" },
    rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))),
  );
}

/** What the period goes back to: the decision, the message that led to it, and the cloud's requests. */
function sources({ decision, message, requests }) {
  const part = (name, ...content) => [h("dt", null, t(`story.${name}`)), h("dd", null, content)];
  return [
    decision &&
      part(
        "decision",
        tOr(`entry.${decision.kind}`, decision.kind),
        " ",
        h("span", { class: "faint" }, t("story.entry", { entry: decision.entry })),
      ),
    message && part("message", cause(message)),
    requests.length > 0 &&
      part(
        "requests",
        h(
          "ul",
          null,
          requests.map((each) => h("li", null, cause({ call: each.api, request_id: each.request_id }))),
        ),
      ),
  ];
}

function because(reason) {
  return [
    h("span", { class: "entry-what" }, tOr(`entry.${reason.kind}`, reason.kind)),
    " ",
    h("span", { class: "faint" }, t("story.entry", { entry: reason.entry })),
    h("br"),
    cause(reason.cause),
  ];
}

function entry(each) {
  return h(
    "li",
    null,
    h(
      "div",
      { class: "entry-head" },
      h("span", { class: "entry-what" }, tOr(`entry.${each.kind}`, each.kind)),
      h(
        "span",
        { class: "faint" },
        code(each.kind),
        " · ",
        t("story.entry", { entry: each.entry }),
        " · ",
        h("time", { datetime: each.recorded_at }, moment(each.recorded_at)),
      ),
    ),
    Object.keys(each.data).length
      ? h(
          "details",
          null,
          h("summary", null, cause(each.cause), " ", h("span", { class: "opens" }, t("story.data"))),
          h("pre", { tabindex: "0" }, JSON.stringify(each.data, null, 2)),
        )
      : cause(each.cause),
  );
}
