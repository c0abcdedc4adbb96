// Connects the page to one server's screen with the one-time token of its address.
import RFB from "./novnc/core/rfb.js";

const asked = new URLSearchParams(window.location.search);
const status = document.getElementById("status");

function say(state, text) {
  status.dataset.state = state;
  status.textContent = text;
}

const name = asked.get("name");
if (name) {
  document.getElementById("name").textContent = name;
  document.title = name + " – Console";
}

const scheme = window.location.protocol === "https:" ? "wss" : "ws";
const address = scheme + "://" + window.location.host + "/console/ws?token=" + encodeURIComponent(asked.get("token") ?? "");
const rfb = new RFB(document.getElementById("screen"), address, { wsProtocols: ["binary"] });
rfb.scaleViewport = true;
rfb.focusOnClick = true;
rfb.addEventListener("connect", () => { say("connected", "Connected"); rfb.focus(); });
rfb.addEventListener("disconnect", (event) => say(
  "ended",
  event.detail.clean ? "The connection ended. Ask for a new console link." : "Not connected: the link was used, is too old, or the server is off. Ask for a new one.",
));
rfb.addEventListener("desktopname", (event) => { if (!name) document.title = event.detail.name + " – Console"; });
document.getElementById("keys").addEventListener("click", () => { rfb.sendCtrlAltDel(); rfb.focus(); });
document.getElementById("full").addEventListener("click", () => document.documentElement.requestFullscreen());
