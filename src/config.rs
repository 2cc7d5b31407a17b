//! Settings of the process, checked once.
