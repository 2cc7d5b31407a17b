//! Where a joined session opens, as a profile says. What comes of it is the page's and the client's work.

use serde::{Deserialize, Serialize};

/// Where a joined session opens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum JoinIn {
    /// In a tab of the browser.
    #[default]
    BrowserTab,
    /// In the agent's client program.
    Client,
    /// In the page on which Join was pressed.
    Page,
}

impl JoinIn {
    /// The name on the wire.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BrowserTab => "browser_tab",
            Self::Client => "client",
            Self::Page => "page",
        }
    }
}
