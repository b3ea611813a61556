// The first page: a token, and where to get one.

import { signIn } from "./api.js";
import { h } from "./dom.js";
import { t } from "./i18n.js";

export function loginPage(said, done) {
  const token = h("input", {
    type: "password",
    id: "token",
    name: "token",
    required: true,
    autocomplete: "off",
    spellcheck: "false",
    "aria-describedby": said ? "said kept" : "kept",
    "aria-invalid": said ? "true" : null,
  });
  return h(
    "main",
    { class: "login" },
    h(
      "div",
      { class: "card" },
      h("img", { src: "static/mark.svg", alt: "", width: "44", height: "44" }),
      h("p", { class: "brandname" }, "eni-ledger"),
      h("h1", null, t("login.title")),
      h("p", { class: "lead" }, t("login.lead")),
      h(
        "form",
        {
          onsubmit: (event) => {
            event.preventDefault();
            signIn(token.value.trim());
            done();
          },
        },
        h("label", { for: "token" }, t("login.token")),
        token,
        said ? h("p", { id: "said", class: "said", role: "alert" }, said) : null,
        h("button", { type: "submit", class: "primary" }, t("login.go")),
      ),
      h("p", { class: "small", id: "kept" }, t("login.kept")),
      h("p", { class: "small" }, t("login.where")),
    ),
  );
}
