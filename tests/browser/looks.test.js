// What people look at, as pictures in shots/: light and dark, wide and narrow. Fails when something is cut off.
import { look, PHONE, stage } from "./lib.js";

const { scene } = stage();

/** Pages of the shop that are no part of the course of a session. */
const PAGES = ["product.html?id=harbour", "cart.html", "help.html"];

for (const [size, context] of /** @type {[string, any][]} */ ([
  ["wide", {}],
  ["phone", PHONE],
])) {
  scene(`the visitor's side: ${size}`, async (s) => {
    const visitor = await s.visitor({ id: "C-1001", context });
    const alice = await s.agent();
    const { page } = visitor;
    for (const name of PAGES) {
      await visitor.goes(`/demo/site/${name}`);
      await visitor.online();
      await look(page, `shop-${name.split(".")[0]}-${size}`);
    }
    await page.locator("[data-porchlight-key]").click();
    const widget = page.locator("[data-porchlight=key] section");
    await widget.locator("[data-action=start]").click();
    await widget.locator("[data-field=key]").waitFor();
    await look(page, `session-key-${size}`);
    await widget.locator("[data-action=cancel]").click();
    await widget.locator("[data-action=start]").waitFor();
    await visitor.goes("/demo/site");
    await visitor.online();
    await page.waitForLoadState("networkidle");
    await look(page, `shop-${size}`);
    await alice.joins("C-1001", { control: true });
    await visitor.dialog.locator("[data-action=accept]:enabled").waitFor();
    await look(page, `terms-${size}`);
    await visitor.accept();
    await visitor.shares();
    await alice.sees("live");
    await look(page, `stop-bar-${size}`);
    await visitor.barButton("pause").click();
    await visitor.shares("paused");
    await look(page, `stop-bar-paused-${size}`);
    await visitor.barButton("stop").click();
    await visitor.bar.getByText("Sharing has ended").waitFor();
    await look(page, `stop-bar-ended-${size}`);
  });
}

for (const [size, context] of /** @type {[string, any][]} */ ([
  ["wide", {}],
  ["phone", { viewport: PHONE.viewport }],
])) {
  scene(`the agent's side: ${size}`, async (s) => {
    const form = await s.page("form", context);
    await form.goto(`${s.server.url}/demo/agent`);
    await form.locator("[data-test=sign-in-form]").waitFor();
    await look(form, `console-sign-in-${size}`);

    const others = ["C-1002", "C-1003"];
    for (const [at, id] of others.entries()) await s.visitor({ id, path: ["/demo/site/cart.html", "/demo/site/help.html"][at] });
    const away = await s.visitor({ id: "" });
    await away.becomes("hidden");
    const visitor = await s.visitor({ id: "C-1001", path: "/demo/site/product.html", query: { id: "harbour" } });
    const alice = await s.agent("alice", { context });
    const { page } = alice;
    for (const id of [...others, "C-1001"]) await alice.row(id, "present").waitFor({ state: "attached" });
    await page.locator("[data-test=visitor-row][data-state=hidden]").first().waitFor({ state: "attached" });
    await look(page, `console-list-${size}`);
    await alice.opens("C-1001");
    await alice.light("lit");
    await look(page, `console-lit-${size}`);
    await alice.join.click();
    await visitor.button("accept").waitFor();
    await alice.requestIs("displayed");
    await look(page, `console-asking-${size}`);
    await visitor.accept();
    await visitor.shares();
    await alice.sees("live");
    await alice.readings(3, 5_000);
    await look(page, `console-live-${size}`);
    await page.locator("[data-test=stats-toggle]").click();
    await look(page, `console-figures-${size}`);
    await page.locator("[data-test=chat-toggle]").click();
    await page.locator("[data-test=chat] input").fill("Scroll down a little, please");
    await page.keyboard.press("Enter");
    await page.locator("[data-test=chat] .own").waitFor();
    await look(page, `console-chat-${size}`);
    await page.locator("[data-test=chat-toggle]").click();
    await visitor.barButton("pause").click();
    await alice.sees("paused");
    await look(page, `console-paused-${size}`);
    await visitor.barButton("stop").click();
    await alice.seesEnd();
    await look(page, `console-ended-${size}`);
  });
}

for (const [size, context] of /** @type {[string, any][]} */ ([
  ["wide", {}],
  ["phone", PHONE],
])) {
  scene(`the admin's side: ${size}`, async (s) => {
    await s.server.admin("PutSink", { sink: { sinkId: "archive", file: {}, sessionRecords: true, everyEvent: true } });
    const history = await s.history("sessions", { context });
    const { page } = history;
    // The sessions of the scenes before.
    await history.rows.first().waitFor();
    await look(page, `history-list-${size}`);
    await history.rows.first().locator("[data-test=open-session]").click();
    await page.locator("[data-test=receipt][data-verdict=good]").waitFor();
    await look(page, `history-session-${size}`);
    await history.goes("statistics");
    await page.locator("[data-test=chart]").waitFor();
    await look(page, `history-statistics-${size}`);
    await history.goes("sync");
    await page.locator("[data-test=sync-now]").click();
    await page.locator("[data-test=run][data-outcome=Done]").first().waitFor();
    await look(page, `history-sync-${size}`);
  });
}

for (const [size, context, agentContext] of /** @type {[string, any, any][]} */ ([
  ["wide", {}, {}],
  ["phone", PHONE, { viewport: PHONE.viewport }],
])) {
  scene(`a Show: ${size}`, async (s) => {
    s.allow(/404/);
    const door = await s.guest("door", undefined, { context });
    await door.door.waitFor();
    await look(door.page, `guest-key-${size}`);
    await door.enters({ key: "123456789" });
    await door.problem.getByText("No session has this key.").waitFor();
    await look(door.page, `guest-wrong-key-${size}`);

    const alice = await s.agent("alice", { context: agentContext });
    const { page } = alice;
    const slides = await s.slides(alice);
    await page.locator("[data-test=show-screen]").click();
    await alice.shows();
    await look(page, `console-show-${size}`);
    const { link } = await alice.hands();
    const ann = await s.guest("Ann Lindqvist", link, { context });
    await ann.door.waitFor();
    await look(ann.page, `guest-invite-${size}`);
    await ann.enters();
    await ann.sees("live");
    const ben = await s.guest("Ben", link);
    await ben.enters();
    await ben.sees("live");
    await ann.readings(3, 5_000);
    await look(ann.page, `guest-live-${size}`);
    if (context.viewport) {
      await ann.page.setViewportSize({ width: context.viewport.height, height: context.viewport.width });
      await look(ann.page, "guest-live-phone-turned");
      await ann.page.setViewportSize(context.viewport);
    }
    await alice.watchedBy("Ann Lindqvist", "Ben");
    await look(page, `console-show-watched-${size}`);
    await page.locator("[data-test=show-pause]").click();
    await ann.sees("paused");
    await look(ann.page, `guest-paused-${size}`);
    await look(page, `console-show-paused-${size}`);
    await page.locator("[data-test=show-end]").click();
    await ann.sees("ended");
    await look(ann.page, `guest-ended-${size}`);
    await slides.close();
  });
}
