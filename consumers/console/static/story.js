// The story of one period: what it is, why it began and ended, and every entry of its allocation.

import { ask } from "./api.js";
import { cause } from "./causes.js";
import { code, fill, h } from "./dom.js";
import { moment, span } from "./format.js";
import { t, tOr } from "./i18n.js";
import { linkTo } from "./search.js";
import { who } from "./timeline.js";

const PAGE = 50;

/** Fills `panel` with the story of a period; entries arrive when they were read. */
export async function tell(panel, period, asOf, me, signal) {
  const entries = h("ol", { class: "entries" });
  const more = h("div", { class: "more" });
  fill(panel,
    h("h2", { id: "story-title" }, t("story.of", { who: who(period) })),
    h("p", { class: "story-lead" }, h("span", { class: `tag ${period.kind}` }, t(`kind.${period.kind}`)), " ", t(`means.${period.kind}`),
      " · ", span(Date.parse(period.until ?? asOf) - Date.parse(period.since))),
    facts(period, me),
    h("dl", { class: "why" },
      h("dt", null, t("story.began")), h("dd", null, because(period.opened)),
      h("dt", null, t("story.ended")), h("dd", null, period.closed ? because(period.closed) : t("story.lasts"))),
    h("h3", null, t("story.entries")), entries, more);
  await page(entries, more, period, null, signal);
}

async function page(entries, more, period, cursor, signal) {
  fill(more, h("p", { class: "loading", role: "status" }, t("loading")));
  let found;
  try {
    found = await ask(`allocations/${period.allocation_id}/entries`, { limit: PAGE, cursor }, signal);
  } catch (failed) {
    if (failed.name !== "AbortError") fill(more, h("p", { class: "said", role: "alert" }, failed.message));
    return;
  }
  entries.append(...found.items.map((each) => entry(each, period)));
  fill(more, found.next
    ? h("button", { type: "button", class: "quiet", onclick: () => page(entries, more, period, found.next, signal) }, t("more"))
    : null);
}

function facts(period, me) {
  const link = (key, value) => h("a", { href: linkTo(key, value, me) }, code(value));
  const rows = [
    [t("col.since"), moment(period.since)], [t("col.until"), moment(period.until)],
    [t("key.ip"), [period.ipv4, period.ipv6].filter(Boolean).map((ip) => [link("ip", ip), " "])],
    [t("key.pod"), [link("pod", who(period)), " ", period.interface]], [t("story.uid"), code(period.pod_uid)],
    [t("col.node"), link("node", period.node)], [t("key.eni"), link("eni", period.eni)], [t("story.mac"), link("mac", period.mac)],
    [t("story.vlan"), period.vlan ?? "–"], [t("col.vswitch"), code(period.vswitch)], [t("story.vpc"), code(period.vpc)],
  ];
  return h("dl", { class: "facts" }, rows.map(([name, value]) => h("div", null, h("dt", null, name), h("dd", null, value))));
}

function because(reason) {
  return [h("span", { class: "entry-what" }, tOr(`entry.${reason.kind}`, reason.kind)), " ",
    h("span", { class: "faint" }, t("story.entry", { entry: reason.entry })), h("br"), cause(reason.cause)];
}

function entry(each, period) {
  const within = each.entry >= period.opened.entry && (!period.closed || each.entry <= period.closed.entry);
  return h("li", { class: within ? "within" : "" },
    h("div", { class: "entry-head" },
      h("span", { class: "entry-what" }, tOr(`entry.${each.kind}`, each.kind)),
      within ? h("span", { class: "unseen" }, t("story.within")) : null,
      h("span", { class: "faint" }, code(each.kind), " · ", t("story.entry", { entry: each.entry }), " · ", h("time", { datetime: each.recorded_at }, moment(each.recorded_at)))),
    Object.keys(each.data).length
      ? h("details", null, h("summary", null, cause(each.cause), " ", h("span", { class: "opens" }, t("story.data"))), h("pre", { tabindex: "0" }, JSON.stringify(each.data, null, 2)))
      : cause(each.cause));
}
