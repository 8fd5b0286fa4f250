"""Accountants: PLD reports, RDP is what the ledger's filter counts with, PRV is a second opinion on both."""

from __future__ import annotations

from silo.privacy.accountants.base import Accountant
from silo.privacy.errors import Unaccountable

__all__ = ["Accountant", "Unaccountable"]
