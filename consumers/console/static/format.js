// Times, spans and numbers as people of the chosen language write them.

import { locale, t } from "./i18n.js";

export const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

function at(value, options) {
  return new Intl.DateTimeFormat(locale(), options).format(new Date(value));
}

/** A moment to the second, in the reader's zone; `otherwise` for none. ISO's order in every language: 01/02 is a
 * different day to different readers. */
export function moment(value, otherwise = t("now")) {
  if (!value) return otherwise;
  return new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" }).format(
    new Date(value),
  );
}

/** A date; `otherwise` for none. */
export function day(value, otherwise = "") {
  return value ? moment(value).slice(0, 10) : otherwise;
}

export function clock(value) {
  return at(value, { hour: "2-digit", minute: "2-digit", second: "2-digit", hour12: false });
}

/** An axis label, no finer than `step` milliseconds asks for; with its day where that is new. */
export function tick(value, step, first) {
  const day = at(value, { month: "short", day: "numeric" });
  if (step >= 86_400_000) return day;
  const time =
    step >= 60_000 ? at(value, { hour: "2-digit", minute: "2-digit", hour12: false }) : clock(value);
  const midnight = new Date(value).getHours() === 0 && new Date(value).getMinutes() === 0;
  return first || midnight ? `${day}, ${time}` : time;
}

/** How long something lasted: its two largest units. */
export function span(milliseconds) {
  if (milliseconds > 0 && milliseconds < 1000) return unitOf("millisecond", Math.round(milliseconds));
  const units = [
    ["day", 86_400],
    ["hour", 3600],
    ["minute", 60],
    ["second", 1],
  ];
  let rest = Math.max(0, Math.round(milliseconds / 1000));
  const parts = [];
  for (const [unit, size] of units) {
    const count = Math.floor(rest / size);
    if (count || (unit === "second" && !parts.length)) parts.push([unit, count]);
    rest -= count * size;
  }
  return parts
    .slice(0, 2)
    .map(([unit, count]) => unitOf(unit, count))
    .join(" ");
}

function unitOf(unit, count) {
  return new Intl.NumberFormat(locale(), { style: "unit", unit, unitDisplay: "short" }).format(count);
}

export function number(value) {
  return new Intl.NumberFormat(locale()).format(value);
}
