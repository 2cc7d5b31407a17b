//! Credentials: login keys, tokens, tickets, passwords. Pure functions of secrets and time.
