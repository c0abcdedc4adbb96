import { find, finish, given, rules, send, show, submits, tell, wrong } from "./account.js";

const [ask, choose] = [find("ask"), find("choose")];
const WAIT = "There were too many tries. Wait half a minute, then try again.";
const again = (error) => (error.status === 401 ? WAIT : undefined);

submits(ask, async (fields) => {
  const read = await send("/console/password-resets", fields);
  finish(read.message);
  find("anew").hidden = false;
}, again);

submits(choose, async ({ password, again: repeated }) => {
  if (password !== repeated) {
    wrong(choose.elements.again);
    throw new Error("The two passwords differ; type the same one twice.");
  }
  const sent = { name: given.get("username"), domain: given.get("domain") ?? "", token: given.get("token"), password };
  await send("/console/password-resets/use", sent);
  show("The password is changed");
  finish(`Log in as ${sent.name} with the new password, wherever you use this cloud. Sessions that were open have ended; API keys go on working.`);
  for (const link of document.querySelectorAll("nav a")) link.hidden = true;
}, (error) => {
  if (error.status === 400) wrong(choose.elements.password);
  if (error.status === 404) {
    choose.hidden = true;
    find("anew").focus();
    return "This link was used already, or is too old. Ask for another letter.";
  }
  return again(error);
});

find("anew").addEventListener("click", () => history.replaceState(null, "", location.pathname));

async function begin() {
  const about = await send("/console/password-resets");
  rules(about.password_rules);
  find("register").hidden = about.registration === "closed";
  if (!about.mail) tell("This cloud sends no letters; ask its operator for a new password.");
  else if (given.has("token") && given.has("username")) {
    choose.elements.name.value = given.get("username");
    find("anew").hidden = false;
    show("Choose a new password", choose);
  } else show("Forgotten password", ask);
}

begin().catch((error) => tell(error.message, "error"));
