// A single-page application: its addresses change without a load, and its customers sign in and out.

const GROUP = "acme";
const views = {
  lamps: { title: "Lamps", html: '<h1>Lamps</h1><button type="button" id="add">Into the basket</button>' },
  basket: { title: "Basket", html: "<h1>Basket</h1>" },
};
let basket = 0;
let customer = "";

/** Shows a view under an address of its own. The script notices the address; what the view is called it is told. */
function show(name) {
  const { title, html } = views[name];
  document.querySelector("main").innerHTML = html;
  document.title = title;
  Porchlight.update({ page: { title } });
}

document.querySelector("nav").addEventListener("click", (event) => {
  const name = event.target.dataset.to;
  if (!name) return;
  event.preventDefault();
  history.pushState({ name }, "", `?view=${name}`);
  show(name);
});
window.addEventListener("popstate", (event) => show(event.state?.name ?? "lamps"));

document.querySelector("main").addEventListener("click", (event) => {
  if (event.target.id !== "add") return;
  basket += 1;
  // Agents see it, and may filter by it. What isn't named stays.
  Porchlight.update({ data: { basket } });
});

/** Your back end knows who is signed in, and vouches with a token: docs/identity.md. It is asked at each reconnect. */
const token = async () => {
  const answer = await fetch("porchlight-token");
  return answer.ok ? answer.text() : undefined;
};

document.querySelector("#sign").addEventListener("click", ({ target }) => {
  if (customer) {
    customer = "";
    Porchlight.leave();
  } else {
    customer = "C-1001";
    Porchlight.start({ group: GROUP, visitorId: customer, token, data: { plan: "gold", basket } });
  }
  target.textContent = customer ? "Sign out" : "Sign in";
});

Porchlight.on("state", ({ state }) => {
  document.querySelector("#help").textContent = state === "online" ? "near" : "off";
});
show("lamps");
