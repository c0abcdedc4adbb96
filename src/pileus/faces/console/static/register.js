import { find, finish, given, rules, send, show, submits, tell, wrong } from "./account.js";

const [ask, confirm] = [find("ask"), find("confirm")];
const LATE = "This link was used already, or is too old. If you have confirmed before, log in; if not, register again.";
let invitation = given.get("invitation") ?? "";

submits(ask, async (fields) => {
  const read = await send("/console/registrations", { ...fields, invitation });
  show("Look into your mailbox");
  finish(read.message);
}, (error) => {
  if (error.status === 400) wrong(/password/i.test(error.message) ? ask.elements.password : ask.elements.name);
});

submits(confirm, async (fields) => {
  const read = await send("/console/registrations/confirm", { token: given.get("confirm"), name: fields.name });
  const done = read.state === "done";
  show(done ? "The account is ready" : "Thank you");
  finish(
    done
      ? `Log in as ${read.name} with the password you chose.`
      : "An operator looks at your registration now; a letter tells you when the account is ready.",
  );
}, (error) => {
  if (error.status === 409) {
    find("another").hidden = false;
    confirm.elements.name.required = true;
    wrong(confirm.elements.name);
  }
  if (error.status !== 404) return undefined;
  confirm.hidden = true;
  find("anew").hidden = false;
  return LATE;
});

find("anew").addEventListener("click", () => history.replaceState(null, "", location.pathname));

async function invited(mode) {
  try {
    const { email } = await send("/console/invitations/check", { token: invitation });
    ask.elements.email.value = email;
    ask.elements.email.readOnly = true;
    return true;
  } catch (error) {
    invitation = "";
    const free = mode !== "invitation" && error.status === 403;
    tell(free ? "The invitation is not good any more, but you can register without it." : error.message, "error");
    return free;
  }
}

async function begin() {
  const about = await send("/console/registration");
  rules(about.password_rules);
  const mode = about.registration;
  if (mode === "closed") tell("This cloud takes no registrations; ask its operator for an account.");
  else if (given.has("confirm")) show("Confirm your registration", confirm);
  else if (invitation ? await invited(mode) : mode !== "invitation") show("Make an account", ask);
  else if (!invitation && !given.has("invitation")) {
    tell("Registration here needs an invitation: open the link of the letter that invited you, or ask the operator.");
  }
}

begin().catch((error) => tell(error.message, "error"));
