"""Alerts and dashboard: by promtool, and against the metrics that there are."""

import json
import pathlib
import re
import unittest

import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

from stage import DEPLOY, ROOT, good, metric_names, metrics_in

RULES = DEPLOY / "prometheus/rules.yml"
HERE = pathlib.Path(__file__).parent


def alerts():
    [group] = yaml.safe_load(RULES.read_text())["groups"]
    return group["rules"]


def panels():
    dashboard = json.loads((DEPLOY / "grafana/dashboards/porchlight.json").read_text())
    return [panel for panel in dashboard["panels"] if panel["type"] != "row"]


def dashboard_expressions():
    return [target["expr"] for panel in panels() for target in panel["targets"]]


def lost(given, understood, place="dashboard"):
    """What was given and is not in what was understood of it."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for key, value in given.items():
            if key in understood:
                yield from lost(value, understood[key], f"{place}.{key}")
            else:
                yield f"{place}.{key}"
    elif isinstance(given, list) and isinstance(understood, list) and len(given) == len(understood):
        for at, pair in enumerate(zip(given, understood)):
            yield from lost(*pair, f"{place}[{at}]")
    elif given != understood:
        yield place


class Rules(unittest.TestCase):
    def test_promtool_takes_them(self):
        good("promtool", "check", "config", DEPLOY / "prometheus/prometheus.yml")
        self.assertIn(f"{len(alerts())} rules found", good("promtool", "check", "rules", RULES))

    def test_each_fires_and_none_without_reason(self):
        good("promtool", "test", "rules", HERE / "rules.test.yml")
        text = (HERE / "rules.test.yml").read_text()
        for alert in alerts():
            fires = re.search(rf"alertname: {alert['alert']}\n\s+eval_time: \w+\n\s+exp_alerts:\n", text)
            self.assertTrue(fires, f"no test makes {alert['alert']} fire")

    def test_metrics_exist(self):
        known = metric_names()
        self.assertGreater(len(known), 40)
        for expression in [alert["expr"] for alert in alerts()] + dashboard_expressions():
            for name in metrics_in(expression):
                self.assertIn(name, known, expression)

    def test_rates_are_of_what_only_rises(self):
        kinds = metric_names()
        for expression in [alert["expr"] for alert in alerts()] + dashboard_expressions():
            for name in re.findall(r"(?:rate|increase)\((porchlight_\w+)", expression):
                base = re.sub(r"_(bucket|sum|count)$", "", name)
                self.assertIn(kinds.get(name, kinds.get(base)), ["Counter", "Histogram"], expression)

    def test_labels_exist(self):
        """Each label and value that an expression looks for is one that docs/metrics.md tells of."""
        text = (ROOT / "docs/metrics.md").read_text().split("\n## Labels\n")[1]
        rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in text.splitlines() if line.startswith("| `")]
        told = {}
        for metrics, label, values in rows:
            for metric in re.findall(r"`(porchlight_\w+)`", metrics):
                told.setdefault((metric, label.strip("`")), "")
                told[metric, label.strip("`")] += values
        closes = (ROOT / "docs/codes.md").read_text()
        code = "".join(path.read_text() for path in (ROOT / "src").rglob("*.rs"))
        for expression in [alert["expr"] for alert in alerts()] + dashboard_expressions():
            for metric, matchers in re.findall(r"(porchlight_\w+)\{([^}]*)\}", expression):
                for label, value in re.findall(r'(\w+)(?:=~|!=|=)"([^"]*)"', matchers):
                    if label in ("job", "instance"):
                        continue
                    base = re.sub(r"_(bucket|sum|count)$", "", metric)
                    self.assertIn((base, label), told, expression)
                    for one in value.split("|"):
                        in_docs = f"`{one}`" in told[base, label] or (label == "code" and f"`{one}`" in closes)
                        self.assertTrue(in_docs or f'"{one}"' in code, f"{base}: nobody counts {label}={one}")

    def test_every_metric_is_on_the_dashboard(self):
        shown = set().union(*(metrics_in(expression) for expression in dashboard_expressions()))
        self.assertEqual(set(metric_names()) - shown, set())

    def test_the_dashboard_holds_together(self):
        dashboard = json.loads((DEPLOY / "grafana/dashboards/porchlight.json").read_text())
        ids = [panel["id"] for panel in dashboard["panels"]]
        self.assertEqual(len(ids), len(set(ids)))
        source = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/porchlight.yaml").read_text())
        self.assertEqual([found["type"] for found in source["datasources"]], ["prometheus"])
        variables = {variable["name"] for variable in dashboard["templating"]["list"]}
        for panel in panels():
            self.assertTrue(panel["title"])
            self.assertLessEqual(panel["gridPos"]["x"] + panel["gridPos"]["w"], 24)
            for target in panel["targets"]:
                used = set(re.findall(r"\$(\w+)", target["expr"])) - {"__rate_interval"}
                self.assertLessEqual(used, variables, panel["title"])
        places = [(p["gridPos"]["y"], p["gridPos"]["x"]) for p in dashboard["panels"]]
        self.assertEqual(len(places), len(set(places)), "two panels in one place")

    def test_grafana_knows_all_that_the_dashboard_says(self):
        """Read and written by Grafana's own types, with those of its panels and of Prometheus: what they don't know they drop."""
        register_default_plugins()

        def unknown(text):
            given = json.loads(text)
            # What the editor shows of a variable's query; Grafana writes it, and its types leave it out.
            for variable in given["templating"]["list"]:
                variable.pop("definition", None)
            return list(lost(given, json.loads(JSONEncoder().encode(Dashboard.from_json(given)))))

        text = (DEPLOY / "grafana/dashboards/porchlight.json").read_text()
        self.assertEqual(unknown(text), [])
        for right, wrong in [('"fieldConfig"', '"fieldConfg"'), ('"expr"', '"exp"'), ('"gridPos"', '"gridpos"'), ('"colorMode"', '"colourMode"')]:
            self.assertIn(right, text)
            self.assertNotEqual(unknown(text.replace(right, wrong, 1)), [], wrong)

    def test_the_dashboard_is_of_the_grafana_that_is_started(self):
        """The types above are of the version that the compose file names, and every panel asks the source that the reader chose, of
        the kind that is provisioned."""
        image = yaml.safe_load((DEPLOY / "cluster/compose.yaml").read_text())["services"]["grafana"]["image"]
        types = re.search(r"(?m)^grafana-foundation-sdk==\d+!(\d+\.\d+)\.", (HERE / "requirements.txt").read_text())[1]
        self.assertIn(f"grafana/grafana:{types}.", image)
        [source] = yaml.safe_load((DEPLOY / "grafana/provisioning/datasources/porchlight.yaml").read_text())["datasources"]
        self.assertTrue(source["isDefault"])
        chosen, *variables = json.loads((DEPLOY / "grafana/dashboards/porchlight.json").read_text())["templating"]["list"]
        self.assertEqual((chosen["type"], chosen["query"]), ("datasource", source["type"]))
        told = {"type": source["type"], "uid": f"${{{chosen['name']}}}"}
        for asks in [*variables, *panels(), *(target for panel in panels() for target in panel["targets"])]:
            self.assertEqual(asks["datasource"], told, asks)

    def test_every_alert_is_explained(self):
        text = (ROOT / "docs/troubleshooting.md").read_text()
        told = set(re.findall(r"`(Porchlight\w+)`", text))
        self.assertEqual(told, {alert["alert"] for alert in alerts()})

    def test_the_dashboard_is_where_grafana_looks(self):
        cluster = yaml.safe_load((DEPLOY / "cluster/compose.yaml").read_text())["services"]["grafana"]
        provider = yaml.safe_load((DEPLOY / "grafana/provisioning/dashboards/porchlight.yaml").read_text())
        path = provider["providers"][0]["options"]["path"]
        self.assertIn(f"../grafana/dashboards:{path}:ro", cluster["volumes"])
        self.assertIn("../grafana/provisioning:/etc/grafana/provisioning:ro", cluster["volumes"])
