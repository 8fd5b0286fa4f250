"""The privacy budget: events, accountants, the ledger."""
