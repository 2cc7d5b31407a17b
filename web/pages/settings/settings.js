// Entry of the settings page.
//
// Decides what is read before the page is shown. Does not decide who may see it (../admin/seat.js, the server) nor what
// it does (page.js).

import { Company } from "../admin/company.js";
import { openAdminPage } from "../admin/seat.js";
import { SettingsPage } from "./page.js";

openAdminPage({
  lead: "Decide what your agents can do, and what your visitors are asked. For admins.",
  unread: "The settings could not be read",
  build: async (seat, around) => {
    const company = new Company(seat.client, await seat.client.getSettings());
    return new SettingsPage({ company, agent: seat.agent, group: seat.group, ...around });
  },
});
