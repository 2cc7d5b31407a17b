// Dialogs: a question before something that cannot be undone, and a frame for forms.
//
// Decides focus, keyboard and how a dialog ends; the browser's own <dialog> does the rest. Does not decide what is asked.

import { h, write } from "../agent/dom.js";
import { icon } from "../agent/icons.js";
import { sentence } from "./words.js";

/**
 * Opens a modal dialog; it takes itself away when it is closed.
 * @param {object} options
 * @param {string} options.title
 * @param {string} options.test for tests
 * @param {boolean} [options.stays] only its own buttons close it
 * @param {Node[]} options.body
 */
export function openDialog({ title, test, stays = false, body }) {
  const id = `dialog-${test}`;
  const dialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": id, "data-test": test },
    h(
      "header",
      { class: "dialog-head" },
      h("h2", { id }, title),
      !stays &&
        h(
          "button",
          { class: "button quiet icon small", type: "button", "aria-label": "Close", onclick: () => dialog.close() },
          icon("close"),
        ),
    ),
    ...body,
  );
  if (stays) dialog.addEventListener("cancel", (event) => event.preventDefault());
  dialog.addEventListener("close", () => dialog.remove());
  document.body.append(dialog);
  dialog.showModal();
  return dialog;
}

/**
 * Asks before something is done; the dialog stays with the reason when it fails.
 * @param {object} options
 * @param {string} options.title
 * @param {string[]} options.text paragraphs
 * @param {string} options.action what the button says
 * @param {boolean} [options.danger]
 * @param {() => Promise<void> | void} [options.run]
 * @returns {Promise<boolean>} whether it was done
 */
export function ask({ title, text, action, danger = false, run }) {
  return new Promise((resolve) => {
    let done = false;
    const problem = h("p", { class: "problem", role: "alert", hidden: true });
    const go = h(
      "button",
      { class: `button ${danger ? "solid-danger" : "primary"}`, type: "button", "data-test": "confirm" },
      action,
    );
    const stay = h("button", { class: "button", type: "button", "data-test": "dismiss" }, "Cancel");
    const dialog = openDialog({
      title,
      test: "question",
      body: [
        h("div", { class: "dialog-body" }, ...text.map((one) => h("p", {}, one)), problem),
        h("footer", { class: "dialog-foot" }, stay, go),
      ],
    });
    stay.addEventListener("click", () => dialog.close());
    go.addEventListener("click", async () => {
      go.disabled = true;
      problem.hidden = true;
      try {
        await run?.();
        done = true;
        dialog.close();
      } catch (error) {
        write(problem, sentence(error instanceof Error ? error.message : String(error)));
        problem.hidden = false;
        go.disabled = false;
      }
    });
    dialog.addEventListener("close", () => resolve(done));
    stay.focus();
  });
}
