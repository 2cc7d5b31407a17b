//! What outlives the process: groups with their settings, agents, API keys.
