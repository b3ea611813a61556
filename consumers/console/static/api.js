// Asks the audit API. The token lives in this tab's session storage and goes with each request.

const KEPT = "eni-ledger.token";

export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function signedIn() {
  return sessionStorage.getItem(KEPT) !== null;
}

export function signIn(token) {
  sessionStorage.setItem(KEPT, token);
}

export function signOut() {
  sessionStorage.removeItem(KEPT);
}

/** The answer to a question, as its OpenAPI document has it. Throws Problem, in the server's words. */
export async function ask(path, asked = {}, signal) {
  const url = new URL(`api/v1/${path}`, document.baseURI);
  for (const [name, value] of Object.entries(asked)) {
    if (value !== undefined && value !== null && value !== "") url.searchParams.set(name, value);
  }
  const token = sessionStorage.getItem(KEPT) ?? "";
  let answer;
  try {
    answer = await fetch(url, { headers: { Authorization: `Bearer ${token}` }, signal, cache: "no-store" });
  } catch (failed) {
    if (failed.name === "AbortError") throw failed;
    throw new Problem(0, String(failed.message));
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Problem(answer.status, body.detail ?? answer.statusText);
  return body;
}

/** Every page of a list, up to `most` items. */
export async function askAll(path, asked, signal, most = 5000) {
  const first = await ask(path, { ...asked, limit: 1000 }, signal);
  let page = first;
  while (page.next && first.items.length < most) {
    page = await ask(path, { ...asked, limit: 1000, cursor: page.next }, signal);
    first.items.push(...page.items);
  }
  return first;
}
