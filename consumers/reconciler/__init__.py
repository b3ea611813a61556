"""Ledger → cloud and PodENI: makes what the book says is due come true, and writes down what came of it."""
