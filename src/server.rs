//! Builds the parts, runs, drains, stops.
