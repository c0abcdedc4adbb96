// What the pages of accounts share: the part of a link that is a secret, forms, and words for what happens.
// Tokens stand behind the # of the address: they reach this script and no server log. They are kept in this entry of the
// tab's history, so that the page can be loaded again (telephones do that by themselves) without the letter.
export const find = (id) => document.getElementById(id);
const behind = location.hash.slice(1);
if (behind) history.replaceState({ given: behind }, "", location.pathname);
export const given = new URLSearchParams(history.state?.given ?? "");
// A link of a letter that is opened where this page is open already changes the part behind the # only.
addEventListener("hashchange", () => location.reload());

export function tell(text, kind = "") {
  find("error").textContent = kind === "error" ? text : "";
  if (kind === "error") return;
  find("status").textContent = text;
  find("status").dataset.kind = kind;
  if (kind === "done") find("status").focus();
}

export function show(title, form) {
  find("title").textContent = title;
  document.title = title;
  for (const each of document.forms) each.hidden = each !== form;
  if (form) [...form.elements].find((field) => !field.value && !field.closest("[hidden]"))?.focus();
}

/** What a form asked for is done: it goes, and so does the secret. */
export function finish(text) {
  for (const each of document.forms) each.hidden = true;
  history.replaceState(null, "", location.pathname);
  tell(text, "done");
}

export async function send(path, body) {
  let answer;
  try {
    answer = await fetch(path, {
      method: body ? "POST" : "GET",
      headers: { "content-type": "application/json" },
      body: body ? JSON.stringify(body) : undefined,
    });
  } catch {
    throw new Error("The cloud does not answer. Look at your connection, then try again.");
  }
  const read = await answer.json().catch(() => ({}));
  if (answer.ok) return read;
  const error = new Error(read.error?.message ?? read.message ?? `The cloud answered ${answer.status}; try again later.`);
  error.status = answer.status;
  throw error;
}

/** `work` takes the fields; spaces around them, which telephones add, go, but not those of passwords. */
export function submits(form, work, refused = () => undefined) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    if (button.disabled) return;
    const fields = Object.fromEntries(
      [...form.elements].filter((field) => field.name).map((field) => [
        field.name,
        field.dataset.secret === undefined ? field.value.trim() : field.value,
      ]),
    );
    button.disabled = true;
    for (const field of form.elements) field.removeAttribute("aria-invalid");
    tell("", "error");
    try {
      await work(fields);
    } catch (error) {
      tell(refused(error) ?? error.message, "error");
      const wrong = form.querySelector('[aria-invalid="true"]');
      (wrong ?? find("error")).focus();
    } finally {
      button.disabled = false;
    }
  });
  const eye = form.querySelector(".check input");
  eye?.addEventListener("change", () => {
    for (const field of form.querySelectorAll("[data-secret]")) field.type = eye.checked ? "text" : "password";
  });
}

export function wrong(field) {
  field.setAttribute("aria-invalid", "true");
}

export function rules(text) {
  for (const each of document.querySelectorAll("[data-rules]")) each.textContent = text;
}
