//! The figures of one run, as a table for people and as JSON.

use std::io::Write as _;

use serde::Serialize;
use serde_json::Value;

/// All that was measured, with what the machine was doing meanwhile.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Table {
    baseline: &'static str,
    load_average_before: String,
    load_average_after: String,
    rows: Vec<Row>,
    failures: Vec<String>,
    /// The load commands' own reports, in order.
    reports: Vec<Value>,
}

/// One figure.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    pub(crate) unit: &'static str,
    pub(crate) value: f64,
    /// The same of the baseline, where it has one.
    pub(crate) baseline: Option<f64>,
    /// The most that is good enough: of the value, or of its ratio to the baseline.
    pub(crate) bar: Option<f64>,
}

impl Row {
    /// Value by baseline.
    fn ratio(&self) -> Option<f64> {
        self.baseline.map(|baseline| self.value / baseline)
    }

    fn verdict(&self) -> String {
        match self.bar {
            None => "report".to_owned(),
            Some(bar) => {
                let compared = self.ratio().unwrap_or(self.value);
                let verdict = if compared <= bar { "met" } else { "missed" };
                format!("{verdict} (≤ {bar}{})", if self.baseline.is_some() { " ×" } else { "" })
            }
        }
    }
}

impl Table {
    pub(crate) fn start() -> Self {
        Self {
            baseline: "plain tokio TCP fan-out, length-prefixed messages, one task per viewer",
            load_average_before: load_average(),
            load_average_after: String::new(),
            rows: Vec::new(),
            failures: Vec::new(),
            reports: Vec::new(),
        }
    }

    pub(crate) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Keeps a load command's report, and its failure if it failed.
    pub(crate) fn keep(&mut self, what: &str, report: Value, failure: Option<String>) {
        self.failures.extend(failure.map(|failure| format!("{what}: {failure}")));
        self.reports.push(serde_json::json!({ "what": what, "report": report }));
    }

    pub(crate) fn failures(&self) -> &[String] {
        &self.failures
    }

    pub(crate) fn print(&mut self) -> std::io::Result<()> {
        self.load_average_after = load_average();
        let mut out = std::io::stdout().lock();
        writeln!(
            out,
            "\nload average {} before, {} after",
            self.load_average_before, self.load_average_after
        )?;
        writeln!(out, "baseline: {}\n", self.baseline)?;
        writeln!(out, "{:<52} {:>12} {:>10} {:>7}  bar", "", "porchlight", "baseline", "ratio")?;
        for row in &self.rows {
            let figure = |value: Option<f64>| value.map_or(String::new(), |value| format!("{value:.2}"));
            writeln!(
                out,
                "{:<52} {:>12} {:>10} {:>7}  {}",
                format!("{}, {}", row.what, row.unit),
                figure(Some(row.value)),
                figure(row.baseline),
                figure(row.ratio()),
                row.verdict()
            )?;
        }
        for failure in &self.failures {
            writeln!(out, "FAILED {failure}")?;
        }
        Ok(())
    }
}

fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').take(3).collect::<Vec<_>>().join(" ")
}
