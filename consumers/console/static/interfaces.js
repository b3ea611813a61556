// Live allocations, narrowed to a node, a vSwitch, a namespace or a phase.

import { ask } from "./api.js";
import { code, fill, h, table } from "./dom.js";
import { moment } from "./format.js";
import { t } from "./i18n.js";
import { linkTo } from "./search.js";

const FILTERS = ["node", "vswitch", "namespace", "pod", "phase", "parked"];

export async function interfacesPage({ query, me, signal }) {
  const asked = Object.fromEntries(
    FILTERS.filter((name) => query.get(name)).map((name) => [name, query.get(name)]),
  );
  const first = await ask("allocations", { ...asked, limit: 100 }, signal);
  const place = h("div");
  const more = h("div", { class: "more" });
  const items = [];
  const add = (page) => {
    items.push(...page.items);
    fill(place, listed(items, me));
    fill(
      more,
      page.next
        ? h(
            "button",
            {
              type: "button",
              class: "quiet",
              onclick: async () =>
                add(await ask("allocations", { ...asked, limit: 100, cursor: page.next }, signal)),
            },
            t("more"),
          )
        : null,
    );
  };
  add(first);
  const title = t("interfaces.title");
  return {
    title,
    body: [
      h(
        "header",
        { class: "page-head" },
        h("h1", null, title),
        h(
          "p",
          { class: "lead" },
          asked.node ? t("interfaces.on", { node: asked.node }) : t("interfaces.lead"),
        ),
        chips(asked),
        asked.node && me.keys.includes("node")
          ? h("p", null, h("a", { href: linkTo("node", asked.node, me) }, t("interfaces.history")))
          : null,
      ),
      place,
      more,
    ],
  };
}

function chips(asked) {
  const phases = ["", "wanted", "bound", "leaving", "reserved", "releasing"];
  return h(
    "div",
    { class: "ranges", role: "group", "aria-label": t("col.kind") },
    phases.map((phase) => {
      const wanted = new URLSearchParams({ ...asked, phase });
      if (!phase) wanted.delete("phase");
      return h(
        "a",
        {
          class: "chip",
          href: `#/interfaces?${wanted}`,
          "aria-current": (asked.phase ?? "") === phase ? "true" : null,
        },
        phase ? t(`phase.${phase}`) : t("history.all"),
      );
    }),
  );
}

function listed(items, me) {
  const link = (key, value) => (value ? h("a", { href: linkTo(key, value, me) }, code(value)) : "–");
  const rows = items.map((each) =>
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
      h(
        "td",
        null,
        h(
          "span",
          { class: `tag ${each.phase === "wanted" ? "preparing" : each.phase}` },
          t(`phase.${each.phase}`),
        ),
        each.parked
          ? [" ", h("span", { class: "tag warn", title: each.parked }, t("attention.parked"))]
          : null,
      ),
      h("td", null, link("ip", each.ipv4 ?? each.ipv6)),
      h("td", null, link("eni", each.eni)),
      h("td", null, each.node),
      h("td", { class: "when" }, moment(each.changed_at)),
    ),
  );
  return table(
    t("interfaces.title"),
    ["who", "kind", "address", "eni", "node", "since"].map((name) => t(`col.${name}`)),
    rows,
    { empty: t("interfaces.none") },
  );
}
