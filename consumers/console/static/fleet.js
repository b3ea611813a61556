// The fleet as it stands: how much is bound, kept, waiting or stopped, and how full the vSwitches are.

import { ask } from "./api.js";
import { code, h, table } from "./dom.js";
import { clock, day, moment, number, span } from "./format.js";
import { t } from "./i18n.js";
import { linkTo } from "./search.js";

/** The fullest are what a person looks for; the API has them all. */
const NODES_SHOWN = 30;

export async function fleetPage({ me, signal }) {
  const [told, switches, slots, kept] = await Promise.all([
    ask("overview", {}, signal),
    ask("vswitches", {}, signal),
    ask("nodes", {}, signal),
    ask("reservations", { limit: 20 }, signal),
  ]);
  const body = [
    h(
      "header",
      { class: "page-head" },
      h("p", { class: "eyebrow" }, me.cluster),
      h("h1", null, t("fleet.title")),
      h(
        "p",
        { class: "lead" },
        t("fleet.lead", { bound: number(told.bound), reserved: number(told.reserved) }),
        " ",
        attention(told),
      ),
      h(
        "p",
        { class: "small" },
        t("asOf", { time: clock(told.at) }),
        told.swept_at ? [" · ", t("fleet.swept", { time: clock(told.swept_at) })] : null,
        " ",
        h(
          "button",
          { type: "button", class: "quiet", onclick: () => dispatchEvent(new Event("hashchange")) },
          t("refresh"),
        ),
      ),
    ),
    ...told.brakes.map(brake),
    tiles(told),
    mix(told),
    h(
      "section",
      { "aria-labelledby": "vswitches" },
      h("h2", { id: "vswitches" }, t("fleet.vswitches")),
      h("p", { class: "small" }, t("fleet.fullest")),
      switches.items.length
        ? h(
            "ul",
            { class: "vswitches" },
            switches.items.map((each) => vswitch(each, me)),
          )
        : h("p", { class: "empty" }, t("fleet.noVSwitches")),
    ),
    h(
      "section",
      { "aria-labelledby": "nodes" },
      h("h2", { id: "nodes" }, t("fleet.nodes")),
      h("p", { class: "small" }, t("fleet.nodesHint")),
      nodes(slots, me),
    ),
    h(
      "section",
      { "aria-labelledby": "kept" },
      h("h2", { id: "kept" }, t("fleet.reservations")),
      h("p", { class: "small" }, t("fleet.firstToExpire")),
      reservations(kept, me),
    ),
  ];
  return { title: t("fleet.title"), body };
}

function brake(each) {
  return h(
    "section",
    { class: "notice warning", role: "status" },
    h("h2", null, t(`fleet.brake.${each.scope}`)),
    h("p", null, t("fleet.brakeBy", { by: each.pulled_by, at: moment(each.pulled_at), reason: each.reason })),
    h("p", { class: "small" }, t("fleet.brakeNext", { scope: each.scope })),
  );
}

function tiles(told) {
  const tile = (name, value, href, warn) =>
    h(
      "li",
      { class: warn && value ? "tile warn" : "tile" },
      h(
        "a",
        { href },
        h("span", { class: "figure" }, number(value)),
        h("span", { class: "tile-name" }, t(`fleet.${name}`)),
        h("span", { class: "small" }, t(`fleet.${name}Hint`)),
      ),
    );
  return h(
    "ul",
    { class: "tiles" },
    tile("bound", told.bound, "#/interfaces?phase=bound"),
    tile("reserved", told.reserved, "#/interfaces?phase=reserved"),
    tile("preparing", told.preparing, "#/interfaces?phase=wanted"),
    tile("waiting", told.waiting, "#/attention", true),
    tile("parked", told.parked, "#/interfaces?parked=true", true),
  );
}

function mix(told) {
  const parts = [
    ["bound", told.bound],
    ["preparing", told.preparing],
    ["reserved", told.reserved],
    ["leaving", told.leaving],
    ["releasing", told.releasing],
  ].filter(([, n]) => n);
  const whole = parts.reduce((sum, [, n]) => sum + n, 0);
  if (!whole) return null;
  const words = parts.map(([kind, n]) => `${t(`kind.${kind}`)} ${number(n)}`).join(", ");
  return h(
    "section",
    { "aria-labelledby": "mix" },
    h("h2", { id: "mix", class: "unseen" }, t("fleet.mix")),
    h(
      "div",
      { class: "bar tall", role: "img", "aria-label": words },
      parts.map(([kind, n]) => part(kind, n / whole)),
    ),
    h(
      "ul",
      { class: "legend" },
      parts.map(([kind, n]) =>
        h(
          "li",
          null,
          h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }),
          h("strong", null, number(n)),
          " ",
          t(`kind.${kind}`),
        ),
      ),
    ),
  );
}

function part(kind, share) {
  const made = h("span", { class: `part ${kind}` });
  made.style.width = `${share * 100}%`;
  return made;
}

function attention(told) {
  const count = told.drift + told.dead_letters + told.waiting + told.parked;
  return count
    ? h("a", { class: "needs", href: "#/attention" }, t("fleet.needs", { n: number(count) }))
    : t("fleet.calm");
}

function vswitch(each, me) {
  const used = each.in_use + each.releasing;
  const size = each.size ?? used + each.reserved + each.free;
  const others = Math.max(0, size - used - each.reserved - each.free);
  const words = t("fleet.vswitch", {
    used: number(used),
    reserved: number(each.reserved),
    free: number(each.free),
    size: number(size),
  });
  return h(
    "li",
    { class: each.warning ? "vswitch full" : "vswitch" },
    h(
      "div",
      { class: "vswitch-head" },
      h("a", { href: linkTo("vswitch", each.vswitch, me), class: "mono" }, each.vswitch),
      h("span", { class: "faint" }, each.zone, " · ", each.cidr),
    ),
    h(
      "div",
      { class: "bar", role: "img", "aria-label": words },
      part("bound", used / size),
      part("reserved", each.reserved / size),
      part("others", others / size),
    ),
    h(
      "p",
      { class: "small" },
      h("strong", null, t("fleet.freeN", { n: number(each.free) })),
      " · ",
      t("fleet.usedN", { n: number(used) }),
      " · ",
      t("fleet.reservedN", { n: number(each.reserved) }),
      " · ",
      h("span", { class: "when" }, t("fleet.lookedAt", { time: moment(each.looked_at) })),
    ),
    each.trend.full ? h("p", { class: "small" }, foreseen(each.trend)) : null,
    each.warning ? h("p", { class: "small warning" }, each.warning) : null,
  );
}

/** When it will be full at this pace, with the range of that guess. */
function foreseen(trend) {
  return t("fleet.full", {
    full: day(trend.full),
    earliest: day(trend.full_earliest, t("fleet.notSoon")),
    latest: day(trend.full_latest, t("fleet.notSoon")),
  });
}

function nodes(found, me) {
  const rows = found.items.slice(0, NODES_SHOWN).map((each) =>
    h(
      "tr",
      null,
      h("th", { scope: "row" }, h("a", { href: linkTo("node", each.node, me) }, each.node)),
      h("td", null, code(each.instance)),
      h("td", null, number(each.attached)),
      h("td", null, number(each.waiting)),
      h("td", null, `${number(each.free)} / ${number(each.slots)}`),
    ),
  );
  const heads = ["node", "instance", "attached", "waiting", "slots"].map((name) => t(`col.${name}`));
  return table(t("fleet.nodes"), heads, rows, { empty: t("fleet.noNodes") });
}

function reservations(kept, me) {
  const now = Date.parse(kept.as_of);
  const left = (due) =>
    !due
      ? t("fleet.never")
      : Date.parse(due) <= now
        ? t("fleet.overdue")
        : t("fleet.expires", { span: span(Date.parse(due) - now) });
  const rows = kept.items.map((each) =>
    h(
      "tr",
      null,
      h(
        "th",
        { scope: "row" },
        h("a", { href: linkTo("pod", `${each.namespace}/${each.pod}`, me) }, `${each.namespace}/${each.pod}`),
        " ",
        h("span", { class: "faint" }, each.interface),
      ),
      h("td", null, each.ipv4 ? h("a", { href: linkTo("ip", each.ipv4, me) }, code(each.ipv4)) : "–"),
      h("td", null, code(each.vswitch ?? "–")),
      h("td", { class: "when" }, each.due ? moment(each.due) : "–"),
      h("td", { class: "when" }, left(each.due)),
    ),
  );
  return table(
    t("fleet.reservations"),
    ["who", "address", "vswitch", "due", "left"].map((name) => t(`col.${name}`)),
    rows,
    { empty: t("fleet.noReservations") },
  );
}
