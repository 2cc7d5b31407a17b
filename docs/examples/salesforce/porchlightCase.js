// The static resource of PorchlightCase.page. The origin of the page must be on `agent_origins` of the group.

const root = document.querySelector("#porchlight");
const { server, group, record: id, visitor: visitorId, partnerUser: partnerUserId } = root.dataset;
const [join, told] = ["#join", "#told"].map((name) => root.querySelector(name));
const canvas = root.querySelector("#screen");

const { AgentClient, signIn } = await import(`${server}/agent.js`);
const { Viewer } = await import(`${server}/view.js`);

const loginKey = await globalThis.porchlightLoginKey();
const { token, expiresAt } = await signIn({ group, partnerUserId, loginKey });
const agent = new AgentClient({ token, expiresAt });
const record = { object: "Case", id };

agent.on("record", ({ buttons }) => {
  join.hidden = !buttons.join.visible;
  join.disabled = !buttons.join.enabled;
  join.dataset.light = buttons.join.light;
  told.textContent = buttons.join.message ?? "";
});
agent.on("request", ({ state }) => (told.textContent = state));
agent.on("ready", ({ ticket }) => new Viewer({ canvas, ticket }).open());
agent.on("signedOut", ({ message }) => (told.textContent = message));
join.addEventListener("click", () => agent.join({ record }).catch((error) => (told.textContent = error.message)));

await agent.connect();
await agent.openRecord({ record, fields: {}, parents: { Contact: { visitorId } } });
