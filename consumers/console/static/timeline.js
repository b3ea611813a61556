// Who held it when, as a line for each holder: solid in use, hatched where kept, empty where nobody.

import { fill, h } from "./dom.js";
import { moment, span, tick } from "./format.js";
import { t } from "./i18n.js";

const STEPS = [
  1, 5, 15, 30, 60, 300, 900, 1800, 3600, 10_800, 21_600, 43_200, 86_400, 172_800, 604_800, 1_209_600,
  2_592_000, 7_776_000, 31_536_000,
].map((s) => s * 1000);
const KINDS = ["preparing", "bound", "leaving", "reserved", "releasing"];

export function who(each) {
  return `${each.namespace}/${each.pod}`;
}

/** What a period is called for those who can't see the line, and in its tooltip. */
export function said(each) {
  return t("history.segment", {
    kind: t(`kind.${each.kind}`),
    who: who(each),
    node: each.node,
    since: moment(each.since),
    until: moment(each.until),
  });
}

/**
 * The line of `periods` between two moments (milliseconds). `lane` names the line of a period, `choose` is
 * called with the one that is chosen. Returns the element, with `mark(period)` to show a choice.
 */
export function timeline(periods, [from, to], lane, choose) {
  const lanes = new Map();
  for (const each of periods) {
    const name = lane(each);
    if (!lanes.has(name)) lanes.set(name, []);
    lanes.get(name).push(each);
  }
  const buttons = new Map();
  const rows = [...lanes].map(([name, held]) =>
    h(
      "li",
      { class: "lane" },
      h("span", { class: "lane-name", title: name }, name),
      h(
        "div",
        { class: "track", role: "group", "aria-label": name },
        held.map((each) => {
          const made = segment(each, from, to, () => choose(each));
          buttons.set(each, made);
          return made;
        }),
      ),
    ),
  );
  const line = h(
    "div",
    { class: "timeline" },
    h("ol", { class: "lanes", onkeydown: (event) => walk(event, [...buttons.values()]) }, rows),
    axis(from, to),
    legend(periods),
  );
  const first = [...buttons.values()].at(-1);
  if (first) first.tabIndex = 0;
  line.mark = (chosen) => {
    for (const [each, made] of buttons) {
      made.setAttribute("aria-pressed", String(each === chosen));
      made.tabIndex = each === chosen ? 0 : -1;
    }
  };
  return line;
}

function segment(each, from, to, choose) {
  const start = Math.max(from, Date.parse(each.since));
  const end = Math.min(to, each.until ? Date.parse(each.until) : to);
  const left = ((start - from) / (to - from)) * 100;
  const width = (Math.max(0, end - start) / (to - from)) * 100;
  const words = `${said(each)}, ${span(end - start)}`;
  const made = h(
    "button",
    {
      type: "button",
      class: `segment ${each.kind}${each.until ? "" : " lasting"}`,
      "aria-label": words,
      title: words,
      "aria-pressed": "false",
      tabindex: "-1",
      onclick: choose,
      data: { kind: each.kind },
    },
    width > 7 ? h("span", { class: "segment-name", "aria-hidden": "true" }, each.pod) : null,
  );
  made.style.left = `${left}%`;
  made.style.width = `${width}%`;
  return made;
}

/** One stop for the tab key; arrows, Home and End go along. */
function walk(event, buttons) {
  const here = buttons.indexOf(document.activeElement);
  const there = {
    ArrowLeft: here - 1,
    ArrowRight: here + 1,
    ArrowUp: here - 1,
    ArrowDown: here + 1,
    Home: 0,
    End: buttons.length - 1,
  }[event.key];
  if (here < 0 || there === undefined) return;
  event.preventDefault();
  const next = buttons[Math.min(Math.max(there, 0), buttons.length - 1)];
  for (const each of buttons) each.tabIndex = each === next ? 0 : -1;
  next.focus();
}

function axis(from, to) {
  const step = STEPS.find((each) => (to - from) / each <= (innerWidth < 560 ? 3 : 6)) ?? STEPS.at(-1);
  const shift = new Date(from).getTimezoneOffset() * 60_000;
  const ticks = [];
  for (let at = Math.ceil((from - shift) / step) * step + shift; at <= to; at += step) ticks.push(at);
  return h(
    "div",
    { class: "axis", "aria-hidden": "true" },
    ticks.map((at, index) => {
      const made = h("span", { class: "tick" }, h("span", null, tick(at, step, index === 0)));
      const left = ((at - from) / (to - from)) * 100;
      made.style.left = `${left}%`;
      if (left > 94) made.classList.add("last");
      return made;
    }),
  );
}

function legend(periods) {
  const seen = KINDS.filter((kind) => periods.some((each) => each.kind === kind));
  return h(
    "ul",
    { class: "legend" },
    seen.map((kind) =>
      h(
        "li",
        null,
        h("span", { class: `swatch ${kind}`, "aria-hidden": "true" }),
        h("strong", null, t(`kind.${kind}`)),
        " ",
        t(`means.${kind}`),
      ),
    ),
  );
}

/** The buttons that say how much of the line is shown. */
export function ranges(whole, now, chosen, choose) {
  const spans = [
    ["hour", 3_600_000],
    ["day", 86_400_000],
    ["week", 604_800_000],
  ].filter(([, length]) => now - whole > length);
  if (!spans.length) return null;
  const group = h("div", { class: "ranges", role: "group", "aria-label": t("history.range") });
  fill(
    group,
    [["all", now - whole], ...spans].map(([name, length]) =>
      h(
        "button",
        {
          type: "button",
          class: "quiet",
          "aria-pressed": String(name === chosen),
          onclick: () => choose(name, now - length),
        },
        t(`history.${name}`),
      ),
    ),
  );
  return group;
}
