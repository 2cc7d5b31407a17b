// Entry of the history page.
//
// Decides what is read before the page is shown. Does not decide who may see it (../admin/seat.js, the server) nor what
// it does (page.js).

import { Company } from "../admin/company.js";
import { openAdminPage } from "../admin/seat.js";
import { HistoryPage } from "./page.js";

openAdminPage({
  lead: "See what became of your sessions, and what was handed over to your CRM. For admins.",
  unread: "The history could not be read",
  build: async (seat, around) => {
    const company = new Company(seat.client, await seat.client.getSettings());
    await company.reloadAgents();
    return new HistoryPage({ company, agent: seat.agent, group: seat.group, ...around });
  },
});
