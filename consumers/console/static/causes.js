// What led to an entry, in a line that can be followed: a Kafka message, a cloud request, a look, a command.

import { code, h } from "./dom.js";
import { t } from "./i18n.js";

/** A cause as a line. Every part of it is text of the ledger's. */
export function cause(because) {
  if (because.topic !== undefined) {
    return h(
      "span",
      { class: "cause" },
      t("cause.message"),
      " ",
      code(`${because.topic}[${because.partition}]@${because.offset}`),
      " ",
      t("cause.event"),
      " ",
      code(because.event),
    );
  }
  if (because.call !== undefined) {
    return h(
      "span",
      { class: "cause" },
      t("cause.call"),
      " ",
      code(because.call),
      " ",
      because.request_id ? [t("cause.request"), " ", code(because.request_id)] : t("cause.unknownRequest"),
    );
  }
  if (because.look === "pod") {
    return h(
      "span",
      { class: "cause" },
      t("cause.look"),
      " ",
      t("cause.version", { version: because.resource_version }),
      ": ",
      because.found_uid ? t("cause.found", { uid: because.found_uid }) : t("cause.nopod"),
    );
  }
  if (because.look !== undefined)
    return h(
      "span",
      { class: "cause" },
      t("cause.cloudlook"),
      " ",
      t("cause.request"),
      " ",
      code(because.look),
    );
  if (because.podeni !== undefined)
    return h("span", { class: "cause" }, t("cause.podeni"), " ", code(because.podeni));
  if (because.archive !== undefined)
    return h("span", { class: "cause" }, t("cause.archive"), " ", code(because.archive));
  if (because.command !== undefined)
    return h(
      "span",
      { class: "cause" },
      t("cause.command"),
      " ",
      code(because.command),
      " ",
      t("cause.by", { by: because.by }),
    );
  if (because.plan !== undefined)
    return h("span", { class: "cause" }, t("cause.plan"), " ", code(because.plan));
  const told = Object.entries(because).filter(([, value]) => value !== null && value !== "");
  return h(
    "span",
    { class: "cause" },
    told.map(([name, value]) => [
      `${name} `,
      code(typeof value === "object" ? JSON.stringify(value) : value),
      " ",
    ]),
  );
}
