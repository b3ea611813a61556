// Everything about one address, Pod, ENI or node: the line, the table that says the same, the story.

import { askAll } from "./api.js";
import { fill, h, table } from "./dom.js";
import { moment, span, ZONE } from "./format.js";
import { t } from "./i18n.js";
import { tell } from "./story.js";
import { ranges, timeline, who } from "./timeline.js";

export async function historyPage({ parts: [key, ...rest], me, signal }) {
  const value = rest.join("/");
  const found = await askAll(`tenures/${encodeURIComponent(key)}`, { value }, signal);
  const title = `${t(`key.${key}`)} ${found.value}`;
  const head = h(
    "header",
    { class: "page-head" },
    h("p", { class: "eyebrow" }, t(`key.${key}`)),
    h("h1", { class: "mono" }, found.value),
    headline(found, key),
    key === "pod" ? h("p", null, h("a", { href: `#/explain/${value}` }, t("explain.link"))) : null,
    key === "node"
      ? h("p", null, h("a", { href: `#/interfaces?node=${encodeURIComponent(value)}` }, t("nav.interfaces")))
      : null,
  );
  if (!found.items.length) return { title, body: [head, unheld(found, key)] };

  const panel = h("section", { class: "story", "aria-labelledby": "story-title", tabindex: "-1" });
  const place = h("div", { class: "timeline-place" });
  const choose = (period, byHand = true) => {
    place.firstElementChild?.mark?.(period);
    tell(panel, period, found.as_of, me, signal);
    if (byHand && innerWidth < 1100)
      panel.scrollIntoView({ block: "start", behavior: calm() ? "auto" : "smooth" });
  };
  const line = h("section", { "aria-labelledby": "line-title" });
  drawLine(line, place, found, lane(key), choose);
  const body = [
    head,
    line,
    h(
      "div",
      { class: "columns" },
      h(
        "section",
        { class: "periods", "aria-labelledby": "periods-title" },
        h("h2", { id: "periods-title" }, t("history.periods")),
        periods(found, choose),
      ),
      panel,
    ),
  ];
  choose(found.items.at(-1), false);
  return { title, body };
}

function drawLine(line, place, found, lane, choose) {
  const now = Date.parse(found.as_of);
  const whole = Math.min(...found.items.map((each) => Date.parse(each.since)));
  const draw = (name, from) => {
    const shown = found.items.filter((each) => !each.until || Date.parse(each.until) > from);
    fill(
      line,
      h(
        "div",
        { class: "section-head" },
        h("h2", { id: "line-title" }, t("history.timeline")),
        ranges(whole, now, name, draw),
      ),
      fill(
        place,
        shown.length
          ? timeline(shown, [from, Math.max(now, from + 1000)], lane, choose)
          : h("p", { class: "empty" }, t("history.outside")),
      ),
      h("p", { class: "small" }, t("history.hint"), " ", t("history.zone", { zone: ZONE })),
    );
  };
  draw("all", whole);
}

/** What has a line of its own: an address has one; a Pod one for each address; the others one a Pod. */
function lane(key) {
  if (key === "pod") return (each) => `${each.interface} ${each.ipv4 ?? each.ipv6 ?? each.eni}`;
  if (key === "node" || key === "vswitch" || key === "security-group")
    return (each) => `${who(each)} ${each.ipv4 ?? ""}`;
  return (each) => each.ipv4 ?? each.ipv6 ?? each.eni;
}

function headline(found, key) {
  const last = found.items.at(-1);
  if (!last || !["ip", "eni", "mac"].includes(key)) return null;
  return h(
    "p",
    { class: "lead" },
    last.until
      ? t("history.free", { who: who(last), until: moment(last.until) })
      : t("history.current", { who: who(last), kind: t(`kind.${last.kind}`), since: moment(last.since) }),
  );
}

function unheld(found, key) {
  if (found.managed) return h("p", { class: "lead" }, t("history.nobody"));
  if (key !== "ip") return h("p", { class: "lead" }, t("history.unknown", { value: found.value }));
  return h(
    "section",
    { class: "notice" },
    h("h2", null, t("history.unmanaged")),
    h("p", null, t("history.unmanagedIp", { value: found.value })),
    h(
      "p",
      null,
      found.reported_by.length
        ? t("history.reported", { pods: found.reported_by.join(", ") })
        : t("history.noReport"),
    ),
  );
}

function periods(found, choose) {
  const heads = ["who", "when"].map((name) => t(`col.${name}`));
  const rows = [...found.items].reverse().map((each) =>
    h(
      "tr",
      null,
      h(
        "th",
        { scope: "row" },
        h(
          "button",
          {
            type: "button",
            class: `tag ${each.kind}`,
            "aria-label": `${t(`kind.${each.kind}`)}: ${t("story.of", { who: `${who(each)}, ${moment(each.since)}` })}`,
            onclick: () => choose(each),
          },
          t(`kind.${each.kind}`),
        ),
        " ",
        who(each),
        h(
          "span",
          { class: "faint second" },
          [each.interface, each.ipv4 ?? each.ipv6, each.node].filter(Boolean).join(" · "),
        ),
      ),
      h(
        "td",
        { class: "when" },
        moment(each.since),
        " →",
        h("span", { class: "second" }, moment(each.until)),
        h(
          "span",
          { class: "faint second" },
          span(Date.parse(each.until ?? found.as_of) - Date.parse(each.since)),
        ),
      ),
    ),
  );
  return table(t("history.periods"), heads, rows);
}

function calm() {
  return matchMedia("(prefers-reduced-motion: reduce)").matches;
}
