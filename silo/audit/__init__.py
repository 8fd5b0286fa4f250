"""Audits that can find faults: attacks on the real training code, whose success bounds epsilon from below.

An audit that finds nothing proves nothing; one whose lower bound lies above the claim proves a fault.
"""
