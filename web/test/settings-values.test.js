// Settings as values: differences, masks, and two people's edits put together.
import assert from "node:assert/strict";
import { describe, it } from "node:test";

import { nameOf, SECTIONS, sectionOf, wordsFor } from "../pages/settings/fields.js";
import { applied, compare, differences, maskOf } from "../pages/settings/values.js";
import { companySettings } from "./fake-admin-server.js";

/** @param {(settings: any) => void} change */
function changed(change) {
  const settings = companySettings();
  change(settings);
  return settings;
}
const base = companySettings();

describe("differences", () => {
  it("are none between the same", () => {
    assert.deepEqual(differences(base, companySettings()), []);
  });

  it("are as small as people think of them", () => {
    const found = differences(
      base,
      changed((settings) => {
        settings.terms.text = "new";
        settings.objects[0].join = false;
        settings.profiles.push({ ...settings.profiles[0], name: "Sales" });
        settings.objects.splice(3, 1);
        settings.visitorOrigins.push("https://a.example");
        settings.permissionSet.user = ["alice"];
      }),
    );
    assert.deepEqual(
      found.map(nameOf),
      ["Text", "https://a.example", "Case · Join", "Opportunity (object)", "Sales (profile)", "bob · User"].map(
        (name) => (name === "https://a.example" ? "Visitor origins · https://a.example" : name),
      ),
    );
    assert.equal(maskOf(found), "terms.text,visitorOrigins,objects,profiles,permissionSet.user");
  });

  it("know a row that is there twice", () => {
    const twice = changed((settings) => settings.objects.push(structuredClone(settings.objects[0])));
    assert.equal(maskOf(differences(base, twice)), "objects");
  });

  it("do not care for the order of names", () => {
    assert.deepEqual(
      differences(
        base,
        changed((settings) => settings.permissionSet.user.reverse()),
      ),
      [],
    );
  });
});

describe("two people", () => {
  const mine = changed((settings) => {
    settings.graceSeconds = 9;
    settings.presenceEnabled = false;
    settings.objects[0].join = false;
    settings.permissionSet.user.push("carol");
  });

  it("who change different things do not clash", () => {
    const theirs = changed((settings) => {
      settings.objects[0].show = false;
      settings.permissionSet.user = ["alice"];
    });
    const { encounters, others } = compare(base, mine, theirs);
    assert.equal(
      encounters.some(({ clash }) => clash),
      false,
    );
    assert.deepEqual(others.map(nameOf), ["Case · Show", "bob · User"]);
    const both = applied(
      theirs,
      mine,
      encounters.map(({ mine: edit }) => edit),
    );
    assert.deepEqual([both.objects[0].join, both.objects[0].show], [false, false]);
    assert.deepEqual(both.permissionSet.user, ["alice", "carol"]);
    assert.equal(both.graceSeconds, 9);
  });

  it("who change the same thing differently clash", () => {
    const theirs = changed((settings) => {
      settings.graceSeconds = 20;
      settings.presenceEnabled = false;
    });
    const { encounters } = compare(base, mine, theirs);
    const clashes = encounters.filter(({ clash }) => clash);
    assert.deepEqual(
      clashes.map(({ mine: edit, theirs: value }) => [edit.path, edit.after, value]),
      [["graceSeconds", 9, 20]],
    );
  });

  it("one of whom takes a row away that the other edits clash", () => {
    const theirs = changed((settings) => settings.objects.shift());
    const { encounters } = compare(base, mine, theirs);
    const [clash] = encounters.filter(({ clash: one }) => one);
    assert.equal(nameOf(clash.mine), "Case · Join");
    const kept = applied(theirs, mine, [clash.mine]);
    assert.deepEqual(
      kept.objects.find(({ object }) => object === "Case"),
      mine.objects[0],
    );
    assert.equal(applied(theirs, mine, []).objects.length, 3);
    const other = compare(base, theirs, mine).encounters.find(({ clash: one }) => one);
    assert.equal(nameOf(other.mine), "Case (object)");
    assert.equal(applied(mine, theirs, [other.mine]).objects.length, 3);
  });
});

describe("words", () => {
  it("there are some for every setting", () => {
    for (const { path } of differences(undefined, base)) assert.ok(sectionOf(path), path);
    for (const { cards } of SECTIONS) {
      for (const { fields } of cards) {
        for (const { help, kind, path } of fields) {
          const table = ["objects", "profiles", "permissions"].includes(kind);
          assert.ok(table || /^[A-Z].*\.$/.test(help), `${path} has a sentence`);
        }
      }
    }
  });

  it("say values as the page does", () => {
    const say = (path, value, more = {}) => wordsFor({ path, before: undefined, after: value, ...more }, value);
    assert.equal(say("presenceEnabled", true), "on");
    assert.equal(say("terms.url", ""), "empty");
    assert.equal(say("graceSeconds", 5), "5 seconds");
    assert.equal(say("createLeads", "CREATE_LEADS_NEVER"), "Never");
    assert.equal(say("profiles", "JOIN_IN_CLIENT", { row: "Support", field: "joinIn" }), "Client");
    assert.equal(say("objects", undefined, { row: "Case" }), "not listed");
    assert.equal(say("permissionSet.admin", true, { row: "bob" }), "yes");
  });
});
