// Tokens stand behind the # of the address: they reach this script and no server log.
const given = new URLSearchParams(location.hash.slice(1));
history.replaceState(null, "", location.pathname);
// A link of a letter that is opened where this page is open already changes the part behind the # only.
addEventListener("hashchange", () => location.reload());
const find = (id) => document.getElementById(id);
const [ask, confirm] = [find("ask"), find("confirm")];

function tell(text, kind = "") {
  find("status").textContent = text;
  find("status").dataset.kind = kind;
}

async function send(path, body) {
  const answer = await fetch(path, {
    method: body ? "POST" : "GET",
    headers: { "content-type": "application/json" },
    body: body ? JSON.stringify(body) : undefined,
  });
  const read = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const error = new Error(read.error?.message ?? read.message ?? `The cloud answered ${answer.status}.`);
    error.status = answer.status;
    throw error;
  }
  return read;
}

function submits(form, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const button = form.querySelector("button");
    button.disabled = true;
    try {
      await work(Object.fromEntries(new FormData(form)));
    } catch (error) {
      tell(error.message, "error");
      if (form === confirm && error.status === 409) find("another").hidden = false;
    } finally {
      button.disabled = false;
    }
  });
}

submits(ask, async (fields) => {
  const read = await send("/console/registrations", { ...fields, invitation: given.get("invitation") ?? "" });
  ask.hidden = true;
  tell(read.message, "done");
});

submits(confirm, async (fields) => {
  const read = await send("/console/registrations/confirm", { token: given.get("confirm"), name: fields.name ?? "" });
  confirm.hidden = true;
  tell(
    read.state === "done"
      ? `The account ${read.name} is ready: log in with your password.`
      : "Thank you. An operator looks at it now; a letter tells you when the account is ready.",
    "done",
  );
});

if (given.has("confirm")) {
  find("title").textContent = "Confirm your registration";
  confirm.hidden = false;
} else {
  const mode = (await send("/console/registration")).registration;
  if (mode === "closed") tell("This cloud takes no registrations; ask its operator for an account.");
  else if (mode === "invitation" && !given.has("invitation")) tell("Registration here needs an invitation.");
  else {
    ask.elements.email.value = given.get("email") ?? "";
    ask.hidden = false;
  }
}
