"""Modules that a fork server cannot have imported."""
