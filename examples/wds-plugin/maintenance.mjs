/**
 * A plugin for the provider chain: machines that are being worked on get no answer, all others are told which site they
 * are at. It takes part in two phases and looks at the outcome in a third.
 */

/** Reasons and explanations are constants: they are counters' names, and the journal keeps them. */
const HELD = Object.freeze({
  kind: "drop",
  reason: "maintenance.hold",
  why: "the machine is being worked on",
});
const SITE_OPTION = 224; // the first site-specific code

/**
 * Called once at the start, and again when the configuration is read anew.
 *
 * @param {unknown} settings - what stands at `settings`; nobody has checked it
 * @param {import("../../src/wds/index.ts").PluginHost} host - all that a plugin may use of the server
 * @returns {import("../../src/wds/index.ts").Plugin}
 */
export default function createMaintenancePlugin(settings, host) {
  const { held, site } = checkSettings(settings, host);
  const siteOption = host.createExtraOption(SITE_OPTION, new TextEncoder().encode(site));
  let heldBack = 0;
  return {
    name: "maintenance",
    setsOptions: [SITE_OPTION],
    // Synchronous and from memory; `request` and `context` are borrowed until this returns.
    policy: (request) => (held.has(request.chaddr) ? HELD : host.NEXT),
    options: (_request, context) => {
      context.replyOptions.set(siteOption);
      return host.NEXT;
    },
    observe: (event) => {
      if (event.reason !== HELD.reason) return;
      heldBack += 1;
      if (heldBack === 1) host.log("info", { mac: host.formatMac(event.chaddr) }, "held back");
    },
  };
}

/** Throws what is wrong, and how to mend it: the server says it at the start and does not begin. */
function checkSettings(settings, host) {
  const { hold = [], site, ...others } = Object(settings);
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) throw new Error(`settings.${unknown}: there are only hold and site`);
  if (!Array.isArray(hold)) throw new Error("settings.hold: must be a list of MAC addresses");
  if (typeof site !== "string" || site === "") throw new Error("settings.site: must be a text");
  return { held: new Set(hold.map((mac) => host.parseMac(String(mac)))), site };
}
